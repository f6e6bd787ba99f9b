"""What is printed at the end of a run: the table of configurations, and the answer in a sentence."""

from typing import Any

from rich.console import Console
from rich.table import Table

from sweeps.repetition import Replay
from sweeps.results import Configuration, Results

MOST_ROWS = 40


def print_summary(results: Results) -> None:
    """Prints the table of configurations, and the answer in a sentence.

    Args:
        results: of the run.
    """
    rows = results.configurations()
    metric, console = results.manifest["metric"], Console()
    if not console.is_terminal:
        console = Console(width=1000)  # a file or a pipe has no edge to fold at
    shown = rows[:MOST_ROWS]
    if len(results.swept) == 1 and len(shown) == len(rows):
        shown = sorted(rows, key=lambda row: list(map(_sortable, row.config.values())))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in results.swept:
        table.add_column(name, justify="right")
    table.add_column(metric, justify="right")
    table.add_column("95 % interval", justify="center", no_wrap=True)
    others = [name for name in rows[0].means if name != metric]
    for name in others:
        table.add_column(name, justify="right")
    table.add_column("", justify="left")
    for row in shown:
        table.add_row(
            *(_number(value) for value in row.config.values()),
            f"{row.interval.mean:.4f}" if row.interval.mean == row.interval.mean else "–",
            "–"
            if row.interval.low != row.interval.low
            else f"{row.interval.low:.4f} to {row.interval.high:.4f}",
            *(f"{row.means[name]:.4g}" if row.means[name] == row.means[name] else "–" for name in others),
            _mark(row, rows[0]),
        )
    console.print(table)
    if len(rows) > len(shown):
        print(f"… and {len(rows) - len(shown)} more in members.parquet")
    _print_answer(results, rows)


def print_replay(found: Replay) -> None:
    """Prints a member's numbers beside those of the replay.

    Args:
        found: the replay.
    """
    recorded, replayed = found.recorded.to_pydict(), found.replayed.to_pydict()
    names = [name for name in recorded if name not in ("member", "step")]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("step", *names):
        table.add_column(title, justify="right")
    for row, step in enumerate(recorded["step"]):
        cells = []
        for name in names:
            before = recorded[name][row]
            after = replayed[name][row] if row < len(replayed["step"]) else None
            equal = before == after or (before != before and after is not None and after != after)
            cells.append(_number(before) if equal else f"{before:.9g}, now {after}")
        table.add_row(str(step), *cells)
    console = Console()
    (console if console.is_terminal else Console(width=1000)).print(table)
    print()
    if found.same:
        print(f"member {found.member}: every bit is the same")
        return
    print(f"member {found.member}: not the same")
    for line in found.differences:
        print(f"another setting: {line}")


def _print_answer(results: Results, rows: list[Configuration]) -> None:
    winner, seeds, metric = rows[0], len(rows[0].members), results.manifest["metric"]
    print()
    if winner.diverged + winner.unfinished == seeds:
        print("no configuration came to the last step with a finite value")
        return
    print(
        f"best: {_point(winner.config)}: {metric} {_figures(winner)}; selected on these seeds, so optimistic"
    )
    others = [row for row in rows[1:] if row.unfinished < len(row.members)]  # a stopped one was not compared
    tied = [row for row in others if row.tied]
    if seeds > 1 and others:
        came = "" if len(others) == len(rows) - 1 else " that came to the last step"
        print(
            f"≈ best: {len(tied)} of the other {len(others)}{came} cannot be told from it "
            f"(paired t-tests over seeds, Holm-corrected, 5 %)"
        )
    if results.confirmation is not None:
        _print_confirmation(winner, results.confirmation.configurations())


def _print_confirmation(winner: Configuration, rows: list[Configuration]) -> None:
    """The winner and the baseline on seeds that did not choose them."""
    fresh = [row for row in rows if row.config == winner.config]
    others = [row for row in rows if row.config != winner.config]
    for row in fresh:
        print(f"confirmed: {_point(row.config)}: {_figures(row)}, all of them fresh")
    if not others:
        print("baseline: the winner is the default configuration")
    for row in others:
        told = " (cannot be told from it)" if all(each.tied for each in (*fresh, row)) else ""
        print(f"baseline: {_point(row.config)}: {_figures(row)}, the same{told}")


def _figures(row: Configuration) -> str:
    mean, low, high = row.interval
    interval = f" ({low:.4f} to {high:.4f})" if low == low else ""
    count = len(row.members)
    return f"{mean:.4f}{interval}, {count} seed{'s' if count > 1 else ''}"


def _mark(row: Configuration, best: Configuration) -> str:
    marks = [f"{row.diverged} of {len(row.members)} diverged"] if row.diverged else []
    if row.unfinished:
        marks.append("stopped" if row.unfinished == len(row.members) else f"{row.unfinished} stopped")
    if row is best:
        marks.append("best")
    elif row.tied and len(row.members) > 1:
        marks.append("≈ best")
    return ", ".join(marks)


def _point(config: dict[str, Any]) -> str:
    return (
        ", ".join(f"{name}={_number(value)}" for name, value in config.items()) or "the default configuration"
    )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sortable(value: Any) -> tuple:
    return (value is not None, str(type(value)), value)
