"""What every rectifier accepts, checked once: arrays, numbers and Flax Variables; names, bounds, keywords."""

import difflib
import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

Side: TypeAlias = Literal["left", "right", "midpoint"]
Variable: TypeAlias = nnx.Variable[Any]
Subgradient: TypeAlias = str | ArrayLike | Variable
"""A `Side` or a real scalar, traced or not."""

_Target = TypeVar("_Target", bound=Callable[..., Any])
# What other libraries call the parameters here.
_ELSEWHERE = {
    "negative_slope": "alpha",
    "negative_slope_init": "alpha_init",
    "num_parameters": "num_features",
}


def as_floating(name: str, x: ArrayLike) -> Float[Array, "..."]:
    """Return `x` as a JAX array of its floating dtype; integers and booleans become the default float."""
    # A JAX array before any comparison: NumPy and XLA order subnormals differently.
    x = jnp.asarray(x)
    require_real(name, "x", x)
    # Naming the dtype also makes the weak type of a Python scalar a strong one.
    return jnp.asarray(x, x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(float))


def compute_dtype(x: Float[Array, "..."]) -> np.dtype:
    """16-bit inputs are computed in float32 and rounded once; a slope's gradient is summed there too."""
    return np.dtype(np.float32) if x.dtype.itemsize < 4 else x.dtype


def parameter(name: str, value: Any) -> ArrayLike:
    """The number or array that a slope, bound or derivative is, taken out of its Variable.

    Raises:
        TypeError: If it is neither.
        ValueError: If it is a Python or NumPy value and not finite, or an integer larger than any float; a
            JAX array may be learned, and passes.
    """
    if isinstance(value, nnx.Variable):
        value = value.get_value()
    if not isinstance(value, bool | int | float | complex | np.number | np.ndarray | np.bool | jax.Array):
        cure = f"; did you mean `subgradient={value!r}`?" if value in get_args(Side) else ""
        raise TypeError(f"`{name}` must be a number, an array or a Variable, but got {value!r}{cure}")
    if isinstance(value, int):
        value = _held(name, value)
    if not isinstance(value, jax.Array) and not np.all(np.isfinite(value)):
        raise ValueError(f"`{name}` must be finite, but got {name}={value}")
    return value


def _held(name: str, value: int) -> int | float:
    """A Python integer, as a float where JAX's own integers are too short for it."""
    limits = np.iinfo(jnp.result_type(int))
    if limits.min <= value <= limits.max:
        return value
    try:
        return float(value)
    except OverflowError:
        bits = value.bit_length()
        raise ValueError(
            f"`{name}` must be small enough for a float, but got an integer of {bits} bits"
        ) from None


def scalar(name: str, value: Any, cure: str = "") -> ArrayLike:
    """`parameter`, of shape ().

    Raises:
        ValueError: If it has another shape.
    """
    value = parameter(name, value)
    if np.shape(value) != ():
        raise ValueError(f"`{name}` must be a scalar, but got shape {np.shape(value)}{cure}")
    return value


def bounds(lower: Any, upper: Any) -> tuple[ArrayLike, ArrayLike]:
    """The two bounds of a random slope.

    Raises:
        TypeError: If one is complex, or no number.
        ValueError: If one is not a scalar or not finite, or they are out of order; traced ones pass.
    """
    lower, upper = scalar("lower", lower), scalar("upper", upper)
    for name, value in (("lower", lower), ("upper", upper)):
        if jnp.iscomplexobj(value):
            raise TypeError(f"`{name}` must be real, but got {name}={value}")
    if not isinstance(lower, Tracer) and not isinstance(upper, Tracer) and np.greater(lower, upper):
        raise ValueError(
            f"`lower <= upper` must hold, but got lower={lower}, upper={upper}; "
            f"did you mean lower={upper}, upper={lower}?"
        )
    return lower, upper


def channels(num_features: Any) -> tuple[int, ...]:
    """The shape of PReLU's slopes.

    Raises:
        TypeError: If `num_features` is neither None nor an integer.
    """
    if num_features is None:
        return ()
    if isinstance(num_features, bool) or not isinstance(num_features, int | np.integer):
        raise TypeError(
            f"`num_features` must be None or an integer, but got {num_features!r}; "
            f"did you mean `alpha_init={num_features!r}`?"
        )
    return (int(num_features),)


def require_axis(axis: Any, shape: tuple[int, ...]) -> None:
    """Raise an error for what is no axis of an input of this shape.

    Raises:
        TypeError: If `axis` is no integer.
        ValueError: If the input has too few axes.
    """
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise TypeError(f"`axis` must be an integer, but got axis={axis!r}")
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"`axis` must be an axis of `x`, but got axis={axis} for x of shape {shape}")


def side_or_scalar(subgradient: Subgradient) -> tuple[str | None, ArrayLike | None]:
    """The `Side` that a subgradient names, or the number that it is.

    Raises:
        ValueError: If it is an unknown name or not a scalar.
    """
    if not isinstance(subgradient, str):
        return None, scalar("subgradient", subgradient, "; `jax.vmap` over it gives one result per value")
    sides = get_args(Side)
    if subgradient not in sides:
        raise ValueError(
            f"`subgradient` must be one of {', '.join(map(repr, sides))} or a real scalar, "
            f"but got {subgradient!r}{nearest(subgradient, sides)}"
        )
    return subgradient, None


def require_real(function: str, argument: str, value: ArrayLike) -> None:
    """Raise a TypeError for complex numbers, which no rectifier can order."""
    if jnp.iscomplexobj(value):
        raise TypeError(f"`{argument}` of `{function}` must be real, but got dtype {jnp.result_type(value)}")


def nearest(name: str, names: tuple[str, ...]) -> str:
    """The tail of an error about an unknown name: what was meant, if something is near."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def names_alpha(target: _Target) -> _Target:
    """Make a function, or a class, say what it calls a keyword that other libraries name otherwise."""
    call = target.__init__ if isinstance(target, type) else target

    @functools.wraps(call)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for keyword in kwargs.keys() & _ELSEWHERE.keys():
            here = _ELSEWHERE[keyword]
            raise TypeError(
                f"`{target.__name__}` has no `{keyword}`, which is `{here}` here; "
                f"`{here}={kwargs[keyword]!r}` will do"
            )
        return call(*args, **kwargs)

    if isinstance(target, type):
        target.__init__ = checked
    return target if isinstance(target, type) else checked  # pyright: ignore[reportReturnType]
