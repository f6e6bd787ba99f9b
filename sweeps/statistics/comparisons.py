"""Comparisons over seeds, and the means and intervals that go with them; on plain arrays."""

import numpy as np
from jaxtyping import Bool, Float, Integer

from sweeps.errors import StudyError, unknown
from sweeps.statistics.intervals import CONFIDENCE as CONFIDENCE
from sweeps.statistics.intervals import Interval as Interval
from sweeps.statistics.intervals import bootstrap_interval as bootstrap_interval
from sweeps.statistics.intervals import inflation
from sweeps.statistics.intervals import interquartile_mean as interquartile_mean
from sweeps.statistics.intervals import mean as mean
from sweeps.statistics.intervals import standard_error as standard_error
from sweeps.statistics.intervals import student_interval as student_interval
from sweeps.statistics.intervals import student_intervals as student_intervals


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
        raise StudyError(unknown("Unknown mode", mode, ("max", "min")))
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


def paired_p_values(
    first: Float[np.ndarray, " seeds"], others: Float[np.ndarray, "others seeds"], overlap: float = 0.0
) -> Float[np.ndarray, " others"]:
    """The p-values of Student's paired test that others have the mean of the first; of folds, corrected.

    A p-value is 1 where all differences are zero or there are fewer than two seeds.

    Args:
        first: one value per seed.
        others: the others' values, a row each, at the same seeds in the same order.
        overlap: how many examples are held out for each that is trained on, where the values are of folds
            (Nadeau and Bengio, 2003); 0 is for values that are independent.
    """
    from scipy import special  # of which `scipy.stats` is made, and which is imported in a tenth of its time

    differences = np.asarray(first, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    count = differences.shape[1]
    if count < 2:
        return np.ones(len(differences))
    spread = differences.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = differences.mean(axis=1) / (spread / np.sqrt(count)) / inflation(count, overlap)
    found = 2 * special.stdtr(count - 1, -np.abs(statistic))
    return np.where(~differences.any(axis=1), 1.0, np.where(spread == 0, 0.0, found))


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
    overlap: float = 0.0,
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
        overlap: how many examples are held out for each that is trained on, where columns are folds.

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
        # Rows of the same seeds are compared together: mostly all of them.
        patterns, pattern = np.unique(asked[best] & asked[others], axis=0, return_inverse=True)
        p_values = np.ones(len(others))
        for place, common in enumerate(patterns):
            rows = pattern.reshape(-1) == place
            p_values[rows] = paired_p_values(values[best, common], values[others[rows]][:, common], overlap)
        tied[others] = ~holm(p_values, level)
    return tied
