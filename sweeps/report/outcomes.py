"""What became of the members: who is done, who was stopped at which rung, who diverged and when."""

import collections
from typing import Any, NamedTuple

import numpy as np

from sweeps.report.wording import point
from sweeps.results.results import Results
from sweeps.store.statuses import LOST, Status

MOST_LISTED = 50


class Rung(NamedTuple):
    """A step at which members were stopped: how many had reached it, and how many ended there."""

    step: int
    reached: int
    stopped: int


class Loss(NamedTuple):
    """A member that diverged or failed.

    Attributes:
        member: its id.
        seed: its seed.
        config: its configuration, in words.
        status: `diverged` or `failed`.
        step: the step it diverged at; None if that is not known.
        error: why it failed; empty if it did not.
    """

    member: int
    seed: int
    config: str
    status: str
    step: int | None
    error: str = ""


def tally(results: Results) -> dict[str, int]:
    """How many members have each status, the most common first.

    Args:
        results: a run.
    """
    return dict(collections.Counter(results.members["status"].to_pylist()).most_common())


def step_of(results: Results, name: str) -> np.ndarray:
    """`diverged_at` or `stopped_at` of every member, NaN where it is not set.

    Args:
        results: a run.
        name: the column.
    """
    if name not in results.members.column_names:
        return np.full(len(results.members), np.nan)
    return results.members[name].to_numpy(zero_copy_only=False).astype(np.float64)


def rungs(results: Results) -> list[Rung]:
    """The steps at which members were stopped, ascending; none if no member was.

    Args:
        results: a run.
    """
    status = results.members["status"].to_numpy(zero_copy_only=False)
    stopped = np.where(status == Status.STOPPED, step_of(results, "stopped_at"), np.nan)
    last = np.where(status == Status.DONE, float(results.manifest["steps"]), stopped)
    last = np.where(status == Status.DIVERGED, step_of(results, "diverged_at"), last)
    steps = np.unique(stopped[np.isfinite(stopped)])
    return [Rung(int(step), int((last >= step).sum()), int((stopped == step).sum())) for step in steps]


def losses(results: Results) -> tuple[list[Loss], int]:
    """The members that diverged or failed, the earliest first, at most 50 of them; and how many there are.

    Args:
        results: a run.
    """
    status = results.members["status"].to_numpy(zero_copy_only=False)
    step = step_of(results, "diverged_at")
    found = np.flatnonzero(np.isin(status, LOST))
    found = found[np.argsort(step[found], kind="stable")]
    rows: list[dict[str, Any]] = results.members.take(found[:MOST_LISTED]).to_pylist()
    errors = results.errors if Status.FAILED in status else {}
    listed = [
        Loss(
            row["member"],
            row["seed"],
            point({name: row[name] for name in (*(["fold"] if results.folds else []), *results.swept)}),
            row["status"],
            row.get("diverged_at"),
            errors.get(row["member"], ""),
        )
        for row in rows
    ]
    return listed, len(found)
