"""Max-pools against Flax's, at ties too, and those that are exchanged in a program that others wrote."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

from sweeps.ops.exchange import exchanged, trace
from sweeps.ops.pooling import fast_pool, max_pool
from tests.cases import cases


def draw(seed, *shapes, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.parametrize(
    "shape, window",
    [
        ((2, 8, 8, 3), (2, 2)),
        ((2, 7, 5, 3), (2, 2)),
        ((4, 9, 2), (3,)),
        ((6, 6, 4, 1), (2, 3, 2)),
        ((8, 8, 3), (2, 2)),
    ],
)
def test_max_pool_and_its_gradient_equal_those_of_flax_at_ties_too(shape, window):
    # Small whole numbers: most windows have ties.
    inputs = jnp.asarray(np.random.default_rng(0).integers(-1, 3, shape), jnp.float32)

    def both(pool):
        def run(inputs):
            output, pullback = jax.vjp(lambda x: pool(x, window, window), inputs)
            return output, pullback(draw(1, output.shape)[0])[0]

        return jax.jit(run)(inputs)

    for result, expected in zip(both(max_pool), both(nnx.max_pool), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_max_pool_under_vmap_in_a_scan_and_in_bfloat16():
    (inputs,) = draw(2, (3, 2, 4, 4, 5), dtype=jnp.bfloat16)

    def gradients(pool):
        slope = jax.vmap(jax.grad(lambda x: jnp.sum(pool(x, (2, 2), (2, 2)) ** 2)))
        return lax.scan(lambda x, _: (x - slope(x) / 4, None), inputs, length=3)[0]

    result = gradients(max_pool)
    assert result.dtype == jnp.bfloat16
    np.testing.assert_array_equal(result, gradients(nnx.max_pool))


@pytest.mark.parametrize("options", [{}, {"strides": (1, 1)}, {"strides": (2, 2), "padding": "SAME"}])
def test_max_pool_falls_back_for_overlapping_or_padded_windows(options):
    (inputs,) = draw(3, (2, 5, 5, 2))
    np.testing.assert_array_equal(
        max_pool(inputs, (2, 2), **options), nnx.max_pool(inputs, (2, 2), **options)
    )


@pytest.mark.parametrize("place", range(4))
def test_max_pool_keeps_nan(place):
    inputs = jnp.arange(4.0).at[place].set(jnp.nan).reshape(1, 2, 2, 1)
    assert jnp.isnan(max_pool(inputs, (2, 2), (2, 2))).all()


@pytest.mark.parametrize(
    "pair, ours, flax",
    [
        ((-0.0, 0.0), (-0.0, [1, 0]), (0.0, [1, 0])),
        ((jnp.nan, 1.0), (jnp.nan, [1, 0]), (jnp.nan, [0, 1])),
        ((1e-40, -1.0), (np.float32(1e-40), [1, 0]), (0.0, [1, 0])),
    ],
)
def test_max_pool_differs_from_flax_where_it_says(pair, ours, flax):
    def both(pool):
        output, pullback = jax.vjp(lambda x: pool(x, (2,), (2,)), jnp.array(pair).reshape(1, 2, 1))
        return np.asarray(output).ravel(), np.asarray(pullback(jnp.ones_like(output))[0]).ravel()

    for pool, (maximum, gradient) in ((max_pool, ours), (nnx.max_pool, flax)):
        found, slope = both(pool)
        np.testing.assert_array_equal(found, [maximum])
        assert np.signbit(found[0]) == np.signbit(maximum)
        assert slope.tolist() == gradient


def test_max_pool_refuses_strides_that_do_not_fit():
    with pytest.raises(ValueError, match=r"`len\(window_shape\) == len\(strides\).*but got 2, 1 and 4"):
        max_pool(jnp.zeros((1, 4, 4, 1)), (2, 2), (2,))


def of_tiles(x):
    return nnx.max_pool(x, (2, 2), strides=(2, 2))


def with_fast_pools(function):
    """The same function, in which max-pools of tiles are `max_pool`'s."""
    return lambda *arguments: exchanged(trace(function, *arguments), fast_pool)(*arguments)


POOLS = {
    "NNX": of_tiles,
    "Linen": lambda x: nn.max_pool(x, (3, 2), strides=(3, 2)),
    "no padding": lambda x: nn.max_pool(x[:, :6], (2, 2), strides=(2, 2), padding="SAME"),
    "jit": jax.jit(of_tiles),
    "checkpoint": jax.checkpoint(of_tiles),
    "scan": lambda x: lax.scan(lambda total, row: (total, of_tiles(row)), 0.0, jnp.stack([x, 2 * x]))[1],
    "cond": lambda x: lax.cond(x.sum() > 0, of_tiles, lambda x: 2 * of_tiles(x), x),
    "custom_jvp": lambda x: of_tiles(jax.nn.relu(x)),
}


@pytest.mark.parametrize("name", cases(POOLS, ["NNX", "scan", "cond"], "models"))
def test_pools_that_a_program_holds_are_exchanged_and_give_the_same_bits(name):
    inputs = jnp.asarray(np.random.default_rng(0).integers(-1, 3, (3, 7, 6, 5)), jnp.float32)

    def value(x):
        outputs = POOLS[name](jnp.tanh(x))
        return jnp.sum(jnp.sin(outputs)), {"outputs": outputs}

    fast = with_fast_pools(value)
    expected = jax.value_and_grad(value, has_aux=True)(inputs)
    found = jax.value_and_grad(fast, has_aux=True)(inputs)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert "select_and_scatter" in compiled(value, inputs)
    assert "select_and_scatter" not in compiled(fast, inputs)


def compiled(function, inputs):
    """What a CPU is given to compile: other platforms keep XLA's own pools."""
    gradient = jax.jit(jax.grad(lambda x: function(x)[0]))
    return gradient.lower(inputs).as_text()


PADDED: Any = ((1, 0), (0, 0))  # which Flax takes, and says that it takes a string


def largest(x, window, **options):
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID", **options)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: nnx.max_pool(x, (2, 2)),
        lambda x: nn.max_pool(x, (2, 2), strides=(2, 2), padding=PADDED),
        lambda x: nnx.avg_pool(x, (2, 2), strides=(2, 2)),
        lambda x: largest(x, (3, 1, 1, 1)),
        lambda x: largest(x, (1, 2, 2, 1), window_dilation=(1, 2, 2, 1)),
        lambda x: jnp.sort(x, axis=0),
    ],
)  # fmt: skip
def test_what_is_no_pool_of_tiles_stays_as_it_is(pool):
    (inputs,) = draw(4, (3, 6, 6, 2))
    before = str(jax.make_jaxpr(pool)(inputs))
    assert str(jax.make_jaxpr(with_fast_pools(pool))(inputs)) == before


def test_values_that_are_closed_over_may_be_traced():
    (inputs,) = draw(5, (3, 6, 6, 2))

    def gradients(exchange):
        def one(slope, x):
            function = exchange(lambda x: jnp.sum(of_tiles(jnp.where(x > 0, x, slope * x)) ** 2))
            return jax.grad(function)(x)

        return jax.jit(jax.vmap(one, (0, None)))(jnp.array([0.0, 0.1]), inputs)

    np.testing.assert_array_equal(gradients(with_fast_pools), gradients(lambda function: function))
