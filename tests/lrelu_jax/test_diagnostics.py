import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lrelu_jax import LeakyReLU, PReLU, ReLU, linen, relu
from lrelu_jax.diagnostics import UnitCounts, count_units, dead_units, merge, unit_counts


class MLP(nnx.Module):
    def __init__(self, rngs, widths=(3, 16, 8), act=ReLU):
        self.layers = nnx.List([nnx.Linear(i, o, rngs=rngs) for i, o in itertools.pairwise(widths)])
        self.acts = nnx.List([act() for _ in self.layers])

    def __call__(self, x):
        for layer, act in zip(self.layers, self.acts, strict=True):
            x = act(layer(x))
        return x


class CNN(nnx.Module):
    """Its one rectifier is called from two places, on channels and on features."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.head = nnx.Linear(4, 5, rngs=rngs)
        self.act = ReLU()

    def __call__(self, x):
        x = self.act(self.norm(self.conv(x)))
        return self.act(self.head(x.mean((1, 2))))


class Cell(nnx.RNNCellBase):
    def __init__(self, rngs):
        self.into = nnx.Linear(3, 4, rngs=rngs)
        self.across = nnx.Linear(4, 4, rngs=rngs)
        self.act = LeakyReLU(0.1)

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return jnp.zeros((*input_shape[:-1], 4))

    def __call__(self, carry, x):
        carry = self.act(self.into(x) + self.across(carry))
        return carry, carry

    @property
    def num_feature_axes(self):
        return 1


class LinenMLP(nn.Module):
    @nn.compact
    def __call__(self, x, scale=1.0):
        x = linen.ReLU(name="first")(nn.Dense(6)(x) * scale)
        return linen.PReLU(5, name="second")(nn.Dense(5)(x))


class LinenCell(nn.RNNCellBase):
    @nn.compact
    def __call__(self, carry, x):
        carry = linen.ReLU()(nn.Dense(4)(x) + nn.Dense(4, name="across")(carry))
        return carry, carry

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((*input_shape[:-1], 4))

    @property
    def num_feature_axes(self):
        return 1


def brute_force(inputs):
    """The report of a rectifier that saw these inputs, by NumPy, all in memory."""
    x = np.concatenate([np.asarray(x).reshape(-1, x.shape[-1]) for x in inputs])
    return (x > 0).sum(0), (x == 0).sum(0), (x < 0).sum(0), ~(x > 0).any(0)


def check(report, inputs):
    positive, zero, negative, never = brute_force(inputs)
    np.testing.assert_array_equal(report.counts.positive, positive)
    np.testing.assert_array_equal(report.counts.zero, zero)
    np.testing.assert_array_equal(report.counts.negative, negative)
    np.testing.assert_array_equal(report.never_positive, never)
    total = positive + zero + negative
    np.testing.assert_array_equal(report.zeros, zero / total)
    np.testing.assert_array_equal(report.negatives, negative / total)


def batches(*shape):
    sizes = (7, 7, 3)  # the last one short
    return [jax.random.normal(jax.random.key(i), (n, *shape)) for i, n in enumerate(sizes)]


@pytest.mark.parametrize("act", [ReLU, PReLU])
def test_an_mlp_is_counted_as_by_brute_force(act):
    model = MLP(nnx.Rngs(0), act=act)
    model.layers[1].bias = nnx.Param(jnp.zeros(8).at[2].set(-100.0))
    data = batches(3)
    reports = dead_units(model, iter(data))
    assert list(reports) == ["acts/0", "acts/1"]
    first = [model.layers[0](x) for x in data]
    second = [model.layers[1](model.acts[0](x)) for x in first]
    check(reports["acts/0"], first)
    check(reports["acts/1"], second)
    assert reports["acts/1"].never_positive[2]


def test_channels_of_a_cnn_are_its_units_and_a_shared_rectifier_is_reported_per_call():
    model = CNN(nnx.Rngs(0))
    model.eval()
    model.conv.bias = nnx.Param(jnp.zeros(4).at[1].set(-100.0))
    data = batches(6, 6, 3)
    reports = dead_units(model, data)
    assert list(reports) == ["act", "act (call 2)"]
    channels = [nnx.jit(lambda model, x: model.norm(model.conv(x)))(model, x) for x in data]
    check(reports["act"], channels)
    check(reports["act (call 2)"], [model.head(relu(x).mean((1, 2))) for x in channels])
    assert reports["act"].never_positive.tolist() == [False, True, False, False]


def test_a_recurrent_model_counts_all_its_steps():
    cell = Cell(nnx.Rngs(0))
    data = batches(5, 3)
    reports = dead_units(nnx.RNN(cell), data)
    assert list(reports) == ["cell/act"]
    inputs = []
    for x in data:
        carry = jnp.zeros((len(x), 4))
        for step in range(5):
            inputs.append(cell.into(x[:, step]) + cell.across(carry))
            carry = cell.act(inputs[-1])
    check(reports["cell/act"], inputs)


def test_linen_models_are_counted_too():
    data = batches(3)
    model = LinenMLP()
    variables: Any = model.init(jax.random.key(0), data[0])
    bound = model.bind(variables)
    reports = dead_units(bound, data, scale=2.0)
    assert list(reports) == ["first", "second"]
    dense = variables["params"]
    first = [(x @ dense["Dense_0"]["kernel"]) * 2.0 for x in data]
    check(reports["first"], first)
    check(reports["second"], [relu(x) @ dense["Dense_1"]["kernel"] for x in first])


def test_linen_recurrent_models_are_counted_too():
    data = batches(5, 3)
    rnn = nn.RNN(LinenCell())
    variables: Any = rnn.init(jax.random.key(0), data[0])
    reports = dead_units(rnn.bind(variables), data)
    assert list(reports) == ["cell/ReLU_0"]
    cell = variables["params"]["cell"]
    inputs = []
    for x in data:
        carry = jnp.zeros((len(x), 4))
        for step in range(5):
            inputs.append(x[:, step] @ cell["Dense_0"]["kernel"] + carry @ cell["across"]["kernel"])
            carry = relu(inputs[-1])
    check(reports["cell/ReLU_0"], inputs)


def test_rectifiers_under_jit_and_remat_are_found():
    class Wrapped(nnx.Module):
        def __init__(self, model):
            self.model = model

        def __call__(self, x):
            return nnx.jit(nnx.remat(MLP.__call__))(self.model, x)

    plain = MLP(nnx.Rngs(0))
    model = Wrapped(plain)
    x = batches(3)[0]
    for actual, expected in zip(unit_counts(model, x).values(), unit_counts(plain, x).values(), strict=True):
        np.testing.assert_array_equal(np.array(actual), np.array(expected))


def test_counting_leaves_the_model_as_it_was():
    model = CNN(nnx.Rngs(0))
    model.train()
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))
    unit_counts(model, batches(6, 6, 3)[0])
    after = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert type(model.act) is ReLU


@pytest.mark.parametrize(("width", "layers"), [(2, 5), (3, 10)])
def test_dead_networks_are_as_frequent_as_the_theory_says(width, layers):
    networks = 20_000

    class NoBias(nnx.Module):
        def __init__(self, rngs):
            widths = [1] + [width] * layers
            self.layers = nnx.List(
                [
                    nnx.Linear(i, o, use_bias=False, kernel_init=jax.nn.initializers.normal(1.0), rngs=rngs)
                    for i, o in itertools.pairwise(widths)
                ]
            )
            self.acts = nnx.List([ReLU() for _ in range(layers)])

        __call__ = MLP.__call__

    @jax.jit
    @jax.vmap
    def dead(key):
        # A layer is dead when none of its units is positive; a network, when a layer before its last is.
        counts = list(unit_counts(NoBias(nnx.Rngs(key)), jnp.ones((1, 1))).values())[:-1]
        return jnp.any(jnp.stack([jnp.all(c.positive == 0) for c in counts]))

    share = dead(jax.random.split(jax.random.key(0), networks)).mean()
    theory = 1 - (1 - 2.0**-width) ** (layers - 1)
    error = np.sqrt(theory * (1 - theory) / networks)
    # Four standard errors of the Monte-Carlo estimate.
    assert abs(share - theory) < 4 * error


def test_a_population_is_counted_under_vmap_as_member_by_member():
    x = batches(3)[0]

    @nnx.vmap
    def make(key):
        return MLP(nnx.Rngs(key))

    graphdef, states = nnx.split(make(jax.random.split(jax.random.key(0), 3)))
    count = jax.jit(lambda state: unit_counts(nnx.merge(graphdef, state), x))
    counts = jax.vmap(count)(states)
    for member in range(3):
        one = count(jax.tree.map(lambda leaf, i=member: leaf[i], states))
        for name in one:
            np.testing.assert_array_equal(np.array(one[name]), np.array([c[member] for c in counts[name]]))


def test_counts_merge_across_batches_and_devices():
    x = (
        jax.random.normal(jax.random.key(0), (8, 5))
        .at[0]
        .set(jnp.array([0.0, -0.0, jnp.nan, jnp.inf, 1e-40]))
    )
    whole = count_units(x)
    assert (
        merge(count_units(x[:3]), count_units(x[3:5]), count_units(x[5:])).positive.tolist()
        == whole.positive.tolist()
    )
    assert whole.zero.tolist() == [1, 1, 0, 0, 0]
    assert whole.non_finite.tolist() == [0, 0, 1, 1, 0]
    assert whole.positive[4] == count_units(x[1:]).positive[4] + 1
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    summed = jax.shard_map(
        lambda x: jax.lax.psum(count_units(x), "batch"), mesh=mesh, in_specs=jax.P("batch"), out_specs=jax.P()
    )(x)
    assert isinstance(summed, UnitCounts)
    np.testing.assert_array_equal(np.array(summed), np.array(whole))


def test_messages():
    with pytest.raises(
        ValueError, match="must call rectifier modules of `lrelu_jax`.* but got none in Linear"
    ):
        unit_counts(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), jnp.ones((1, 2)))
    with pytest.raises(
        ValueError, match="`model` must be bound to its variables, but got an unbound LinenMLP"
    ):
        dead_units(LinenMLP(), [jnp.ones((1, 3))])
    with pytest.raises(ValueError, match="`batches` must hold at least one batch, but got none"):
        dead_units(MLP(nnx.Rngs(0)), [])

    class Looping(nnx.Module):
        def __init__(self):
            self.act = ReLU()

        def __call__(self, x):
            return jax.lax.while_loop(lambda x: x.sum() > 1, lambda x: self.act(x) / 2, x)

    with pytest.raises(ValueError, match="but got one inside while"):
        unit_counts(Looping(), jnp.ones((1, 3)))
