"""Early stopping: a configuration ends when its score has not improved for some evaluations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sweeps.errors import StudyError, brief, unknown
from sweeps.schedules.decision import Decision, Standing
from sweeps.space.bounds import finite, whole_number
from sweeps.space.domains import Scalar

PER = ("configuration", "member")


class EarlyStopping(NamedTuple):
    """Early stopping; made by `early_stopping`."""

    patience: int = 3
    min_delta: float = 0.0
    per: str = "configuration"


def early_stopping(
    patience: Scalar = 3, min_delta: Scalar = 0.0, per: Scalar = "configuration"
) -> EarlyStopping:
    """Early stopping (Prechelt, 1998): what has not improved for `patience` evaluations in a row ends.

    An evaluation improves on the best one so far if it is better by more than `min_delta`, and is the best
    one then; one that is not a number improves on nothing. Who ends is judged by nothing but its own
    evaluations, so the others need not be any better: unlike one that halving stopped, it keeps its score and
    is ranked by it. With `select="last"` that is its last evaluation, the one at which it was stopped, so no
    better than its best; `Study(select="best")` scores it by the best.

    Each evaluation from the first at which something can end is a rung, between which states are handed on:
    choose `evaluate_every` so that they are seconds apart.

    Args:
        patience: how many evaluations in a row may bring no improvement, a whole number ≥ 1.
        min_delta: by more than how much an evaluation must be better, ≥ 0, in units of the metric.
        per: `configuration` judges the mean over its seeds that have not diverged, and ends all of them
            together; `member` judges each by itself.

    Raises:
        StudyError: a value is out of bounds.

    Example:
        >>> early_stopping(patience=5)
        EarlyStopping(patience=5, min_delta=0.0, per='configuration')
    """
    count = whole_number("patience", patience, where="early_stopping")
    delta = finite(min_delta)
    if delta is None or delta < 0:
        raise StudyError(
            f"`0 <= min_delta` must hold in early_stopping and be a finite number, but got "
            f"min_delta={brief(min_delta)}"
        )
    if per not in PER:
        raise StudyError(unknown("early_stopping has no per", per, PER))
    return EarlyStopping(count, delta, str(per))


def judged_after(schedule: EarlyStopping, evaluations: Sequence[int]) -> tuple[int, ...]:
    """The steps after which something may end: all evaluations but the first `patience` and the last.

    Args:
        schedule: the schedule.
        evaluations: the steps after which members are evaluated, ascending.

    Example:
        >>> judged_after(early_stopping(patience=2), (10, 20, 30, 40, 50))
        (30, 40)
    """
    return tuple(evaluations[schedule.patience : -1])


def stop_stalled(schedule: EarlyStopping, standing: Standing, mode: str) -> Decision:
    """Ends what has not improved, and what has diverged.

    Args:
        schedule: the schedule.
        standing: the members, with their scores at every evaluation so far.
        mode: `max` or `min`.
    """
    assert standing.history is not None  # of all schedules this one asks for it
    alive = ~standing.gone
    units = standing.members if schedule.per == "member" else standing.points
    found, place = np.unique(units[alive], return_inverse=True)
    history = standing.history[:, alive]
    there = np.isfinite(history)
    curves = np.full((len(history), len(found)), np.nan)
    for curve, row, known in zip(curves, history, there, strict=True):
        count = np.bincount(place[known], minlength=len(found))
        total = np.bincount(place[known], row[known], len(found))
        curve[count > 0] = total[count > 0] / count[count > 0]
    goes_on = alive.copy()
    goes_on[alive] = (waited(curves, mode, schedule.min_delta) < schedule.patience)[place]
    return Decision(standing.members[~goes_on])


def waited(curves: np.ndarray, mode: str, min_delta: float) -> np.ndarray:
    """For how many evaluations each curve has not improved at its end; NaN is no improvement.

    Args:
        curves: a row per evaluation, the oldest first, and a column per curve.
        mode: `max` or `min`.
        min_delta: by more than how much an evaluation must be better.

    Example:
        >>> waited(np.array([[0.5, 0.5], [0.7, 0.5], [0.6, 0.9]]), "max", 0.0).tolist()
        [1, 0]
    """
    sign = 1.0 if mode == "max" else -1.0
    best = np.full(curves.shape[1], -np.inf)
    since = np.zeros(curves.shape[1], np.int64)
    for row in sign * curves:
        better = row > best + min_delta
        best, since = np.where(better, row, best), np.where(better, 0, since + 1)
    return since


def check_patience(schedule: EarlyStopping, evaluations: Sequence[int]) -> None:
    """Raises a StudyError if nothing can end before the last step.

    Args:
        schedule: the schedule.
        evaluations: the steps after which members are evaluated.
    """
    if not judged_after(schedule, evaluations):
        most = len(evaluations) - 2
        hint = f"patience={most} would do, or evaluate more often" if most > 0 else "evaluate more often"
        raise StudyError(
            f"`patience + 1 < evaluations` must hold in early_stopping, so that something can end before the "
            f"last step, but got patience={schedule.patience}, evaluations={len(evaluations)}; {hint} "
            f"(evaluate_every=…)"
        )
