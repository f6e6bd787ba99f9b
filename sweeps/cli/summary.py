"""What is printed at the end of a run: the table of configurations, and the answer in a sentence."""

from typing import NamedTuple

import numpy as np

from sweeps.cli.tables import Column, aligned, print_table, say
from sweeps.driver.replay import Replay
from sweeps.report.bounds import bounds_of, within
from sweeps.report.differences import differences
from sweeps.report.sentence import answer
from sweeps.report.wording import cells, difference, is_share, losses, number, point
from sweeps.results.lineage import best_schedule, is_evolved
from sweeps.results.results import Configuration, Results
from sweeps.store.statuses import UNFINISHED

MOST_ROWS = 40


def print_summary(results: Results) -> None:
    """Prints the table of configurations, and the answer in a sentence.

    Args:
        results: of the run.
    """
    rows = results.configurations()
    metric, ends = results.manifest["metric"], _stopped(results, rows)
    sign = -1 if results.manifest["mode"] == "max" else 1
    # Those that were stopped rank alike: the longer they were trained, the better, then by their scores.
    tail = sorted(ends, key=lambda at: (-ends[at].step, _last(sign * ends[at].mean)))
    order = [*(at for at in range(len(rows)) if at not in ends), *tail][:MOST_ROWS]
    shown = [rows[at] for at in order]
    bounds = bounds_of(metric, results.final())
    intervals = [within(row.interval, bounds) for row in shown]
    form = _form([*(row.interval.mean for row in shown), *(end.mean for end in ends.values())])
    waiting = set(results.members["status"].to_pylist()) & set(UNFINISHED)
    unfinished = "not finished" if waiting else "stopped"
    fields = zip(results.swept, zip(*(cells(row.config) for row in shown), strict=True), strict=True)
    columns = [Column(name, aligned(list(values))) for name, values in fields]
    columns += [
        Column(
            f"{metric}, best" if results.manifest.get("select") == "best" else metric,
            aligned(
                [
                    f"{row.interval.mean:{form}}" if row.interval.mean == row.interval.mean else "–"
                    for row in shown
                ]
            ),
        ),
        Column(
            "95 % interval",
            [
                f"{each.low:{form}} to {each.high:{form}}" if each.low == each.low else "–"
                for each in intervals
            ],
            needed=False,
        ),
        *_to_the_best(results, rows, order),
        *_others(shown, metric),
        Column("", [_mark(rows[at], rows[0], ends.get(at), unfinished, form) for at in order], "left"),
    ]
    left_out = print_table(columns)
    if len(rows) > len(shown):
        print(f"… and {len(rows) - len(shown)} more in members.parquet")
    if left_out:
        names = ", ".join(f'"{name.removesuffix(", points")}"' for name in left_out)
        say(f"no room for the column{'s' if len(left_out) > 1 else ''} {names}, which the report has")
    _print_answer(results, rows)


def _form(means: list[float]) -> str:
    """How scores are shown: with four decimals, or with four digits where these would leave little of one."""
    return ".4f" if all(1e-3 <= abs(mean) < 1e6 for mean in means if mean and mean == mean) else ".4g"


def _to_the_best(results: Results, rows: list[Configuration], order: list[int]) -> list[Column]:
    """How far the rows are from the best; nothing where one alone has a value."""
    if sum(row.seeds > 0 for row in rows) < 2:
        return []
    percent, apart = is_share(results.manifest["metric"], results.final()), differences(results, rows)
    said = [difference(*apart[at], percent=percent) for at in order]
    return [Column(f"to the best{', points' if percent else ''}", said, needed=False)]


def _others(rows: list[Configuration], metric: str) -> list[Column]:
    """The means of the other metrics, which may be left out where there is no room."""

    def cell(mean: float) -> str:
        return f"{mean:.4g}" if mean == mean else "–"

    names = [name for name in rows[0].means if name != metric]
    return [Column(name, aligned([cell(row.means[name]) for row in rows]), needed=False) for name in names]


class _End(NamedTuple):
    """Where the members of a configuration were stopped, and their mean score there."""

    step: int
    mean: float


def _stopped(results: Results, rows: list[Configuration]) -> dict[int, _End]:
    """By place among the rows, those configurations whose members were all stopped."""
    members, metrics = results.members, results.metrics
    if "stopped_at" not in members.column_names or members["stopped_at"].null_count == len(members):
        return {}
    at = members["stopped_at"].to_numpy(zero_copy_only=False).astype(np.float64)  # NaN where it was not
    ids, owner = members["member"].to_numpy(), metrics["member"].to_numpy()
    there = metrics["step"].to_numpy() == at[np.searchsorted(ids, owner)]
    values = metrics[results.manifest["metric"]].to_numpy(zero_copy_only=False)
    scores = dict(zip(owner[there].tolist(), values[there].tolist(), strict=True))
    steps = dict(zip(ids.tolist(), at.tolist(), strict=True))
    found = {}
    for place, row in enumerate(rows):
        ended = [member for member in row.members if steps[member] == steps[member]]
        if ended and len(ended) == len(row.members):
            own = [scores[member] for member in ended if np.isfinite(scores.get(member, np.nan))]
            found[place] = _End(
                int(max(steps[member] for member in ended)), float(np.mean(own)) if own else np.nan
            )
    return found


def _last(value: float) -> float:
    return value if value == value else np.inf


def print_replay(found: Replay) -> None:
    """Prints a member's numbers beside those of the replay.

    Args:
        found: the replay.
    """
    recorded, replayed = found.recorded.to_pydict(), found.replayed.to_pydict()
    names = [name for name in recorded if name not in ("member", "step")]
    columns = [Column("step", list(map(str, recorded["step"])))]
    for name in names:
        cells = []
        for row, before in enumerate(recorded[name]):
            after = replayed[name][row] if row < len(replayed["step"]) else None
            equal = before == after or (before != before and after is not None and after != after)
            cells.append(number(before) if equal else f"{before:.9g}, now {after}")
        columns.append(Column(name, aligned(cells)))
    print_table(columns)
    print()
    if found.same:
        print(f"member {found.member}: every bit is the same")
        return
    print(f"member {found.member}: not the same")
    for line in found.differences:
        print(f"another setting: {line}")


def _print_answer(results: Results, rows: list[Configuration]) -> None:
    print()
    for sentence in answer(results, rows):
        say(sentence)
    if is_evolved(results.manifest) and rows[0].seeds:
        stages = best_schedule(results, rows[0], list(results.swept))
        said = (f"from step {stage.step} on {point(stage.values)}" for stage in stages)
        say(f"Its schedule: {'; '.join(said)}.")


def _mark(row: Configuration, best: Configuration, end: _End | None, unfinished: str, form: str) -> str:
    marks = [f"{count} of {len(row.members)} {word}" for word, count in losses(row).items()]
    if end is not None:
        score = f" with {end.mean:{form}}" if end.mean == end.mean else ""
        marks.append(f"stopped at step {end.step}{score}")
    elif row.unfinished:
        marks.append(f"{row.unfinished} of {len(row.members)} {unfinished}")
    if row is best and row.seeds:
        marks.append("best")
    elif row.tied and row.draws > 1:
        marks.append("≈ best")
    return ", ".join(marks)
