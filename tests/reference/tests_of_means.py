"""Intervals, two one-sided tests and power of a mean difference, from SciPy's distributions alone."""

import math
from typing import Any

import numpy as np
import scipy.stats

stats: Any = scipy.stats  # whose results have attributes that type checkers do not know


def interval(differences: np.ndarray, comparisons: int) -> tuple[float, float]:
    """The 95 % interval of the mean, for so many comparisons together."""
    found = stats.ttest_1samp(differences, 0).confidence_interval(1 - 0.05 / comparisons)
    return float(found.low), float(found.high)


def p_below(differences: np.ndarray, margin: float) -> float:
    """That the mean is below the margin."""
    return float(stats.ttest_1samp(differences, margin, alternative="less").pvalue)


def p_above(differences: np.ndarray, margin: float) -> float:
    """That the mean is above minus the margin."""
    return float(stats.ttest_1samp(differences, -margin, alternative="greater").pvalue)


def power(difference: float, deviation: float, seeds: int, comparisons: int) -> float:
    """Of the two-sided test, by the noncentral t distribution."""
    free, shift = seeds - 1, difference / deviation * math.sqrt(seeds)
    critical = stats.t.isf(0.05 / comparisons / 2, free)
    return float(1 - stats.nct.cdf(critical, free, shift) + stats.nct.cdf(-critical, free, shift))


def equivalence_power(margin: float, deviation: float, seeds: int, comparisons: int) -> float:
    """Of two one-sided tests where there is no difference: a mean over the deviations that seeds may have.

    The chi distribution is cut into slices of one probability, in each of which the mean is normal.
    """
    free, slices = seeds - 1, 20_000
    critical = stats.t.isf(0.05 / comparisons, free)
    levels = (np.arange(slices) + 0.5) / slices
    errors = np.sqrt(stats.chi2.ppf(levels, free) / free) * deviation / math.sqrt(seeds)
    reach = np.maximum(margin - critical * errors, 0) / (deviation / math.sqrt(seeds))
    return float(np.mean(stats.norm.cdf(reach) - stats.norm.cdf(-reach)))
