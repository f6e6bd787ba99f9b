import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.test_util import check_grads

from sweeps.models.variables import lowered, lowered_linen
from sweeps.ops.dense import dot_general

DENSE = (((1,), (0,)), ((), ()))
# Narrow kernels, wide ones, the last and the first that are neither, and both bounds of "narrow".
KERNELS = [(64, 10), (64, 32), (64, 33), (19, 10), (20, 10), (5, 1), (8, 127), (8, 128), (64, 200)]

# float32: two orders of summing k products differ by about sqrt(k) * 6e-8 of the largest sum, k at most
# 200 here. 16-bit results are rounded once from float32 sums: two ulp.
TOLERANCE = {jnp.float32: 1e-5, jnp.float16: 2**-9, jnp.bfloat16: 2**-6}


def draw(seed, *shapes, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def value_and_gradients(product, rows, kernel, numbers=DENSE):
    def both(rows, kernel):
        output, pullback = jax.vjp(lambda a, b: product(a, b, numbers), rows, kernel)
        cotangent = jnp.cos(jnp.arange(output.size, dtype=jnp.float32)).reshape(output.shape)
        return output, *pullback(cotangent.astype(output.dtype))

    return jax.jit(both)(rows, kernel)


def assert_close(found, expected, tolerance=1e-5):
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        wide = [np.asarray(array, np.float64) for array in (mine, theirs)]
        np.testing.assert_allclose(*wide, rtol=0, atol=tolerance * max(1, np.abs(wide[1]).max()))


@pytest.mark.parametrize(
    "shape, dtype",
    [(shape, jnp.float32) for shape in KERNELS]
    + [(shape, dtype) for shape in [(64, 10), (8, 128)] for dtype in (jnp.float16, jnp.bfloat16)],
)
def test_value_and_both_gradients_equal_those_of_jax(shape, dtype):
    rows, kernel = draw(0, (7, shape[0]), shape, dtype=dtype)
    found, expected = (value_and_gradients(each, rows, kernel) for each in (dot_general, lax.dot_general))
    assert_close(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("shape", [(64, 10), (8, 128)])
def test_under_vmap_over_rows_kernels_or_both(shape, axes):
    rows, kernel = draw(1, (3, 6, shape[0]), (3, *shape))
    arguments = tuple(x if axis == 0 else x[0] for x, axis in zip((rows, kernel), axes, strict=True))
    found, expected = (
        jax.vmap(functools.partial(value_and_gradients, each), axes)(*arguments)
        for each in (dot_general, lax.dot_general)
    )
    assert_close(found, expected)


def test_under_two_vmaps():
    rows, kernel = draw(2, (6, 8), (2, 3, 8, 128))
    found, expected = (
        jax.vmap(jax.vmap(functools.partial(value_and_gradients, each), (None, 0)), (None, 0))(rows, kernel)
        for each in (dot_general, lax.dot_general)
    )
    assert_close(found, expected)


@pytest.mark.parametrize("shape", [(6, 3), (3, 128)])
def test_derivatives_of_higher_order_in_both_modes(shape):
    rows, kernel = draw(3, (2, shape[0]), shape)

    def value(rows, kernel):
        return jnp.sin(dot_general(rows, kernel, DENSE))

    # Finite differences of float32 values: half their digits.
    check_grads(jax.jit(value), (rows, kernel), order=2, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("shape", [(6, 3), (3, 128)])
def test_forward_mode_linearize_and_forward_over_reverse_for_members(shape):
    rows, kernels, change = draw(4, (2, shape[0]), (3, *shape), (3, *shape))

    def derivatives(product):
        def value(kernel):
            return jnp.sum(jnp.sin(product(rows, kernel, DENSE)))

        def one(kernel, change):
            linear = jax.linearize(value, kernel)[1]
            over = jax.jvp(jax.grad(value), (kernel,), (change,))[1]
            back = jax.grad(lambda k: jnp.vdot(jax.grad(value)(k), change))(kernel)
            return jax.jvp(value, (kernel,), (change,))[1], linear(change), over, back

        return jax.jit(jax.vmap(one))(kernels, change)

    assert_close(derivatives(dot_general), derivatives(lax.dot_general))


@pytest.mark.parametrize("wrap", [lambda f: f, jax.checkpoint])
def test_training_inside_a_scan(wrap):
    rows, first, last = draw(5, (16, 8), (4, 8, 128), (4, 128, 3))

    def train(product):
        @wrap
        def loss(kernels):
            hidden = jnp.tanh(product(rows, kernels[0], DENSE))
            return jnp.mean(jnp.square(product(hidden, kernels[1], DENSE) - 1))

        def step(kernels, _):
            value, gradients = jax.value_and_grad(loss)(kernels)
            return jax.tree.map(lambda k, g: k - 0.01 * g, kernels, gradients), value

        return jax.jit(jax.vmap(lambda *kernels: lax.scan(step, kernels, length=5)))(first, last)

    # Five steps of plain descent, not chaotic: each adds one gradient's rounding.
    assert_close(train(dot_general), train(lax.dot_general))


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_other_ranks(lead):
    rows, kernel = draw(6, (*lead, 64), (64, 10))
    numbers = (((len(lead),), (0,)), ((), ()))
    found, expected = (
        value_and_gradients(each, rows, kernel, numbers) for each in (dot_general, lax.dot_general)
    )
    assert_close(found, expected)


def operations(function, *arguments):
    return str(jax.make_jaxpr(function)(*arguments))


@pytest.mark.parametrize(
    "shapes, dtypes, numbers, options",
    [
        (((3, 64), (10, 64)), (jnp.float32,) * 2, (((1,), (1,)), ((), ())), {}),
        (((64, 3), (64, 10)), (jnp.float32,) * 2, (((0,), (0,)), ((), ())), {}),
        (((2, 3, 64), (2, 64, 10)), (jnp.float32,) * 2, (((2,), (1,)), ((0,), (0,))), {}),
        (((3, 64), (64, 10)), (jnp.float32, jnp.bfloat16), DENSE, {}),
        (((3, 64), (64, 10)), (jnp.int32,) * 2, DENSE, {}),
        (((3, 64), (64, 10)), (jnp.complex64,) * 2, DENSE, {}),
        (((3, 64), (64, 10)), (jnp.bfloat16,) * 2, DENSE, {"preferred_element_type": jnp.float32}),
        (((0, 64), (64, 10)), (jnp.float32,) * 2, DENSE, {}),
        (((3, 64), (64, 64)), (jnp.float32,) * 2, DENSE, {}),
    ],
)
def test_every_other_product_is_passed_to_jax(shapes, dtypes, numbers, options):
    arguments = [jnp.ones(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    found, expected = (
        operations(functools.partial(each, dimension_numbers=numbers, **options), *arguments)
        for each in (dot_general, lax.dot_general)
    )
    assert found == expected


def test_errors_are_those_of_jax():
    for kernel, numbers in [((63, 10), DENSE), ((64, 10), (((2,), (0,)), ((), ())))]:
        with pytest.raises(TypeError, match="dot_general requires") as expected:
            lax.dot_general(jnp.ones((3, 64)), jnp.ones(kernel), numbers)
        with pytest.raises(TypeError, match="dot_general requires") as found:
            dot_general(jnp.ones((3, 64)), jnp.ones(kernel), numbers)
        assert str(found.value) == str(expected.value)


def dots(function, *arguments):
    """The result and operands of every matrix product of the compiled program."""
    text = jax.jit(function).lower(*arguments).compile().as_text() or ""
    return [line.partition(" dot(")[0].split()[-1] for line in text.splitlines() if " dot(" in line]


def gradient_for_members(product, rows):
    def value(kernel):
        return jnp.sum(jnp.sin(product(rows, kernel, DENSE)))

    return jax.vmap(jax.grad(value))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only CPUs have a form of their own")
def test_on_cpu_a_narrow_gradient_is_turned_and_a_shared_batch_is_copied():
    rows, narrow, wide = draw(7, (16, 64), (4, 64, 10), (4, 64, 128))
    # Members and features are the rows of the narrow gradient's product; with jax.lax they are its columns.
    assert any(
        shape.startswith("f32[40,64]") for shape in dots(gradient_for_members(dot_general, rows), narrow)
    )
    found = dots(gradient_for_members(dot_general, rows), wide)
    assert sorted(shape.partition("{")[0] for shape in found) == ["f32[4,16,128]", "f32[4,64,128]"]
    theirs = dots(gradient_for_members(lax.dot_general, rows), wide)
    assert "f32[16,512]" in [shape.partition("{")[0] for shape in theirs]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only CPUs have a form of their own")
def test_on_cpu_a_narrow_gradient_stays_turned_where_members_have_their_own_rows():
    rows, kernels = draw(8, (4, 16, 64), (4, 64, 10))

    def gradient(product):
        return jax.vmap(jax.grad(lambda k, r: jnp.sum(jnp.sin(product(r, k, DENSE)))))

    found, theirs = (dots(gradient(each), kernels, rows) for each in (dot_general, lax.dot_general))
    assert sorted(shape.partition("{")[0] for shape in found) == ["f32[4,10,64]", "f32[4,16,10]"]
    assert sorted(shape.partition("{")[0] for shape in theirs) == ["f32[4,16,10]", "f32[4,64,10]"]


@pytest.mark.parametrize("shape", [(64, 10), (64, 128)])
def test_the_backward_pass_keeps_no_copies(shape):
    rows, kernel = draw(9, (512, 64), (4, *shape))  # so many that a copy of them would be seen
    kept = []
    for product in (dot_general, lax.dot_general):
        linear = jax.linearize(jax.vmap(lambda k, f=product: f(rows, k, DENSE)), kernel)[1]
        kept.append(sum(x.nbytes for x in jax.tree.leaves(linear)))
    # The kernel itself may be kept besides, which the caller has anyway.
    assert kept[0] <= kept[1] + kernel.nbytes


class NNXNet(nnx.Module):
    def __init__(self, rngs, **own):
        self.first = nnx.Linear(8, 128, rngs=rngs)
        self.last = nnx.Linear(128, 3, rngs=rngs, **own)

    def __call__(self, x):
        return self.last(jnp.tanh(self.first(x)))


def own_product(*arguments, **keywords):
    return lax.dot_general(*arguments, **keywords)


def test_nnx_layers_with_the_default_are_lowered():
    net = lowered(NNXNet(nnx.Rngs(0)))
    assert net.first.dot_general is dot_general and net.last.dot_general is dot_general
    assert lowered(NNXNet(nnx.Rngs(0), dot_general=own_product)).last.dot_general is own_product
    (inputs,) = draw(10, (5, 8))
    assert_close(net(inputs), NNXNet(nnx.Rngs(0))(inputs))
    # Flax itself is as it was.
    assert nnx.Linear(8, 3, rngs=nnx.Rngs(0)).dot_general is lax.dot_general


@pytest.mark.parametrize(
    "own, expected",
    [({}, True), ({"dot_general": own_product}, False), ({"dot_general_cls": lambda: own_product}, False)],
)
def test_linen_layers_with_the_default_are_lowered(own, expected):
    layer, (inputs,) = nn.Dense(3, **own), draw(11, (5, 64))
    parameters = layer.init(jax.random.key(0), inputs)
    with lowered_linen(True):
        lower = operations(layer.apply, parameters, inputs)
        found = layer.apply(parameters, inputs)
    assert ("custom_jvp_call" in lower) == expected
    assert "custom_jvp_call" not in operations(layer.apply, parameters, inputs)
    assert_close(found, layer.apply(parameters, inputs))
