"""The winner on fresh seeds: a configuration, or the schedule that population-based training found."""

import dataclasses
import os
import signal

import numpy as np
import pytest

import sweeps
from sweeps.host.progress import Display
from sweeps.results.lineage import schedule_of
from sweeps.store import chunks as store
from tests.sweeps.falling_rate import OPTIONS, first_state, init, loss, step, study, trial

PBT = {"samples": 8, "schedule": "pbt(every=5)", "confirm": 3}


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory):
    return sweeps.run(study(), out=tmp_path_factory.mktemp("run") / "run", **PBT, **OPTIONS)


def found_schedule(results):
    """The winner's rates by step."""
    (row, *_) = results.configurations()
    winner = row.members[int(np.nanargmin(row.values))]
    return [(start, values["rate"]) for start, values in schedule_of(results.lineage, winner, ["rate"])]


def mean_loss(stages, seeds=(2, 3, 4)):
    return pytest.approx(np.mean([loss(seed, stages) for seed in seeds]), rel=1e-4)


def test_the_schedule_that_was_found_is_followed_on_fresh_seeds(confirmed):
    stages, best = found_schedule(confirmed), confirmed.best()
    assert len(stages) > 1 and best.config == {"rate": stages[-1][1]}
    assert best.confirmed and best.seeds == 3 and best.mean == mean_loss(stages)
    # The last rate alone, held from the first step on, is another thing.
    assert best.mean != mean_loss([(0, stages[-1][1])])
    (other,) = [row for row in confirmed.fresh if 0 not in row.members]
    assert other.config == {"rate": 0.01} and other.interval.mean == mean_loss(
        [(0, 0.01)]
    )  # the default, held


def test_only_the_winner_of_a_population_is_confirmed(confirmed):
    assert [each.confirmed for each in confirmed.top(3)] == [True, False, False]
    constant = dataclasses.replace(confirmed.confirmation, manifest=dict(confirmed.confirmation.manifest))
    del constant.manifest["replayed"]  # as earlier versions left it
    before = dataclasses.replace(confirmed, confirmation=constant)
    assert before.best().confirmed is False and before.best().seeds < 3


def test_a_default_that_is_the_last_value_is_told_from_the_schedule(confirmed):
    last = found_schedule(confirmed)[-1][1]
    config = dataclasses.make_dataclass("Config", [("rate", float, last), ("width", int, 1)], frozen=True)
    results = sweeps.run(study(trial=trial._replace(config=config)), **PBT, **OPTIONS)
    assert results.best().config == {"rate": last} and results.best().mean == confirmed.best().mean
    assert [row.config for row in results.fresh] == [{"rate": last}] * 2
    (other,) = [row for row in results.fresh if 0 not in row.members]
    assert other.interval.mean == mean_loss([(0, last)])


def test_a_fresh_seed_that_diverges_stays_one_of_the_schedule():
    # Seed 3 diverges before the rate has become what it is at the end.
    start = first_state(3)

    def begin(config, key):
        first = init(config, key)
        return first | {"doomed": abs(first["x"] - start) < 1e-6}

    def counted(config, state, batch, key):
        after, metrics = step(config, state, batch, key)
        return state | after, metrics

    def diverged(config, state, metrics):
        return state["doomed"] & (state["count"] == 3)

    own = trial._replace(init=begin, step=counted, diverged=diverged)
    results = sweeps.run(study(trial=own), **PBT, **OPTIONS)
    row, best = results.on_fresh_seeds(results.configurations()[0]), results.best()
    assert row is not None and row.members == [0, 1, 2] and row.diverged == 1
    assert np.isnan(row.values).tolist() == [False, True, False]
    assert best.confirmed and best.seeds == 2 and best.mean == mean_loss(found_schedule(results), (2, 4))


@pytest.mark.parametrize("spans", [1, 4])
def test_a_confirmation_that_was_stopped_goes_on(confirmed, tmp_path, monkeypatch, spans):
    shown, chunk = [], Display.chunk

    def counted(*arguments):
        chunk(*arguments)
        if (tmp_path / "run" / "confirmation").exists():
            shown.append(arguments)
            if len(shown) == spans:
                os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Display, "chunk", counted)
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            sweeps.run(study(), out=tmp_path / "run", **PBT, **OPTIONS)
    results = sweeps.resume(tmp_path / "run", study(), progress=False)
    assert results.best() == confirmed.best()
    assert results.confirmation is not None
    assert results.confirmation.metrics.equals(confirmed.confirmation.metrics)


@pytest.mark.durable
def test_workers_follow_the_schedule_too(confirmed, tmp_path):
    results = sweeps.run(study(), out=tmp_path / "run", executor="processes", **PBT, **OPTIONS)
    assert found_schedule(results) == found_schedule(confirmed)
    assert results.best().mean == pytest.approx(confirmed.best().mean, rel=1e-5)
    folder = tmp_path / "run" / "confirmation"
    assert store.scheduled(folder, store.committed(folder))


def test_a_schedule_that_a_search_began_is_confirmed_too():
    pytest.importorskip("optuna")
    results = sweeps.run(study(), search=sweeps.tpe(points_per_batch=4), **PBT, **OPTIONS)
    assert results.best().mean == mean_loss(found_schedule(results))
