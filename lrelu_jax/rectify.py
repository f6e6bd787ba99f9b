"""The one rule every rectifier goes through: value, derivative, choice at zero, dtype policy.

A rectifier here is `x` for x > 0 and `alpha * g(x)` for x < 0, where g is the identity (the leaky family) or
`expm1` (ELU). It returns ±0 and NaN as they are, and its derivative at zero is the one the caller chose.
"""

import difflib
import functools
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, ArrayLike, Float, UInt16

from .exponential import exp, expm1
from .signs import NAN, NEGATIVE, ZERO, branch, is_negative, is_positive, is_zero, positive_branch

Side: TypeAlias = Literal["left", "right", "midpoint"]
Subgradient: TypeAlias = str | ArrayLike
"""A `Side` or a real scalar, traced or not."""

keep_branches = jax.checkpoint_policies.save_only_these_names("lrelu_jax.branch")
"""A `jax.checkpoint` policy that keeps which piece each element is on, one byte, and nothing else."""


def rectify(
    name: str, x: ArrayLike, alpha: ArrayLike, subgradient: Subgradient, *, exponential: bool = False
) -> Float[Array, "..."]:
    """Apply the rectifier of slope `alpha`: the dtype is that of `x`, the shape that of both broadcast.

    Args:
        name: The public function, for its errors.
        x: Input; integers and booleans become the default float.
        alpha: Slope of the negative half, or ELU's scale; broadcasts against `x`.
        subgradient: The derivative at zero: a `Side` or a real scalar.
        exponential: Whether the negative half is `alpha * expm1(x)` instead of `alpha * x`.

    Raises:
        TypeError: If an argument is complex.
        ValueError: If `alpha` or `subgradient` is a non-finite Python or NumPy value, or if `subgradient` is
            an unknown name or not a scalar.
    """
    require_finite("alpha", alpha)
    side, at_zero = _side_or_scalar(subgradient)
    return _rectifier(
        x, _unless_zero(alpha), _unless_zero(at_zero), name=name, side=side, exponential=exponential
    )


# Compiled, so that an eager call is one dispatch; inlined, so that an outer jit sees none of it.
@functools.partial(jax.jit, static_argnames=("name", "side", "exponential"), inline=True)
def _rectifier(
    x: ArrayLike,
    alpha: ArrayLike | None,
    at_zero: ArrayLike | None,
    *,
    name: str,
    side: str | None,
    exponential: bool,
) -> Float[Array, "..."]:
    x = as_floating(name, x)
    dtype = compute_dtype(x)
    slope = None if alpha is None else _parameter(name, "alpha", alpha, dtype)
    match side:
        case "left":
            derivative = None  # the slope itself, and so nothing more to keep or to choose
        case "right":
            derivative = jnp.ones((), dtype)
        case "midpoint":
            derivative = (1 + (jnp.zeros((), dtype) if slope is None else slope)) / 2
        case _:
            derivative = None if at_zero is None else _parameter(name, "subgradient", at_zero, dtype)
    # Equal ranks, not equal shapes: a slope broadcast here would be kept whole for the backward pass.
    rank = max(x.ndim, 0 if slope is None else slope.ndim)
    x, slope, derivative = (_with_rank(array, rank) for array in (x, slope, derivative))
    return _rectify(x, slope, derivative, side == "left", exponential)


def as_floating(name: str, x: ArrayLike) -> Float[Array, "..."]:
    """Return `x` as a JAX array of its floating dtype; integers and booleans become the default float."""
    # A JAX array before any comparison: NumPy and XLA order subnormals differently.
    x = jnp.asarray(x)
    _require_real(name, "x", x)
    # Naming the dtype also makes the weak type of a Python scalar a strong one.
    return jnp.asarray(x, x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(float))


def compute_dtype(x: Float[Array, "..."]) -> np.dtype:
    """16-bit inputs are computed in float32 and rounded once; a slope's gradient is summed there too."""
    return np.dtype(np.float32) if x.dtype.itemsize < 4 else x.dtype


def require_finite(name: str, value: Any) -> None:
    """Raise a ValueError if a Python or NumPy value is not finite; a JAX array may be learned, and passes."""
    if not isinstance(value, jax.Array) and not np.all(np.isfinite(value)):
        raise ValueError(f"`{name}` must be finite, but got {name}={value}")


