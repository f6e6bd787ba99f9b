"""Means over seeds and their intervals; plain NumPy and SciPy, on plain arrays.

A diverged member has no finite value: leave such values out first, and say how many they were.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sweeps.errors import StudyError, unknown

CONFIDENCE = 0.95
RESAMPLES = 10_000
METHODS = ("percentile", "bca")


class Interval(NamedTuple):
    """A mean, or another estimate of the centre, and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def mean(values: Float[np.ndarray, " seeds"]) -> float:
    """The mean in float64; NaN of no values.

    Args:
        values: one value per seed.

    Example:
        >>> mean(np.array([1.0, 2.0, 6.0]))
        3.0
    """
    return float(np.mean(values, dtype=np.float64)) if len(values) else float("nan")


def standard_error(values: Float[np.ndarray, " seeds"]) -> float:
    """The standard error of the mean, from the unbiased variance; NaN below two values.

    Args:
        values: one value per seed.

    Example:
        >>> standard_error(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == math.sqrt(0.5)
        True
    """
    if len(values) < 2:
        return float("nan")
    return float(np.std(values, ddof=1, dtype=np.float64)) / math.sqrt(len(values))


def interquartile_mean(values: Float[np.ndarray, "*rows seeds"], axis: int = -1) -> Any:
    """The mean of the middle half of the values (Agarwal et al., 2021).

    A quarter of the values, rounded down to whole ones, is left out at either end: robust against single
    outliers like the median, with less spread. Below four values it is the mean.

    Args:
        values: one value per seed.
        axis: the axis of the seeds.

    Returns:
        A number, or one per row; `bootstrap_interval(values, interquartile_mean)` gives its interval.

    Example:
        >>> float(interquartile_mean(np.array([1.0, 2.0, 3.0, 100.0])))
        2.5
    """
    ordered = np.sort(np.moveaxis(np.asarray(values, dtype=np.float64), axis, -1), axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


def student_interval(
    values: Float[np.ndarray, " seeds"], confidence: float = CONFIDENCE, overlap: float = 0.0
) -> Interval:
    """The mean and its Student interval (Student, 1908).

    Args:
        values: one value per seed.
        confidence: the coverage, 0.95 by default.
        overlap: how many examples are held out for each that is trained on, where the values are of folds.

    Returns:
        The mean with its bounds; the bounds are NaN for one value.

    Raises:
        StudyError: the confidence is not between 0 and 1.

    Example:
        >>> student_interval(np.array([1.0, 2.0, 3.0])).mean
        2.0
    """
    return student_intervals(np.asarray(values)[None], confidence, overlap)[0]


def student_intervals(
    values: Float[np.ndarray, "rows seeds"], confidence: float = CONFIDENCE, overlap: float = 0.0
) -> list[Interval]:
    """The intervals of `student_interval` for many rows at once.

    Folds have most of what they train on in common, so that their values vary less than those of other data
    would: the variance of the mean of n is not s²/n but (1/n + overlap) s² (Nadeau and Bengio, 2003).

    Args:
        values: a row each, one value per seed.
        confidence: the coverage, 0.95 by default.
        overlap: how many examples are held out for each that is trained on, where the values are of folds:
            1/(k - 1) of k folds. 0 is for values that are independent.

    Raises:
        StudyError: the confidence is not between 0 and 1.
    """
    from scipy import special  # of which `scipy.stats` is made, and which is imported in a tenth of its time

    _check_confidence(confidence)
    rows, seeds = values.shape
    means = np.asarray(np.mean(values, axis=1, dtype=np.float64)) if seeds else np.full(rows, np.nan)
    reach = np.full(rows, np.nan)
    if seeds > 1:
        errors = np.std(values, axis=1, ddof=1, dtype=np.float64) / math.sqrt(seeds)
        reach = float(special.stdtrit(seeds - 1, (1 + confidence) / 2)) * errors * inflation(seeds, overlap)
    return [
        Interval(*row)
        for row in zip(means.tolist(), (means - reach).tolist(), (means + reach).tolist(), strict=True)
    ]


def inflation(count: Any, overlap: float) -> Any:
    """By how much the standard error of a mean of folds exceeds that of as many independent values.

    Args:
        count: how many values, or an array of such numbers.
        overlap: how many examples are held out for each that is trained on.

    Example:
        >>> float(inflation(5, 1 / 4)), float(inflation(5, 0.0))
        (1.5, 1.0)
    """
    return np.sqrt(1 + count * overlap)


def bootstrap_interval(
    values: Float[np.ndarray, " seeds"],
    statistic: Callable[..., Any] = np.mean,
    *,
    method: str = "percentile",
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A statistic and its bootstrap interval (Efron, 1979); the same seed gives the same figures.

    `percentile` takes the quantiles of the resampled statistic as they are; `bca` corrects them for bias and
    skewness (Efron, 1987). With fewer than about ten seeds either covers less than it says: Student's
    interval is then the safer one for a mean.

    Args:
        values: one value per seed.
        statistic: called with an array and `axis=-1`, such as `np.mean` or `interquartile_mean`.
        method: `percentile` or `bca`.
        confidence: the coverage, 0.95 by default.
        resamples: how many times the values are drawn anew, with replacement.
        seed: what the draws depend on.

    Returns:
        The statistic of the values with its bounds; the bounds are NaN for one value.

    Raises:
        StudyError: the method is unknown, or a number is out of its bounds.

    Example:
        >>> interval = bootstrap_interval(np.arange(20.0), interquartile_mean, method="bca")
        >>> interval.mean, interval == bootstrap_interval(np.arange(20.0), interquartile_mean, method="bca")
        (9.5, True)
    """
    from scipy import special

    _check_confidence(confidence)
    if method not in METHODS:
        raise StudyError(unknown("Unknown method", method, METHODS))
    if resamples < 1:
        raise StudyError(f"`1 <= resamples` must hold, but got resamples={resamples}")
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    center = float(statistic(values, axis=-1)) if count else float("nan")
    if count < 2 or not np.isfinite(values).all():
        return Interval(center, float("nan"), float("nan"))
    places = np.random.default_rng(seed).integers(0, count, (resamples, count))
    drawn = np.asarray(statistic(values[places], axis=-1))
    bounds = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        below = ((drawn < center).mean() + (drawn <= center).mean()) / 2
        # Where no draw fell on one side, the bias is only known to be at least this large.
        bias = special.ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))
        reach = bias + special.ndtri(bounds)
        bounds = special.ndtr(bias + reach / (1 - _acceleration(values, statistic) * reach))
    low, high = np.quantile(drawn, bounds)
    return Interval(center, float(low), float(high))


def _acceleration(values: np.ndarray, statistic: Callable[..., Any]) -> float:
    """A sixth of the skewness of the statistic when one value after another is left out (Efron, 1987)."""
    count = len(values)
    rest = np.broadcast_to(values, (count, count))[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    left_out = np.asarray(statistic(rest, axis=-1))
    pull = left_out.mean() - left_out
    spread = float((pull**2).sum())
    return float((pull**3).sum()) / spread**1.5 / 6 if spread else 0.0


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise StudyError(f"`0 < confidence < 1` must hold, but got confidence={confidence}")
