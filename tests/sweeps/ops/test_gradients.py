import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from sweeps.ops import gradients
from sweeps.ops.exchange import trace
from sweeps.ops.gradients import value_and_grad
from tests.cases import cases

X = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)


def objective_of(model, inputs):
    """The mean square of an NNX model's outputs, as a function of its parameters, and these."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def objective(params):
        module = nnx.merge(graph, params, rest, copy=True)
        outputs = module(inputs)
        return jnp.mean(jnp.square(outputs)), nnx.state(module, nnx.BatchStat)

    return objective, params


def assert_close(found, expected):
    # Sums of float32 in another order.
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6), found, expected)


def convolutional(rngs):
    return nnx.Sequential(
        nnx.Conv(3, 16, (3, 3), rngs=rngs),
        nnx.BatchNorm(16, rngs=rngs),
        jax.nn.relu,
        lambda x: nnx.max_pool(x, (2, 2), strides=(2, 2)),
        nnx.Conv(16, 4, (3, 3), rngs=rngs),
        lambda x: x.mean((1, 2)),
    )


def of_sequences(rngs):
    return nnx.Sequential(
        lambda x: x.reshape(16, 8, 24),
        nnx.Linear(24, 8, rngs=rngs),
        nnx.LayerNorm(8, rngs=rngs),
        jnp.tanh,
        nnx.Linear(8, 4, rngs=rngs),
    )


def dense(rngs):
    return nnx.Sequential(lambda x: x.reshape(16, -1), nnx.Linear(192, 8, rngs=rngs), jax.nn.relu)


@pytest.mark.parametrize("kind", cases([convolutional, of_sequences, dense], [convolutional], "models"))
def test_values_and_gradients_are_those_of_jax(kind):
    objective, params = objective_of(kind(nnx.Rngs(0)), X)
    found = jax.jit(value_and_grad(objective))(params)
    expected = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)
    assert_close(found, expected)


@pytest.mark.models
def test_a_linen_model_of_each_member_has_its_own_gradient():
    model = nn.Sequential([nn.Conv(8, (3, 3)), nn.relu, lambda x: nn.max_pool(x, (2, 2), strides=(2, 2))])
    params = jax.vmap(lambda key: model.init(key, X))(jax.random.split(jax.random.key(0), 3))

    def objective(params):
        outputs: Any = model.apply(params, X)
        return jnp.mean(jnp.square(outputs)), None

    found = jax.jit(jax.vmap(value_and_grad(objective)))(params)
    expected = jax.jit(jax.vmap(jax.value_and_grad(objective, has_aux=True)))(params)
    assert_close(found, expected)


@pytest.mark.parametrize(("kind", "times"), [(dense, 1), (convolutional, 2)])
def test_a_gradient_without_sums_over_several_axes_is_not_traced_apart(kind, times, monkeypatch):
    traced = []

    def counted(function, *arguments):
        traced.append(function)
        return trace(function, *arguments)

    monkeypatch.setattr(gradients, "trace", counted)
    objective, params = objective_of(kind(nnx.Rngs(0)), X)
    jax.eval_shape(value_and_grad(objective), params)
    assert len(traced) == times
