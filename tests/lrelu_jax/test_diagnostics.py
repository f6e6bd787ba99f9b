import inspect
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.nnx import bridge

from lrelu_jax import ELU, LeakyReLU, PReLU, ReLU, RReLU, elu, leaky_relu, linen, prelu, relu, rrelu
from lrelu_jax.diagnostics import UnitCounts, count_units, dead_units, merge, unit_counts

pytestmark = pytest.mark.usefixtures("compiled_quickly")


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
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=(size, *shape)), jnp.float32) for size in sizes]


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
    normed = nnx.jit(lambda model, x: model.norm(model.conv(x)))
    channels = [normed(model, x) for x in data]
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


@pytest.mark.parametrize(("width", "layers"), [(2, 5), pytest.param(3, 10, marks=pytest.mark.models)])
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
    count = jax.jit(count_units)
    whole = count(x)
    parts = [count(part) for part in jnp.split(x, (3, 5))]
    assert merge(*parts).positive.tolist() == whole.positive.tolist()
    assert whole.zero.tolist() == [1, 1, 0, 0, 0]
    assert whole.non_finite.tolist() == [0, 0, 1, 1, 0]
    assert whole.positive[4] == count(x[1:]).positive[4] + 1
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    summed = jax.shard_map(
        lambda x: jax.lax.psum(count_units(x), "batch"), mesh=mesh, in_specs=jax.P("batch"), out_specs=jax.P()
    )(x)
    assert isinstance(summed, UnitCounts)
    np.testing.assert_array_equal(np.array(summed), np.array(whole))


def of(function, **layers) -> Any:
    """An NNX model that calls `function(self, x)`."""

    class Model(nnx.Module):
        def __init__(self):
            for name, layer in layers.items():
                setattr(self, name, nnx.data(layer))

        def __call__(self, x):
            return function(self, x)

    return Model()


def dead_unit(reports):
    """The name and the number of the one unit that was never positive."""
    (found,) = [
        (name, int(unit))
        for name, report in reports.items()
        for unit in np.flatnonzero(report.never_positive)
    ]
    return found


def lines(function, *texts):
    """Where these texts are in the source of a function: `file:line`."""
    source, first = inspect.getsourcelines(function)
    numbers = [first + next(i for i, line in enumerate(source) if text in line) for text in texts]
    return [f"test_diagnostics.py:{number}" for number in numbers]


