import math

import numpy as np
import pytest
from scipy import stats

from sweeps.errors import StudyError
from sweeps.statistics import comparisons

# Nine accuracies with an outlier, two of them equal.
SCORES = np.array([0.91, 0.93, 0.92, 0.95, 0.91, 0.90, 0.94, 0.35, 0.96])


def paired_p_value(first, second):
    return float(comparisons.paired_p_values(first, second[None])[0])


def test_mean_and_standard_error_against_scipy_and_by_hand():
    assert comparisons.mean(SCORES) == pytest.approx(7.77 / 9, rel=1e-15)
    # The same formula in another order of operations: a few roundings of float64.
    assert comparisons.standard_error(SCORES) == pytest.approx(stats.sem(SCORES), rel=1e-14)
    # Squared deviations 4 + 1 + 9 = 14, over n - 1 = 2 and n = 3.
    assert comparisons.standard_error(np.array([0.0, 1.0, 5.0])) == pytest.approx(
        math.sqrt(14 / 6), rel=1e-15
    )
    assert math.isnan(comparisons.mean(np.array([]))) and math.isnan(comparisons.standard_error(SCORES[:1]))


def test_means_of_float32_are_taken_in_float64():
    # In float32 the small ones would be lost beside 2**24.
    values = np.array([2**24, 1, 1, 2], np.float32)
    assert comparisons.mean(values) == (2**24 + 4) / 4
    assert comparisons.paired_differences(
        np.array([1.0], np.float32), np.array([2**-30], np.float32), *np.zeros((2, 1), np.uint32)
    ).tolist() == [1 - 2**-30]


def test_interquartile_mean_against_scipy_and_by_hand():
    for count in range(1, 10):
        # The same middle values, added in another order.
        expected = stats.trim_mean(SCORES[:count], 0.25)
        assert comparisons.interquartile_mean(SCORES[:count]) == pytest.approx(expected, rel=1e-14)
    assert comparisons.interquartile_mean(np.array([100.0, 3.0, 2.0, 1.0, 5.0, -9.0, 4.0, 2.0])) == 2.75
    both = np.stack([np.arange(8.0), np.arange(8.0) * 2], axis=1)
    assert comparisons.interquartile_mean(both, axis=0).tolist() == [3.5, 7.0]


@pytest.mark.parametrize("method", ["percentile", "BCa"])
@pytest.mark.parametrize("statistic", [np.mean, comparisons.interquartile_mean])
def test_bootstrap_interval_against_scipy(method, statistic):
    # SciPy draws the same resamples from the same generator, so that only rounding is between the two.
    expected = stats.bootstrap(
        (SCORES,), statistic, method=method, n_resamples=999, vectorized=True, rng=np.random.default_rng(3)
    ).confidence_interval
    found = comparisons.bootstrap_interval(SCORES, statistic, method=method.lower(), resamples=999, seed=3)
    assert found[1:] == pytest.approx(tuple(expected), rel=1e-12)
    assert found.mean == statistic(SCORES)


def test_bootstrap_interval_depends_on_its_seed_only():
    values = np.random.default_rng(7).normal(size=16)
    one, same, other = (comparisons.bootstrap_interval(values, seed=seed) for seed in (0, 0, 1))
    assert one == same and one[1:] != other[1:]
    # The 2.5 % quantile of 10,000 draws has a standard error of 0.027 of their standard deviation, here 0.25;
    # the difference of two such quantiles is within 4 of its own.
    assert one[1:] == pytest.approx(other[1:], abs=4 * math.sqrt(2) * 0.027 * 0.25)


def test_bca_moves_the_interval_towards_the_long_tail():
    skewed = np.random.default_rng(4).exponential(size=40)
    plain, corrected = (comparisons.bootstrap_interval(skewed, method=name) for name in ("percentile", "bca"))
    assert corrected.low > plain.low and corrected.high > plain.high


def test_bootstrap_intervals_cover_what_they_say():
    rng = np.random.default_rng(5)
    for method in ("percentile", "bca"):
        hits = 0
        for _ in range(400):
            interval = comparisons.bootstrap_interval(rng.normal(size=40), method=method, resamples=400)
            hits += interval.low <= 0 <= interval.high
        # 95 % of 400 are 380, and resampling 40 values lacks 1 to 2 % of them; 4 standard errors are 17.
        assert 372 - 17 <= hits <= 380 + 17


def test_bootstrap_interval_where_values_do_not_vary():
    for method in ("percentile", "bca"):
        assert comparisons.bootstrap_interval(np.full(5, 0.5), method=method) == (0.5, 0.5, 0.5)
    # Leaving one value out never moves the mean of the middle half, but drawing anew does.
    values = np.array([0.0, *[1.0] * 6, 2.0])
    low, high = comparisons.bootstrap_interval(values, comparisons.interquartile_mean, method="bca")[1:]
    assert 0 < low <= 1 <= high < 2


