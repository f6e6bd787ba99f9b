"""Which configurations no other one beats, in several metrics at once: Pareto's order, told over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError, brief, unknown
from sweeps.results.ranking import Configuration
from sweeps.statistics.intervals import CONFIDENCE, Interval, inflation, student_interval

MODES = ("max", "min")


class Compared(NamedTuple):
    """A configuration among others, in several metrics.

    Attributes:
        config: the swept fields' values.
        members: the ids, one per seed.
        intervals: by metric the mean and its 95 % interval over the seeds with a finite value.
        lost: how many members have no finite value in one of the metrics.
        front: whether it is on the Pareto front: no member of it is lost, and nothing dominates it.
        dominated_by: the best-ranked configuration that dominates it; None if none does.
    """

    config: dict[str, Any]
    members: list[int]
    intervals: dict[str, Interval]
    lost: int
    front: bool
    dominated_by: dict[str, Any] | None


def checked(objectives: Mapping[str, str], known: Sequence[str]) -> dict[str, str]:
    """Metrics and their directions, if they are such.

    Args:
        objectives: metric to `max` or `min`.
        known: the metrics of the run.

    Raises:
        StudyError: there are fewer than two, a metric is unknown, or a direction is.
    """
    if not isinstance(objectives, Mapping) or len(objectives) < 2:
        raise StudyError(
            f"`two metrics or more, each with max or min` must hold for a Pareto front, but got "
            f"{brief(objectives)}; test/accuracy: max and test/loss: min would do"
        )
    for metric, mode in objectives.items():
        if metric not in known:
            raise StudyError(unknown("The run has no metric", metric, known))
        if mode not in MODES:
            raise StudyError(unknown(f"Unknown direction of {metric}:", mode, MODES))
    return dict(objectives)


def compare(
    rows: Sequence[Configuration],
    members: np.ndarray,
    seeds: np.ndarray,
    finals: Mapping[str, np.ndarray],
    objectives: Mapping[str, str],
    overlap: float = 0.0,
) -> list[Compared]:
    """Every configuration, in the order of `rows`; `Results.pareto` says what dominates what.

    Args:
        rows: the configurations.
        members: the ids of all members, ascending.
        seeds: per member what tells independent ones apart; members that share it are one value, their mean.
        finals: by metric the value of every member, NaN where there is none.
        objectives: metric to `max` or `min`.
        overlap: where `seeds` are folds, how many examples one holds out for each that it trains on.
    """
    codes, code = np.unique(seeds, return_inverse=True)
    shape = len(objectives), len(rows), len(codes)
    there, table, lost = np.zeros(shape[1:], bool), np.full(shape, np.nan), np.zeros(len(rows), int)
    for place, row in enumerate(rows):
        own = np.searchsorted(members, row.members)
        values = np.stack([finals[metric][own] for metric in objectives])
        finite = np.isfinite(values).all(axis=0)
        lost[place] = (~finite).sum()
        count = np.bincount(code[own][finite], minlength=len(codes))
        there[place] = count > 0
        for each, column in zip(table, values, strict=True):
            total = np.bincount(code[own][finite], column[finite], len(codes))
            each[place, count > 0] = total[count > 0] / count[count > 0]
    signs = np.asarray([1.0 if mode == "max" else -1.0 for mode in objectives.values()])
    whole = lost == 0
    found = []
    for place, row in enumerate(rows):
        better = dominating(table * signs[:, None, None], there, place, overlap)
        beaten = np.flatnonzero(better & whole & whole[place])
        found.append(
            Compared(
                config=row.config,
                members=row.members,
                intervals={
                    metric: student_interval(each[place, there[place]], overlap=overlap)
                    for metric, each in zip(objectives, table, strict=True)
                },
                lost=int(lost[place]),
                front=bool(whole[place]) and not len(beaten),
                dominated_by=rows[int(beaten[0])].config if len(beaten) else None,
            )
        )
    return found


def dominating(values: np.ndarray, there: np.ndarray, place: int, overlap: float = 0.0) -> np.ndarray:
    """Which configurations dominate one.

    Args:
        values: objectives x configurations x seeds, the larger the better.
        there: configurations x seeds, where there is a value.
        place: the one.
        overlap: as in `compare`.

    Example:
        >>> seeds = np.array([0.0, 0.1, 0.2])
        >>> values = np.stack([[seeds, seeds + 1], [seeds, seeds]])  # the second is better in one
        >>> dominating(values, np.ones((2, 3), bool), 0).tolist()
        [False, True]
    """
    from scipy import special

    common = there & there[place]
    count = common.sum(axis=1)
    differences = np.where(common, values - values[:, place : place + 1], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = differences.sum(axis=2) / count
        spread = np.where(common, differences - mean[:, :, None], 0.0)
        variance = (spread**2).sum(axis=2) / (count - 1)
        reach = special.stdtrit(np.maximum(count - 1, 1), (1 + CONFIDENCE) / 2) * np.sqrt(variance / count)
        reach *= inflation(count, overlap)
        return (count > 1) & (mean >= 0).all(axis=0) & (mean - reach > 0).any(axis=0)
