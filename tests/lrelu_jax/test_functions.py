import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from lrelu_jax import elu, leaky_relu, prelu, relu, rrelu
from tests.cases import cases

# One and the same search in every run, so that a failure here is a failure everywhere.
deterministic = settings(
    derandomize=True, deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
DTYPES = ("bfloat16", "float16", "float32", "float64")
SUBGRADIENTS = ("left", "right", "midpoint", 0.3)
mean_rrelu = functools.partial(rrelu, key=None)


def precision(dtype):
    """float64 exists only under this context."""
    return jax.enable_x64(dtype == "float64")


def slopes(function, x, *args, **kwargs):
    """The derivative in x at each element."""
    return jax.jit(jax.vmap(jax.grad(lambda x: function(x, *args, **kwargs))))(x)


# Compiled once per dtype, alpha being an argument.
elu_slopes = jax.jit(jax.vmap(jax.grad(elu), (0, None)))
leaky_relu_slopes = jax.jit(jax.vmap(jax.grad(leaky_relu), (0, None)))


def bits(x):
    x = np.asarray(x)
    return x.view(f"uint{8 * x.dtype.itemsize}")


def same_bits(actual, expected):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    with np.errstate(invalid="ignore"):  # ml_dtypes warns of NaNs that signal
        nan = np.isnan(expected)
        np.testing.assert_array_equal(np.isnan(actual), nan)
    np.testing.assert_array_equal(bits(actual)[~nan], bits(expected)[~nan])


def special(dtype):
    """Zeros, subnormals, the normal numbers' ends, infinities and NaN."""
    info = jnp.finfo(dtype)
    positive = [0.0, info.smallest_subnormal, info.tiny, 1.0, 1.5, info.max, np.inf]
    return np.array([*positive, *(-value for value in positive), np.nan], dtype=jnp.dtype(dtype))


def reference(x, alpha):
    """NumPy's own: `x` or `alpha * x`, the product in float32 for 16 bits, rounded once."""
    wide = np.float64 if x.dtype == np.float64 else np.float32
    with np.errstate(invalid="ignore", over="ignore"):
        below = (wide(alpha) * x.astype(wide)).astype(x.dtype) if alpha else np.zeros_like(x)
        return np.where(x < 0, below, x)


def flushed(x):
    """Subnormals as zeros of the same sign, which a backend may return for them."""
    with np.errstate(invalid="ignore"):  # ml_dtypes warns where it compares NaN
        return np.where(np.abs(x) < jnp.finfo(x.dtype).tiny, np.copysign(np.zeros_like(x), x), x)


def ulps(actual, expected):
    """The distance to a float64 truth, in units in the last place of `actual`'s dtype."""
    actual = np.asarray(actual)
    return np.abs(actual.astype(np.float64) - expected) / np.spacing(np.abs(expected).astype(actual.dtype))


# Values


@pytest.mark.parametrize("function", [leaky_relu, elu])
@pytest.mark.parametrize("pattern", [0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF])
def test_a_nan_slope_gives_nan_below_zero_whatever_its_bits(function, pattern):
    slope = jnp.asarray(np.array(pattern, np.uint32).view(np.float32))
    for dtype in ("bfloat16", "float16", "float32"):
        y = function(jnp.array([-1, 2], dtype), slope)
        np.testing.assert_array_equal(y.astype(jnp.float32), [np.nan, 2])


def test_bfloat16_rounds_half_to_even_and_over_the_largest_to_infinity():
    # 257 and 259 are halfway between the bfloat16 256, 258 and 260.
    x, slopes = jnp.full(4, -1, jnp.bfloat16), jnp.array([257, 259, -257.001, 3.4e38])
    y = jax.vmap(leaky_relu)(x, slopes)
    np.testing.assert_array_equal(y.astype(jnp.float32), [-256, -260, 258, -jnp.inf])


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.25, 1.0, 2.5, -0.5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_value_is_x_or_alpha_x_rounded_once(dtype, alpha):
    with precision(dtype):
        random = np.random.default_rng(0).normal(size=1000).astype(jnp.dtype(dtype))
        x = np.concatenate([special(dtype), random])
        y = np.asarray(leaky_relu(x, alpha))
        np.testing.assert_array_equal(bits(flushed(y)), bits(flushed(reference(x, alpha))))


@pytest.mark.parametrize("alpha", [0.0, 0.1, -0.5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_negative_comes_back_as_it_is_subnormals_and_signed_zeros_too(dtype, alpha):
    with precision(dtype):
        x = special(dtype)
        x = x[~(np.signbit(x) & (x != 0))]
        for y in (leaky_relu(x, alpha), elu(x, alpha), prelu(x, alpha), relu(x), rrelu(x, None)):
            same_bits(y, x)


@deterministic
@given(
    x=st.floats(width=32, allow_nan=True, allow_subnormal=False),
    alpha=st.floats(-4, 4, width=32, allow_subnormal=False),
)
def test_any_float32_agrees_with_numpy(x, alpha):
    x = np.float32(x)
    expected = reference(np.array([x]), np.float32(alpha))
    same_bits(flushed(np.asarray(leaky_relu(np.array([x]), alpha))), flushed(expected))


@deterministic
@given(x=st.floats(-80, 80, width=32, allow_subnormal=False), alpha=st.floats(0.125, 4, width=32))
def test_elu_and_its_derivative_are_within_4_ulp(x, alpha):
    x = np.array([x], np.float32)
    wide, alpha_wide = x.astype(np.float64), np.float64(alpha)
    below = wide < 0
    value = np.where(below, alpha_wide * np.expm1(wide), wide)
    slope = np.where(wide > 0, 1, alpha_wide * np.exp(np.minimum(wide, 0)))
    # The contract's own bound; a backend may flush a value that is subnormal.
    flushes = np.abs(value) < np.finfo(np.float32).tiny
    assert ulps(elu(x, alpha), value) <= 4 or (flushes and elu(x, alpha) == 0)
    assert ulps(elu_slopes(x, alpha), slope) <= 4


@pytest.mark.parametrize("alpha", [1.0, 0.3, -1.7])
def test_elu_is_within_4_ulp_down_to_minus_80_with_both_derivatives(alpha):
    x = -np.concatenate([np.logspace(-30, np.log10(80), 20_001), np.linspace(0.001, 80, 20_001)])
    x = x.astype(np.float32)
    wide, alpha_wide = x.astype(np.float64), np.float64(np.float32(alpha))
    truth = alpha_wide * np.exp(wide)
    second = slopes(jax.grad(elu), x, alpha)
    # The contract's own bound.
    assert ulps(elu(x, alpha), alpha_wide * np.expm1(wide)).max() <= 4
    assert ulps(slopes(elu, x, alpha), truth).max() <= 4
    assert ulps(second, truth).max() <= 4


def test_elu_in_float64_is_within_4_ulp():
    with jax.enable_x64(True):
        x = -np.concatenate([np.logspace(-30, np.log10(80), 2001), np.linspace(0.001, 80, 2001)])
        # NumPy's long double is the truth here, and rounding it to float64 costs half of a unit.
        value = np.expm1(x.astype(np.longdouble)).astype(np.float64)
        slope = np.exp(x.astype(np.longdouble)).astype(np.float64)
        assert ulps(elu(x), value).max() <= 4
        assert ulps(slopes(elu, x), slope).max() <= 4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_elu_and_its_derivative_are_rounded_right_at_every_negative_16_bit_number(dtype):
    x = np.arange(2**15, 2**16, dtype=np.uint16).view(jnp.dtype(dtype))
    with np.errstate(invalid="ignore"):  # ml_dtypes warns where it converts NaN
        wide = x.astype(np.float64)
    tiny = float(jnp.finfo(jnp.float32).tiny)  # float32 is what they are computed in, and a backend may flush
    x, wide = x[wide <= -tiny], wide[wide <= -tiny]
    for actual, truth in ((elu(x), np.expm1(wide)), (slopes(elu, x), np.exp(wide))):
        rounded = truth.astype(x.dtype)
        normal = np.abs(truth) >= tiny
        same_bits(np.asarray(actual)[normal], rounded[normal])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("subgradient", SUBGRADIENTS)
def test_relu_is_leaky_relu_of_slope_0_in_value_and_derivative(dtype, subgradient):
    with precision(dtype):
        options = {"subgradient": subgradient}

        @jax.jit
        def both(x, *alpha):
            """Without a slope those of relu, else those of leaky_relu, of this slope and of a constant 0."""
            if not alpha:
                return relu(x, **options), slopes(relu, x, **options)
            each = [(leaky_relu(x, a, **options), slopes(leaky_relu, x, a, **options)) for a in (0, *alpha)]
            return [*each[0], *each[1]]

        x = special(dtype)
        for mine, expected in zip(both(x, jnp.zeros(())), 2 * both(x), strict=True):
            same_bits(mine, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_relu_is_leaky_relu_of_slope_0_on_every_16_bit_float(dtype):
    x = np.arange(2**16, dtype=np.uint16).view(jnp.dtype(dtype))
    same_bits(leaky_relu(x, 0.0), relu(x))
    same_bits(slopes(leaky_relu, x, jnp.zeros(())), slopes(relu, x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_slope_1_is_the_identity_but_for_negative_subnormals(dtype):
    with precision(dtype):
        x = special(dtype)
        same_bits(flushed(np.asarray(leaky_relu(x, 1.0))), flushed(x))
        same_bits(leaky_relu_slopes(x, 1.0), np.where(np.isnan(x), x, np.ones_like(x)))


def test_prelu_with_one_slope_is_leaky_relu():
    x = special("float32")
    same_bits(prelu(x, 0.1), leaky_relu(x, 0.1))
    same_bits(slopes(prelu, x, 0.1), slopes(leaky_relu, x, 0.1))
    matrix = x.reshape(3, 5)
    same_bits(prelu(matrix, jnp.full(5, 0.1)), leaky_relu(matrix, 0.1))


# The derivative in x


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0, 2.5, -0.5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_derivative_is_1_or_alpha_for_subnormals_too_and_nan_at_nan(dtype, alpha):
    with precision(dtype):
        x = special(dtype)
        expected = np.where(np.signbit(x) | (x == 0), alpha, 1.0)
        expected = np.where(np.isnan(x), np.nan, expected).astype(x.dtype)
        same_bits(leaky_relu_slopes(x, alpha), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "left"),
    [
        (relu, 0.0),
        (functools.partial(leaky_relu, alpha=0.25), 0.25),
        (functools.partial(prelu, alpha=0.25), 0.25),
        (functools.partial(rrelu, key=None, lower=0.25, upper=0.25), 0.25),
        (functools.partial(elu, alpha=2.0), 2.0),
    ],
)
def test_the_derivative_at_both_zeros_is_the_chosen_one(function, left, dtype):
    with precision(dtype):
        zeros = jnp.array([0.0, -0.0], dtype)
        sides = {"left": left, "right": 1.0, "midpoint": (left + 1) / 2, 0.125: 0.125, -3: -3.0, 0: 0.0}
        found = jax.jit(lambda x: [slopes(function, x, subgradient=side) for side in sides])(zeros)
        for slope, expected in zip(found, sides.values(), strict=True):
            same_bits(slope, np.full(2, expected, zeros.dtype))


def test_left_is_the_default():
    assert jax.grad(leaky_relu)(0.0, 0.25) == 0.25
    assert jax.grad(relu)(0.0) == 0
    assert jax.grad(elu)(0.0, 3.0) == 3


def test_the_subgradient_can_be_swept_by_vmap_and_traced_by_jit():
    values = jnp.array([-1.0, 0.0, 0.5, 2.0])
    for function in (relu, leaky_relu, elu, mean_rrelu):
        derivative = jax.grad(lambda x, s, function=function: function(x, subgradient=s))
        zeros = jax.jit(jax.vmap(derivative, (None, 0)))(jnp.zeros(()), values)
        np.testing.assert_array_equal(zeros, values)
        np.testing.assert_array_equal(jax.vmap(derivative, (None, 0))(jnp.ones(()), values), np.ones(4))


def test_a_constant_zero_slope_stops_an_infinite_cotangent():
    for x in (-1.0, 0.0):
        assert jax.grad(lambda x: jnp.sqrt(relu(x)))(x) == 0
        assert jax.grad(lambda x: jnp.sqrt(leaky_relu(x, 0.0)))(x) == 0


def test_nan_in_one_element_leaves_the_others_derivatives_alone():
    x = jnp.array([-1.0, jnp.nan, 0.0, 2.0])
    for function in (relu, leaky_relu, elu):
        slope = jax.grad(lambda x, function=function: function(x).sum())(x)
        np.testing.assert_array_equal(jnp.isnan(slope), [False, True, False, False])


def test_relu_derivative_does_not_depend_on_whether_a_subnormal_came_from_numpy_or_jax():
    # jax.nn.relu has 1 for a NumPy scalar and 0 for a JAX one on CPU.
    for x in (1e-40, np.float32(1e-40), np.array(1e-40, np.float32), jnp.float32(1e-40)):
        assert jax.jvp(relu, (jnp.asarray(x, jnp.float32),), (jnp.float32(1),))[1] == 1
        assert jax.grad(relu)(x if isinstance(x, float | jax.Array) else jnp.asarray(x)) == 1


def test_elu_derivative_does_not_vanish_as_in_jax_nn_elu_before_0_12():
    for x in (-17.0, -20.0):
        assert ulps(jax.grad(elu)(x), np.exp(np.float64(x))) <= 4


# The derivative in alpha


def test_the_alpha_derivative_at_plus_infinity_is_0_where_jax_nn_leaky_relu_has_nan():
    x = jnp.array([jnp.inf, 3.0, 0.0, -2.0])
    in_alpha = jax.vmap(jax.grad(leaky_relu, 1), (0, None))
    np.testing.assert_array_equal(in_alpha(x, 0.1), [0, 0, 0, -2])
    assert jnp.isnan(jax.grad(jax.nn.leaky_relu, 1)(jnp.inf, 0.1))
    assert jax.grad(prelu, 1)(jnp.inf, 0.1) == 0
    assert jax.grad(elu, 1)(jnp.inf, 0.1) == 0


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0, 2.5, -0.5])
def test_the_alpha_derivative_is_the_negative_part(alpha):
    x = jnp.array([-np.inf, -2.5, -1.0, -0.0, 0.0, 1.0, np.nan])
    slope = jax.vmap(jax.grad(leaky_relu, 1), (0, None))(x, alpha)
    np.testing.assert_array_equal(slope, [-np.inf, -2.5, -1.0, 0, 0, 0, np.nan])


@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16"])
def test_the_slope_gradient_of_4_million_bf16_elements_is_right_where_flax_prelu_loses_it(param_dtype):
    n = 2**22
    x = jax.random.normal(jax.random.key(0), (n,), jnp.bfloat16)
    truth = np.minimum(np.asarray(x).astype(np.float64), 0).mean()

    def error(prelu):
        gradient = jax.jit(jax.grad(lambda alpha, x: prelu(x, alpha).mean()))(jnp.array(0.25, param_dtype), x)
        return abs(float(gradient) / truth - 1)

    def flax_prelu(x, alpha):
        module = nnx.PReLU()
        module.negative_slope = nnx.Param(alpha)
        return module(x)

    # 0.1 % is the contract; a bfloat16 parameter's gradient is itself rounded to 8 bits.
    assert error(prelu) < (1e-3 if param_dtype == "float32" else 2**-8)
    # flax sums in bfloat16; how far off that is (1 % to 36 % were seen) depends on how XLA splits the sum.
    assert error(flax_prelu) > 1e-3


def test_a_slope_per_channel_gets_the_sum_over_the_others():
    x = jax.random.normal(jax.random.key(0), (4, 3, 5))
    for axis, others in ((-1, (0, 1)), (1, (0, 2)), (0, (1, 2))):
        alpha = jnp.full(x.shape[axis], 0.25)
        gradient = jax.jit(jax.grad(lambda alpha, axis=axis: prelu(x, alpha, axis=axis).sum()))(alpha)
        # Sums of at most 20 float32 numbers, in another order.
        np.testing.assert_allclose(gradient, np.minimum(x, 0).sum(others), rtol=1e-5)


def test_prelu_lays_slopes_along_the_axis():
    x = -jnp.ones((2, 3, 2))
    alpha = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(prelu(x, alpha, axis=1)[0, :, 0], [-1, -2, -3])
    np.testing.assert_array_equal(prelu(x, alpha[:2])[0, 0], [-1, -2])


# Dtypes


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("alpha_dtype", ["bfloat16", "float32", "int32"])
def test_the_output_has_the_dtype_of_x_whatever_that_of_alpha(dtype, alpha_dtype):
    # A vmapped float32 alpha widens a bf16 model to float32 in jax.nn.leaky_relu.
    x, alphas = jnp.ones(3, dtype), jnp.ones(2, alpha_dtype)
    for function in (leaky_relu, elu, prelu):
        assert jax.vmap(function, (None, 0))(x, alphas).dtype == dtype


def test_float64_slopes_keep_their_precision_for_float64_inputs():
    with jax.enable_x64(True):
        assert leaky_relu(np.float64(-1), 0.1) == -0.1
        assert leaky_relu(np.float32(-1), np.float64(0.1)).dtype == jnp.float32


def test_integers_and_booleans_become_the_default_float():
    # flax.nnx.PReLU casts its slope to int 0 here, and returns [0, 0, 2].
    x = jnp.array([-4, 0, 2])
    for function in (leaky_relu, prelu):
        same_bits(function(x, 0.25), np.array([-1, 0, 2], np.float32))
        assert jax.grad(lambda alpha, function=function: function(x, alpha).sum())(0.25) == -4
    same_bits(relu(np.array([True, False])), np.array([1, 0], np.float32))
    with jax.enable_x64(True):
        assert relu(3).dtype == jnp.float64


@pytest.mark.parametrize("function", [relu, leaky_relu, prelu, elu, rrelu])
def test_complex_input_is_refused_by_name_where_jax_nn_orders_it(function):
    arguments = {prelu: (0.1,), rrelu: (None,)}.get(function, ())
    with pytest.raises(
        TypeError, match=rf"`x` of `{function.__name__}` must be real, but got dtype complex64"
    ):
        function(jnp.array([-1 + 1j]), *arguments)
    with pytest.raises(TypeError, match="`alpha` of `leaky_relu` must be real"):
        leaky_relu(1.0, 1j)


# Memory, transformations, sharding, compilation


def kept(function, x):
    """The arrays of x's size that the backward pass keeps, function alone, as dtypes."""
    _, pull = jax.vjp(function, x)
    return sorted(str(leaf.dtype) for leaf in jax.tree.leaves(pull) if leaf.size >= x.size)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_backward_pass_keeps_one_byte_per_element(dtype):
    x = jnp.linspace(-1, 1, 999).astype(dtype)
    key = jax.random.key(0)
    channels = jnp.full(999, 0.1)
    for subgradient in ("left", "right", 0.5):
        assert kept(functools.partial(relu, subgradient=subgradient), x) == ["int8"]
        assert kept(functools.partial(leaky_relu, subgradient=subgradient), x) == ["int8"]
    assert kept(jax.jit(leaky_relu), x) == ["int8"]
    assert kept(lambda x: rrelu(x, key), x) == ["int8"]
    assert kept(elu, x) == [dtype]
    # A slope per element or channel is kept as what it is, once, and not broadcast further.
    assert kept(lambda x: prelu(jnp.stack([x, x]), channels), x) == ["float32", "int8"]


def test_the_backward_pass_keeps_x_besides_when_alpha_is_differentiated():
    x = jnp.linspace(-1, 1, 999)
    _, pull = jax.vjp(leaky_relu, x, jnp.float32(0.1))
    assert sorted(str(leaf.dtype) for leaf in jax.tree.leaves(pull) if leaf.size == 999) == [
        "float32",
        "int8",
    ]


def test_a_scan_keeps_one_byte_per_element_and_step():
    @jax.jit
    def steps(x):
        return jax.lax.scan(lambda x, _: (leaky_relu(x - 0.1, 0.5), None), x, length=7)[0]

    _, pull = jax.vjp(steps, jnp.linspace(-1, 1, 999))
    stacked = [leaf for leaf in jax.tree.leaves(pull) if leaf.size >= 999]
    assert [(leaf.dtype, leaf.size) for leaf in stacked] == [(jnp.int8, 7 * 999)]


def test_a_differentiated_scan_needs_no_more_memory_than_with_jax_nn():
    # Selects between integer constants were once hoisted out of the loop as whole arrays, read at every step.
    def temporaries(function):
        def total(x):
            return jax.lax.scan(lambda x, _: (function(x - 0.1), None), x, length=7)[0].sum()

        memory = jax.jit(jax.grad(total)).lower(jnp.ones(4096)).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    # A few scalars more or less.
    assert temporaries(leaky_relu) <= temporaries(jax.nn.leaky_relu) + 1024


@pytest.mark.parametrize(
    ("ours", "peer"),
    [(relu, jax.nn.relu), (leaky_relu, jax.nn.leaky_relu), (elu, jax.nn.elu)],
    ids=["relu", "leaky_relu", "elu"],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_more_bytes_are_accessed_than_by_jax_nn(ours, peer, dtype):
    x = jnp.ones((256, 256), dtype)

    def accessed(function, *arguments):
        cost = jax.jit(function).lower(*arguments).compile().cost_analysis()
        assert cost is not None
        return cost["bytes accessed"]

    assert accessed(ours, x) <= accessed(peer, x)
    backward = [lambda x, g, f=f: jax.vjp(f, x)[1](g) for f in (ours, peer)]
    assert accessed(backward[0], x, x) <= accessed(backward[1], x, x)


CASES = {
    "relu": lambda x, alpha: relu(x),
    "leaky_relu": leaky_relu,
    "leaky_relu, right": functools.partial(leaky_relu, subgradient="right"),
    "prelu": lambda x, alpha: prelu(x, alpha),
    "rrelu, training": lambda x, alpha: rrelu(x, jax.random.key(3), lower=alpha / 2, upper=alpha * 2),
    "rrelu, evaluation": lambda x, alpha: rrelu(x, None, lower=alpha / 2, upper=alpha * 2),
    "elu": elu,
}


# The others have the rule of one of these, up to numbers.
@pytest.mark.parametrize("name", cases(CASES, ("leaky_relu", "rrelu, training", "elu"), "models"))
def test_derivatives_agree_with_differences_to_third_order(name):
    # PyTorch's RReLU gradient was wrong unseen, since its check ran in evaluation: here it trains, on a
    # fixed key.
    x, alpha = np.array([-2.5, 0.7]), np.array(0.3)
    with jax.enable_x64(True):
        for mode in ("fwd", "rev"):
            check_grads(jax.jit(CASES[name]), (x, alpha), order=3, modes=[mode])


@pytest.mark.parametrize("name", CASES)
def test_every_transformation_gives_the_same_derivatives(name):
    function = CASES[name]
    x, alpha = jnp.array([-2.0, -0.5, 0.0, 3.0]), jnp.float32(0.25)

    def total(x, alpha):
        return (function(x, alpha) ** 2).sum()

    def by_scan(x, alpha):
        return jax.lax.scan(lambda s, _: (s + total(x, alpha), None), 0.0, length=1)[0]

    def by_cond(x, alpha):
        return jax.lax.cond(alpha > 0, total, lambda x, alpha: 0 * alpha, x, alpha)

    def by_linearize(x, alpha):
        _, linear = jax.linearize(total, x, alpha)
        return jax.linear_transpose(linear, x, alpha)(jnp.float32(1))

    def by_vmap(x, alpha):
        mapped = jax.vmap(jax.grad(total, (0, 1)), (None, 0))(x, jnp.stack([alpha, alpha * 2]))
        return jax.tree.map(lambda leaf: leaf[0], mapped)

    @jax.jit
    def every_way(x, alpha):
        gradients = [jax.grad(f, (0, 1))(x, alpha) for f in (jax.checkpoint(total), by_scan, by_cond)]
        forward = jax.jacfwd(total)(x, alpha), jax.jacfwd(total, 1)(x, alpha)
        return [*gradients, forward, by_linearize(x, alpha), by_vmap(x, alpha)]

    expected = jax.grad(total, (0, 1))(x, alpha)
    for actual in every_way(x, alpha):
        # Programs of different shape round differently in the last place.
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), actual, expected)


@pytest.mark.parametrize("name", ["leaky_relu", "elu"])
def test_the_hessian_is_right_and_symmetric(name):
    function = CASES[name]
    (xx, xa), (ax, aa) = jax.hessian(function, (0, 1))(-0.5, 1.5)
    e = np.exp(np.float32(-0.5))
    expected = [0, 1, 1, 0] if name == "leaky_relu" else [1.5 * e, e, e, 0]
    # One or two roundings of exp.
    np.testing.assert_allclose([xx, xa, ax, aa], expected, rtol=3e-7)
    # At zero, by the default "left", both mixed derivatives are the limit from below too.
    (_, xa), (ax, _) = jax.hessian(function, (0, 1))(0.0, 1.5)
    assert xa == ax == 1


def test_scanning_over_alpha_matches_the_closed_form():
    def cubed(alpha, x):
        return jax.lax.scan(lambda x, _: (leaky_relu(x, alpha), None), x, length=3)[0].sum()

    x = -jnp.array([1.0, 2.0])
    alphas = jnp.array([0.5, 2.0])
    # Products of powers of two are exact.
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(jax.grad(cubed), (0, None)))(alphas, x), 3 * alphas**2 * x.sum()
    )