def test_bootstrap_interval_of_too_few_or_unfinished_values():
    for values in (SCORES[:1], np.array([]), np.array([1.0, np.nan]), np.array([1.0, np.inf])):
        low, high = comparisons.bootstrap_interval(values, method="bca")[1:]
        assert math.isnan(low) and math.isnan(high)


def test_intervals_refuse_what_they_cannot_mean():
    with pytest.raises(StudyError, match='Unknown method "bcs". Did you mean "bca"'):
        comparisons.bootstrap_interval(SCORES, method="bcs")
    with pytest.raises(StudyError, match="1 <= resamples` must hold, but got resamples=0"):
        comparisons.bootstrap_interval(SCORES, resamples=0)
    for interval in (comparisons.bootstrap_interval, comparisons.student_interval):
        with pytest.raises(StudyError, match="0 < confidence < 1` must hold, but got confidence=95.0"):
            interval(SCORES, confidence=95.0)


def test_paired_differences_over_common_seeds_against_scipy():
    first = np.array([0.9, 0.8, np.nan, 0.7, 0.95, 0.85])
    second = np.array([0.1, 0.6, 0.75, 0.5, 0.8, np.inf])
    first_seeds, second_seeds = (
        np.array([5, 1, 2, 3, 4, 6], np.uint32),
        np.array([9, 3, 1, 2, 4, 6], np.uint32),
    )
    found = comparisons.paired_differences(first, second, first_seeds, second_seeds)
    # Seeds 1, 3 and 4: 5 and 9 are not in both, and at 2 and at 6 one has diverged.
    assert found.tolist() == [0.8 - 0.75, 0.7 - 0.6, 0.95 - 0.8]
    expected = stats.ttest_rel([0.8, 0.7, 0.95], [0.75, 0.6, 0.8]).confidence_interval()
    # The same formula in another order of operations.
    assert comparisons.student_interval(found)[1:] == pytest.approx(tuple(expected), rel=1e-12)
    assert comparisons.paired_differences(first, second, first_seeds, second_seeds + 9).tolist() == []


def test_probability_of_improvement_against_scipy():
    rng = np.random.default_rng(6)
    first, second = rng.integers(0, 6, 9) / 8, rng.integers(0, 6, 7) / 8
    assert set(first) & set(second)  # ties are among them
    expected = stats.mannwhitneyu(first, second).statistic / (9 * 7)
    assert comparisons.probability_of_improvement(first, second) == pytest.approx(expected, rel=1e-15)
    assert comparisons.probability_of_improvement(first, second, mode="min") == pytest.approx(1 - expected)


def test_probability_of_improvement_by_hand():
    first, second = np.array([1.0, 3.0, 3.0]), np.array([2.0, 2.0, 3.0])
    # Of nine pairs four are won (3 against 2), and two tied (3 against 3); seed by seed: lost, won, tied.
    assert comparisons.probability_of_improvement(first, second) == 5 / 9
    assert comparisons.probability_of_improvement(first, second, paired=True) == 0.5
    assert comparisons.probability_of_improvement(first, second, paired=True, mode="min") == 0.5
    assert comparisons.probability_of_improvement(first, first) == 0.5
    assert math.isnan(comparisons.probability_of_improvement(first, np.array([])))


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_diverged_run_improves_on_nothing(mode):
    first, second = np.array([np.nan, 1.0]), np.array([0.5, np.inf if mode == "max" else -np.inf])
    # Seed by seed, it loses to 0.5 and wins over the other diverged run.
    assert comparisons.probability_of_improvement(first, second, paired=True, mode=mode) == 0.5
    assert comparisons.probability_of_improvement(first[:1], second[1:], mode=mode) == 0.5
    assert comparisons.probability_of_improvement(first[:1], second[:1], mode=mode) == 0.0


def test_probability_of_improvement_refuses_what_it_cannot_pair():
    with pytest.raises(StudyError, match="as many values at the same seeds` must hold if paired.*9 and 8"):
        comparisons.probability_of_improvement(SCORES, SCORES[1:], paired=True)
    with pytest.raises(StudyError, match='Unknown mode "mx". Did you mean "max"'):
        comparisons.probability_of_improvement(SCORES, SCORES, mode="mx")


def test_student_interval_against_scipy():
    values = np.random.default_rng(0).normal(size=9)
    expected = stats.t.interval(0.95, 8, loc=values.mean(), scale=stats.sem(values))
    # The same formula in another order of operations: a few roundings of float64.
    assert comparisons.student_interval(values)[1:] == pytest.approx(expected, rel=1e-13)


def test_student_interval_of_known_values():
    # t(0.975, 2) = 4.302652..., s = 1, so the reach is 4.302652 / sqrt(3).
    assert comparisons.student_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (2, 2 - 2.484138, 2 + 2.484138)
    )


