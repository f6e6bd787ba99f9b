"""The sign of a float as its bits have it: XLA's CPU backend compares a subnormal equal to zero."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int8

NEGATIVE, ZERO, POSITIVE, NAN = -1, 0, 1, 2


def branch(x: Float[Array, "*shape"]) -> Int8[Array, "*shape"]:
    """Which piece each element is on, in one byte: NEGATIVE, ZERO, POSITIVE, or NAN or more."""
    # Sums, not selects between constants: a differentiated scan makes those whole arrays, read at each step.
    nan = jnp.isnan(x).astype(jnp.int8)
    return _above(x).astype(jnp.int8) - _below(x).astype(jnp.int8) + nan + nan + nan


def positive_branch(x: Float[Array, "*shape"]) -> Int8[Array, "*shape"]:
    """`branch`, but with ZERO for NEGATIVE too, which is cheaper."""
    nan = jnp.isnan(x).astype(jnp.int8)
    return _above(x).astype(jnp.int8) + nan + nan


def is_positive(x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Whether each element is above zero, subnormals and infinity included."""
    return _above(x) & ~jnp.isnan(x)


def is_negative(x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Whether each element is below zero, subnormals and minus infinity included."""
    return _below(x) & ~jnp.isnan(x)


def is_zero(x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Whether each element is +0 or -0."""
    return ~(_above(x) | _below(x))


def unless_tpu_float64(
    x: Array, function: Callable[[Array], Array], otherwise: Callable[[Array], Array]
) -> Array:
    """`function(x)`, or `otherwise(x)` in float64 on TPU, whose compiler refuses to see the bits of that."""
    if x.dtype != jnp.float64:
        return function(x)
    return lax.platform_dependent(x, tpu=otherwise, default=function)


# Both are true of some NaNs: of those with that sign, or on TPU of all.
def _above(x: Float[Array, "..."]) -> Bool[Array, "..."]:
    return unless_tpu_float64(x, lambda x: _bits(x) > 0, lambda x: ~(x <= 0))


def _below(x: Float[Array, "..."]) -> Bool[Array, "..."]:
    return unless_tpu_float64(x, lambda x: _opposite(x) > 0, lambda x: ~(x >= 0))


def _opposite(x: Float[Array, "..."]) -> Int[Array, "..."]:
    bits = _bits(x)
    return bits ^ jnp.iinfo(bits.dtype).min


def _bits(x: Float[Array, "..."]) -> Int[Array, "..."]:
    # They may be ordered, but not tested by `bits << 1 == 0`, which LLVM makes a comparison of floats again.
    if x.dtype.itemsize == 1:  # 8-bit floats have layouts of their own, and are all exact in float32
        x = x.astype(jnp.float32)
    return lax.bitcast_convert_type(x, jnp.dtype(f"int{8 * x.dtype.itemsize}"))
