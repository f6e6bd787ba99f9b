"""The sign of a float as its bits have it: XLA's CPU backend compares a subnormal equal to zero."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int8

NEGATIVE, ZERO, POSITIVE, NAN = -1, 0, 1, 2


def branch(x: Float[Array, "*shape"]) -> Int8[Array, "*shape"]:
    """Which piece of a rectifier each element is on: NEGATIVE, ZERO, POSITIVE or NAN, in one byte."""
    # Sums, not selects between constants: a differentiated scan makes those whole arrays, read at each step.
    nan = jnp.isnan(x).astype(jnp.int8)
    return is_positive(x).astype(jnp.int8) - is_negative(x).astype(jnp.int8) + nan + nan


def positive_branch(x: Float[Array, "*shape"]) -> Int8[Array, "*shape"]:
    """`branch`, but with ZERO for NEGATIVE too, which is cheaper."""
    nan = jnp.isnan(x).astype(jnp.int8)
    return is_positive(x).astype(jnp.int8) + nan + nan


def is_positive(x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Whether each element is above zero, subnormals and infinity included."""
    return (_bits(x) > 0) & ~jnp.isnan(x)


def is_negative(x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Whether each element is below zero, subnormals and minus infinity included."""
    return (_opposite(x) > 0) & ~jnp.isnan(x)


def is_zero(x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Whether each element is +0 or -0."""
    return ~((_bits(x) > 0) | (_opposite(x) > 0))


def _opposite(x: Float[Array, "..."]) -> Int[Array, "..."]:
    bits = _bits(x)
    return bits ^ jnp.iinfo(bits.dtype).min


def _bits(x: Float[Array, "..."]) -> Int[Array, "..."]:
    # They may be ordered, but not tested by `bits << 1 == 0`, which LLVM makes a comparison of floats again.
    if x.dtype.itemsize == 1:  # 8-bit floats have layouts of their own, and are all exact in float32
        x = x.astype(jnp.float32)
    return lax.bitcast_convert_type(x, jnp.dtype(f"int{8 * x.dtype.itemsize}"))
