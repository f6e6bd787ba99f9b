"""Runs whose hyperparameters change over time, beside the same changes written into the step."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import sweeps
from tests.cases import cases
from tests.sweeps import plain

STEPS = 12
OPTIONS: dict[str, Any] = {"members_per_chunk": 4, "progress": False}
SPACE = {
    "learning_rate": ["Constant", "Linear", "Cosine", "Steps"],
    "learning_rate.value": [0.05],
    "learning_rate.start": [0.1, 0.2],
    "learning_rate.end": [0.0],
    "learning_rate.stages": [3],
    "seed": range(2),
}
SAMPLED: dict[str, Any] = {
    "learning_rate.end": [0.0],
    "seed": range(2),
    "learning_rate": "choice(Constant, Linear)",
    "learning_rate.start": "uniform(0.05, 0.2)",
    "learning_rate.value": "uniform(0.05, 0.2)",
}


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: sweeps.Schedule = sweeps.Linear(0.1, 0.0)
    alpha: float = 0.1


@dataclasses.dataclass(frozen=True)
class Falling:
    start: float = 0.1
    alpha: float = 0.1


def fall_by_hand(config, state, batch, key):
    """The step that falls linearly, as one writes it without schedules: a counter in the state."""
    inner, count = state
    rate = config.start * (1 - count / STEPS)
    after, metrics = plain.step(plain.Config(config.alpha, rate), inner, batch, key)
    return (after, count + 1), metrics


trial = plain.trial._replace(config=Config)
by_hand = plain.trial._replace(
    config=Falling,
    init=lambda config, key: (plain.init(plain.Config(), key), jnp.int32(0)),
    step=fall_by_hand,
    evaluate=lambda config, state, data: plain.evaluate(plain.Config(), state[0], data),
)


def study(**changes: Any) -> sweeps.Study:
    arguments = {"trial": trial, "steps": STEPS, "metric": "test/loss", "space": SPACE, "evaluate_every": 2}
    return sweeps.Study(**(arguments | changes))


@pytest.mark.parametrize("loop", cases(["inline", "processes"], ["inline"], "durable"))
def test_a_linear_fall_is_that_of_a_counter_in_the_state(loop, tmp_path):
    if loop == "processes":
        found = sweeps.run(study(), out=tmp_path / "run", executor="processes", **OPTIONS)
    else:
        found = sweeps.run(study(), **OPTIONS)
    assert {*found.members["status"].to_pylist()} == {"done"} and len(found.members) == 14
    twin = sweeps.run(study(trial=by_hand, space={"start": [0.1, 0.2], "seed": range(2)}), **OPTIONS)
    own = found.filter(learning_rate="Linear")
    np.testing.assert_allclose(own.final(), twin.final(), rtol=1e-5)
    assert not np.allclose(own.final(), found.filter(learning_rate="Cosine").final(), rtol=1e-3)


STOPPED: dict[str, dict[str, Any]] = {
    "alone": {},
    "halving": {"schedule": "halving(min_steps=4)"},
    "pbt": {"schedule": "pbt(every=4)"},
    "tpe": {"search": sweeps.tpe(points_per_batch=4), "schedule": "early_stopping(patience=1)"},
}


# By default at one of three moments, with a schedule and a search that learns or without.
@pytest.mark.parametrize(
    ("options", "spans"),
    [
        pytest.param(
            options,
            spans,
            id=f"{name}-{spans}",
            marks=() if (name, spans) == ("alone", 3) else pytest.mark.durable,
        )
        for name, options in STOPPED.items()
        for spans in (1, 3, 6)
    ],
)
def test_a_stop_changes_nothing(options, spans, interrupted, tmp_path):
    space = SAMPLED | {"seed": [0]} if options.get("schedule") == "pbt(every=4)" else SAMPLED
    own = study(space=space, samples=8)
    whole = sweeps.run(own, out=tmp_path / "whole", keep_best=1, **OPTIONS, **options)
    interrupted(spans, lambda: sweeps.run(own, out=tmp_path / "run", keep_best=1, **OPTIONS, **options))
    resumed = sweeps.resume(tmp_path / "run", own, progress=False)
    assert resumed.members.equals(whole.members) and resumed.metrics.equals(whole.metrics)
    assert "pbt" in str(options) or sweeps.replay(tmp_path / "run", 0, own, progress=False).same
    inputs = plain.data().train[0]
    assert (resumed.model(own)(inputs) == whole.model(own)(inputs)).all()


def failing(config, state, batch, key):
    if isinstance(config.learning_rate, float):  # never: a schedule has given way to a traced number
        raise AssertionError
    after, metrics = plain.step(config, state, batch, key)
    return after, metrics | {"train/rate": config.learning_rate}


def test_what_fails_or_diverges_is_one_members(tmp_path):
    space = SPACE | {"learning_rate.stages": [0, 3], "learning_rate.start": [0.1, 1e30]}
    with pytest.raises(sweeps.StudyError, match="1 <= stages"):
        sweeps.run(study(space=space), out=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()
    space["learning_rate.stages"] = [3]
    found = sweeps.run(study(space=space, trial=trial._replace(step=failing)), **OPTIONS)
    starts = found.members["learning_rate.start"].to_pylist()
    status = found.members["status"].to_pylist()
    assert [one == "diverged" for one in status] == [start == 1e30 for start in starts]


def test_the_value_of_every_step_can_be_reported():
    own = study(trial=trial._replace(step=failing), evaluate_every=1, space={"learning_rate": ["Linear"]})
    rates = sweeps.run(own, progress=False).metrics["train/rate"].to_pylist()
    np.testing.assert_allclose(rates, [0.1 * (1 - step / STEPS) for step in range(STEPS)], rtol=1e-5)


def test_more_seeds_leave_what_is_there(tmp_path):
    found = sweeps.run(study(), out=tmp_path / "run", **OPTIONS)
    before = found.members  # tables are read when they are first asked for
    more = sweeps.extend(tmp_path / "run", study(), space={"seed": range(4)}, progress=False)
    assert more.members.slice(0, len(before)).equals(before) and len(more.members) == 2 * len(before)
