"""Slopes and learning rates that change over time, against loops that take them from optax's schedules."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import sweeps
from tests.reference import data, loops
from tests.reference.comparison import assert_same_metrics, assert_same_states, variables
from tests.reference.loops import Plan, Run
from tests.reference.nnx_models import MLP

PLAN = Plan(data.vectors())
START, END = 0.4, -0.1


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: sweeps.Schedule = sweeps.Linear(START, END)
    learning_rate: sweeps.Schedule = sweeps.Constant(0.05)


@dataclasses.dataclass(frozen=True)
class Slope:
    alpha: Any


class Half(MLP):
    """Computes in bfloat16, which a slope must not widen."""

    def __call__(self, x):
        x = self.hidden(x).astype(jnp.bfloat16)
        x = jnp.where(x > 0, x, self.alpha * x)
        assert x.dtype == jnp.bfloat16
        return self.logits(x.astype(jnp.float32))


def train(build: Any, slope: Any, rate: Any, seed: int) -> Run:
    """One member by hand; `slope` and `rate` are functions of the step."""
    params = nnx.state(build(Slope(slope(0)), nnx.Rngs(loops.initial_key(PLAN, seed))), nnx.Param)
    optimizer = optax.scale_by_adam()
    state = optimizer.init(params)

    def outputs(params: Any, alpha: Any, inputs: Any) -> Any:
        model = build(Slope(alpha), nnx.Rngs(0))
        nnx.update(model, params)
        return model(inputs)

    def step(params: Any, state: Any, batch: Any, alpha: float, rate: float) -> Any:
        def objective(params: Any) -> Any:
            return loops.cross_entropy(outputs(params, alpha, batch[0]), batch[1]).mean()

        value, gradients = jax.value_and_grad(objective)(params)
        updates, state = optimizer.update(gradients, state, params)
        return jax.tree.map(lambda p, u: p - rate * u, params, updates), state, value

    step, losses = jax.jit(step), []
    for done, (batch, _) in enumerate(loops.batches(PLAN, seed)):
        params, state, value = step(params, state, batch, float(slope(done)), float(rate(done)))
        losses.append(value)
    last = outputs(params, float(slope(PLAN.steps)), PLAN.data[1][0])
    return Run(np.asarray(losses), loops.by_path(params), {}, last)


def staircase(step: int) -> float:
    """Five stages of two steps; after the last step it is still the last stage."""
    return np.linspace(START, END, 5)[min(step // 2, 4)]


CASES: dict[str, tuple[Any, Any]] = {
    "Constant": ({"alpha.value": [START]}, lambda step: START),
    "Linear": ({}, optax.linear_schedule(START, END, PLAN.steps)),
    "Cosine": ({}, lambda step: END + optax.cosine_decay_schedule(START - END, PLAN.steps)(step)),
    "Steps": ({"alpha.stages": [5]}, staircase),
}


LONG = pytest.mark.models


@pytest.mark.parametrize(
    ("kind", "build"),
    [
        pytest.param("Constant", MLP, marks=LONG),
        ("Linear", MLP),
        pytest.param("Linear", Half, marks=LONG),
        pytest.param("Cosine", MLP, marks=LONG),
        pytest.param("Steps", MLP, marks=LONG),
    ],
)
def test_the_slope_and_the_rate_of_a_step_are_those_of_optax(kind, build, tmp_path):
    own, slope = CASES[kind]
    ends = {} if kind == "Constant" else {"alpha.start": [START], "alpha.end": [END]}
    rates = {"learning_rate": sweeps.Linear(0.05, 0.01)}
    study = sweeps.Study(
        sweeps.supervised(
            config=Config,
            model=build,
            optimizer=lambda config: optax.adam(config.learning_rate),
            data=sweeps.Data(*PLAN.data),
            batch_size=PLAN.batch_size,
        ),
        steps=PLAN.steps,
        metric="test/loss",
        evaluate_every=1,
        space={"alpha": [kind], **ends, **own, **rates, "seed": [3]},
    )
    found = sweeps.run(study, out=tmp_path / "run", keep_best=1, root_seed=PLAN.root_seed, progress=False)
    expected = train(build, slope, optax.linear_schedule(0.05, 0.01, PLAN.steps), 3)
    if build is Half:  # what is rounded to 16 bits may be rounded elsewhere in another program
        np.testing.assert_allclose(found.metrics["train/loss"].to_numpy(), expected.losses, rtol=1e-4)
        return
    assert_same_metrics(found, 0, expected, PLAN, loops.cross_entropy, 1e-5)
    model = found.model(study)
    assert_same_states(variables(model)[:1], (expected.params,))
    np.testing.assert_allclose(model.alpha, slope(PLAN.steps), rtol=1e-6)  # as it is used from then on
