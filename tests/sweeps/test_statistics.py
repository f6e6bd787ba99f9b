import math

import numpy as np
import pytest
from scipy import stats

from sweeps import statistics


def test_student_interval_against_scipy():
    values = np.random.default_rng(0).normal(size=9)
    expected = stats.t.interval(0.95, 8, loc=values.mean(), scale=stats.sem(values))
    # The same formula in another order of operations: a few roundings of float64.
    assert statistics.student_interval(values)[1:] == pytest.approx(expected, rel=1e-13)


def test_student_interval_of_known_values():
    # t(0.975, 2) = 4.302652..., s = 1, so the reach is 4.302652 / sqrt(3).
    assert statistics.student_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (2, 2 - 2.484138, 2 + 2.484138)
    )


def test_one_value_has_no_interval():
    mean, low, high = statistics.student_interval(np.array([0.5]))
    assert mean == 0.5 and math.isnan(low) and math.isnan(high)


def test_paired_p_value_against_scipy():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 8))
    # The same statistic in another order of operations.
    assert statistics.paired_p_value(first, second) == pytest.approx(
        stats.ttest_rel(first, second).pvalue, rel=1e-12
    )


def test_paired_p_value_where_the_test_has_no_spread():
    assert statistics.paired_p_value(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 1.0
    assert statistics.paired_p_value(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == 0.0
    assert statistics.paired_p_value(np.array([1.0]), np.array([0.0])) == 1.0


def test_holm_on_a_worked_example():
    # Of 4 tests, 0.005 <= 0.05/4 and 0.011 <= 0.05/3 are rejected; 0.03 > 0.05/2 is not, so nor is 0.031.
    assert statistics.holm(np.array([0.03, 0.005, 0.011, 0.031])).tolist() == [False, True, True, False]
    assert statistics.holm(np.array([])).tolist() == []


def test_a_clearly_worse_configuration_is_told_from_the_best():
    seeds = np.linspace(0, 1, 8)
    values = np.stack([seeds, seeds - 0.5, seeds + np.array([0.01, -0.01] * 4), np.r_[np.nan, seeds[1:]]])
    assert statistics.tied_with_best(values, best=0).tolist() == [True, False, True, False]


def test_equal_configurations_are_rarely_called_worse():
    rng = np.random.default_rng(2)
    wrong = sum(not statistics.tied_with_best(rng.normal(size=(6, 8)), best=0).all() for _ in range(400))
    # Holm holds the family-wise error at 5 %: at most 20 expected, and 4 standard errors above are 38.
    assert wrong <= 38


def test_with_one_seed_nothing_can_be_told_apart():
    assert statistics.tied_with_best(np.array([[1.0], [0.0]]), best=0).tolist() == [True, True]
