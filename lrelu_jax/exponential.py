"""ELU's rule, and `exp` and `expm1` of numbers up to zero, as its derivative and value need them.

With x = n log 2 + r and |r| <= log(2) / 2, exp(x) = 2^n (1 + r + r^2 s(r)), where s is a short polynomial. It
is at most 1.1 units in the last place off, where XLA's `expm1` is 5 off on CPU, and takes half the
instructions of its `exp`: an ELU takes about as long as its arrays take to be read and written. The form is
one for all backends, so that their values are one too; but float64 on TPU has XLA's own.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float
from numpy.polynomial import Chebyshev, Polynomial

from . import export
from .arguments import Subgradient, Variable, as_floating, parameter
from .rectify import apply, below_or, make_rule, rectify, remember
from .signs import ZERO, branch, is_positive, is_zero, unless_tpu_float64

LOG_2 = 0.693115234375, 3.1946184945309417e-05  # the first has so few digits that n times it is exact


def _terms(count: int) -> tuple[float, ...]:
    """`count` coefficients of s: Taylor's series economised, its digits spread evenly over the range of r."""
    whole = [-1.0, 1.0]
    taylor = Polynomial([1 / math.factorial(k) for k in range(2, 27)], domain=whole, window=whole)
    even = taylor.convert(kind=Chebyshev, domain=[-math.log(2) / 2, math.log(2) / 2]).truncate(count)
    return tuple(map(float, even.convert(kind=Polynomial, domain=whole, window=whole).coef))


# By the digits of the result: the terms of s, and log 2 in parts. The first keeps every bfloat16 right.
SHORT, SINGLE, DOUBLE = (_terms(4), (math.log(2),)), (_terms(5), LOG_2), (_terms(11), LOG_2)


def rectify_exponentially(
    x: ArrayLike, alpha: ArrayLike | Variable, subgradient: Subgradient
) -> Float[Array, "..."]:
    """Apply ELU: `rectify` with `alpha * expm1(x)` for the negative half.

    Raises:
        TypeError: As `rectify` does.
        ValueError: As `rectify` does.
    """
    slope = parameter("alpha", alpha)
    if isinstance(slope, int | float) and slope == 0:
        return rectify("elu", x, slope, subgradient)
    if export.swapped():
        return export.elu(as_floating("elu", x), slope)
    return apply(_ELU, "elu", x, slope, subgradient)


def _elu(
    x: Float[Array, "..."], scale: Float[Array, "..."], at_zero: Float[Array, "..."] | None, left: bool
) -> Float[Array, "..."]:
    below = scale * expm1(x.astype(scale.dtype), x.dtype)
    return below_or(x, jnp.where(branch(scale) == ZERO, 0, below))


def _elu_along_x(x: Array, scale: Array, at_zero: Array | None, left: bool, dx: Array) -> Array:
    # Kept is x, from which the derivative is computed again.
    return remember(functools.partial(_along_x, left))(x, scale, at_zero, dx)


def _along_x(left: bool, x: Array, scale: Array, at_zero: Array | None, dx: Array) -> Array:
    # `exp` is 1 above zero, and NaN at NaN.
    derivative = jnp.where(is_positive(x), 1, scale) * exp(x.astype(dx.dtype), x.dtype)
    if not left:
        derivative = jnp.where(is_zero(x), 0 if at_zero is None else at_zero, derivative)
    dy = derivative * dx
    return jnp.where(is_zero(x), 0, dy) if at_zero is None and not left else dy


def _along_scale(x: Array, dscale: Array) -> Array:
    # Selected before the product: 0 * inf would be NaN at x = +inf.
    below = jnp.where(is_positive(x), 0, x).astype(dscale.dtype)
    return _ELU.fixed(below, jnp.ones((), dscale.dtype), None, True) * dscale


_ELU = make_rule(_elu, _elu_along_x, _along_scale)


def expm1(x: Float[Array, "*shape"], result: np.dtype) -> Float[Array, "*shape"]:
    """The exponential less one to the digits of the dtype `result`; for x >= 0 it is 0."""
    return unless_tpu_float64(
        x, functools.partial(_own_expm1, result), lambda x: jnp.expm1(jnp.minimum(x, 0))
    )


def _own_expm1(result: np.dtype, x: Array) -> Array:
    power, rest = _parts(x, result)
    return power * rest + (power - 1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def exp(x: Float[Array, "*shape"], result: np.dtype) -> Float[Array, "*shape"]:
    """The exponential to the digits of the dtype `result`; for x >= 0 it is 1, and its derivative 0."""
    return unless_tpu_float64(x, functools.partial(_own_exp, result), lambda x: jnp.exp(jnp.minimum(x, 0)))


def _own_exp(result: np.dtype, x: Array) -> Array:
    power, rest = _parts(x, result)
    return power * rest + power


@exp.defjvp
def _exp_jvp(result: np.dtype, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    y = exp(*primals, result)
    return y, jnp.where(is_zero(*primals) | is_positive(*primals), 0, y) * tangents[0]


def _parts(x: Float[Array, "..."], result: np.dtype) -> tuple[Array, Array]:
    """2^n and exp(r) - 1, of which exp(x) is the product and the first."""
    digits, bias, integer = (23, 127, jnp.int32) if x.dtype == jnp.float32 else (52, 1023, jnp.int64)
    (*terms, last), log_2 = DOUBLE if digits == 52 else SINGLE if jnp.finfo(result).nmant > 7 else SHORT
    # From here down 2^n is zero, as its bits say. Comparisons keep a NaN.
    lowest = -bias * math.log(2)
    x = jnp.where(x > 0, 0, x)
    x = jnp.where(x < lowest, lowest, x)
    n = jnp.round(x * (1 / math.log(2)))
    # Adding 1.5 * 2^digits leaves an integer in the low bits, without the checks of a conversion.
    bits = lax.bitcast_convert_type(n + (1.5 * 2.0**digits + bias), integer)
    power = lax.bitcast_convert_type(bits << digits, x.dtype)
    r = x
    for part in log_2:
        r = r - n * part
    series = jnp.full_like(x, last)
    for term in reversed(terms):
        series = series * r + term
    return power, r + r * r * series