def test_alpha_and_x_broadcast_against_each_other_and_gradients_come_back_in_shape():
    x, alpha = jnp.full((4, 1), -2.0), jnp.array([0.5, 1.0, 2.0])
    np.testing.assert_array_equal(leaky_relu(x, alpha), np.asarray(x) * np.asarray(alpha))
    dx, dalpha = jax.grad(lambda x, a: leaky_relu(x, a).sum(), (0, 1))(x, alpha)
    np.testing.assert_array_equal(dx, np.full((4, 1), 3.5))
    np.testing.assert_array_equal(dalpha, np.full(3, -8.0))
    np.testing.assert_array_equal(elu(-jnp.inf, alpha), -alpha)


@pytest.mark.parametrize("function", [relu, leaky_relu, elu, lambda x: rrelu(x, jax.random.key(0))])
def test_sharded_inputs_keep_their_sharding(function):
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.NamedSharding(mesh, jax.P("batch"))
    x = jax.random.normal(jax.random.key(1), (8, 3))
    sharded = jax.device_put(x, sharding)
    y, pull = jax.vjp(function, sharded)
    assert y.sharding.is_equivalent_to(sharding, 2)
    assert pull(y)[0].sharding.is_equivalent_to(sharding, 2)
    np.testing.assert_array_equal(y, function(x))


