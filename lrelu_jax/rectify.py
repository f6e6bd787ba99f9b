"""The leaky family's rule: value, derivative, choice at zero, dtype policy.

A rectifier here is `x` for x > 0 and `alpha * x` for x < 0. It returns ±0 and NaN as they are, and its
derivative at zero is the one the caller chose. ELU, in `exponential`, shares all but the rule itself.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, ArrayLike, Float, UInt16

from . import export
from .arguments import (
    Subgradient,
    Variable,
    as_floating,
    compute_dtype,
    parameter,
    require_real,
    side_or_scalar,
)
from .signs import NAN, NEGATIVE, ZERO, branch, is_negative, is_positive, positive_branch

keep_branches = jax.checkpoint_policies.save_only_these_names("lrelu_jax.branch")
"""A `jax.checkpoint` policy that keeps which piece each element is on, one byte, and nothing else."""

# Since 0.12 `inline=True` leaves an equation in the traced program.
_INLINE: Any = jax.Inline.JAX_EARLY if hasattr(jax, "Inline") else True  # pyright: ignore

# Under checkpoint the backward pass keeps a map's arguments and none of its intermediates.
remember = functools.partial(jax.checkpoint, prevent_cse=False)


def rectify(
    name: str, x: ArrayLike, alpha: ArrayLike | Variable, subgradient: Subgradient
) -> Float[Array, "..."]:
    """Apply the rectifier of slope `alpha`: the dtype is that of `x`, the shape that of both broadcast.

    Args:
        name: The public function, for its errors.
        x: Input; integers and booleans become the default float.
        alpha: Slope of the negative half; broadcasts against `x`.
        subgradient: The derivative at zero: a `Side` or a real scalar.

    Raises:
        TypeError: If an argument is complex, or no number.
        ValueError: If `alpha` or `subgradient` is a non-finite Python or NumPy value, or if `subgradient` is
            an unknown name or not a scalar.
    """
    if export.swapped():
        return export.leaky_relu(as_floating(name, x), parameter("alpha", alpha))
    return apply(_LEAKY, name, x, alpha, subgradient)


class Rule(NamedTuple):
    """A rectifier as two functions of x, slope, derivative at zero, and whether that is the slope itself."""

    fixed: jax.custom_jvp[Array]
    """For a slope that is a number. Pallas for TPU lowers it, which refuses symbolic zeros."""
    learned: jax.custom_jvp[Array]
    """For an array: only where its derivative is asked for does the backward pass keep x for it."""


def make_rule(
    value: Callable[..., Array], along_x: Callable[..., Array], along_slope: Callable[..., Array]
) -> Rule:
    """Make a rule of the value and of its derivatives' products with tangents."""
    rule = Rule(*(jax.custom_jvp(value, nondiff_argnums=(3,)) for _ in Rule._fields))

    def jvp(left: bool, primals: tuple, tangents: tuple, *, learned: bool) -> tuple[Array, Array]:
        x, slope, at_zero = primals
        dx, dslope, _ = tangents
        y = (rule.learned if learned else rule.fixed)(x, slope, at_zero, left)
        dtype = compute_dtype(x)
        dy = jnp.zeros(y.shape, dtype)
        if type(dx) is not SymbolicZero:
            dy = along_x(x, slope, at_zero, left, dx.astype(dtype))
        if learned and type(dslope) is not SymbolicZero:
            dy += remember(along_slope)(x, dslope)
        return y, dy.astype(x.dtype)

    rule.fixed.defjvp(functools.partial(jvp, learned=False))
    rule.learned.defjvp(functools.partial(jvp, learned=True), symbolic_zeros=True)
    return rule


def apply(
    rule: Rule, name: str, x: ArrayLike, alpha: ArrayLike | Variable, subgradient: Subgradient
) -> Float[Array, "..."]:
    """Check the arguments and apply the rule that fits them."""
    slope = parameter("alpha", alpha)
    side, at_zero = side_or_scalar(subgradient)
    function = rule.learned if isinstance(slope, jax.Array) else rule.fixed
    return _apply(x, _unless_zero(slope), _unless_zero(at_zero), function=function, name=name, side=side)


# Compiled, so that an eager call is one dispatch; inlined, so that an outer jit sees none of it.
@functools.partial(jax.jit, static_argnames=("function", "name", "side"), inline=_INLINE)
def _apply(
    x: ArrayLike,
    alpha: ArrayLike | None,
    at_zero: ArrayLike | None,
    *,
    function: Callable[..., Array],
    name: str,
    side: str | None,
) -> Float[Array, "..."]:
    given, x = jnp.asarray(x), as_floating(name, x)
    dtype = compute_dtype(x)
    slope = None if alpha is None else _real(name, "alpha", alpha, dtype)
    match side:
        case "left":
            derivative = None  # the slope itself, and so nothing more to keep or to choose
        case "right":
            derivative = jnp.ones((), dtype)
        case "midpoint":
            derivative = (1 + (jnp.zeros((), dtype) if slope is None else slope)) / 2
        case _:
            derivative = None if at_zero is None else _real(name, "subgradient", at_zero, dtype)
    # Equal ranks, not equal shapes: a slope broadcast here would be kept whole for the backward pass.
    rank = max(x.ndim, 0 if slope is None else slope.ndim)
    x, slope, derivative = _alike(*(_with_rank(array, rank) for array in (x, slope, derivative)))
    y = function(x, slope, derivative, side == "left")
    # The result of a Python scalar stays as weakly typed as with `jax.nn`, and widens no bfloat16 it meets.
    return lax.full_like(0.0, y) if given.weak_type and not y.ndim else y


