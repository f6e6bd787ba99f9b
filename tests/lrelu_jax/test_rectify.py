"""What programs other than a plain `jit` on one device make of the rules."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify, pallas
from jax.experimental.jet import jet

from lrelu_jax import elu, export, leaky_relu, prelu, relu, rrelu
from tests.cases import cases

FUNCTIONS = {
    "relu": relu,
    "relu, right": functools.partial(relu, subgradient="right"),
    "leaky_relu": leaky_relu,
    "leaky_relu, midpoint": functools.partial(leaky_relu, subgradient="midpoint"),
    "prelu": lambda x: prelu(x, 0.25),
    "rrelu": lambda x: rrelu(x, jax.random.key(0)),
    "elu": elu,
}
each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())


def total(function):
    return lambda *arguments: function(*arguments).sum()


# Checks for NaN


@each_function
def test_checks_for_nan_find_none_on_ordinary_data(function):
    x = jnp.array([-2.0, -0.0, 0.0, 1e-40, 3.0])
    derivative = jax.grad(total(function))
    assert "nan" not in str(jax.make_jaxpr(derivative)(x))
    expected = derivative(x)
    with jax.debug_nans(True), jax.disable_jit():
        function(x)
        # Compiled together or one by one, programs round differently in the last place.
        np.testing.assert_allclose(derivative(x), expected, rtol=1e-6)
    with jax.disable_jit():
        error, _ = checkify.checkify(derivative, errors=checkify.float_checks)(x)
    assert error.get() is None
    error, _ = checkify.checkify(jax.jit(derivative), errors=checkify.all_checks)(x)
    assert error.get() is None


@each_function
@pytest.mark.parametrize(
    "dtype", cases(["float32", "bfloat16", "float16", "float64"], ["float32", "bfloat16"], "models")
)
def test_the_derivative_at_nan_is_nan_and_nowhere_else(function, dtype):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.array([-2.0, jnp.nan, 0.0, -jnp.nan, 3.0, jnp.inf, -jnp.inf], dtype)
        for derivative in (jax.grad(total(function)), jax.jit(jax.grad(total(function)))):
            np.testing.assert_array_equal(jnp.isnan(derivative(x)), np.isnan(x))
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan"):
        function(jnp.array(jnp.nan))


# Meshes


def explicit_mesh():
    return jax.set_mesh(jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,)))


SLOPES = {
    "full shape": lambda x: jnp.full(x.shape, 0.25),
    "one per channel": lambda x: jnp.array([0.25, 0.5]),
    "one per row": lambda x: jnp.full((4, 1), 0.25),
    "scalar": lambda x: jnp.array(0.25),
}


# By default one function, sharded as batches are.
@pytest.mark.parametrize(
    ("function", "spec"),
    [
        pytest.param(
            function,
            spec,
            marks=() if function is leaky_relu and spec[0] else pytest.mark.models,
        )
        for function in (leaky_relu, elu, functools.partial(leaky_relu, subgradient="midpoint"))
        for spec in (("d", None), (None, "d"), (None, None))
    ],
)
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("sharded", ["x", "alpha"])
def test_slopes_of_any_layout_on_a_mesh_with_explicit_axes(function, slope, spec, sharded):
    x = jnp.arange(-4.0, 4.0).reshape(4, 2)
    alpha = SLOPES[slope](x)
    value_and_grad = jax.value_and_grad(lambda x, alpha: (function(x, alpha) ** 2).sum(), (0, 1))
    expected = value_and_grad(x, alpha)
    with explicit_mesh():
        if sharded == "x":
            x = jax.device_put(x, jax.P(*spec))
        else:
            axes = spec[len(spec) - alpha.ndim :]
            axes = [axis if size > 1 else None for axis, size in zip(axes, alpha.shape, strict=True)]
            alpha = jax.device_put(alpha, jax.P(*axes))
        # Operation by operation takes long, each being compiled, so one layout stands for all.
        one_by_one = [value_and_grad] if (slope, spec) == ("one per channel", ("d", None)) else []
        for way in (jax.jit(value_and_grad), *one_by_one):
            actual = way(x, alpha)
            # Sums over two devices are in another order.
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), actual, expected)
            assert sharded == "alpha" or actual[1][0].sharding.is_equivalent_to(x.sharding, 2)


def test_rrelu_on_a_mesh_with_explicit_axes_draws_what_it_draws_without():
    x, key = jnp.arange(-4.0, 4.0).reshape(4, 2), jax.random.key(0)
    expected = jax.value_and_grad(lambda x: (rrelu(x, key) ** 2).sum())(x)
    mesh = jax.make_mesh((2,), ("d",))
    for types in (mesh.axis_types, (jax.sharding.AxisType.Explicit,)):
        with jax.set_mesh(jax.make_mesh((2,), ("d",), axis_types=types)):
            sharded = jax.device_put(x, jax.P("d"))
            assert rrelu(sharded, key).sharding.is_equivalent_to(sharded.sharding, 2)
            for way in (jax.value_and_grad, lambda f: jax.jit(jax.value_and_grad(f))):
                actual = way(lambda x: (rrelu(x, key) ** 2).sum())(sharded)
                jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), actual, expected)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("function", [relu, leaky_relu, elu, functools.partial(rrelu, key=None)])
def test_a_subgradient_per_device_under_shard_map(function, check):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))

    def derivative(x, subgradient):
        # One copy of x per device, or its gradient would be the sum over them where the check is on.
        x = jax.lax.pcast(x, "d", to="varying") if check else x
        return jax.grad(lambda x: function(x, subgradient=subgradient[0]).sum())(x)[None]

    def replicated(x, subgradient):
        return jax.grad(lambda x: function(x, subgradient=subgradient[0]).sum())(x)[None]

    specs = {"in_specs": (jax.P(), jax.P("d")), "out_specs": jax.P("d"), "check_vma": check}
    x, values = jnp.zeros(3), jnp.array([0.25, 0.5])
    own = jax.jit(jax.shard_map(derivative, mesh=mesh, **specs))(x, values)
    np.testing.assert_array_equal(own, [[0.25] * 3, [0.5] * 3])
    both = jax.jit(jax.shard_map(replicated, mesh=mesh, **specs))(x, values)
    np.testing.assert_array_equal(both, [[0.75] * 3] * 2 if check else own)


# Programs


@each_function
def test_nothing_of_ours_but_the_rule_is_left_in_a_traced_program(function):
    if function is FUNCTIONS["rrelu"]:
        return  # its draws are equations of their own
    *before, rule = [equation.primitive.name for equation in jax.make_jaxpr(function)(jnp.ones(3)).eqns]
    assert rule == "custom_jvp_call" and set(before) <= {"add", "div"}  # the midpoint of the slopes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@each_function
def test_pallas_lowers_the_functions_for_tpu(function, dtype):
    if function is FUNCTIONS["rrelu"]:
        function = functools.partial(rrelu, key=None)  # a kernel draws with the TPU's own generator

    def kernel(x, y):
        y[...] = function(x[...])

    x = jnp.ones((16, 128), dtype)
    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    call = pallas.pallas_call(kernel, out_shape=out)
    assert "tpu_custom_call" in jax.export.export(jax.jit(call), platforms=["tpu"])(x).mlir_module()
    interpreted = pallas.pallas_call(kernel, out_shape=out, interpret=True)
    np.testing.assert_array_equal(interpreted(-x), function(-x))


@pytest.mark.models
def test_jet_refuses_every_custom_derivative_and_takes_what_is_exported():
    # JAX's own: `jet` cannot follow a custom_jvp, and jax.nn.relu and jax.nn.softplus are some.
    arguments = ((jnp.array([-2.0, 3.0]),), ((jnp.ones(2), jnp.zeros(2)),))
    for function in (jax.nn.relu, leaky_relu):
        with pytest.raises(Exception, match="tracer|process_primitive"):
            jet(function, *arguments)
    with export.jax_nn():
        _, (first, second) = jet(lambda x: leaky_relu(x, 0.25), *arguments)
    np.testing.assert_array_equal(first, [0.25, 1])
    np.testing.assert_array_equal(second, [0, 0])


# Weak types


@each_function
def test_the_result_of_a_python_scalar_is_weakly_typed_as_with_jax_nn(function):
    for x in (0.5, -0.5, 3):
        y = function(x)
        assert y.dtype == jnp.float32 and y.weak_type
        with jax.numpy_dtype_promotion("standard"):
            assert (jnp.bfloat16(1) * y).dtype == jnp.bfloat16
            assert (jnp.bfloat16(1) * jax.jit(lambda: function(0.5))()).dtype == jnp.bfloat16
    assert not function(jnp.float32(0.5)).weak_type
    assert jax.grad(function)(-0.5) == jax.grad(function)(jnp.float32(-0.5))


# 8 and 4 bits


@pytest.mark.parametrize(
    "dtype",
    ["float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz"]
    + ["float8_e5m2", "float8_e5m2fnuz"],
)
@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0, -0.5])
def test_every_number_of_8_bits(unchecked, dtype, alpha):
    x = np.arange(256, dtype=np.uint8).view(jnp.dtype(dtype))
    wide = x.astype(np.float32)
    with np.errstate(invalid="ignore"):  # 0 times infinity
        below = (np.float32(alpha) * np.where(wide < 0, wide, 0)).astype(x.dtype)
    expected = np.where(wide < 0, below if alpha else np.zeros_like(x), x)
    y = leaky_relu(x, alpha)
    assert y.dtype == x.dtype
    numbers = ~np.isnan(wide)
    np.testing.assert_array_equal(np.asarray(y).view(np.uint8)[numbers], expected.view(np.uint8)[numbers])
    assert np.isnan(np.asarray(y).astype(np.float32))[~numbers].all()
    slope = jax.vjp(lambda x: leaky_relu(x, alpha), jnp.asarray(x))[1](jnp.ones_like(x))[0]
    derivative = np.where(wide > 0, 1, np.float32(alpha)).astype(x.dtype).astype(np.float32)
    actual = np.asarray(slope).astype(np.float32)
    np.testing.assert_array_equal(actual[numbers], derivative[numbers])
    assert np.isnan(actual)[~numbers].all()