def test_explicitly_sharded_inputs_keep_their_sharding():
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.arange(-4.0, 4.0).reshape(4, 2), jax.P("batch", None))
        for function in (relu, leaky_relu, elu, lambda x: prelu(x, jnp.array([0.1, 0.2]))):
            y, slope = jax.jit(lambda x, f=function: (f(x), jax.grad(lambda x: f(x).sum())(x)))(x)
            assert y.sharding == slope.sharding == x.sharding


@pytest.mark.parametrize("function", [leaky_relu, prelu, elu])
def test_a_new_value_of_alpha_does_not_retrace(function):
    traces = 0

    @jax.jit
    def step(x, alpha):
        nonlocal traces
        traces += 1
        return jax.grad(lambda a: function(x, a).sum())(alpha)

    x = jnp.ones(3)
    for alpha in (0.1, 0.2, 0.0, -1.0):
        step(x, alpha)
    assert traces == 1


# RReLU's draw


def test_rrelu_draws_one_slope_per_element_within_the_bounds():
    x = -jnp.ones(20_000)
    slope = -rrelu(x, jax.random.key(0), lower=0.2, upper=0.6)
    assert jnp.unique(slope).size > 19_000
    assert slope.min() >= 0.2 and slope.max() <= 0.6
    # The standard errors of mean and variance of 20,000 uniform draws of this width are 0.0008 and 0.00008.
    assert abs(slope.mean() - 0.4) < 0.004 and abs(slope.var() - 0.4**2 / 12) < 0.0004


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rrelu_forward_and_backward_see_one_draw(dtype):
    x = -jnp.ones(1000, dtype)
    for key in (jax.random.key(0), jax.random.PRNGKey(1)):
        y, pull = jax.vjp(lambda x, key=key: rrelu(x, key), x)
        np.testing.assert_array_equal(pull(jnp.ones_like(x))[0], -y)
        _, slope = jax.jvp(lambda x, key=key: rrelu(x, key), (x,), (jnp.ones_like(x),))
        np.testing.assert_array_equal(slope, -y)