def _real(function: str, argument: str, value: ArrayLike, dtype: Any) -> Float[Array, "..."]:
    value = jnp.asarray(value)
    require_real(function, argument, value)
    return jnp.asarray(value, dtype)


def _unless_zero(value: ArrayLike | None) -> ArrayLike | None:
    """None for a Python number of zero: as a slope it is constant, and nothing can pass through it."""
    return None if isinstance(value, int | float) and value == 0 else value


def _with_rank(array: Any, rank: int) -> Any:
    """Put unit axes in front, so that broadcasting is never between ranks; scalars need none."""
    if array is None or array.ndim in (0, rank):
        return array
    return jnp.reshape(array, (1,) * (rank - array.ndim) + array.shape)


def _alike(x: Array, slope: Array | None, at_zero: Array | None) -> tuple[Array, Array | None, Array | None]:
    """Lay the arrays out alike on a mesh with Explicit axes, where a select takes no two layouts."""
    arrays = [array for array in (x, slope, at_zero) if array is not None]
    # Under `shard_map` with its check on, a value must vary over the devices that its derivative varies over.
    varying = frozenset().union(*(jax.typeof(array).manual_axis_type.varying for array in arrays))
    if missing := tuple(varying - jax.typeof(x).manual_axis_type.varying):
        x = lax.pcast(x, missing, to="varying")
    shardings = [jax.typeof(array).sharding for array in arrays if array.ndim]
    common = [next(filter(None, names), None) for names in zip(*(s.spec for s in shardings), strict=True)]
    mesh = next((s.mesh for s in shardings if any(s.spec)), None)

    def like_the_others(array: Array | None) -> Array | None:
        if array is None or not array.ndim or mesh is None:
            return array
        spec = [name if size > 1 else None for name, size in zip(common, array.shape, strict=True)]
        if list(jax.typeof(array).sharding.spec) == spec:
            return array
        return jax.sharding.reshard(array, jax.NamedSharding(mesh, jax.P(*spec)))

    return like_the_others(x), like_the_others(slope), like_the_others(at_zero)  # pyright: ignore


def _leaky(
    x: Float[Array, "..."], slope: Float[Array, "..."] | None, at_zero: Float[Array, "..."] | None, left: bool
) -> Float[Array, "..."]:
    if slope is None:
        below = jnp.zeros((), compute_dtype(x))
    else:
        # A zero slope gives +0 also where the product would be -0, or NaN for -inf.
        below = jnp.where(branch(slope) == ZERO, 0, slope * x.astype(slope.dtype))
    return below_or(x, below)


def _leaky_along_x(x: Array, slope: Array | None, at_zero: Array | None, left: bool, dx: Array) -> Array:
    kept = checkpoint_name((positive_branch if left else branch)(x), "lrelu_jax.branch")
    return remember(functools.partial(_along_x, left))(kept, slope, at_zero, dx)


def _along_x(left: bool, side: Array, slope: Array | None, at_zero: Array | None, dx: Array) -> Array:
    pieces = ((side <= ZERO, slope),) if left else ((side == NEGATIVE, slope), (side == ZERO, at_zero))
    # One product, with the whole derivative: in a select between products the transpose would multiply
    # the zeros of the branches not taken by NaN or infinity.
    derivative = _one_or_nan(side).astype(dx.dtype)
    for piece, value in pieces:
        if value is None:  # a constant zero stops an infinite cotangent too, as in sqrt(relu(x))
            dx = jnp.where(piece, 0, dx)
        else:
            derivative = jnp.where(piece, value, derivative)
    return derivative * dx


def _one_or_nan(side: Array) -> Float[Array, "..."]:
    """NaN at NaN and 1 elsewhere; of words, since checks for NaN would report the constant."""
    words = jnp.where(side >= NAN, np.int32(0x7FC00000), np.int32(0x3F800000))
    return lax.bitcast_convert_type(words, jnp.float32)


def _along_slope(x: Array, dslope: Array) -> Array:
    # Selected before the product: 0 * inf would be NaN at x = +inf.
    return jnp.where(is_positive(x), 0, x).astype(dslope.dtype) * dslope


_LEAKY = make_rule(_leaky, _leaky_along_x, _along_slope)


def below_or(x: Float[Array, "..."], below: Float[Array, "..."]) -> Float[Array, "..."]:
    """`below`, rounded to the dtype of x, where x is negative, and x elsewhere."""
    if x.dtype != jnp.bfloat16:
        return jnp.where(is_negative(x), below.astype(x.dtype), x)
    return lax.platform_dependent(x, below, cpu=_words_below_or, default=_values_below_or)


def _values_below_or(x: Float[Array, "..."], below: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.where(is_negative(x), below.astype(x.dtype), x)


def _words_below_or(x: Float[Array, "..."], below: Float[Array, "..."]) -> Float[Array, "..."]:
    """The same between words of 16 bits: the CPU's bfloat16 is float32, which would be rounded once more."""
    chosen = jnp.where(is_negative(x), _bfloat16_bits(below), lax.bitcast_convert_type(x, jnp.uint16))
    return lax.bitcast_convert_type(chosen, x.dtype)


def _bfloat16_bits(x: Float[Array, "..."]) -> UInt16[Array, "..."]:
    """Round float32 to bfloat16, half to even: as XLA does, but LLVM makes twice as wide vectors of it."""
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    last = (bits >> 16) & 1
    rounded = jnp.where(jnp.isnan(x), bits | 0x400000, bits + 0x7FFF + last)
    return (rounded >> 16).astype(jnp.uint16)
