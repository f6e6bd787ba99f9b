import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sweeps.ops.exchange import exchanged, trace
from sweeps.ops.sums import fast_sum, spreads


def with_fast_sums(function):
    return lambda *arguments: exchanged(trace(function, *arguments), fast_sum)(*arguments)


def lowered(function, *arguments):
    """What a CPU is given to compile."""
    return jax.jit(function).lower(*arguments).as_text()


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((6, 8, 8, 3), (0, 1, 2)),
        ((6, 8, 8, 3), (1, 2)),
        ((6, 8, 8, 3), (1, 2, 3)),
        ((6, 8, 8, 3), (0, 1, 2, 3)),
        ((1, 5, 1, 3), (0, 1, 2)),
        ((7, 1), (0, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_over_neighbouring_axes_are_those_of_numpy(shape, axes, dtype):
    terms = np.random.default_rng(0).normal(size=shape).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        fast = with_fast_sums(lambda x: jnp.sum(x, axes))
        expected = terms.astype(np.float64).sum(axes)
        # A sum of n numbers of size 1 is away by no more than n roundings.
        tolerance = terms.size * np.finfo(dtype).eps
        for found in (fast(terms), jax.jit(fast)(terms), jax.vmap(fast)(np.stack([terms, terms]))[1]):
            assert found.dtype == dtype
            np.testing.assert_allclose(found, expected, atol=tolerance)
        assert "optimization_barrier" in lowered(fast, terms)


def test_its_gradient_is_one_everywhere_and_it_may_be_differentiated_forwards():
    fast, x = with_fast_sums(lambda x: jnp.sum(x, (0, 1, 2)).prod()), jnp.full((2, 3, 1, 2), 0.5)
    np.testing.assert_allclose(jax.grad(fast)(x), np.full(x.shape, 3.0))
    np.testing.assert_allclose(jax.jvp(fast, (x,), (jnp.ones(x.shape),))[1], 36.0)


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 2, 1, 1)])
def test_nan_and_infinity_are_in_the_sums_that_they_belong_to(place):
    x = jnp.zeros((2, 3, 2, 2)).at[place].set(jnp.nan)
    fast = with_fast_sums(lambda x: jnp.sum(x, (0, 1, 2)))
    np.testing.assert_array_equal(jnp.isnan(fast(x)), np.arange(2) == place[-1])
    infinite = jnp.where(jnp.isnan(x), jnp.inf, 1.0)
    np.testing.assert_array_equal(fast(infinite), np.where(np.arange(2) == place[-1], np.inf, 2 * 3 * 2))


@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [
        ((4, 3, 2), "float32", (0,)),
        ((4, 3, 2), "float32", (0, 2)),
        ((4, 3, 2), "bfloat16", (0, 1)),  # XLA sums these in float32, and rounds once
        ((4, 3, 2), "int32", (0, 1)),
        ((4, 0, 2), "float32", (0, 1)),
    ],
    ids=str,
)
def test_other_sums_stay_as_they_are(shape, dtype, axes):
    x = jnp.ones(shape, dtype)

    def total(x):
        return lax.reduce_sum(x, axes)

    assert "reduce_sum" in str(trace(total, x).program)
    assert str(trace(with_fast_sums(total), x).program) == str(trace(total, x).program)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda bias, x: x + bias, True),
        (lambda bias, x: x * jnp.broadcast_to(bias, x.shape), True),
        (jax.jit(lambda bias, x: x - bias), True),
        (lambda bias, x: x[0] + bias[0], True),
        (lambda bias, x: x[0, 0] + bias[0, 0], False),  # along one axis
        (lambda bias, x: jnp.tanh(x) * 2, False),
        (lambda bias, x: x + x.mean(-1, keepdims=True), False),
    ],
)
def test_what_is_repeated_along_neighbouring_axes_is_seen(function, expected):
    program = trace(function, jnp.ones((1, 1, 1, 3)), jnp.ones((2, 4, 5, 3))).program
    assert spreads(program.jaxpr) is expected
