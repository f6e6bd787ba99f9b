from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax

from sweeps.ops.convolution import conv_general_dilated

CHANNELS_LAST = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}

# float32: two orders of summing k products differ by about sqrt(k) * 6e-8 of the largest sum; k is at most
# 1,300 here. bfloat16 results are rounded once, to 8 bits, from float32 sums: one ulp, 2**-8 to 2**-7.
TOLERANCE = {jnp.float32: 1e-5, jnp.bfloat16: 2**-6}


def draw(seed, *shapes, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def by_definition(lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, feature_group_count, **_):
    """The sum over the kernel's taps of products of slices, with derivatives of slices and products."""
    pads = [(low, high, d - 1) for (low, high), d in zip(padding, lhs_dilation or (1, 1), strict=True)]
    lhs = lax.pad(lhs, jnp.zeros((), lhs.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    dilation = rhs_dilation or (1, 1)
    sizes = [
        (size - d * (taps - 1) - 1) // stride + 1
        for size, d, taps, stride in zip(lhs.shape[1:3], dilation, rhs.shape[:2], window_strides, strict=True)
    ]
    total = jnp.zeros((lhs.shape[0], *sizes, rhs.shape[3]))
    for tap in np.ndindex(*rhs.shape[:2]):
        start = [i * d for i, d in zip(tap, dilation, strict=True)]
        rows, columns = (
            slice(begin, begin + stride * (size - 1) + 1, stride)
            for begin, stride, size in zip(start, window_strides, sizes, strict=True)
        )
        part = lhs[:, rows, columns].reshape(lhs.shape[0], *sizes, feature_group_count, -1)
        taken = rhs[tap].reshape(rhs.shape[2], feature_group_count, -1)
        total += jnp.einsum("nhwgc,cgo->nhwgo", part, taken).reshape(total.shape)
    return total


def value_and_gradients(convolve, lhs, rhs, **options):
    def both(lhs, rhs):
        output, pullback = jax.vjp(lambda a, b: convolve(a, b, **options), lhs, rhs)
        cotangent = jnp.cos(jnp.arange(output.size, dtype=jnp.float32)).reshape(output.shape)
        return output, *pullback(cotangent.astype(output.dtype))

    return jax.jit(both)(lhs, rhs)


def assert_close(results, expected, tolerance=1e-5):
    for result, reference in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
        assert result.shape == reference.shape and result.dtype == reference.dtype
        reference = np.asarray(reference, np.float64)
        scale = np.abs(reference).max() + 1e-30
        np.testing.assert_allclose(np.asarray(result, np.float64) / scale, reference / scale, atol=tolerance)


def assert_same_as_jax(lhs, rhs, tolerance=1e-5, **options):
    results = value_and_gradients(conv_general_dilated, lhs, rhs, **options)
    assert_close(results, value_and_gradients(lax.conv_general_dilated, lhs, rhs, **options), tolerance)


# jax.lax takes no padding by name together with input dilation.
PADDED_AND_DILATED = [
    (padding, *dilations)
    for padding in ("SAME", "VALID", ((2, 0), (1, 3)), ((-1, 2), (0, -1)))
    for dilations in ((None, None), (None, (2, 2)), ((2, 1), None), ((1, 3), (2, 2)))
    if not (isinstance(padding, str) and dilations[0])
]


STRIDES = [(1, 1), (2, 3)]


def default(case, runs):
    """A parameter that is always run, or with `-m models` alone."""
    return pytest.param(*case, marks=() if runs else pytest.mark.models)


# By default each padding and dilation runs with one of the strides.
@pytest.mark.parametrize(
    "strides, padding, lhs_dilation, rhs_dilation",
    [
        default((strides, *case), (number + place) % 2 == 0)
        for number, case in enumerate(PADDED_AND_DILATED)
        for place, strides in enumerate(STRIDES)
    ],
)
def test_value_and_both_gradients_equal_those_of_jax(strides, padding, lhs_dilation, rhs_dilation):
    groups, features = (1, 6) if strides == (1, 1) else (2, 20)
    lhs, rhs = draw(0, (3, 9, 8, 4), (3, 2, 4 // groups, features))
    options: dict[str, Any] = dict(
        window_strides=strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=CHANNELS_LAST[2],
        feature_group_count=groups,
    )
    # jax.lax's own gradient in the kernel, with negative padding and strides (2, 3), is uninitialised
    # memory on CPU (jax 0.10.2: up to 5e27 where the right values are at most 108).
    reference = by_definition if padding == ((-1, 2), (0, -1)) else lax.conv_general_dilated
    results = value_and_gradients(conv_general_dilated, lhs, rhs, **options)
    assert_close(results, value_and_gradients(reference, lhs, rhs, **options))


SIZES = [
    ((8, 8), (3, 3), jnp.float32),
    ((7, 9), (3, 3), jnp.bfloat16),
    ((5, 11), (1, 4), jnp.float32),
    ((3, 3), (3, 3), jnp.float32),
]
FOLDS = [(1, 16), (16, 16), (5, 1), (3, 40)]


# By default each size with one of the folds.
@pytest.mark.parametrize(
    "size, kernel, dtype, channels, features",
    [
        default((*size, *fold), number == place)
        for number, size in enumerate(SIZES)
        for place, fold in enumerate(FOLDS)
    ],
)
def test_every_fold_of_columns_at_odd_and_even_sizes(size, kernel, dtype, channels, features):
    lhs, rhs = draw(1, (4, *size, channels), (*kernel, channels, features), dtype=dtype)
    assert_same_as_jax(
        lhs,
        rhs,
        TOLERANCE[dtype],
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=CHANNELS_LAST[2],
    )


@pytest.mark.parametrize(
    "stride, padding, groups, dtype",
    [(1, "SAME", 1, jnp.bfloat16), (2, "VALID", 1, jnp.float32), (3, ((4, 1),), 2, jnp.float32)],
)
def test_one_dimension(stride, padding, groups, dtype):
    lhs, rhs = draw(2, (3, 13, 4), (5, 4 // groups, 6), dtype=dtype)
    assert_same_as_jax(
        lhs,
        rhs,
        TOLERANCE[dtype],
        window_strides=(stride,),
        padding=padding,
        dimension_numbers=CHANNELS_LAST[1],
        feature_group_count=groups,
    )


def test_three_dimensions_and_batch_groups_are_passed_to_jax():
    lhs, rhs = draw(3, (2, 5, 4, 3, 2), (2, 3, 2, 2, 4))
    assert_same_as_jax(lhs, rhs, window_strides=(1, 2, 1), padding="SAME", dimension_numbers=CHANNELS_LAST[3])
    lhs, rhs = draw(4, (4, 6, 6, 3), (3, 3, 3, 4))
    options: dict[str, Any] = dict(window_strides=(1, 1), padding="SAME", dimension_numbers=CHANNELS_LAST[2])
    assert_same_as_jax(lhs, rhs, batch_group_count=2, **options)


def test_other_layouts_and_dtypes():
    lhs, rhs = draw(5, (2, 3, 9, 7), (4, 3, 3, 3))
    assert_same_as_jax(lhs, rhs, window_strides=(2, 1), padding="SAME")  # NCHW, OIHW
    assert_same_as_jax(
        lhs, rhs, window_strides=(1, 1), padding="VALID", dimension_numbers=("NCHW", "OIHW", "HWNC")
    )
    small, kernel = draw(5, (2, 3, 9, 7), (4, 3, 3, 3), dtype=jnp.bfloat16)
    wide = conv_general_dilated(small, kernel, (1, 1), "SAME", preferred_element_type=jnp.float32)
    expected = lax.conv_general_dilated(small, kernel, (1, 1), "SAME", preferred_element_type=jnp.float32)
    assert_close(wide, expected)


def test_an_empty_batch():
    lhs, rhs = jnp.zeros((0, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    options: dict[str, Any] = dict(window_strides=(1, 1), padding="SAME", dimension_numbers=CHANNELS_LAST[2])
    assert conv_general_dilated(lhs, rhs, **options).shape == (0, 8, 8, 4)


@pytest.mark.parametrize(
    "image, kernel, stride, padding",
    [
        ((1, 1), (1, 1), 3, ((1, 1), (1, 1))),
        ((1, 1), (1, 1), 3, ((1, 3), (1, 3))),  # windows before and after the image
        ((4, 3), (2, 2), 1, ((0, 0), (5, -4))),
        ((8, 8), (3, 3), 1, ((-9, 12), (0, 0))),
        ((8, 8), (3, 3), 1, ((0, 0), (12, -9))),
        ((8, 8), (3, 3), 1, ((-8, 11), (0, 0))),
    ],
)
def test_a_kernel_that_sees_padding_alone_gives_zeros(image, kernel, stride, padding):
    lhs, rhs = draw(20, (1, *image, 2), (*kernel, 2, 3))
    options: dict[str, Any] = dict(
        window_strides=(stride, stride), padding=padding, dimension_numbers=CHANNELS_LAST[2]
    )
    shape = jax.eval_shape(lambda a, b: lax.conv_general_dilated(a, b, **options), lhs, rhs).shape
    output, *slopes = value_and_gradients(conv_general_dilated, lhs, rhs, **options)
    np.testing.assert_array_equal(output, lax.conv_general_dilated(lhs, rhs, **options))
    assert output.shape == shape and not output.any() and not any(slope.any() for slope in slopes)


def test_all_but_one_row_may_be_cropped():
    lhs, rhs = draw(21, (2, 8, 8, 3), (3, 3, 3, 4))
    options: dict[str, Any] = dict(
        window_strides=(1, 1), padding=((-7, 9), (0, 0)), dimension_numbers=CHANNELS_LAST[2]
    )
    results = value_and_gradients(conv_general_dilated, lhs, rhs, **options)
    options |= dict(lhs_dilation=None, rhs_dilation=None, feature_group_count=1)
    assert_close(results, value_and_gradients(by_definition, lhs, rhs, **options))


@pytest.fixture
def unchecked():
    """Without the checks of annotations that the other tests run under, as users are."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("of", [np.array, list])
def test_strides_and_dilations_may_be_arrays(of, unchecked):
    lhs, rhs = draw(22, (2, 8, 8, 3), (3, 3, 3, 4))
    assert_same_as_jax(
        lhs,
        rhs,
        window_strides=of([1, 2]),
        padding=((1, 1), (1, 1)),
        lhs_dilation=of([2, 1]),
        rhs_dilation=of([1, 2]),
        dimension_numbers=CHANNELS_LAST[2],
    )


def test_errors_are_those_of_jax():
    lhs, rhs = draw(6, (2, 8, 8, 3), (3, 3, 5, 4))
    with pytest.raises(ValueError, match="must equal the rhs input feature dimension size, but 3 // 1 != 5"):
        conv_general_dilated(lhs, rhs, (1, 1), "SAME", dimension_numbers=CHANNELS_LAST[2])


@pytest.mark.parametrize(
    "axes, groups",
    [
        default((axes, groups), groups == 1 or axes == (0, 0))
        for groups in (1, 2)
        for axes in ((None, 0), (0, None), (0, 0), (1, 3))
    ],
)
def test_under_vmap_over_kernels_inputs_or_both(axes, groups):
    lhs, rhs = draw(7, (2, 7, 6, 4), (3, 3, 4 // groups, 6))

    def stacked(array, axis, seed):
        if axis is None:
            return array
        shape = list(array.shape)
        shape.insert(axis, 3)
        return draw(seed, shape)[0]

    lhs, rhs = stacked(lhs, axes[0], 8), stacked(rhs, axes[1], 9)
    options: dict[str, Any] = dict(
        window_strides=(1, 2),
        padding="SAME",
        dimension_numbers=CHANNELS_LAST[2],
        feature_group_count=groups,
    )

    def members(convolve):
        one = jax.vmap(lambda a, b: value_and_gradients(convolve, a, b, **options), axes)
        summed = jax.grad(
            lambda pair: jnp.sum(jnp.sin(jax.vmap(lambda a, b: convolve(a, b, **options), axes)(*pair)))
        )
        return jax.jit(lambda a, b: (one(a, b), summed((a, b))))(lhs, rhs)

    assert_close(members(conv_general_dilated), members(lax.conv_general_dilated))


def test_under_two_vmaps():
    lhs, rhs = draw(10, (2, 4, 6, 6, 3), (2, 3, 3, 3, 4))[0], draw(11, (5, 3, 3, 3, 4))[0]

    def crossed(convolve):
        def one(a, b):
            return convolve(a, b, (1, 1), "SAME", dimension_numbers=CHANNELS_LAST[2])

        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(lhs, rhs)

    assert_close(crossed(conv_general_dilated), crossed(lax.conv_general_dilated))


@pytest.mark.parametrize("wrap", [lambda f: f, jax.checkpoint])
def test_training_inside_a_scan(wrap):
    lhs, rhs = draw(12, (4, 8, 8, 3), (3, 3, 3, 3))

    def train(convolve):
        @wrap
        def loss(kernel):
            hidden = jnp.tanh(convolve(lhs, kernel, (1, 1), "SAME", dimension_numbers=CHANNELS_LAST[2]))
            return jnp.mean(
                convolve(hidden, kernel, (2, 2), "VALID", dimension_numbers=CHANNELS_LAST[2]) ** 2
            )

        def step(kernel, _):
            value, gradient = jax.value_and_grad(loss)(kernel)
            return kernel - 0.01 * gradient, value

        return jax.jit(lambda kernel: lax.scan(step, kernel, length=5))(rhs)

    # Five steps of plain descent, not chaotic: each adds one gradient's rounding.
    assert_close(train(conv_general_dilated), train(lax.conv_general_dilated))


def test_second_derivatives_under_vmap():
    lhs, rhs = draw(13, (2, 6, 5, 2), (2, 3, 3, 2, 3))

    def second(convolve):
        def value(lhs, rhs):
            outputs = convolve(lhs, rhs, (2, 1), "SAME", dimension_numbers=CHANNELS_LAST[2])
            return jnp.sum(jnp.sin(outputs))

        def slope(lhs, rhs):
            first, other = jax.grad(value, (0, 1))(lhs, rhs)
            return jnp.sum(jnp.sin(first)) + jnp.sum(jnp.cos(other))

        both = jax.grad(slope, (0, 1))
        return jax.jit(jax.vmap(both, (None, 0)))(lhs, rhs)

    assert_close(second(conv_general_dilated), second(lax.conv_general_dilated))


def test_forward_mode_is_refused_not_wrong():
    lhs, rhs = draw(13, (2, 6, 5, 2), (3, 3, 2, 3))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(
            lambda w: conv_general_dilated(lhs, w, (1, 1), "SAME", dimension_numbers=CHANNELS_LAST[2]),
            [rhs],
            [rhs],
        )


def grouped_or_not_canonical(text):
    lines = [line for line in text.splitlines() if " convolution(" in line]
    assert lines
    return [x for x in lines if "feature_group_count" in x or "dim_labels=b01f_01io->b01f" not in x]


def test_on_cpu_members_compile_to_plain_canonical_convolutions():
    lhs, rhs = draw(14, (4, 3, 8, 8, 8), (4, 3, 3, 8, 8))

    def gradients(convolve):
        def value(a, b):
            return jnp.sum(convolve(a, b, (1, 1), "SAME", dimension_numbers=CHANNELS_LAST[2]) ** 2)

        function = jax.vmap(jax.grad(value, (0, 1)))
        return jax.jit(function).lower(lhs, rhs).compile().as_text()

    if jax.default_backend() != "cpu":
        pytest.skip("only CPUs take turns")
    assert grouped_or_not_canonical(gradients(conv_general_dilated)) == []
    assert grouped_or_not_canonical(gradients(lax.conv_general_dilated)) != []


class NNXNet(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.second = nnx.Conv(4, 4, (3, 3), strides=2, rngs=rngs)

    def __call__(self, x):
        return self.second(jnp.tanh(self.first(x)))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Conv(4, (3, 3), strides=2)(jnp.tanh(nn.Conv(4, (3, 3))(x)))


def descend(loss, params):
    optimizer = optax.adam(1e-2)

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    return jax.jit(lambda p: lax.scan(step, (p, optimizer.init(p)), length=4)[1])(params)


@pytest.mark.models
def test_an_nnx_convolution_trains_the_same():
    (images,) = draw(15, (8, 6, 6, 1))

    def losses(convolve):
        model = NNXNet(nnx.Rngs(0))
        if convolve:
            for _, module in nnx.iter_modules(model):
                if isinstance(module, nnx.Conv):
                    module.conv_general_dilated = convolve
        graph, params = nnx.split(model)
        return descend(lambda p: jnp.mean((nnx.merge(graph, p, copy=True)(images) - 1) ** 2), params)

    # Adam divides by the gradient's size: rounding of 1e-7 in it moves a step by as much, four times.
    assert_close(losses(conv_general_dilated), losses(None))


def test_a_linen_convolution_trains_the_same_through_an_interceptor():
    (images,) = draw(16, (8, 6, 6, 1))
    model = LinenNet()
    params = model.init(jax.random.key(0), images)
    calls = []

    def intercept(following, args, kwargs, context):
        module = context.module
        if (
            type(module) is nn.Conv
            and context.method_name == "__call__"
            and module.conv_general_dilated is None
        ):
            calls.append(module.name)
            object.__setattr__(module, "conv_general_dilated", conv_general_dilated)
        return following(*args, **kwargs)

    def loss(p):
        return jnp.mean((jnp.asarray(model.apply(p, images)) - 1) ** 2)

    def lowered(p):
        with nn.intercept_methods(intercept):
            return loss(p)

    # As for NNX above.
    assert_close(descend(lowered, params), descend(loss, params))
    assert set(calls) == {"Conv_0", "Conv_1"}