def nearest(name: str, names: tuple[str, ...]) -> str:
    """The tail of an error about an unknown name: what was meant, if something is near."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _require_real(function: str, argument: str, value: Array) -> None:
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise TypeError(f"`{argument}` of `{function}` must be real, but got dtype {value.dtype}")


def _parameter(function: str, argument: str, value: ArrayLike, dtype: Any) -> Float[Array, "..."]:
    value = jnp.asarray(value)
    _require_real(function, argument, value)
    return jnp.asarray(value, dtype)


def _unless_zero(value: ArrayLike | None) -> ArrayLike | None:
    """None for a Python number of zero: as a slope it is constant, and nothing can pass through it."""
    return None if isinstance(value, int | float) and value == 0 else value


def _side_or_scalar(subgradient: Subgradient) -> tuple[str | None, ArrayLike | None]:
    if not isinstance(subgradient, str):
        require_finite("subgradient", subgradient)
        if jnp.ndim(subgradient) != 0:
            raise ValueError(
                f"`subgradient` must be a scalar, but got shape {jnp.shape(subgradient)}; "
                "`jax.vmap` over it gives one result per value"
            )
        return None, subgradient
    sides = get_args(Side)
    if subgradient not in sides:
        raise ValueError(
            f"`subgradient` must be one of {', '.join(map(repr, sides))} or a real scalar, "
            f"but got {subgradient!r}{nearest(subgradient, sides)}"
        )
    return subgradient, None


def _with_rank(array: Any, rank: int) -> Any:
    """Put unit axes in front, so that broadcasting is never between ranks; scalars need none."""
    if array is None or array.ndim in (0, rank):
        return array
    return jnp.reshape(array, (1,) * (rank - array.ndim) + array.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _rectify(
    x: Float[Array, "..."],
    slope: Float[Array, "..."] | None,
    at_zero: Float[Array, "..."] | None,
    left: bool,
    exponential: bool,
) -> Float[Array, "..."]:
    if slope is None:
        below = jnp.zeros((), compute_dtype(x))
    else:
        wide = x.astype(slope.dtype)
        below = slope * (expm1(wide, x.dtype) if exponential else wide)
        # A zero slope gives +0 also where the product would be -0, or NaN for -inf.
        below = jnp.where(branch(slope) == ZERO, 0, below)
    if x.dtype != jnp.bfloat16:
        return jnp.where(is_negative(x), below.astype(x.dtype), x)
    # Between words of 16 bits: XLA's CPU backend chooses between bfloat16 in float32, and rounds once more.
    chosen = jnp.where(is_negative(x), _bfloat16_bits(below), lax.bitcast_convert_type(x, jnp.uint16))
    return lax.bitcast_convert_type(chosen, x.dtype)


def _bfloat16_bits(x: Float[Array, "..."]) -> UInt16[Array, "..."]:
    """Round float32 to bfloat16, half to even: as XLA does, but LLVM makes twice as wide vectors of it."""
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    last = (bits >> 16) & 1
    rounded = jnp.where(jnp.isnan(x), bits | 0x400000, bits + 0x7FFF + last)
    return (rounded >> 16).astype(jnp.uint16)


@functools.partial(_rectify.defjvp, symbolic_zeros=True)
def _rectify_jvp(left: bool, exponential: bool, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    x, slope, at_zero = primals
    dx, dslope, _ = tangents
    y = _rectify(x, slope, at_zero, left, exponential)
    dtype = compute_dtype(x)
    dy = jnp.zeros(y.shape, dtype)
    exponential = exponential and slope is not None  # of slope zero it is the leaky one
    # Under checkpoint the backward pass keeps a map's arguments and none of its intermediates: one byte of
    # branch per element, or for ELU x, from which its derivative is computed again.
    remember = functools.partial(jax.checkpoint, prevent_cse=False)
    if type(dx) is not SymbolicZero:
        side = positive_branch if left else branch
        kept = x if exponential else checkpoint_name(side(x), "lrelu_jax.branch")
        along_x = remember(functools.partial(_along_x_exponential if exponential else _along_x, left))
        dy = along_x(kept, slope, at_zero, dx.astype(dtype))
    if type(dslope) is not SymbolicZero and dslope is not None:
        along_slope = remember(functools.partial(_along_slope, exponential))
        dy += along_slope(x, dslope)
    return y, dy.astype(x.dtype)


def _along_x(left: bool, side: Array, slope: Array | None, at_zero: Array | None, dx: Array) -> Array:
    pieces = ((side <= ZERO, slope),) if left else ((side == NEGATIVE, slope), (side == ZERO, at_zero))
    # The derivative first, then one product: in a select between products the transpose would multiply
    # the zeros of the branches not taken by NaN or infinity.
    derivative = jnp.where(side == NAN, jnp.nan, 1.0)
    for piece, value in pieces:
        derivative = jnp.where(piece, 0 if value is None else value, derivative)
    dy = derivative * dx
    # A constant zero stops an infinite cotangent too, as in sqrt(relu(x)).
    for piece, value in pieces:
        if value is None:
            dy = jnp.where(piece, 0, dy)
    return dy


def _along_x_exponential(left: bool, x: Array, slope: Array, at_zero: Array | None, dx: Array) -> Array:
    # `exp` is 1 above zero, and NaN at NaN.
    derivative = jnp.where(is_positive(x), 1, slope) * exp(x.astype(dx.dtype), x.dtype)
    if not left:
        derivative = jnp.where(is_zero(x), 0 if at_zero is None else at_zero, derivative)
    dy = derivative * dx
    return jnp.where(is_zero(x), 0, dy) if at_zero is None and not left else dy


def _along_slope(exponential: bool, x: Array, dslope: Array) -> Array:
    # Selected before the product: 0 * inf would be NaN at x = +inf.
    below = jnp.where(is_positive(x), 0, x).astype(dslope.dtype)
    if exponential:
        one = jnp.ones((), dslope.dtype)
        below = _rectify(below, one, None, True, True)
    return below * dslope
