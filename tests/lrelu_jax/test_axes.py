"""What the axes of a rectifier's input go back to: layers, steps, members, units and examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from lrelu_jax import PReLU, prelu, relu
from lrelu_jax.diagnostics import dead_units, unit_counts

pytestmark = pytest.mark.usefixtures("compiled_quickly")

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
TOKENS = jnp.array([0, 1, 1, 2])
FIRST_UNIT_DEAD = jnp.zeros((2, 3)).at[1, 0].set(-100.0)


class Model(nnx.Module):
    """Calls `function(self, x)`; its parameters are two layers in a stack, and tables."""

    def __init__(self, function):
        self.function = function
        self.w = nnx.Param(jax.random.normal(jax.random.key(0), (2, 3, 3)))
        self.b = nnx.Param(FIRST_UNIT_DEAD)
        self.table = nnx.Param(jax.random.normal(jax.random.key(1), (5, 3)))
        self.layer = nnx.Variable(jnp.array(1))

    def __call__(self, x):
        return self.function(self, x)


def looped(layer):
    """Layer after layer by its number, as a loop counts it."""
    return lambda self, x: lax.fori_loop(0, 2, lambda i, h: layer(self, i, h), x)


def experts(self, x, number):
    return relu(jnp.einsum("nd,ndf->nf", x, self.w[number]))


PICKED = {
    "by a counter": looped(lambda self, i, h: relu(h @ self.w[i] + self.b[i][None])),
    "by what is scanned over": lambda self, x: lax.scan(
        lambda h, i: (relu(h @ self.w[i]), None), x, jnp.arange(2)
    )[0],
    "by its place": looped(lambda self, i, h: relu(h @ lax.dynamic_index_in_dim(self.w[...], i, 0, False))),
    "by take": looped(lambda self, i, h: relu(h @ jnp.take(self.w[...], i, axis=0))),
    "the biases alone": looped(lambda self, i, h: relu(h + self.b[i][None])),
    "the slopes alone": looped(lambda self, i, h: prelu(h, self.b[i])),
    "under jit": looped(lambda self, i, h: jax.jit(lambda w, i: relu(h @ w[i]))(self.w[...], i)),
    "within vmap": lambda self, x: jax.vmap(
        lambda x: lax.fori_loop(0, 2, lambda i, h: relu(h @ self.w[i]), x)
    )(x),
    "per example": lambda self, x: experts(self, x, jnp.arange(4) % 2),
    "by the example's values": lambda self, x: experts(self, x, (x[:, 0] > 0).astype(jnp.int32)),
    "by vmap": lambda self, x: jax.vmap(lambda i: relu(x @ self.w[i]))(jnp.arange(2)),
    "by groups of rows": lambda self, x: relu(lax.ragged_dot(x, self.w[...], jnp.array([1, 3]))),
}


@pytest.mark.parametrize("name", PICKED)
def test_layers_that_are_picked_at_run_time_are_refused(name):
    with pytest.raises(
        ValueError, match=r"layers of a rectifier must be told apart, but .*test_axes.py:\d+ gets parameters"
    ):
        dead_units(Model(PICKED[name]), [X])


NOT_PICKED = {
    "a number": lambda self, x: relu(x @ self.w[1] + self.b[1][None]),
    "a constant": lambda self, x: relu(x @ self.w[jnp.array(1)] + self.b[jnp.asarray(1)][None]),
    "a constant by take": lambda self, x: relu(x @ jnp.take(self.w[...], 1, axis=0) + self.b[1][None]),
    "a constant in a loop": lambda self, x: lax.fori_loop(
        0, 1, lambda i, h: relu(h @ self.w[jnp.array(1)] + self.b[1][None]), x
    ),
    "an array of one": lambda self, x: relu(x @ self.w[jnp.array([1])][0] + self.b[1][None]),
    "by the model's state": lambda self, x: relu(x @ self.w[self.layer[...]] + self.b[self.layer[...]][None]),
}


@pytest.mark.parametrize("name", NOT_PICKED)
def test_one_layer_of_a_stack_is_counted(name):
    model = Model(NOT_PICKED[name])
    (report,) = dead_units(model, [X]).values()
    np.testing.assert_array_equal(report.counts.positive, (X @ model.w[1] + model.b[1][None] > 0).sum(0))
    assert report.never_positive[0]


def test_vectors_that_are_looked_up_are_one_layer():
    for tokens in (TOKENS, TOKENS[:1]):  # a batch of one example too
        model = Model(lambda self, tokens: relu(self.table[tokens] + self.b[tokens % 2]))
        (counts,) = unit_counts(model, tokens).values()
        np.testing.assert_array_equal(counts.positive, (model.table[tokens] + model.b[tokens % 2] > 0).sum(0))


def test_members_that_look_up_their_own_row_are_apart():
    model = Model(lambda self, x: jax.vmap(lambda w, i: relu(w[i]))(self.w[...], jnp.arange(2)))
    assert len(unit_counts(model, X)) == 2


FLATTENED = {
    "by a function": lambda self, x: relu((x @ self.w[1]).reshape(-1)),
    "by a module": lambda self, x: PReLU()((x @ self.w[1]).reshape(-1)),
    "the inputs": lambda self, x: relu(x.reshape(-1)),
    "the experts apart": lambda self, x: relu(jnp.einsum("nd,edf->enf", x, self.w[...]).reshape(2, -1)),
}


@pytest.mark.parametrize("name", FLATTENED)
def test_units_of_all_examples_in_one_axis_are_refused(name):
    with pytest.raises(
        ValueError, match=r"units of a rectifier must be told .* input of shape \((2, )?12,?\)"
    ):
        unit_counts(Model(FLATTENED[name]), X)


def test_one_example_may_be_flattened():
    (counts,) = unit_counts(Model(FLATTENED["by a function"]), X[:1]).values()
    assert counts.positive.shape == (3,)


@pytest.mark.parametrize("act", [relu, PReLU()], ids=["function", "module"])
def test_examples_are_no_units_wherever_they_lie(act):
    model = Model(lambda self, x: act((x @ self.w[1]).T))
    (counts,) = unit_counts(model, X).values()
    np.testing.assert_array_equal(counts.positive, (X @ model.w[1] > 0).sum(0))
    (counts,) = unit_counts(Model(lambda self, x: act(x[:, 0])), X).values()
    np.testing.assert_array_equal(counts.positive, [(X[:, 0] > 0).sum()])


def recurrent(*scanned):
    """A recurrent layer over time, with what `scanned` adds to the inputs of each step."""

    def call(self, x):
        def step(h, at):
            return relu(h @ self.w[1] + sum(at)), None

        xs = (x.T[:, :, None] * jnp.ones((1, 1, 3)), *(own(self) for own in scanned))
        return lax.scan(step, jnp.zeros((len(x), 3)), xs)[0]

    return call


def learned(self):
    return self.table[:3][:, None]


def test_steps_with_learned_arrays_beside_the_inputs_are_no_layers():
    with pytest.raises(
        ValueError, match=r"told from layers, but what test_axes.py:\d+ is scanned over holds both parameters"
    ):
        unit_counts(Model(recurrent(learned)), X)
    (counts,) = unit_counts(Model(recurrent(lambda self: jnp.zeros((3, 1, 1)))), X).values()
    assert (counts.positive + counts.zero + counts.negative).tolist() == [12, 12, 12]


def test_what_is_learned_of_each_step_may_be_added_before_the_scan():
    def call(self, x):
        inputs = x.T[:, :, None] + learned(self)
        return lax.scan(lambda h, at: (relu(h @ self.w[1] + at), None), jnp.zeros((len(x), 3)), inputs)[0]

    (counts,) = unit_counts(Model(call), X).values()
    assert (counts.positive + counts.zero + counts.negative).tolist() == [12, 12, 12]


def test_layers_may_be_scanned_with_what_holds_neither_parameters_nor_inputs():
    def call(self, x):
        keys = jax.random.split(jax.random.key(0), 2)
        xs = (self.w[...], self.b[...], jnp.zeros((2, 1)), keys, jnp.arange(2))
        return lax.scan(lambda h, at: (relu(h @ at[0] + at[1][None]), None), x, xs)[0]

    assert [len(counts.positive) for counts in unit_counts(Model(call), X).values()] == [3, 3]
