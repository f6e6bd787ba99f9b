"""The part of the page about time: what a member costs by static group, and the score against it."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sweeps.report.bounds import bounds_of
from sweeps.report.marginals import seed_columns, student_rows
from sweeps.report.markup import escape, figure, section, table
from sweeps.report.outcomes import step_of
from sweeps.report.panels import Part, Study
from sweeps.report.progress import MOST_STEPS, curves_of
from sweeps.report.wording import (
    compact,
    count,
    duration,
    figures,
    in_words,
    is_share,
    listing,
    number,
    point,
)
from sweeps.store.statuses import Status

ALIKE = 1.25  # times as long as the fastest: on a busy machine chunks of one group differ as much
MOST_GROUPS = 100  # in the table and the figure
MOST_LINES = 8  # as many as there are colours
SQUEEZED = 8.0  # times as long as the fastest, from which on the axis is logarithmic


class Group(NamedTuple):
    """A static group.

    Attributes:
        values: of the fields that tell it from the others.
        members: how many it has.
        seconds: of a member that is trained for all steps; NaN where that is not known.
        rank: the place of its best configuration among all; None if none has a score.
    """

    values: dict[str, Any]
    members: int
    seconds: float
    rank: int | None


def timing(study: Study) -> Part | None:
    """What members cost: a table by static group, and the score of each group's best against time."""
    seconds = study.results.seconds()
    if not np.isfinite(seconds).any():
        return None
    found = groups(study, seconds)
    timed = [group for group in found if np.isfinite(group.seconds)]
    said = _total(study, seconds)
    if not timed or timed[-1].seconds < ALIKE * timed[0].seconds:
        return _part(f"<p>{escape(f'{said} {_alike(found, timed)}'.strip())}</p>")
    body = f'<p class="note">{escape(said)}</p>{_table(study, timed)}'
    if not any(group.rank is not None for group in timed):
        return _part(body)
    drawn = _lines(study, timed)
    one = "fold" if study.results.folds else "seed"
    caption = (
        f"A line is the best configuration at each {listing(timed[0].values)}: its mean over the {one}s with "
        "the 95 % interval, against the time that a member had taken by then if all steps take as long. "
    )
    if drawn["others"]["seconds"]:
        caption += f"The {MOST_LINES} best are lines; a dot is where the line of another would end."
    body += figure("time-lines", f"{study.metric} against seconds of training", caption.strip(), height=420)
    return _part(body, {"time": drawn})


def _alike(found: list[Group], timed: list[Group]) -> str:
    """That there is nothing to compare."""
    if not timed:
        return ""
    fastest, slowest = duration(timed[0].seconds), duration(timed[-1].seconds)
    if len(timed) == 1:
        why = "" if len(found) > 1 else "; all ran in one program, so there are no times to compare"
        return f"One that goes to the last step takes {fastest}{why}."
    every = listing(timed[0].values)
    return f"One that goes to the last step takes about as long at every {every}: {fastest} to {slowest}."


def groups(study: Study, seconds: np.ndarray) -> list[Group]:
    """The static groups, the fastest first; those of which no time is known at the end.

    Args:
        study: what the page is made of.
        seconds: per member, NaN where they are not known.
    """
    results, steps = study.results, study.results.manifest["steps"]
    ids = results.members["member"].to_numpy()
    names, first, place = np.unique(
        results.members["group"].to_numpy(), return_index=True, return_inverse=True
    )
    trained = _steps(study)
    there = np.isfinite(seconds) & (trained > 0)
    spent, done = (np.bincount(place[there], each[there], len(names)) for each in (seconds, trained))
    with np.errstate(invalid="ignore"):
        whole = steps * spent / done
    ranks: dict[int, int] = {}
    for rank, row in enumerate(study.rows):
        if row.seeds:
            ranks.setdefault(int(place[np.searchsorted(ids, row.members[0])]), rank)
    values, members = _values(study, place, first), np.bincount(place)
    found = [Group(values[at], int(members[at]), float(whole[at]), ranks.get(at)) for at in range(len(names))]
    return sorted(found, key=lambda group: (np.isnan(group.seconds), group.seconds))


