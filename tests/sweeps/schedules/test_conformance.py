"""What every schedule must do, whatever it is."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.schedules import schedule
from sweeps.schedules.early_stopping import EarlyStopping
from sweeps.schedules.halving import Halving, Hyperband, bracket_of
from sweeps.schedules.pbt import PBT
from sweeps.schedules.schedule import Decision, Standing, budget, commits, rungs
from sweeps.space.domains import Choice, LogUniform

# Made without their constructors, whose checks may not run inside of strategies.
SCHEDULES = [
    Halving(), Halving(2), Halving(4, 5), Hyperband(), Hyperband(2, 3), PBT(), PBT(7, 0.5, (0.5, 2.0)),
    EarlyStopping(), EarlyStopping(1, 0.5), EarlyStopping(2, 0.0, "member"),
]  # fmt: skip
HALVING = [chosen for chosen in SCHEDULES if isinstance(chosen, Halving | Hyperband)]
DOMAINS = {"rate": LogUniform(1e-4, 1.0), "alpha": Choice((0.0, 0.1, 0.2))}
STEPS, SEEDS = 100, 2
EVALUATIONS = tuple(range(10, 101, 10))


def decide(chosen, standing, values, mode, configurations, root_seed=0):
    return schedule.decide(
        chosen,
        standing,
        mode=mode,
        steps=STEPS,
        configurations=configurations,
        root_seed=root_seed,
        domains=DOMAINS,
        traced=tuple(DOMAINS),
        values=values,
        evaluations=EVALUATIONS,
    )


def follow(chosen, scores, mode="max", root_seed=0):
    """Runs members whose scores per rung are known; returns the decisions and the member-steps taken.

    For a schedule that judges evaluations, not rungs, the scores are those of every evaluation.
    """
    before_first = chosen.patience if isinstance(chosen, EarlyStopping) else 0
    members = np.arange(scores.shape[1])
    configurations = len(members) // SEEDS
    rates = np.geomspace(1e-4, 1, len(members))
    found, taken, before = [], 0, 0
    for place, step in enumerate(rungs(chosen, STEPS, configurations, EVALUATIONS), before_first):
        taken += len(members) * (step - before)
        history = scores[: place + 1, members]
        standing = Standing(step, members, members // SEEDS, history[-1], history=history)
        values = {"rate": rates[members], "alpha": np.full(len(members), 0.1)}
        decision = decide(chosen, standing, values, mode, configurations, root_seed)
        found.append((standing, decision))
        for member, new in decision.values.items():
            rates[member] = new["rate"]
        members, before = np.setdiff1d(members, decision.stopped), step
    return found, taken + len(members) * (STEPS - before)


def same(one, other):
    return (
        one.stopped.tolist() == other.stopped.tolist()
        and one.sources == other.sources
        and one.values == other.values
    )


# How many configurations, the seed of their scores, and how many diverge.
scores_of = st.tuples(st.integers(4, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))


def drawn(described):
    """Scores per rung and member: some equal, some NaN; drawn here because they are many."""
    configurations, seed, share = described
    random = np.random.default_rng(seed)
    shape = (14, configurations * SEEDS)  # no schedule above has more rungs
    scores = np.where(random.random(shape) < 0.3, random.integers(0, 3, shape), random.normal(size=shape))
    return np.where(random.random(shape) < share * 0.5, np.nan, scores)


@pytest.mark.parametrize("chosen", SCHEDULES, ids=schedule.text)
@pytest.mark.parametrize("mode", ["max", "min"])
@settings(max_examples=30)
@given(described=scores_of)
def test_decisions(chosen, mode, described):
    scores = drawn(described)
    found, taken = follow(chosen, scores, mode)
    again, _ = follow(chosen, scores, mode)
    configurations = described[0]
    assert len(found) == len(rungs(chosen, STEPS, configurations, EVALUATIONS)) > 0
    for (standing, decision), (_, repeated) in zip(found, again, strict=True):
        assert same(decision, repeated)
        finite = dict(zip(standing.members.tolist(), np.isfinite(standing.scores).tolist(), strict=True))
        # What ends or learns still runs, each once, ids ascending.
        assert decision.stopped.tolist() == sorted(set(decision.stopped.tolist()))
        assert set(decision.stopped.tolist()) | set(decision.sources) <= set(finite)
        assert not set(decision.stopped.tolist()) & (set(decision.sources) | set(decision.sources.values()))
        # No diverged member is copied, and who is copied stays as it was.
        assert all(finite[source] for source in decision.sources.values())
        assert not set(decision.sources) & set(decision.sources.values())
        for new in decision.values.values():
            assert 1e-4 <= new["rate"] <= 1 and new["alpha"] in (0.0, 0.2)
        assert set(decision.values) == set(decision.sources)
    assert taken <= budget(chosen, STEPS, configurations, SEEDS)


@pytest.mark.parametrize("chosen", HALVING, ids=schedule.text)
@pytest.mark.parametrize("mode", ["max", "min"])
@settings(max_examples=30)
@given(described=scores_of)
def test_who_goes_on_is_as_good_as_who_ends(chosen, mode, described):
    scores = drawn(described)
    found, _ = follow(chosen, scores, mode)
    dealt = bracket_of(chosen, STEPS, described[0])
    sign = 1 if mode == "max" else -1
    for standing, decision in found:
        stopped = np.isin(standing.members, decision.stopped)
        for bracket in np.unique(dealt[standing.points[stopped]]):
            here = dealt[standing.points] == bracket
            keys = {}
            for point in np.unique(standing.points[here]):
                own = sign * standing.scores[standing.points == point]
                lost = int(np.isnan(own).sum())
                mean = own[~np.isnan(own)].mean() if lost < len(own) else -np.inf
                ended = stopped[standing.points == point]
                # The healthy seeds of a configuration go on or end together, and no diverged one goes on.
                assert ended[np.isnan(own)].all() and len(set(ended[~np.isnan(own)].tolist())) <= 1
                first = int(standing.members[standing.points == point][0])
                keys[(lost, -mean, first)] = not ended.all()
            order = [goes_on for _, goes_on in sorted(keys.items())]
            assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("chosen", SCHEDULES, ids=schedule.text)
@pytest.mark.parametrize("configurations", [4, 9, 27, 100])
def test_the_budget_is_exact_where_nothing_diverges(chosen, configurations):
    scores = np.random.default_rng(configurations).normal(size=(14, configurations * SEEDS))
    _, taken = follow(chosen, scores)
    most, full = (budget(each, STEPS, configurations, SEEDS) for each in (chosen, None))
    if isinstance(chosen, EarlyStopping):  # which may end none, and here ends some
        assert taken < most == full
    else:
        assert taken == most and (isinstance(chosen, PBT) or taken < full)


@pytest.mark.parametrize("chosen", SCHEDULES, ids=schedule.text)
@pytest.mark.parametrize("configurations", [4, 9, 27, 100])
def test_commits_are_those_of_every_round(chosen, configurations):
    scores = np.random.default_rng(configurations).normal(size=(14, configurations * SEEDS))
    found, taken = follow(chosen, scores)
    rounds = sum(len(standing.members) for standing, _ in found)
    rounds += len(found[-1][0].members) - len(found[-1][1].stopped)
    counted = commits(chosen, STEPS, configurations, EVALUATIONS)
    if isinstance(chosen, EarlyStopping):  # which is taken to end none
        assert counted == len(found) + 1 and rounds <= counted * configurations * SEEDS
    else:
        assert counted == pytest.approx(rounds * STEPS / taken)


@pytest.mark.parametrize("chosen", SCHEDULES, ids=schedule.text)
@pytest.mark.parametrize("configurations", [4, 9, 27, 100])
def test_rungs_ascend_within_the_run(chosen, configurations):
    found = rungs(chosen, STEPS, configurations, EVALUATIONS)
    assert list(found) == sorted(set(found)) and 0 < found[0] and found[-1] < STEPS


@pytest.mark.parametrize("chosen", SCHEDULES, ids=schedule.text)
def test_where_all_diverged_all_end_at_their_rungs(chosen):
    found, taken = follow(chosen, np.full((14, 54), np.nan))
    assert found[0][1].sources == {} and found[0][1].values == {}
    ended = np.concatenate([decision.stopped for _, decision in found])
    # Bracket 0 of Hyperband has no rung, and bracket sizes of one decide nothing.
    assert len(ended) == 54 or isinstance(chosen, Hyperband)
    assert len(found[0][1].stopped) > 0 and taken < budget(None, STEPS, 27, SEEDS)


@pytest.mark.parametrize("chosen", SCHEDULES, ids=schedule.text)
def test_who_is_healthy_does_not_end_for_want_of_a_score(chosen):
    scores = np.cumsum(np.ones((14, 54)), axis=0)  # always better than before
    for place, (there, _) in enumerate(follow(chosen, scores)[0]):
        history = np.concatenate([there.history[:-1], np.full_like(there.history[-1:], np.nan)])
        lost = np.zeros(len(there.members), bool)
        lost[0] = True
        undefined = there._replace(scores=history[-1], history=history, lost=lost)
        rates = np.full(len(lost), 0.1)
        decision = decide(chosen, undefined, {"rate": rates, "alpha": rates}, "max", 27)
        ended = decision.stopped.tolist()
        assert ended in ([], [there.members[0]]) if isinstance(chosen, Hyperband) else [there.members[0]], (
            place
        )


@pytest.mark.parametrize("chosen", HALVING, ids=schedule.text)
def test_ties_break_by_id(chosen):
    found, _ = follow(chosen, np.zeros((14, 54)))
    dealt = bracket_of(chosen, STEPS, 27)
    for standing, decision in found:
        for bracket in np.unique(dealt[decision.stopped // SEEDS]):
            own = standing.members[dealt[standing.points] == bracket]
            stopped = own[np.isin(own, decision.stopped)]
            assert stopped.tolist() == own[-len(stopped) :].tolist()


def test_ties_break_by_id_in_pbt():
    (standing, decision), *_ = follow(PBT(), np.zeros((14, 54)))[0]
    count = math.floor(54 / 4)
    assert list(decision.sources) == standing.members[-count:].tolist()
    assert max(decision.sources.values()) < count


@pytest.mark.parametrize("chosen", SCHEDULES, ids=schedule.text)
def test_a_step_that_is_no_rung_decides_nothing(chosen):
    members = np.arange(8)
    standing = Standing(STEPS - 1, members, members, np.full(8, np.nan))
    decision = decide(chosen, standing, {name: np.full(8, 0.1) for name in DOMAINS}, "max", 8)
    assert same(decision, Decision(members[:0], {}, {}))


@pytest.mark.parametrize("chosen", SCHEDULES, ids=schedule.text)
def test_a_decision_does_not_depend_on_what_was_decided_before(chosen):
    scores = np.random.default_rng(1).normal(size=(14, 54))
    for place, (standing, decision) in enumerate(follow(chosen, scores)[0]):
        rates = np.full(len(standing.members), 0.1)
        values = {"rate": rates, "alpha": rates}
        alone = decide(chosen, standing, values, "max", 27)
        assert alone.stopped.tolist() == decision.stopped.tolist() and alone.sources == decision.sources, (
            place
        )
