"""Comparisons over seeds, and the means and intervals that go with them; on plain arrays."""

import numpy as np
from jaxtyping import Bool, Float, Integer

from sweeps.intervals import CONFIDENCE as CONFIDENCE
from sweeps.intervals import Interval as Interval
from sweeps.intervals import bootstrap_interval as bootstrap_interval
from sweeps.intervals import interquartile_mean as interquartile_mean
from sweeps.intervals import mean as mean
from sweeps.intervals import standard_error as standard_error
from sweeps.intervals import student_interval as student_interval
from sweeps.space import StudyError
from sweeps.trial import unknown


def paired_differences(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " m"],
    first_seeds: Integer[np.ndarray, " n"],
    second_seeds: Integer[np.ndarray, " m"],
) -> Float[np.ndarray, " common"]:
    """The differences `first - second` at the seeds that both have, where both values are finite.

    What both owe to the seed, such as the initialisation, cancels: `student_interval` of the differences is
    then narrower than the difference of two means would have it.

    Args:
        first: one value per seed.
        second: the other's values.
        first_seeds: the seeds of `first`, each once.
        second_seeds: the seeds of `second`, each once.

    Returns:
        The differences, by ascending seed; empty where there is no common seed.

    Example:
        >>> seeds = np.arange(3)
        >>> paired_differences(np.array([1.0, 2.0, 4.0]), np.array([0.5, 3.0]), seeds, seeds[1:]).tolist()
        [1.5, 1.0]
    """
    _, here, there = np.intersect1d(first_seeds, second_seeds, return_indices=True)
    one, other = first[here].astype(np.float64), second[there].astype(np.float64)
    finite = np.isfinite(one) & np.isfinite(other)
    return one[finite] - other[finite]


def probability_of_improvement(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " m"],
    *,
    paired: bool = False,
    mode: str = "max",
) -> float:
    """How probably a run of `first` is better than one of `second`, ties counted half (Agarwal et al., 2021).

    Unpaired, it compares any run of the one with any run of the other, whatever their seeds: Mann and
    Whitney's U / (n m), 1947. Paired, it compares runs of one seed: the share of seeds at which `first` is
    better. The first says what to expect of a new seed, the second what changing the configuration does to
    the same seed. A value that is not finite, a diverged run's, is worse than any that is and ties with its
    like.

    Args:
        first: one value per seed.
        second: the other's values; if paired, at the same seeds in the same order.
        paired: whether to compare seed by seed.
        mode: `max` if larger is better, `min` if smaller is.

    Returns:
        A number from 0 to 1, 0.5 if neither is better; NaN if there is nothing to compare.

    Raises:
        StudyError: the mode is unknown, or paired values differ in number.

    Example:
        >>> first, second = np.array([2.0, 4.0]), np.array([1.0, 3.0])
        >>> probability_of_improvement(first, second)
        0.75
        >>> probability_of_improvement(first, second, paired=True)
        1.0
    """
    if mode not in ("max", "min"):
        raise StudyError(f"`mode is one of max, min` must hold, but got {unknown(mode, ('max', 'min'))}")
    if paired and len(first) != len(second):
        raise StudyError(
            f"`as many values at the same seeds` must hold if paired, but got {len(first)} and {len(second)}"
        )
    sign = 1 if mode == "max" else -1
    one, other = (np.where(np.isfinite(each), sign * each, -np.inf) for each in (first, second))
    if not len(one) or not len(other):
        return float("nan")
    if not paired:
        one = one[:, None]
    return float(np.mean((one > other) + 0.5 * (one == other)))


def paired_p_value(first: Float[np.ndarray, " seeds"], second: Float[np.ndarray, " seeds"]) -> float:
    """The two-sided p-value of Student's paired test that both have one mean.

    Args:
        first: one value per seed.
        second: the other's values, at the same seeds in the same order.

    Returns:
        The p-value; 1 where all differences are zero or there are fewer than two seeds.
    """
    from scipy import stats

    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if len(differences) < 2 or not differences.any():
        return 1.0
    spread = differences.std(ddof=1)
    if spread == 0:
        return 0.0
    statistic = differences.mean() / (spread / np.sqrt(len(differences)))
    return float(2 * stats.t.sf(abs(statistic), len(differences) - 1))


def holm(p_values: Float[np.ndarray, " tests"], level: float = 1 - CONFIDENCE) -> Bool[np.ndarray, " tests"]:
    """Which hypotheses are rejected when the family-wise error is held at `level` (Holm, 1979).

    Args:
        p_values: one per hypothesis.
        level: the probability of any false rejection.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
        [True, False, False]
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    small_enough = p_values[order] <= level / np.arange(count, 0, -1)
    rejected = np.zeros(count, dtype=bool)
    rejected[order] = np.logical_and.accumulate(small_enough)
    return rejected


def tied_with_best(
    values: Float[np.ndarray, "configurations seeds"],
    best: int,
    level: float = 1 - CONFIDENCE,
    there: Bool[np.ndarray, "configurations seeds"] | None = None,
) -> Bool[np.ndarray, " configurations"]:
    """Which configurations cannot be told from the best one.

    Each is compared with the best by Student's paired test over the seeds that both have; Holm's correction
    for the number of comparisons holds the chance that any equal configuration is called worse at `level`.
    With one common seed nothing can be told apart. The best was chosen on these seeds, which the correction
    does not undo: its lead is optimistic.

    Args:
        values: the final metric, a column per seed, NaN where a member diverged.
        best: the row of the best configuration.
        level: the family-wise error.
        there: where there is a member; None says everywhere.

    Returns:
        True for the best itself and for all that cannot be told from it; a configuration with a member
        whose value is not finite is told apart by that.

    Example:
        >>> seeds = np.linspace(0, 1, 8)
        >>> tied_with_best(np.stack([seeds, seeds - 0.5, seeds[::-1]]), best=0).tolist()
        [True, False, True]
    """
    asked = np.ones(values.shape, dtype=bool) if there is None else there
    whole = np.asarray((np.isfinite(values) | ~asked).all(axis=1))
    others = np.flatnonzero(whole & (np.arange(len(values)) != best))
    tied = np.zeros(len(values), dtype=bool)
    if whole[best]:
        tied[best] = True
        common = [asked[best] & asked[other] for other in others]
        p_values = np.asarray(
            [
                paired_p_value(values[best, both], values[other, both])
                for other, both in zip(others, common, strict=True)
            ]
        )
        tied[others] = ~holm(p_values, level)
    return tied