def test_one_value_has_no_interval():
    mean, low, high = comparisons.student_interval(np.array([0.5]))
    assert mean == 0.5 and math.isnan(low) and math.isnan(high)


def test_paired_p_value_against_scipy():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 8))
    # The same statistic in another order of operations.
    assert paired_p_value(first, second) == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=1e-12)


def test_paired_p_value_where_the_test_has_no_spread():
    assert paired_p_value(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 1.0
    assert paired_p_value(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == 0.0
    assert paired_p_value(np.array([1.0]), np.array([0.0])) == 1.0


def test_holm_on_a_worked_example():
    # Of 4 tests, 0.005 <= 0.05/4 and 0.011 <= 0.05/3 are rejected; 0.03 > 0.05/2 is not, so nor is 0.031.
    assert comparisons.holm(np.array([0.03, 0.005, 0.011, 0.031])).tolist() == [False, True, True, False]
    assert comparisons.holm(np.array([])).tolist() == []


def test_a_clearly_worse_configuration_is_told_from_the_best():
    seeds = np.linspace(0, 1, 8)
    values = np.stack([seeds, seeds - 0.5, seeds + np.array([0.01, -0.01] * 4), np.r_[np.nan, seeds[1:]]])
    assert comparisons.tied_with_best(values, best=0).tolist() == [True, False, True, False]


def test_equal_configurations_are_rarely_called_worse():
    rng = np.random.default_rng(2)
    wrong = sum(not comparisons.tied_with_best(rng.normal(size=(6, 8)), best=0).all() for _ in range(400))
    # Holm holds the family-wise error at 5 %: at most 20 expected, and 4 standard errors above are 38.
    assert wrong <= 38


def test_with_one_seed_nothing_can_be_told_apart():
    assert comparisons.tied_with_best(np.array([[1.0], [0.0]]), best=0).tolist() == [True, True]


def test_configurations_are_compared_over_the_seeds_that_both_have():
    seeds = np.linspace(0, 1, 8)
    values = np.stack([seeds, seeds - 0.5, seeds + np.array([0.01, -0.01] * 4), seeds - 0.5])
    there = np.ones((4, 8), dtype=bool)
    there[1, :5], there[2, 3], there[3, 1:] = False, False, False
    values[~there] = np.nan
    # Three common seeds tell the second apart; what was never asked of the third is no divergence; at one
    # common seed the fourth cannot be told from the best.
    assert comparisons.tied_with_best(values, best=0, there=there).tolist() == [True, False, True, True]
    assert comparisons.tied_with_best(values, best=0).tolist() == [True, False, False, False]


def test_intervals_and_tests_over_folds_are_those_of_nadeau_and_bengio():
    # Ten folds: one example is held out for nine that are trained on. s² = 1 / 9 · Σ (x - mean)².
    values, other = np.random.default_rng(3).normal(size=(2, 10)) + [[0.0], [0.8]]
    found = comparisons.student_interval(values, overlap=1 / 9)
    half = stats.t.ppf(0.975, 9) * math.sqrt((1 / 10 + 1 / 9) * np.var(values, ddof=1))
    assert found == pytest.approx((values.mean(), values.mean() - half, values.mean() + half), rel=1e-12)
    differences = values - other
    statistic = differences.mean() / math.sqrt((1 / 10 + 1 / 9) * np.var(differences, ddof=1))
    (p_value,) = comparisons.paired_p_values(values, other[None], 1 / 9)
    assert p_value == pytest.approx(2 * stats.t.sf(abs(statistic), 9), rel=1e-12)
    assert p_value > paired_p_value(values, other)


def test_what_independent_values_tell_apart_folds_may_not():
    values = np.stack([np.zeros(5), np.array([0.1, 0.5, 0.9, 1.3, 1.7]) / 10])
    assert comparisons.tied_with_best(values, best=0).tolist() == [True, False]
    assert comparisons.tied_with_best(values, best=0, overlap=1 / 4).tolist() == [True, True]


def test_the_corrected_test_rejects_equal_models_as_rarely_as_it_says():
    """Two models that are equal: nearest of the means, and the same with noise, over five folds each time."""
    rng, naive, corrected = np.random.default_rng(8), 0, 0
    for _ in range(300):
        targets = rng.normal(size=(2, 40))  # each model fits half of what there is: equal by symmetry
        fold = rng.permutation(np.arange(40) % 5)
        errors = np.stack(
            [[np.mean((own[fold == k] - own[fold != k].mean()) ** 2) for k in range(5)] for own in targets]
        )
        naive += paired_p_value(*errors) < 0.05
        corrected += comparisons.paired_p_values(errors[0], errors[1:], 1 / 4)[0] < 0.05
    assert corrected <= 300 * 0.05 + 4 * math.sqrt(300 * 0.05 * 0.95) and corrected < naive
