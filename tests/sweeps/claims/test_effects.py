"""What an effect says of itself, against SciPy's formulas on the differences."""

import math

import numpy as np
import pytest

from sweeps.claims.effects import (
    FAILS,
    HOLDS,
    MORE,
    NO_MORE,
    OPEN,
    OTHER,
    SAME,
    Effect,
    effect_of,
    growth,
    in_unit,
    size_of,
)
from sweeps.statistics.intervals import Interval
from sweeps.statistics.power import equivalence_power, equivalence_seeds, power
from tests.reference import tests_of_means as plain

CASES = [(8, 0.0, 0.5, 1), (16, 0.004, 0.005, 10), (24, -1.0, 2.0, 6), (200, 0.01, 0.02, 56)]


def drawn(seeds, mean, spread, seed=0):
    return np.random.default_rng(seed).normal(mean, spread, seeds)


@pytest.mark.parametrize(("seeds", "mean", "margin", "comparisons"), CASES)
def test_the_numbers_of_an_effect_are_those_of_its_differences(seeds, mean, margin, comparisons):
    differences = drawn(seeds, mean, margin)
    effect = effect_of(differences, margin, comparisons)
    assert effect.interval[1:] == pytest.approx(plain.interval(differences, comparisons))
    assert effect.deviation == pytest.approx(np.std(differences, ddof=1))
    below, above = plain.p_below(differences, margin), plain.p_above(differences, margin)
    assert effect.equivalence.below == pytest.approx(below)
    assert effect.equivalence.p == pytest.approx(max(below, above))
    assert effect.equivalence.within == (max(below, above) < 0.05 / comparisons)
    spread = float(np.std(differences, ddof=1))
    assert effect.power == pytest.approx(plain.power(margin, spread, seeds, comparisons), abs=1e-6)
    assert plain.power(effect.smallest, spread, seeds, comparisons) == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize(("seeds", "mean", "margin", "comparisons"), CASES)
@pytest.mark.parametrize("claimed", [MORE, SAME])
def test_the_seeds_that_are_needed_have_the_power_and_one_less_has_not(
    seeds, mean, margin, comparisons, claimed
):
    effect = effect_of(drawn(seeds, mean, 2 * margin), margin, comparisons, claimed)
    needed, spread = effect.needed, effect.deviation
    assert needed is not None and needed > 2

    def enough(count):
        found = plain.power(margin, spread, count, comparisons) >= 0.9
        return found and (
            claimed == MORE or plain.equivalence_power(margin, spread, count, comparisons) >= 0.9
        )

    assert enough(needed) and not enough(needed - 1)
    moved = effect._replace(interval=Interval(*(value + margin for value in effect.interval)))
    assert moved.needed == needed  # whatever was found


@pytest.mark.parametrize(
    ("margin", "seeds", "comparisons", "difference"),
    [(1.0, 13, 1, 0.0), (0.5, 20, 1, 0.0), (0.2, 20, 4, 0.0), (0.1, 2000, 10, 0.0), (0.6, 30, 1, 0.3)],
)
def test_the_power_of_equivalence_is_the_share_of_tests_that_show_it(margin, seeds, comparisons, difference):
    found = equivalence_power(margin, 1.0, seeds, 1 - 0.05 / comparisons, difference)
    if not difference:
        expected = plain.equivalence_power(margin, 1.0, seeds, comparisons)
        assert found == pytest.approx(expected, abs=2e-4)
    rng = np.random.default_rng(0)
    means = rng.normal(difference, 1 / math.sqrt(seeds), 40_000)
    errors = np.sqrt(rng.chisquare(seeds - 1, 40_000) / (seeds - 1) / seeds)
    critical = plain.stats.t.isf(0.05 / comparisons, seeds - 1)
    share = np.mean((means + critical * errors < margin) & (means - critical * errors > -margin))
    assert abs(found - share) < 0.01