def _values(study: Study, place: np.ndarray, first: np.ndarray) -> list[dict[str, Any]]:
    """Per group the values of the swept fields that tell it from others: one in a group, not the same in all.

    Args:
        study: what the page is made of.
        place: per member the place of its group.
        first: per group the place of a member.
    """
    table, codes, said = study.results.members, list[np.ndarray](), [dict[str, Any]() for _ in first]
    # A float is hardly ever static, but in a group of one member it may seem so.
    for axis in sorted(study.axes, key=lambda axis: pa.types.is_floating(table[axis.field].type)):
        column = table[axis.field]
        # None is a group of its own, where numbers share one.
        given = ["set" if there else None for there in column.is_valid().to_pylist()]
        for values, labels in ((axis.values, column.to_pylist()), ([each is None for each in given], given)):
            _, code = np.unique(values, return_inverse=True)
            told = codes and len(np.unique(np.stack(codes), axis=1).T) == len(first)
            if not told and (code == code[first][place]).all() and np.ptp(code[first]):
                codes.append(code[first])
                for own, row in zip(said, first.tolist(), strict=True):
                    own[axis.field] = labels[row]
                break
    swept = [name for name in study.results.swept if name in said[0]]
    return [{name: own[name] for name in swept} or {"program": at + 1} for at, own in enumerate(said)]


def _steps(study: Study) -> np.ndarray:
    """For how many steps each member was trained; 0 where that is not known."""
    manifest, status = study.results.manifest, study.results.members["status"].to_numpy(zero_copy_only=False)
    # Without rounds, what diverges takes the time of its chunk to the end.
    whole = [Status.DONE, *([] if manifest.get("schedule") else [Status.DIVERGED])]
    stopped = np.nan_to_num(step_of(study.results, "stopped_at"))
    return np.where(np.isin(status, whole), manifest["steps"], stopped).astype(np.float64)


def _total(study: Study, seconds: np.ndarray) -> str:
    """What all members took, and what is counted."""
    known = np.isfinite(seconds)
    said = (
        f"Training and evaluating {count(int(known.sum()), 'member')} took {duration(seconds[known].sum())}. "
    )
    said += (
        "Members of a chunk are trained side by side, and each has an equal share of what the chunk took; "
        "compiling does not count."
    )
    ended = np.isin(
        study.results.members["status"].to_numpy(zero_copy_only=False),
        [Status.DONE, Status.DIVERGED, Status.STOPPED],
    )
    lost = int((ended & ~known).sum())
    return said + (f" Of {count(lost, 'other member')} no time is recorded." if lost else "")


def _table(study: Study, timed: list[Group]) -> str:
    """The groups, the fastest first."""
    metric, fastest = study.metric, timed[0].seconds
    values = study.finals.get(metric, np.zeros(0))
    style: dict[str, Any] = {"percent": is_share(metric, values), "bounds": bounds_of(metric, values)}
    rows = [
        (
            *map(number, group.values.values()),
            f"{group.members:,}",
            duration(group.seconds),
            _times(group.seconds / fastest),
            "–" if group.rank is None else figures(*study.rows[group.rank].interval, **style),
        )
        for group in timed[:MOST_GROUPS]
    ]
    headings = (*timed[0].values, "members", "time per member", "× the fastest", f"best {in_words(metric)}")
    left = f": {MOST_GROUPS} of {len(timed):,}" if len(timed) > MOST_GROUPS else ""
    return table(headings, rows, f"By {listing(timed[0].values)}, the fastest first{left}")


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _lines(study: Study, timed: list[Group]) -> dict[str, Any]:
    """The best configuration of each group over time, and where the others end."""
    ranked = sorted((group for group in timed if group.rank is not None), key=lambda group: group.rank or 0)
    found = [_line(study, group) for group in ranked[:MOST_GROUPS]]
    others = found[MOST_LINES:]
    ends = [
        max((at for at, mean in enumerate(line["mean"]) if mean is not None), default=0) for line in others
    ]
    return {
        "lines": found[:MOST_LINES],
        "others": {
            "label": [line["label"] for line in others],
            "seconds": [line["seconds"][at] for line, at in zip(others, ends, strict=True)],
            "mean": [line["mean"][at] for line, at in zip(others, ends, strict=True)],
        },
        "log": timed[-1].seconds > SQUEEZED * timed[0].seconds,
    }


def _line(study: Study, group: Group) -> dict[str, Any]:
    results, metric = study.results, study.metric
    steps = np.unique(results.metrics["step"].to_numpy())
    if len(steps) > MOST_STEPS:
        steps = steps[np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int)]
    ids = np.sort(study.rows[group.rank or 0].members)
    seeds = study.seeds[np.searchsorted(results.members["member"].to_numpy(), ids)]
    values = seed_columns(curves_of(results, metric, ids, steps).T, seeds)
    mean, low, high = student_rows(values, results.overlap)
    cut = bounds_of(metric, study.finals[metric])
    return {
        "label": point(group.values),
        "member": int(ids[0]),
        "seconds": compact(group.seconds * steps / results.manifest["steps"]),
        "mean": compact(mean, 5),
        "low": compact(np.clip(low, *cut), 5),
        "high": compact(np.clip(high, *cut), 5),
    }


def _part(body: str, data: dict[str, Any] | None = None) -> Part:
    return Part("time", "Time", section("time", "Time", body), data or {})
