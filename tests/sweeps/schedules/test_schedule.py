import numpy as np
import pytest

from sweeps.errors import StudyError
from sweeps.schedules import pbt as evolution
from sweeps.schedules import schedule
from sweeps.schedules.halving import Bracket, bracket_of, brackets
from sweeps.schedules.schedule import Standing, budget, early_stopping, halving, hyperband, pbt, rungs
from sweeps.space.domains import choice, grid, linspace, log_uniform, normal, uniform
from sweeps.space.whole import int_log_uniform, int_uniform

NAN = np.nan


def standing(scores, points=None, members=None, step=3, groups=None):
    members = np.arange(len(scores)) if members is None else np.asarray(members)
    points = members if points is None else np.asarray(points)
    return Standing(step, members, points, np.asarray(scores, float), groups)


def decide(chosen, there, *, mode="max", steps=81, configurations=27, root_seed=0, evaluations=(), **traced):
    domains = {name: domain for name, (domain, _) in traced.items()}
    values = {name: np.asarray(own) for name, (_, own) in traced.items()}
    return schedule.decide(
        chosen,
        there,
        mode=mode,
        steps=steps,
        configurations=configurations,
        root_seed=root_seed,
        domains=domains,
        traced=tuple(domains),
        values=values,
        evaluations=evaluations,
    )


# By hand: k halvings, as many as the steps and the configurations allow, at most four.
@pytest.mark.parametrize(
    "chosen, steps, configurations, sizes, at",
    [
        (halving(), 81, 27, (27, 9, 3, 1), (3, 9, 27)),
        (halving(), 81, 243, (243, 81, 27, 9, 3), (1, 3, 9, 27)),
        (halving(), 500, 243, (243, 81, 27, 9, 3), (6, 18, 54, 162)),
        (halving(), 100, 10, (10, 4, 2), (11, 33)),
        (halving(min_steps=10), 100, 10, (10, 4, 2), (10, 30)),
        (halving(eta=2), 8, 5, (5, 3, 2), (2, 4)),
        (halving(eta=4), 100, 5, (5, 2), (25,)),
        (halving(min_steps=1), 1000, 3, (3, 1), (1,)),  # one is left: nothing more to decide
    ],
)
def test_the_rungs_of_halving(chosen, steps, configurations, sizes, at):
    assert brackets(chosen, steps, configurations) == (Bracket(sizes, at),)
    assert rungs(chosen, steps, configurations) == at


# Li et al. (2018), Table 1: R = 81, η = 3; n and r of every rung, the last of which is the end of the run.
TABLE_1 = {
    4: ((81, 27, 9, 3, 1), (1, 3, 9, 27, 81)),
    3: ((34, 11, 3, 1), (3, 9, 27, 81)),
    2: ((15, 5, 1), (9, 27, 81)),
    1: ((8, 2), (27, 81)),
    0: ((5,), (81,)),
}


def test_hyperband_is_the_papers_table():
    found = brackets(hyperband(), 81, 81 + 34 + 15 + 8 + 5)
    assert [(bracket.sizes, (*bracket.rungs, 81)) for bracket in found] == list(TABLE_1.values())
    assert rungs(hyperband(), 81, 143) == (1, 3, 9, 27)


def test_configurations_are_dealt_in_the_papers_proportions():
    # 50 x (81, 34, 15, 8, 5) / 143 = 28.3, 11.9, 5.2, 2.8, 1.7: the three largest remainders are rounded up.
    sizes = [bracket.sizes[0] for bracket in brackets(hyperband(min_steps=1), 81, 50)]
    assert sizes == [28, 12, 5, 3, 2]
    assert np.bincount(bracket_of(hyperband(min_steps=1), 81, 50)).tolist() == sizes


def test_every_stretch_of_configurations_is_spread_over_the_brackets():
    dealt = bracket_of(hyperband(), 81, 143 * 4)
    shares = np.asarray([81, 34, 15, 8, 5]) / 143
    # One value of the first axis of a grid is a stretch of numbers; one of the last comes back periodically.
    stretches = [dealt[start : start + 143] for start in (0, 100, 429)]
    for own in [*stretches, *(dealt[part::period] for period in (2, 3, 8, 10) for part in range(period))]:
        # A rotation by the golden ratio is within a few of any share; by chance it would be ± 10 here.
        assert np.abs(np.bincount(own, minlength=5) - shares * len(own)).max() < 6


