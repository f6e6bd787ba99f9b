import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrelu_jax.exponential import exp, expm1


def error(actual, truth):
    """In units in the last place of `actual`'s dtype."""
    actual = np.asarray(actual)
    unit = np.spacing(np.abs(truth).astype(actual.dtype))
    return float((np.abs(actual.astype(np.longdouble) - truth) / unit).max())


@pytest.mark.parametrize(("dtype", "lowest"), [("float32", -87), ("float64", -708)])
def test_both_are_within_1_1_units_in_the_last_place(dtype, lowest):
    with jax.enable_x64(dtype == "float64"):
        x = np.concatenate([-np.logspace(-30, np.log10(-lowest), 100_001), np.linspace(lowest, 0, 100_001)])
        x = x.astype(dtype)
        wide = x.astype(np.longdouble)
        assert error(jax.jit(exp, static_argnums=1)(x, x.dtype), np.exp(wide)) <= 1.1
        assert error(jax.jit(expm1, static_argnums=1)(x, x.dtype), np.expm1(wide)) <= 1.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_ends_are_exact(dtype):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.array([0.0, -0.0, -1e4, -jnp.inf, jnp.nan], dtype)
        np.testing.assert_array_equal(exp(x, x.dtype), [1, 1, 0, 0, np.nan])
        np.testing.assert_array_equal(expm1(x, x.dtype), [0, 0, -1, -1, np.nan])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_derivative_of_exp_is_exp_but_0_at_0(order):
    x = jnp.linspace(-80, -0.08, 1000)
    derivative = functools.partial(exp, result=x.dtype)
    for _ in range(order):
        derivative = jax.grad(derivative)
    # Compiled one by one or together, programs differ in where they fuse a product and a sum.
    assert error(jax.vmap(derivative)(x), np.exp(np.asarray(x, np.longdouble))) <= 1.1
    assert derivative(jnp.zeros(())) == derivative(-jnp.zeros(())) == 0


def test_above_zero_exp_is_1_and_its_derivatives_0():
    x = jnp.array([1e-40, 1.0, 1e4, 1e38, jnp.inf])
    function = functools.partial(exp, result=x.dtype)
    np.testing.assert_array_equal(function(x), np.ones(5))
    for derivative in (jax.grad(function), jax.grad(jax.grad(function))):
        np.testing.assert_array_equal(jax.vmap(derivative)(x), np.zeros(5))