def test_what_equivalence_cannot_be_asked():
    assert (equivalence_power(0.5, 0.0, 4), equivalence_power(0.5, 0.0, 4, difference=1)) == (1, 0)
    with pytest.raises(ValueError, match="`margin` must be above 0, but got 0"):
        equivalence_seeds(0, 1.0)


@pytest.mark.parametrize(
    ("claimed", "mean", "expected"),
    [
        (MORE, 1.0, HOLDS), (MORE, 0.3, HOLDS), (MORE, 0.0, FAILS), (MORE, -1.0, FAILS),
        (NO_MORE, 1.0, FAILS), (NO_MORE, 0.0, HOLDS), (NO_MORE, -1.0, HOLDS), (NO_MORE, 0.5, OPEN),
        (SAME, 0.0, HOLDS), (SAME, 1.0, FAILS), (SAME, -1.0, FAILS), (SAME, 0.5, OPEN),
        (OTHER, 0.0, FAILS), (OTHER, 1.0, HOLDS), (OTHER, -1.0, HOLDS),
    ],
)  # fmt: skip
def test_a_verdict_is_what_tests_say_of_where_the_claim_puts_the_effect(claimed, mean, expected):
    assert Effect(Interval(mean, mean - 0.2, mean + 0.2), 0.5, 16, 1, claimed).verdict == expected
    assert Effect(Interval(mean, mean - 9, mean + 9), 0.5, 16, 1, claimed).verdict == OPEN
    assert Effect(Interval(mean, math.nan, math.nan), 0.5, 1, 1, claimed).verdict == OPEN


def test_with_the_seeds_that_are_needed_nine_of_ten_verdicts_are_told():
    """The verdicts themselves, on draws: of the margin as of nothing, and seldom the wrong ones."""
    pilot = effect_of(drawn(16, 0, 1.0), 0.5, 4)
    seeds = pilot._replace(interval=Interval(0, *np.array([-1, 1]) * _reach(1.0, 16, 4))).needed
    assert seeds is not None
    rng = np.random.default_rng(1)
    for truth, right, wrong in ((0.5, HOLDS, FAILS), (0.0, FAILS, HOLDS)):
        verdicts = [effect_of(rng.normal(truth, 1, seeds), 0.5, 4).verdict for _ in range(1000)]
        assert verdicts.count(right) > 870 and verdicts.count(wrong) < 1000 * 0.05 / 4 + 15


def _reach(deviation, seeds, comparisons):
    return float(plain.stats.t.isf(0.025 / comparisons, seeds - 1)) * deviation / math.sqrt(seeds)


def test_a_power_that_is_not_known_is_not_made_up():
    one = effect_of(np.array([1.0, math.nan]), 0.5)
    assert one.seeds == 1 and not one.bounded and one.needed is None
    assert math.isnan(one.power) and math.isnan(one.smallest)
    assert growth([one]) == 1 and size_of([one]).startswith("Too few runs")
    alike = effect_of(np.full(4, 0.25), 0.5)
    assert size_of([alike]) == "All 4 seeds agree, so that any difference would have been told."
    assert (alike.power, alike.smallest, alike.needed, alike.verdict) == (1, 0, 2, HOLDS)
    none = Effect(Interval(0.0, -1.0, 1.0), 0, 16)
    assert none.needed is None and growth([none]) == 1


def test_the_words_name_the_effect_that_takes_the_most():
    easy = effect_of(drawn(16, 0, 0.001), 0.005, label="easy", unit="points", scale=100)
    hard = effect_of(drawn(16, 0, 0.02), 0.005, label="hard", unit="points", scale=100)
    words = size_of([easy, hard])
    assert (
        words.startswith("16 seeds tell a difference of ")
        and "(hard); 0.5, the smallest that matters, takes " in words
    )
    assert growth([easy, hard]) == growth([hard]) == (hard.needed or 0) / 16
    assert power(0.005, hard.deviation, hard.needed or 2) >= 0.9
    assert size_of([easy]).endswith("; 0.5, the smallest that matters, takes 3.")
    assert in_unit(hard, 0.00001234) == "0.0012 points"
