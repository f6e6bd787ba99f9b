"""The power of paired comparisons against draws of them."""

from typing import Any

import numpy as np
import pytest
import scipy.stats

from sweeps.statistics.power import MOST_SEEDS, equivalence, power, seeds_needed, smallest_difference

stats: Any = scipy.stats  # whose results have attributes that type checkers do not know


@pytest.mark.parametrize(
    ("difference", "seeds", "confidence"), [(0.0, 8, 0.95), (0.4, 16, 0.95), (1.0, 8, 0.995), (3.0, 3, 0.95)]
)
def test_the_power_is_the_share_of_tests_that_tell(difference, seeds, confidence):
    draws = np.random.default_rng(0).normal(difference, 1, (40_000, seeds))
    share = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 1 - confidence)
    # A share of 40,000 has a deviation of at most 0.0025: four of them.
    assert abs(power(difference, 1.0, seeds, confidence) - share) < 0.01


@pytest.mark.parametrize("seeds", [3, 16, 200])
@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_the_smallest_difference_and_the_seeds_that_tell_it_agree(seeds, confidence):
    least = smallest_difference(2.0, seeds, confidence)
    assert power(least, 2.0, seeds, confidence) == pytest.approx(0.9, abs=1e-6)
    assert seeds_needed(least * 1.0001, 2.0, confidence) == seeds
    assert seeds_needed(least * 0.99, 2.0, confidence) > seeds or seeds == 3
    assert smallest_difference(4.0, seeds, confidence) == pytest.approx(2 * least)


def test_what_cannot_be_said():
    assert np.isnan(smallest_difference(1.0, 1)) and smallest_difference(0.0, 5) == 0
    assert seeds_needed(1e-9, 1.0) == MOST_SEEDS
    assert (power(0.0, 0.0, 4), power(0.1, 0.0, 4)) == (0, 1)
    with pytest.raises(ValueError, match="`difference` must not be 0"):
        seeds_needed(0, 1.0)


def test_two_one_sided_tests_are_those_of_scipy():
    draws = np.random.default_rng(1)
    for seeds, margin in ((5, 0.5), (20, 1.0), (20, 0.3)):
        differences = draws.normal(0.2, 0.5, seeds)
        found = equivalence(differences, margin)
        above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        assert found.p == pytest.approx(max(above, below))
        assert found.within == (found.p < 0.05)
        low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
        assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert equivalence(np.full(3, 0.5), 1.0) == (True, 0.0, (0.5, 0.5, 0.5), 0.0)
    assert not equivalence(np.full(3, 1.5), 1.0).within