def test_functions_are_found_and_named_by_module_and_line():
    class Block(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(3, 3, rngs=rngs)

        def __call__(self, x):
            return nnx.leaky_relu(self.linear(x), 0.2)

    def call(self, x):
        x = self.act(self.blocks[1](self.blocks[0](x)))
        x = jax.nn.relu(x)
        return elu(x) + leaky_relu(x, 0.1)

    model = of(call, blocks=nnx.List([Block(nnx.Rngs(0)), Block(nnx.Rngs(1))]), act=ReLU())
    data = batches(3)
    reports = dead_units(model, data)
    (block,) = lines(Block, "leaky_relu")
    own = lines(call, "jax.nn.relu", "elu(x) +")
    names = [f"blocks/0 ({block})", f"blocks/1 ({block})", "act", own[0], own[1], f"{own[1]} (call 2)"]
    assert list(reports) == names
    inputs = [[model.blocks[0].linear(x) for x in data]]
    inputs += [[model.blocks[1].linear(jax.nn.leaky_relu(x, 0.2)) for x in inputs[0]]]
    inputs += [[jax.nn.leaky_relu(x, 0.2) for x in inputs[1]]]
    inputs += [[jax.nn.relu(x) for x in inputs[2]]] * 3
    for report, x in zip(reports.values(), inputs, strict=True):
        check(report, x)


def test_every_rectifier_is_found_once():
    functions = [
        relu,
        leaky_relu,
        elu,
        lambda x: prelu(x, jnp.full(3, 0.2)),
        lambda x: rrelu(x, jax.random.key(0)),
        lambda x: leaky_relu(x, 0.1, subgradient="right"),
        jax.jit(relu),
        jax.nn.relu,
        jax.nn.relu6,
        jax.nn.leaky_relu,
        lambda x: jax.nn.leaky_relu(negative_slope=jnp.float32(0.3), x=x),
        jax.nn.elu,
        jax.nn.celu,
        jax.nn.selu,
        jax.jit(jax.nn.relu),
        RReLU(deterministic=True),
        ELU(),
    ]
    x = jnp.array([[1.0, -1.0, 0.0], [2.0, -1.0, -3.0]])
    reports = dead_units(of(lambda self, x: [function(x) for function in functions]), [x])
    assert len(reports) == len(functions)
    for function, report in zip(functions, reports.values(), strict=True):
        check(report, [x])
        h = np.abs(function(x)).mean(0)
        np.testing.assert_allclose(report.activity, h / h.mean(), rtol=1e-6)


@pytest.mark.parametrize("act", [nnx.PReLU, LeakyReLU, ELU])
def test_modules_are_named_by_their_path(act):
    assert list(unit_counts(of(lambda self, x: self.act(x), act=act()), jnp.ones((2, 3)))) == ["act"]


def test_gates_and_arithmetic_are_no_rectifiers():
    def call(self, x):
        x = jax.nn.hard_silu(x) + jax.nn.hard_sigmoid(x) + jax.nn.gelu(x) + jnp.maximum(x, 0)
        return relu(self.norm(x))

    model = of(call, norm=nnx.LayerNorm(3, rngs=nnx.Rngs(0)))
    assert list(unit_counts(model, jnp.ones((2, 3)))) == lines(call, "return relu(")


def test_a_model_may_look_at_its_rectifiers():
    def call(self, x):
        assert isinstance(self.act, LeakyReLU)
        assert isinstance(self.learned, PReLU)
        return self.learned(self.act(x) * self.act.alpha + self.learned.alpha[...])

    model = of(call, act=LeakyReLU(0.1), learned=PReLU())
    assert list(dead_units(model, [jnp.ones((2, 3))])) == ["act", "learned"]
    assert type(model.act) is LeakyReLU
    assert set(vars(model.act)) == set(vars(LeakyReLU(0.1)))


@pytest.mark.parametrize("features", [None, 3])
@pytest.mark.parametrize("flavour", ["nnx", "linen"])
def test_the_units_of_a_prelu_lie_along_its_axis(features, flavour):
    x = jnp.ones((2, 3, 5)).at[:, 1].set(-1.0)
    if flavour == "nnx":
        model = of(lambda self, x: self.act(x), act=PReLU(features, axis=1))
    else:
        act = linen.PReLU(features, axis=1)
        model = act.bind(act.init(jax.random.key(0), x))
    assert dead_unit(dead_units(model, [x])) == ("act" if flavour == "nnx" else "rectifier", 1)


def test_slopes_along_an_axis_tell_the_units_of_a_function():
    x = jnp.ones((2, 3, 5)).at[:, 1].set(-1.0)
    model = of(lambda self, x: prelu(x, self.alpha[...], axis=1), alpha=nnx.Param(jnp.full(3, 0.25)))
    (report,) = dead_units(model, [x]).values()
    assert report.never_positive.tolist() == [False, True, False]


VMAPS = {
    "front": lambda self, x: jax.vmap(lambda x: self.act(self.linear(x)))(x),
    "examples last": lambda self, x: jax.vmap(lambda x: self.act(self.linear(x)), in_axes=1)(x.T),
    "examples last in the rectifier": lambda self, x: jax.vmap(self.act, in_axes=1, out_axes=1)(
        self.linear(x).T
    ),
    "under jit": lambda self, x: jax.vmap(jax.jit(lambda x: self.act(x)), in_axes=1)(self.linear(x).T),
    "transposed": lambda self, x: self.act(self.linear(x).T),
    "one feature": lambda self, x: jax.vmap(lambda x: self.act(self.linear(x)[2]))(x),
    "positions last": lambda self, x: jax.vmap(self.act, in_axes=2)(jnp.stack([self.linear(x)] * 3, axis=2)),
    "twice": lambda self, x: jax.vmap(jax.vmap(lambda x: self.act(self.linear(x)), in_axes=1))(
        jnp.stack([x] * 3, axis=2)
    ),
}


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(ReLU(), id="module"),
        pytest.param(relu, id="own", marks=pytest.mark.models),
        pytest.param(nnx.relu, id="relu"),
        pytest.param(nnx.leaky_relu, id="leaky", marks=pytest.mark.models),
    ],
)
@pytest.mark.parametrize("layout", VMAPS)
def test_units_are_told_wherever_vmap_puts_them(layout, act):
    linear = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    linear.bias = nnx.Param(jnp.zeros(4).at[2].set(-100.0))

    class Model(nnx.Module):
        def __init__(self):
            self.linear = linear
            self.act = act

        __call__ = VMAPS[layout]

    x = batches(3)[0]
    (counts,) = unit_counts(Model(), x).values()
    expected = brute_force([linear(x)])[0]
    repeats = 3 if layout in ("positions last", "twice") else 1
    np.testing.assert_array_equal(
        counts.positive, expected[2:3] if layout == "one feature" else expected * repeats
    )


