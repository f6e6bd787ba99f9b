"""Schedules in runs where scores are undefined for a while, members diverge, or values are not allowed.

The trials are so plain that what must come out is known: a counter, and a score computed from it.
"""

import dataclasses
import json
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import pytest

import sweeps
from sweeps.errors import StudyError

OPTIONS: dict[str, Any] = {"progress": False}


@dataclasses.dataclass(frozen=True)
class Config:
    x: float = 0.5
    width: int = 8


def init(config, key):
    return {"sum": jnp.float32(0), "steps": jnp.int32(0), "luck": jax.random.uniform(key)}


def step(config, state, batch, key):
    return {**state, "sum": state["sum"] + config.x, "steps": state["steps"] + 1}, {}


def studied(evaluate, space, step=step, config: Any = Config, **options):
    trial = sweeps.Trial(config, None, init, step, evaluate)
    return sweeps.Study(trial, metric="score", space=space, **options)


def undefined_at_10(config, state, data):
    return {"score": jnp.where(state["steps"] == 10, jnp.nan, state["sum"])}


@pytest.mark.parametrize(
    "schedule", ["early_stopping(patience=4)", "pbt(every=5)", "halving(eta=2, min_steps=10)"]
)
def test_a_score_that_is_undefined_once_ends_nobody(schedule):
    levels = [0.1, 0.2, 0.3, 0.4]
    study = studied(undefined_at_10, {"x": levels}, steps=20, mode="max", evaluate_every=2)
    results = sweeps.run(study, schedule=schedule, **OPTIONS)
    assert results.members["status"].to_pylist() == ["done"] * 4
    best = results.best()
    assert best.config == {"x": 0.4} and best.mean == pytest.approx(20 * 0.4, rel=1e-5)


def test_a_confirmed_schedule_goes_on_past_an_undefined_score(tmp_path):
    def evaluate(config, state, data):
        unlucky = (state["steps"] == 5) & (state["luck"] > 0.5)
        return {"score": jnp.where(unlucky, jnp.nan, (state["sum"] - 3) ** 2)}

    space = {"x": sweeps.uniform(0.1, 0.9), "seed": range(4)}
    study = studied(evaluate, space, steps=20, mode="min", samples=4)
    results = sweeps.run(study, schedule="pbt(every=5)", confirm=4, out=tmp_path / "run", **OPTIONS)
    fresh = results.confirmation
    assert fresh is not None
    rows = fresh.metrics.to_pylist()
    unlucky = {row["member"] for row in rows if row["step"] == 5 and row["score"] != row["score"]}
    assert unlucky and len(unlucky) < 8
    assert set(fresh.members["status"].to_pylist()) == {"done"}
    assert results.best().confirmed and results.best().seeds == 4


def diverging(config, state, batch, key):
    """With x above 0 the lucky ones are not finite from the first step on."""
    bad = (config.x > 0) & (state["luck"] > 0.5)
    return {**state, "sum": jnp.where(bad, jnp.nan, state["sum"])}, {}


@pytest.mark.parametrize("schedule", [None, "halving(eta=2, min_steps=2)"])
def test_a_configuration_that_lost_a_seed_stays_below_those_that_lost_none(schedule):
    def evaluate(config, state, data):
        return {"score": 1 - config.x + 0 * state["sum"]}

    space = {"x": [0.0, 0.1, 0.2, 0.3], "seed": [0, 3]}  # of which 3 is a lucky one
    study = studied(evaluate, space, step=diverging, steps=8, mode="min")
    results = sweeps.run(study, schedule=schedule, **OPTIONS)
    status = results.members["status"].to_pylist()
    assert status[:2] == ["done", "done"] and status[3::2] == ["diverged"] * 3
    assert results.best().config == {"x": 0.0} and results.best().seeds == 2


@dataclasses.dataclass(frozen=True)
class Bounded:
    x: float = 0.3
    y: float = 0.3

    def __post_init__(self):
        if self.x + self.y > 0.75:
            raise ValueError("x + y <= 0.75")


@pytest.mark.parametrize("where", [None, lambda point: point["x"] + point["y"] <= 0.65])
def test_populations_stay_where_the_study_and_the_configuration_let_them(where, tmp_path):
    def both(config, state, batch, key):
        return {**state, "sum": state["sum"] + config.x + config.y}, {}

    def evaluate(config, state, data):
        return {"score": state["sum"]}

    space = {"x": sweeps.grid(0.1, 0.2, 0.5), "y": sweeps.uniform(0.05, 0.15)}
    study = studied(evaluate, space, both, Bounded, steps=20, mode="max", samples=8, where=where)
    results = sweeps.run(study, schedule="pbt(every=2)", out=tmp_path / "run", **OPTIONS)
    table = results.lineage.to_pylist() + results.members.to_pylist()
    most = max(row["x"] + row["y"] for row in table)
    assert 0.6 < most <= (0.75 if where is None else 0.65)


def test_populations_change_a_traced_boolean():
    @dataclasses.dataclass(frozen=True)
    class Switched:
        x: float = 0.5
        switch: Annotated[bool, sweeps.traced] = False

    def evaluate(config, state, data):
        return {"score": state["sum"] + jnp.where(config.switch, 1, 0)}

    space = {"x": sweeps.uniform(0.1, 0.2), "switch": [False, True]}
    study = studied(evaluate, space, config=Switched, steps=20, mode="max", samples=8)
    results = sweeps.run(study, schedule="pbt(every=5)", **OPTIONS)
    values = results.members["switch"].to_pylist()
    assert {type(value) for value in values} == {bool}
    assert set(results.lineage["switch"].to_pylist()) == {False, True}


def test_a_winner_that_had_failed_before_is_confirmed_in_the_place_of_the_other(tmp_path):
    broken = [True]

    def failing(config, state, batch, key):
        if config.width == 16 and broken[0]:
            raise RuntimeError("for now")
        return step(config, state, batch, key)

    def evaluate(config, state, data):
        return {"score": config.x / config.width + 0 * state["sum"]}

    space = {"x": [0.1, 0.2], "width": [8, 16], "seed": range(2)}
    study = studied(evaluate, space, failing, steps=4, mode="min")
    first = sweeps.run(study, out=tmp_path / "run", confirm=2, **OPTIONS)
    assert first.best().config == {"x": 0.1, "width": 8} and first.best().confirmed
    broken[0] = False
    with pytest.warns(UserWarning, match="the winner is another one.*what was found for the other is in"):
        second = sweeps.resume(tmp_path / "run", study, **OPTIONS)
    assert second.best().config == {"x": 0.1, "width": 16} and second.best().confirmed
    (kept,) = (tmp_path / "run" / "damaged").iterdir()
    assert json.loads((kept / "manifest.json").read_text())["members"] == 4
    assert sweeps.resume(tmp_path / "run", study, **OPTIONS).best() == second.best()  # and says nothing


def test_a_search_does_not_learn_from_scores_that_other_values_reached(tmp_path):
    pytest.importorskip("optuna")
    study = studied(undefined_at_10, {"x": sweeps.uniform(0, 1)}, steps=20, mode="max", samples=4)
    sweeps.run(study, schedule="pbt(every=5)", out=tmp_path / "run", **OPTIONS)
    search = sweeps.tpe(4, warm_start=tmp_path / "run")
    with pytest.raises(StudyError, match="members kept their values.*population-based.*begin without it"):
        sweeps.run(study, search=search, **OPTIONS)
