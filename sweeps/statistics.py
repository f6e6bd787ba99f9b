"""Means, intervals and comparisons over seeds; plain NumPy and SciPy, on plain arrays."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def student_interval(values: Float[np.ndarray, " seeds"], confidence: float = CONFIDENCE) -> Interval:
    """The mean and its Student interval (Student, 1908).

    Args:
        values: one value per seed.
        confidence: the coverage, 0.95 by default.

    Returns:
        The mean with its bounds; the bounds are NaN for one value.

    Example:
        >>> student_interval(np.array([1.0, 2.0, 3.0])).mean
        2.0
    """
    from scipy import stats

    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if len(values) else float("nan")
    if len(values) < 2:
        return Interval(mean, float("nan"), float("nan"))
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


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
    values: Float[np.ndarray, "configurations seeds"], best: int, level: float = 1 - CONFIDENCE
) -> Bool[np.ndarray, " configurations"]:
    """Which configurations cannot be told from the best one.

    Each is compared with the best by a paired test over the seeds; Holm's correction for the number of
    comparisons holds the chance that any equal configuration is called worse at `level`. With one seed
    nothing can be told apart.

    Args:
        values: the final metric, NaN where a member diverged.
        best: the row of the best configuration.
        level: the family-wise error.

    Returns:
        True for the best itself and for all that cannot be told from it; a configuration with a
        non-finite value is told apart by that.
    """
    whole = np.asarray(np.isfinite(values).all(axis=1))
    others = np.flatnonzero(whole & (np.arange(len(values)) != best))
    tied = np.zeros(len(values), dtype=bool)
    if whole[best]:
        tied[best] = True
        p_values = np.asarray([paired_p_value(values[best], values[other]) for other in others])
        tied[others] = ~holm(p_values, level)
    return tied