def test_channels_of_a_cnn_under_vmap_are_its_units():
    class PerExample(CNN):
        def __call__(self, x):
            return jax.vmap(lambda x: nnx.relu(self.head(nnx.relu(self.conv(x)).mean((0, 1)))))(x)

    model = PerExample(nnx.Rngs(0))
    model.conv.bias = nnx.Param(jnp.zeros(4).at[1].set(-100.0))
    data = batches(6, 6, 3)
    first, second = dead_units(model, data).values()
    channels = [model.conv(x) for x in data]
    check(first, channels)
    check(second, [model.head(jax.nn.relu(x).mean((1, 2))) for x in channels])


def stacked(rngs, size, **keywords):
    """Linear layers 3 -> 3 with one unit killed: unit 1 of layer 2."""

    @nnx.vmap
    def make(key):
        return nnx.Linear(3, 3, rngs=nnx.Rngs(key), **keywords)

    layers = make(jax.random.split(rngs.params(), size))
    layers.bias = nnx.Param(jnp.ones((size, 3)).at[2, 1].set(-100.0))
    return layers


def one_of(layers: Any, number, x):
    return x @ layers.kernel[number] + layers.bias[number][None]


@pytest.mark.parametrize("act", [ReLU, lambda: nnx.relu], ids=["module", "function"])
def test_layers_of_a_scan_are_apart(act):
    class Layer(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(3, 3, rngs=rngs)
            self.act = act()

        def __call__(self, x):
            return self.act(self.linear(x))

    class Stack(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.vmap(Layer)(rngs.split(4))
            self.layers.linear = stacked(rngs, 4)

        def __call__(self, x):
            return nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(
                x, self.layers
            )

    model = Stack(nnx.Rngs(0))
    x = jnp.abs(batches(3)[0])
    reports = dead_units(model, [x])
    name = "layers/act" if act is ReLU else f"layers ({lines(Layer, 'self.act(self')[0]})"
    assert list(reports) == [f"{name}[{layer}]" for layer in range(4)]
    for layer, report in enumerate(reports.values()):
        x = one_of(model.layers.linear, layer, x)
        check(report, [x])
        x = jax.nn.relu(x)
    assert (f"{name}[2]", 1) in [
        (name, unit) for name, r in reports.items() for unit in np.flatnonzero(r.never_positive)
    ]


@pytest.mark.parametrize("axes", [{"in_axes": (0, None)}, {"in_axes": (0, None), "out_axes": -1}])
@pytest.mark.parametrize("act", [ReLU(), nnx.relu], ids=["module", "function"])
def test_members_of_a_vmap_over_parameters_are_apart(act, axes):
    def call(self, x):
        return nnx.vmap(lambda expert, x: self.act(expert(x)), **axes)(self.experts, x)

    class Experts(nnx.Module):
        def __init__(self):
            self.experts = stacked(nnx.Rngs(0), 4)
            self.act = act

        __call__ = call

    model = Experts()
    x = batches(3)[0]
    reports = dead_units(model, [x])
    name = "act" if isinstance(act, ReLU) else lines(call, "self.act(expert")[0]
    assert list(reports) == [f"{name}[{expert}]" for expert in range(4)]
    for expert, report in enumerate(reports.values()):
        check(report, [one_of(model.experts, expert, x)])


def test_experts_of_one_product_are_apart():
    weights = jax.random.normal(jax.random.key(9), (2, 3, 5))
    model = of(
        lambda self, x: self.act(jnp.einsum("bd,edf->bef", x, self.w[...])), w=nnx.Param(weights), act=ReLU()
    )
    data = batches(3)
    reports = dead_units(model, data)
    assert list(reports) == ["act[0]", "act[1]"]
    for expert, report in enumerate(reports.values()):
        check(report, [x @ weights[expert] for x in data])


def test_parameters_that_the_model_stacks_are_layers():
    def call(self, x):
        weights = jnp.stack([weight[...] for weight in self.weights])
        return jax.lax.scan(lambda x, w: (nnx.relu(x @ w), x), x, weights)

    weights = [jax.random.normal(jax.random.key(i), (3, 3)) for i in range(2)]
    model = of(call, weights=nnx.List([nnx.Param(weight) for weight in weights]))
    x = batches(3)[0]
    (line,) = lines(call, "nnx.relu")
    reports = dead_units(model, [x])
    assert list(reports) == [f"{line}[0]", f"{line}[1]"]
    check(reports[f"{line}[0]"], [x @ weights[0]])
    check(reports[f"{line}[1]"], [jax.nn.relu(x @ weights[0]) @ weights[1]])


def test_rectifiers_that_flax_calls_are_named_by_their_module():
    cell = nnx.OptimizedLSTMCell(3, 4, activation_fn=nnx.relu, rngs=nnx.Rngs(0))
    assert list(unit_counts(nnx.RNN(cell), batches(5, 3)[0])) == ["cell", "cell (call 2)"]


def test_layers_of_a_linen_scan_are_apart():
    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return linen.ReLU()(nn.Dense(3)(x)), None

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            scan = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
            return scan(name="layers")(x, None)

    layers = Stack()
    data = batches(3)
    variables: Any = layers.init(jax.random.key(0), data[0])
    dense = variables["params"]["layers"]["Dense_0"]
    dense["bias"] = dense["bias"].at[1, 2].set(-100.0)
    reports = dead_units(layers.bind(variables), data)
    assert list(reports) == [f"layers/ReLU_0[{layer}]" for layer in range(3)]
    for layer, report in enumerate(reports.values()):
        data = [x @ dense["kernel"][layer] + dense["bias"][layer][None] for x in data]
        check(report, data)
        data = [jax.nn.relu(x) for x in data]


def test_steps_of_one_layer_count_together():
    def call(self, x):
        x, _ = jax.lax.scan(lambda x, _: (relu(self.linear(x)), None), x, None, length=3)
        x, _ = jax.lax.scan(lambda x, t: (nnx.relu(self.linear(x) + t), None), x, jnp.linspace(0, 1, 3))
        return jax.lax.map(lambda x: nnx.leaky_relu(self.linear(x)), x)

    model = of(call, linear=nnx.Linear(3, 3, rngs=nnx.Rngs(0)))
    counts = unit_counts(model, batches(3)[0])
    assert [(sum(np.array(c)[:, 0]), name) for name, c in counts.items()] == [
        (number, line)
        for number, line in zip((21, 21, 7), lines(call, "relu(self", "nnx.relu(", "leaky_relu"), strict=True)
    ]


def test_the_branch_that_is_taken_is_counted():
    def call(self, x):
        return jax.lax.cond(x.sum() > 0, lambda x: self.first(x), lambda x: nnx.relu(x) + relu(-x), x)

    model = of(call, first=ReLU(), never=ReLU())
    x = jnp.array([[1.0, -2.0, 3.0]])
    (line,) = lines(call, "lax.cond")
    reports = dead_units(model, [x, x, -x])
    assert list(reports) == [line, f"{line} (call 2)", "first"]
    check(reports["first"], [x, x])
    check(reports[line], [-x])
    check(reports[f"{line} (call 2)"], [x])
    assert list(dead_units(model, [x])) == ["first"]


class OwnRule(nnx.Module):
    """Its rectifiers are under a rule of derivatives of its own."""

    def __init__(self):
        self.act = ReLU()

    def __call__(self, x):
        @jax.custom_vjp
        def twice(x):
            return jax.nn.relu(x) * 2

        twice.defvjp(lambda x: (twice(x), None), lambda _, g: (g,))

        @jax.custom_jvp
        def thrice(x):
            return self.act(x) * 3

        thrice.defjvp(lambda primals, tangents: (thrice(*primals), tangents[0]))
        return thrice(twice(x))


def test_rectifiers_under_other_transformations_are_found():
    x = batches(3)[0]
    plain, *_ = unit_counts(of(lambda self, x: relu(x)), x).values()

    def gradient(self, x):
        def loss(x):
            return (jax.checkpoint(lambda x: nnx.leaky_relu(self.act(x)))(x)).sum()

        return jax.grad(loss)(x)

    models = [OwnRule(), of(gradient, act=LeakyReLU(0.1))]
    for model in models:
        first, second = unit_counts(model, x).values()
        np.testing.assert_array_equal(np.array(first), np.array(plain))
        assert (second.positive == plain.positive).all()


def test_bridged_models_are_counted():
    x = batches(3)[0]
    inner = bridge.ToNNX(LinenMLP(), rngs=nnx.Rngs(0))
    inner.lazy_init(x)
    model = of(lambda self, x: self.act(self.inner(x)), inner=inner, act=ReLU())
    assert list(unit_counts(model, x)) == ["inner/first", "inner/second", "act"]

    linear = bridge.to_linen(MLP)
    reports = dead_units(linear.bind(linear.init(jax.random.key(0), x)), [x])
    assert list(reports) == [*lines(MLP, "x = act"), f"{lines(MLP, 'x = act')[0]} (call 2)"]


def test_what_batches_hold_beside_the_input_is_left_out():
    data = [(x, jnp.zeros(len(x), int)) for x in batches(3)]
    model = MLP(nnx.Rngs(0))
    expected = dead_units(model, [x for x, _ in data])
    for inputs in (0, lambda batch: batch[0]):
        jax.tree.map(np.testing.assert_array_equal, dead_units(model, data, inputs=inputs), expected)
    named = [{"x": x, "y": y} for x, y in data]
    jax.tree.map(np.testing.assert_array_equal, dead_units(model, named, inputs="x"), expected)


def test_arrays_among_the_keywords_are_inputs():
    class Model(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
            self.act = ReLU()

        def __call__(self, x, context, double):
            return self.act(self.linear(context * (2 if double else 1)))

    model, x = Model(), batches(3)[0]
    reports = dead_units(model, [x], context=x, double=True)
    check(reports["act"], [model.linear(2 * x)])


def test_dormant_units_are_those_far_below_their_layers_mean():
    linear = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    linear.kernel = nnx.Param(jnp.diag(jnp.array([1.0, 1e-3, 1.0, 1.0]))[:3])
    linear.bias = nnx.Param(jnp.array([0.0, 0.0, -100.0, 0.0]))
    data = [jnp.abs(x) for x in batches(3)]
    (report,) = dead_units(nnx.Sequential(linear, nnx.relu), data).values()
    h = np.maximum(np.concatenate([linear(x) for x in data]), 0).mean(0)
    np.testing.assert_allclose(report.activity, h / h.mean(), rtol=1e-5)
    assert report.dormant(0.025).tolist() == [False, True, True, True]
    assert report.dormant().tolist() == [False, False, True, True]
    assert report.never_positive.tolist() == [False, False, True, True]


def test_a_layer_of_zeros_is_dormant():
    (report,) = dead_units(of(lambda self, x: relu(x)), [jnp.array([[-1.0, -2.0]])]).values()
    assert report.dormant().tolist() == [True, True]


class Noisy(nn.Module):
    """Dropout and batch statistics, in training mode."""

    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=False)(nn.Dropout(0.5, deterministic=False)(x))
        return linen.RReLU(deterministic=False, name="act")(x)


def test_a_linen_model_keeps_what_it_is_bound_with():
    model, x = Noisy(), batches(3)[0]
    keys = {"dropout": jax.random.key(1), "rrelu": jax.random.key(2)}
    variables: Any = model.init({"params": jax.random.key(0), **keys}, x)
    bound = model.bind(variables, rngs=keys, mutable=["batch_stats"])
    before = jax.tree.map(np.asarray, variables)
    report = dead_units(bound, [x])["act"]
    jax.tree.map(np.testing.assert_array_equal, dict(bound.variables), before)
    expected = np.abs(bound(x)).mean(0)
    np.testing.assert_allclose(report.activity, expected / expected.mean(), rtol=1e-5)


def test_messages():
    with pytest.raises(
        ValueError, match="must call rectifiers of `lrelu_jax` or `jax.nn`.* but got none in Linear"
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


def test_what_cannot_be_attributed_is_refused():
    x = jnp.ones((2, 3, 4))
    with pytest.raises(ValueError, match=r"units .* test_diagnostics.py:\d+ .* shape \(4, 2, 3\)"):
        unit_counts(of(lambda self, x: jax.vmap(lambda x: relu(jnp.sin(x)))(jnp.moveaxis(x, 2, 0))), x)
    sharded = jax.shard_map(
        nnx.relu,
        mesh=jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,)),
        in_specs=jax.P("batch"),
        out_specs=jax.P("batch"),
    )
    with pytest.raises(ValueError, match="but got one inside shard_map"):
        unit_counts(of(lambda self, x: sharded(x)), x)

    def unknown(self, x):
        weights = jax.lax.while_loop(lambda w: w.sum() > 9, lambda w: w / 2, self.w[...])
        return jax.lax.scan(lambda x, w: (relu(x @ w), None), x, weights)

    with pytest.raises(
        ValueError,
        match=r"told from layers, but what test_diagnostics.py:\d+ is scanned over .* cannot be followed",
    ):
        unit_counts(of(unknown, w=nnx.Param(jnp.ones((2, 4, 4)))), x[:, 0])
    with pytest.raises(ValueError, match=r"must hold at least one example, but got act with shape \(0, 3\)"):
        dead_units(of(lambda self, x: self.act(x), act=ReLU()), [jnp.ones((2, 3)), jnp.ones((0, 3))])
    with pytest.raises(ValueError, match="one width, but act got 3 units from the first and 4 from another"):
        dead_units(of(lambda self, x: self.act(x), act=ReLU()), [jnp.ones((2, 3)), jnp.ones((2, 4))])
    with pytest.raises(ValueError, match="one width, but act got 3 units from the first and 1 from another"):
        dead_units(of(lambda self, x: self.act(x), act=ReLU()), [jnp.ones((2, 3)), jnp.ones((2, 1))])
