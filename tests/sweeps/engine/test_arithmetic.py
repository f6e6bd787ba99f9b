"""What is counted of a program, against counts by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sweeps
from sweeps.engine.arithmetic import operations
from sweeps.engine.chunks import Measurement
from sweeps.engine.plan import STEP_OPERATIONS, examine, predicted_seconds, prepare
from sweeps.members.population import populate


def counted(function, *arrays):
    return operations(jax.make_jaxpr(function)(*arrays).jaxpr)


def test_products_convolutions_loops_and_all_else_are_counted():
    x, kernel = jnp.ones((8, 32)), jnp.ones((32, 16))
    assert counted(jnp.dot, x, kernel) == 2 * 8 * 32 * 16
    assert counted(lambda x, kernel: jnp.tanh(x @ kernel), x, kernel) == 2 * 8 * 32 * 16 + 8 * 16
    batched = jax.vmap(jnp.dot)
    assert counted(batched, jnp.ones((3, 8, 32)), jnp.ones((3, 32, 16))) == 3 * 2 * 8 * 32 * 16
    image, window = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 4, 5))
    convolve = lambda x, k: jax.lax.conv_general_dilated(  # noqa: E731
        x, k, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert counted(convolve, image, window) == 2 * (2 * 7 * 7 * 5) * (3 * 3 * 4)
    loop = lambda x: jax.lax.scan(lambda x, _: (jnp.sin(x), None), x, length=7)[0]  # noqa: E731
    assert counted(loop, x) == 7 * x.size
    assert counted(jax.jit(jnp.sin), x) == x.size
    either = lambda x: jax.lax.cond(x[0, 0] > 0, jnp.sin, lambda x: (x @ kernel) @ kernel.T, x)  # noqa: E731
    products, transposed = 2 * (2 * 8 * 32 * 16), 32 * 16
    assert products + transposed <= counted(either, x) < products + transposed + 10  # and the condition


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 8


def init(config, key):
    return jax.random.normal(key, (config.width, 64))


def step(config, state, batch, key):
    return state + jnp.tanh(state @ state.T) @ state, {}


def evaluate(config, state, data):
    return {"test/loss": state.mean()}


def study_of(space):
    trial = sweeps.Trial(Config, None, init, step, evaluate)
    return sweeps.Study(trial, steps=4, metric="test/loss", mode="min", space=space)


def test_what_is_predicted_counts_groups_that_were_not_measured():
    study = study_of({"width": [8, 512], "seed": range(2)})
    examined = examine(study, populate(study, None, 0))
    prepared = prepare(examined, 0, jax.devices()[:1], members_per_chunk=2, chunk_seconds=0.0)
    assert prepared.bench.group == 0  # as large as the other, and the first
    best = Measurement(2, "scan", 1.0, 0.0, 0)  # two members at once take a second for a step
    prepared = prepared._replace(choice=prepared.choice._replace(best=best))
    costs = STEP_OPERATIONS + 2 * 2 * np.array([8, 512]) ** 2 * 64
    expected = 4 * (1 + costs[1] / costs[0])
    assert predicted_seconds(prepared, 4 * 4) == pytest.approx(expected, rel=0.1)


def test_groups_weigh_what_they_cost_and_members_weigh_one_on_average():
    study = study_of({"width": [8, 64, 512], "seed": range(2)})
    population = populate(study, None, 0)
    weights = examine(study, population).weights
    assert np.mean([weights[group] for group in population.groups.tolist()]) == pytest.approx(1)
    costs = STEP_OPERATIONS + 2 * 2 * np.array([8, 64, 512]) ** 2 * 64
    assert [weights[group] for group in range(3)] == pytest.approx(costs / np.mean(costs), rel=0.1)