def test_rrelu_redraws_per_key_and_members_of_a_vmap_draw_differently():
    x = -jnp.ones(100)
    members = jax.vmap(rrelu, (None, 0))(x, jax.random.split(jax.random.key(0), 3))
    assert jnp.unique(members).size > 290
    for member, key in zip(members, jax.random.split(jax.random.key(0), 3), strict=True):
        np.testing.assert_array_equal(member, rrelu(x, key))


def test_rrelu_with_equal_bounds_is_leaky_relu_and_the_mean_is_the_midpoint():
    x = special("float32")
    same_bits(rrelu(x, jax.random.key(0), lower=0.25, upper=0.25), leaky_relu(x, 0.25))
    # (lower + upper) / 2, and not (upper + upper) / 2, as a Torch7 gist once had it.
    same_bits(rrelu(x, None, lower=0.25, upper=0.75), leaky_relu(x, 0.5))
    # 1/8 and 1/3 are rounded to float32 before their mean is.
    np.testing.assert_allclose(rrelu(-1.0, None), -11 / 48, rtol=1e-7)


# Messages


def test_messages_say_what_must_hold_and_what_came():
    with pytest.raises(ValueError, match="`alpha` must be finite, but got alpha=nan"):
        leaky_relu(1.0, float("nan"))
    with pytest.raises(ValueError, match="`alpha` must be finite, but got alpha=inf"):
        elu(1.0, np.inf)
    with pytest.raises(ValueError, match="`alpha` must be finite"):
        prelu(np.ones(2), np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match="real scalar, but got 'rigth'; did you mean 'right'"):
        relu(1.0, subgradient="rigth")
    with pytest.raises(ValueError, match="`subgradient` must be finite, but got subgradient=inf"):
        relu(1.0, subgradient=np.inf)
    with pytest.raises(ValueError, match=r"`subgradient` must be a scalar, but got shape \(2,\)"):
        relu(1.0, subgradient=jnp.ones(2))
    with pytest.raises(
        ValueError, match="`lower <= upper` must hold.* lower=0.5, upper=0.1; did you mean lower=0.1"
    ):
        rrelu(1.0, None, lower=0.5, upper=0.1)
    with pytest.raises(ValueError, match="`upper` must be finite, but got upper=inf"):
        rrelu(1.0, None, upper=np.inf)
    with pytest.raises(ValueError, match="but got 3 slopes for 5 channels along axis -1"):
        prelu(jnp.ones((2, 5)), jnp.ones(3))
    with pytest.raises(
        ValueError, match=r"`axis` must be an axis of `x`, but got axis=2 for x of shape \(5,\)"
    ):
        prelu(jnp.ones(5), jnp.ones(5), axis=2)


def test_traced_values_are_never_checked():
    assert jnp.isnan(jax.jit(leaky_relu)(-1.0, jnp.nan))
    assert jax.grad(jax.jit(leaky_relu))(2.0, jnp.inf) == 1
    assert jax.jit(lambda low, high: rrelu(-2.0, None, lower=low, upper=high))(0.75, 0.25) == -1
