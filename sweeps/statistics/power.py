"""How many seeds tell a difference, and which difference so many seeds could have told; SciPy alone.

A mean difference over n paired seeds is told from zero by Student's test. If it is d in truth, and single
differences have the deviation s, the test's statistic has the noncentral t distribution of n - 1 degrees of
freedom about d √n / s, and the power is the probability that the interval leaves zero out (Cohen, 1988).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sweeps.statistics.intervals import CONFIDENCE, Interval

POWER = 0.9
MOST_SEEDS = 1_000_000  # beyond which a number of seeds says no more than "too many"


class Equivalence(NamedTuple):
    """Whether a mean difference is shown to be within a margin.

    Attributes:
        within: whether its interval lies inside of the margin on both sides.
        p: the larger p-value of the two one-sided tests.
        interval: the interval that two one-sided tests correspond to, of the confidence 1 - 2 α.
    """

    within: bool
    p: float
    interval: Interval


def power(
    difference: float | int, deviation: float | int, seeds: int, confidence: float = CONFIDENCE
) -> float:
    """The probability that so many paired seeds tell a difference from zero.

    Args:
        difference: the mean difference, in truth.
        deviation: the standard deviation of single differences, in the same units.
        seeds: how many, at least 2.
        confidence: of the two-sided interval.

    Example:
        >>> round(power(1.0, 1.0, 13), 2)
        0.91
    """
    from scipy import stats

    if deviation == 0:
        return float(difference != 0)
    shift, free = abs(difference) * math.sqrt(seeds) / deviation, seeds - 1
    critical = stats.t.ppf((1 + confidence) / 2, free)
    below = stats.nct.cdf(-critical, free, shift)  # told, but with the wrong sign
    return float(stats.nct.sf(critical, free, shift) + (below if math.isfinite(below) else 0.0))


def smallest_difference(
    deviation: float | int, seeds: int, confidence: float = CONFIDENCE, wanted: float = POWER
) -> float:
    """The smallest true difference that so many paired seeds tell with this power.

    Args:
        deviation: the standard deviation of single differences.
        seeds: how many; NaN comes back for fewer than 2.
        confidence: of the two-sided interval.
        wanted: the power, 0.9 by default.

    Example:
        >>> round(smallest_difference(1.0, 13), 2)
        0.98
    """
    from scipy import optimize

    if seeds < 2 or not math.isfinite(deviation):
        return float("nan")
    if deviation == 0:
        return 0.0
    low, high = 0.0, deviation
    while power(high, deviation, seeds, confidence) < wanted:
        low, high = high, 2 * high

    def missing(difference: float) -> float:
        return power(difference, deviation, seeds, confidence) - wanted

    found: Any = optimize.brentq(missing, low, high, xtol=1e-9 * high)
    return float(found)


def seeds_needed(
    difference: float | int, deviation: float | int, confidence: float = CONFIDENCE, wanted: float = POWER
) -> int:
    """How many paired seeds tell a difference with this power; at most a million.

    Args:
        difference: the mean difference, in truth; not 0.
        deviation: the standard deviation of single differences, of a pilot for instance.
        confidence: of the two-sided interval.
        wanted: the power, 0.9 by default.

    Raises:
        ValueError: the difference is 0, which no number of seeds tells.

    Example:
        >>> seeds_needed(1.0, 1.0), seeds_needed(0.5, 1.0)
        (13, 44)
    """
    if difference == 0:
        raise ValueError("`difference` must not be 0: no number of seeds tells it")
    low, high = 1, 2
    while power(difference, deviation, high, confidence) < wanted:
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(difference, deviation, middle, confidence) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high


def equivalence(
    differences: Float[np.ndarray, " seeds"], margin: float | int, confidence: float = CONFIDENCE
) -> Equivalence:
    """Two one-sided tests of whether a mean difference is within a margin (Schuirmann, 1987).

    "No better" becomes a finding in this way, not the absence of one.

    Args:
        differences: one per seed, at least 2.
        margin: the smallest difference that matters, above 0.
        confidence: 1 - α, where each of the tests is held to α.

    Example:
        >>> equivalence(np.array([0.1, -0.1, 0.2, 0.0]), 1.0).within
        True
        >>> equivalence(np.array([0.9, 1.1, 1.0, 1.0]), 1.0).within
        False
    """
    from scipy import stats

    seeds = len(differences)
    mean = float(np.mean(differences, dtype=np.float64))
    error = float(np.std(differences, ddof=1, dtype=np.float64)) / math.sqrt(seeds)
    if error == 0:
        within = abs(mean) < margin
        return Equivalence(within, float(not within), Interval(mean, mean, mean))
    reach = float(stats.t.ppf(confidence, seeds - 1)) * error
    p = float(
        max(stats.t.cdf((mean - margin) / error, seeds - 1), stats.t.sf((mean + margin) / error, seeds - 1))
    )
    interval = Interval(mean, mean - reach, mean + reach)
    return Equivalence(-margin < interval.low and interval.high < margin, p, interval)