# 27 x 3 + 9 x 6 + 3 x 18 + 1 x 54; and the rows of Table 1: 297 + 276 + 279 + 324 + 405.
@pytest.mark.parametrize(
    "chosen, configurations, total",
    [(halving(), 27, 243), (hyperband(), 143, 1581), (pbt(), 10, 810), (None, 10, 810)],
)
def test_the_budget_by_hand(chosen, configurations, total):
    assert budget(chosen, 81, configurations, 1) == total
    assert budget(chosen, 81, configurations, 5) == 5 * total


def test_halving_keeps_the_best_third():
    there = standing([0.1, 0.9, 0.5, 0.8, 0.2, 0.3, 0.7])
    assert decide(halving(), there).stopped.tolist() == [0, 2, 4, 5]  # ceil(7 / 3) = 3 go on
    assert decide(halving(), there, mode="min").stopped.tolist() == [1, 2, 3, 6]
    assert decide(halving(), there._replace(step=4)).stopped.tolist() == []  # no rung


def test_halving_ranks_means_over_seeds_not_lucky_seeds():
    # Means 0.5, 0.6, 0.4: the best seed of all belongs to the worst configuration.
    there = standing([0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.99, 0.11, 0.1], points=[0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert decide(halving(), there).stopped.tolist() == [0, 1, 2, 6, 7, 8]


def test_a_configuration_with_a_diverged_member_ranks_below_all_others():
    there = standing([0.9, NAN, 0.1, 0.1, 0.8, 0.8], points=[0, 0, 1, 1, 2, 2])
    assert decide(halving(), there).stopped.tolist() == [0, 1, 2, 3]
    assert decide(halving(eta=2), there, steps=8, configurations=3, mode="max").stopped.tolist() == []
    at_rung = there._replace(step=4)
    assert rungs(halving(eta=2), 8, 3) == (4,)
    assert decide(halving(eta=2), at_rung, steps=8, configurations=3).stopped.tolist() == [0, 1]


def test_a_diverged_member_ends_even_where_its_configuration_goes_on():
    there = standing([0.9, NAN, NAN, NAN, NAN, NAN], points=[0, 0, 1, 1, 2, 2])
    assert decide(halving(), there).stopped.tolist() == [1, 2, 3, 4, 5]


def test_hyperband_halves_each_bracket_at_its_own_rungs():
    dealt = bracket_of(hyperband(), 81, 143)
    scores = np.arange(143.0)
    first = decide(hyperband(), standing(scores, step=1), configurations=143)
    assert (dealt[first.stopped] == 0).all() and len(first.stopped) == 81 - 27
    left = np.setdiff1d(np.arange(143), first.stopped)
    second = decide(
        hyperband(), standing(scores[left], points=left, members=left, step=3), configurations=143
    )
    stopped = np.bincount(dealt[second.stopped], minlength=5)
    assert stopped.tolist() == [27 - 9, 34 - 11, 0, 0, 0]
    best = left[dealt[left] == 1][-11:]
    assert not np.isin(best, second.stopped).any()


# Eight members, a quarter: 3 and 5 are the worst, and learn from 1 and 6, the best.
SCORES = [0.5, 0.9, 0.4, 0.1, 0.6, 0.2, 0.8, 0.3]
RATES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


def exploit(scores=SCORES, chosen=None, **more):
    return decide(
        chosen or pbt(every=3), standing(scores, **more), alpha=(uniform(0, 100), np.asarray(RATES))
    )


def test_the_worst_learn_from_the_best():
    found = exploit()
    assert list(found.sources) == [3, 5] and set(found.sources.values()) <= {1, 6}
    assert found.stopped.tolist() == []
    for member, source in found.sources.items():
        assert found.values[member]["alpha"] in (RATES[source] * 0.8, RATES[source] * 1.25)


def test_both_sources_and_both_factors_come_up():
    seen = set()
    for root_seed in range(40):
        found = decide(
            pbt(every=3), standing(SCORES), root_seed=root_seed, alpha=(uniform(0, 100), np.asarray(RATES))
        )
        seen |= {
            (member, source, found.values[member]["alpha"] > RATES[source])
            for member, source in found.sources.items()
        }
    assert len(seen) == 2 * 2 * 2


def test_draws_differ_from_step_to_step():
    many = [exploit(step=step).values for step in range(3, 60, 3)]
    assert len({str(values) for values in many}) > 1


def test_every_diverged_member_is_replaced_and_none_is_learned_from():
    found = exploit([NAN, 0.9, NAN, NAN, 0.6, NAN, 0.8, NAN])
    assert list(found.sources) == [0, 2, 3, 5, 7] and set(found.sources.values()) <= {1, 6}
    alone = exploit([NAN, NAN, NAN, NAN, 0.6, NAN, NAN, NAN])
    assert set(alone.sources.values()) == {4} and len(alone.sources) == 7


def test_where_all_diverged_all_end():
    found = exploit([NAN] * 8)
    assert found.stopped.tolist() == list(range(8)) and not found.sources and not found.values


def test_members_learn_only_within_their_static_group():
    groups = np.asarray([0, 0, 0, 0, 1, 1, 1, 1])
    found = exploit(groups=groups)
    assert found.sources == {3: 1, 5: 6}
    lonely = exploit([0.5, 0.9, 0.4, 0.1, 0.6, 0.2, 0.8, NAN], groups=np.asarray([0, 0, 0, 0, 0, 0, 0, 1]))
    assert 7 not in lonely.sources and lonely.stopped.tolist() == [7]
    alone = exploit([0.5, 0.9, 0.4, 0.1, 0.6, 0.2, 0.8, 0.0], groups=np.asarray([0, 0, 0, 0, 0, 0, 0, 1]))
    assert 7 not in alone.sources and alone.stopped.tolist() == []


def test_a_fraction_is_not_lost_to_rounding():
    scores = np.arange(100.0)  # 0.29 x 100 is 28.999999999999996 in floating point
    found = decide(pbt(every=3, fraction=0.29), standing(scores), alpha=(uniform(0, 1), scores / 100))
    assert list(found.sources) == list(range(29))
    assert min(found.sources.values()) >= 71


def test_members_are_called_by_their_ids():
    there = Standing(
        3, np.asarray([4, 9, 20, 31]), np.asarray([0, 0, 1, 1]), np.asarray([0.1, 0.2, 0.3, 0.4])
    )
    found = decide(pbt(every=3), there, alpha=(uniform(0, 100), np.asarray([1.0, 2.0, 3.0, 4.0])))
    assert found.sources == {4: 31} and found.values[4]["alpha"] in (4 * 0.8, 5.0)


def test_a_value_that_is_not_set_is_not_changed():
    for unset in (np.asarray([None] * 8, object), np.full(8, NAN)):
        found = decide(
            pbt(every=3),
            standing(SCORES),
            alpha=(uniform(0, 100), np.asarray(RATES)),
            decay=(choice(None, 0.1), unset),
        )
        assert all(list(values) == ["alpha"] for values in found.values.values())


@pytest.mark.parametrize(
    "domain, value, lower, higher",
    [
        (uniform(0.1, 1), 0.5, 0.4, 0.625),
        (uniform(0.1, 1), 0.11, 0.1, 0.1375),
        (log_uniform(1e-4, 1), 0.9, 0.72, 1.0),
        (uniform(-2, 1), -1.8, -1.44, -2.0),
        (int_uniform(1, 64), 40.0, 32.0, 50.0),
        (int_uniform(1, 64), 2.0, 1.0, 3.0),  # though 2 * 1.25 is rounded to 2
        (int_log_uniform(1, 64), 64.0, 51.0, 64.0),
        (normal(0, 1), 40.0, 32.0, 50.0),
        (grid(4, 1, 2), 2.0, 1.0, 4.0),
        (grid(4, 1, 2), 4.0, 2.0, 4.0),
        (choice(None, 1.0, 3.0), 1.0, 1.0, 3.0),
        (linspace(0, 1, 5), np.float32(0.25).item() + 1e-7, 0.0, 0.5),
        (range(8, 33, 8), 16.0, 8.0, 24.0),
    ],
)
def test_values_stay_within_their_domain(domain, value, lower, higher):
    assert evolution.perturbed(domain, value, 0.8) == pytest.approx(lower, rel=1e-15)
    assert evolution.perturbed(domain, value, 1.25) == pytest.approx(higher, rel=1e-15)


@pytest.mark.parametrize(
    "chosen, said",
    [
        (halving(), "halving"),
        (halving(eta=4, min_steps=10), "halving(eta=4, min_steps=10)"),
        (hyperband(min_steps=7), "hyperband(min_steps=7)"),
        (pbt(), "pbt"),
        (pbt(every=5, fraction=0.5, factors=(2, 0.5)), "pbt(every=5, fraction=0.5, factors=(0.5, 2.0))"),
        (early_stopping(), "early_stopping"),
        (early_stopping(5, 1, "member"), "early_stopping(patience=5, min_delta=1.0, per='member')"),
    ],
)
def test_the_text_reads_back(chosen, said):
    assert schedule.text(chosen) == said
    assert schedule.parse(said) == chosen
    assert schedule.parse(f" {said.replace(', ', ' ,')} ") == chosen


def test_none_may_be_said():
    assert schedule.parse("halving(min_steps=none)") == schedule.parse("halving(min_steps=None)") == halving()
    assert schedule.parse("hyperband()") == hyperband()


@pytest.mark.parametrize(
    "source, message",
    [
        ("halvin", r'^Unknown schedule "halvin"\. Did you mean "halving"\?$'),
        ("halving(etta=3)", r'^halving has no setting "etta"\. Did you mean "eta"\?$'),
        ("halving(4)", r'takes values by their names: halving\(eta=…\)\. You wrote "halving\(4\)"\.'),
        ("halving(**x)", r'halving has no setting "\*\*"'),
        ("pbt(every=open('x'))", r"pbt takes numbers and words, but \"open\('x'\)\" is neither"),
        ("halving(eta=1)", "`2 <= eta` must hold in halving and be a whole number, but got eta=1"),
        ("halving(eta=2.5)", "but got eta=2.5"),
        ("halving(eta=true)", 'halving takes numbers and words, but "true" is neither'),
        ("hyperband(min_steps=0)", "`1 <= min_steps` must hold in hyperband and .*, but got min_steps=0"),
        ("pbt(every=0)", "`1 <= every` must hold in pbt and be a whole number, but got every=0"),
        ("pbt(fraction=0.6)", "`0 < fraction <= 0.5` must hold in pbt, but got fraction=0.6"),
        ("pbt(fraction='x')", "`0 < fraction <= 0.5` must hold in pbt, but got fraction='x'"),
        ("pbt(factors=(1.1, 1.2))", r"`factors are one in \(0, 1\) and one above 1` must hold in pbt"),
        ("pbt(factors=2)", "but got factors=2"),
        ("early_stopping(patience=0)", "`1 <= patience` must hold in early_stopping .* patience=0"),
        ("early_stopping(patience=True)", "but got patience=True"),
        ("early_stopping(min_delta=-0.1)", "`0 <= min_delta` must hold in early_stopping .* min_delta=-0.1"),
        ("early_stopping(min_delta=1e999)", "but got min_delta=inf"),
        ("early_stopping(per='members')", 'early_stopping has no per "members". Did you mean "member"'),
        ("early_stopping(patients=3)", 'no setting "patients". Did you mean "patience"'),
        ("halving(", r'^Missing "\)" in "halving\("\.$'),
        ("", r'^Cannot read ""\. Write a name, or a name with settings, such as halving\(eta=3\)\.$'),
        ("a.b(3)", r'Cannot read "a.b\(3\)"'),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(source, message):
    with pytest.raises(StudyError, match=message):
        schedule.parse(source)


@pytest.mark.parametrize(
    "chosen, steps, configurations, message",
    [
        (halving(min_steps=200), 100, 9, "`min_steps <= steps` must .* got min_steps=200, steps=100"),
        (hyperband(min_steps=101), 100, 9, "`min_steps <= steps` must hold in hyperband"),
        (halving(min_steps=50), 100, 9, r"`min_steps \* eta <= steps` must .* min_steps=33 would do"),
        (halving(), 2, 9, r"`min_steps \* eta <= steps` must hold .*; train for 3 steps or more"),
        (halving(), 100, 2, "`eta <= configurations` .* got eta=3, configurations=2; eta=2 would"),
        (hyperband(eta=4), 100, 1, "`eta <= configurations` .* got eta=4, configurations=1$"),
        (pbt(every=100), 100, 9, "`every < steps` must hold in pbt, but got every=100, steps=100"),
        (pbt(), 1, 9, "`every < steps` must hold in pbt, but got every=1, steps=1"),
        (schedule.Halving(1), 100, 9, "`2 <= eta` must hold in halving"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_follow_its_schedule_is_refused(chosen, steps, configurations, message):
    with pytest.raises(StudyError, match=message):
        schedule.check(
            chosen, steps=steps, configurations=configurations, swept=("alpha", "width"), traced=("alpha",)
        )


@pytest.mark.parametrize(
    "swept, got", [(("width", "rule"), "static fields only: width, rule"), ((), "no swept field")]
)
def test_pbt_over_static_fields_is_refused(swept, got):
    with pytest.raises(StudyError, match=f"`a swept field is traced` must hold in pbt, .* but got {got}"):
        schedule.check(pbt(), steps=100, configurations=9, swept=swept, traced=())


def test_what_can_be_followed_is_not_refused():
    for chosen in (halving(), hyperband(), pbt(), halving(min_steps=33), halving(eta=2, min_steps=50)):
        schedule.check(chosen, steps=100, configurations=9, swept=("alpha",), traced=("alpha",))
        assert rungs(chosen, 100, 9)


def stalled(chosen, curves, mode="max", **more):
    """Who ends after the last of some evaluations, a row each."""
    history = np.asarray(curves, float)
    there = standing(history[-1], step=10 * len(history), **more)._replace(history=history)
    evaluations = tuple(range(10, 101, 10))
    return decide(chosen, there, mode=mode, steps=100, evaluations=evaluations).stopped.tolist()


def test_early_stopping_ends_what_has_not_improved_for_so_many_evaluations():
    #          equal  early  late   slow
    curves = [[0.50, 0.90, 0.10, 0.50], [0.50, 0.80, 0.20, 0.51], [0.50, 0.85, 0.10, 0.52]]
    assert stalled(early_stopping(patience=2), curves) == [0, 1]
    assert stalled(early_stopping(patience=2, min_delta=0.05), curves) == [0, 1, 3]
    assert stalled(early_stopping(patience=2), curves, mode="min") == [0, 2, 3]
    assert stalled(early_stopping(patience=1), curves) == [0, 1, 2]
    assert stalled(early_stopping(patience=3), curves) == []  # no evaluation has had three before it


def test_small_improvements_add_up_to_one():
    """The best so far is what counted as an improvement, so that a slow climb is not taken for a stall."""
    climb = [[0.5], [0.53], [0.56], [0.59]]  # by 0.06 above 0.5 at the third, then 0.03 above that
    assert stalled(early_stopping(patience=2, min_delta=0.05), climb) == []
    assert stalled(early_stopping(patience=1, min_delta=0.05), climb) == [0]


def test_early_stopping_judges_means_over_seeds_or_each_member():
    curves = [[0.5, 0.5, 0.9], [0.4, 0.7, 0.8], [0.3, 0.9, 0.7]]  # the first two are one configuration
    points = [0, 0, 1]
    assert stalled(early_stopping(patience=2), curves, points=points) == [2]
    assert stalled(early_stopping(patience=2, per="member"), curves, points=points) == [0, 2]


def test_early_stopping_leaves_diverged_seeds_out_of_the_mean():
    curves = [[0.9, 0.1], [0.9, 0.2], [NAN, 0.3]]
    assert stalled(early_stopping(patience=2), curves, points=[0, 0]) == [0]
    assert stalled(early_stopping(patience=2), [[NAN], [NAN], [0.1]]) == []


def test_early_stopping_that_could_stop_nothing_is_refused():
    def check(patience, evaluations):
        chosen = early_stopping(patience=patience)
        schedule.check(chosen, steps=40, configurations=1, swept=(), traced=(), evaluations=evaluations)

    check(2, (10, 20, 30, 40))
    with pytest.raises(StudyError, match="patience=3, evaluations=4; patience=2 would do, or evaluate more"):
        check(3, (10, 20, 30, 40))
    with pytest.raises(StudyError, match="patience=1, evaluations=2; evaluate more often"):
        check(1, (20, 40))
