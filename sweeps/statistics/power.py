"""How many seeds tell a difference, and which difference so many seeds could have told; SciPy alone.

A mean difference over n paired seeds is told from zero by Student's test. If it is d in truth, and single
differences have the deviation s, the test's statistic has the noncentral t distribution of n - 1 degrees of
freedom about d √n / s, and the power is the probability that the interval leaves zero out (Cohen, 1988).
That it is too small to matter is told by two one-sided tests (Schuirmann, 1987).
"""

import math
from collections.abc import Callable
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
        below: the p-value of the one of them that says that the difference is below the margin.
    """

    within: bool
    p: float
    interval: Interval
    below: float


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
    return _fewest(lambda seeds: power(difference, deviation, seeds, confidence) >= wanted)


def _fewest(enough: Callable[[int], bool]) -> int:
    """The smallest number of seeds, at least 2, that is enough; at most a million."""
    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
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
    seeds = len(differences)
    mean = float(np.mean(differences, dtype=np.float64))
    error = float(np.std(differences, ddof=1, dtype=np.float64)) / math.sqrt(seeds)
    return two_one_sided(mean, error, seeds, margin, confidence)


def two_one_sided(
    mean: float, error: float, seeds: int, margin: float | int, confidence: float = CONFIDENCE
) -> Equivalence:
    """The two one-sided tests of `equivalence`, of a mean difference that is known with its standard error.

    Args:
        mean: the mean difference.
        error: its standard error.
        seeds: how many it is over, at least 2.
        margin: the smallest difference that matters.
        confidence: 1 - α, where each of the tests is held to α.

    Example:
        >>> two_one_sided(0.1, 0.2, 16, 0.5).within, two_one_sided(0.1, 0.3, 16, 0.5).within
        (True, False)
    """
    from scipy import special  # of which `scipy.stats` is made, and which is imported in a tenth of its time

    if error == 0:
        within, below = abs(mean) < margin, float(mean >= margin)
        return Equivalence(within, float(not within), Interval(mean, mean, mean), below)
    reach = float(special.stdtrit(seeds - 1, confidence)) * error
    below, above = (float(special.stdtr(seeds - 1, (sign * mean - margin) / error)) for sign in (1, -1))
    interval = Interval(mean, mean - reach, mean + reach)
    within = -margin < interval.low and interval.high < margin
    return Equivalence(within, max(below, above), interval, below)


def equivalence_power(
    margin: float | int,
    deviation: float | int,
    seeds: int,
    confidence: float = CONFIDENCE,
    difference: float | int = 0,
) -> float:
    """The probability that two one-sided tests show a mean difference over so many seeds within the margin.

    Given the deviation that the seeds have, the mean is normal, and both tests reject where it lies in an
    interval; the mean of that over the deviation's own distribution is the power.

    Args:
        margin: the smallest difference that matters, above 0.
        deviation: the standard deviation of single differences, in truth.
        seeds: how many, at least 2.
        confidence: 1 - α, where each of the tests is held to α.
        difference: the mean difference, in truth.

    Example:
        >>> round(equivalence_power(1.0, 1.0, 13), 2)
        0.92
    """
    from scipy import integrate, special, stats

    if deviation == 0:
        return float(abs(difference) < margin)
    free, scale = seeds - 1, math.sqrt(seeds) / deviation
    critical = float(special.stdtrit(free, confidence)) / math.sqrt(free)

    def both(spread: float) -> Any:
        inside = special.ndtr(scale * (margin - difference) - critical * spread)
        return stats.chi.pdf(spread, free) * (
            inside - special.ndtr(critical * spread - scale * (margin + difference))
        )

    # Beyond the largest spread neither mean is in both; nearly all of chi lies within eight of its middle.
    least, most = max(0.0, math.sqrt(free) - 8), min(scale * margin / critical, math.sqrt(free) + 8)
    return float(integrate.quad(both, least, most)[0]) if least < most else 0.0


def equivalence_seeds(
    margin: float | int, deviation: float | int, confidence: float = CONFIDENCE, wanted: float = POWER
) -> int:
    """How many paired seeds show with this power that there is no difference that matters, where none is.

    Args:
        margin: the smallest difference that matters, above 0.
        deviation: the standard deviation of single differences, of a pilot for instance.
        confidence: 1 - α, where each of the two one-sided tests is held to α.
        wanted: the power, 0.9 by default.

    Raises:
        ValueError: the margin is not above 0: no number of seeds shows a difference within it.

    Example:
        >>> equivalence_seeds(1.0, 1.0), equivalence_seeds(0.5, 1.0)
        (13, 45)
    """
    if not margin > 0:
        raise ValueError(f"`margin` must be above 0, but got {margin}")
    return _fewest(lambda seeds: equivalence_power(margin, deviation, seeds, confidence) >= wanted)
