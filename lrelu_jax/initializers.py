"""Gains and He initialisers for a given slope, so that signals keep their size through deep networks."""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer
from jaxtyping import Array, ArrayLike, Float, Shaped

from .arguments import Variable, bounds, nearest, parameter, scalar

Activation: TypeAlias = Literal["linear", "relu", "leaky_relu", "prelu", "rrelu", "elu"]
Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]

# E[expm1(z)^2; z < 0] for a standard normal z. Completing the squares of its exponents gives
# 1/2 - 2 sqrt(e) P(z < -1) + e^2 P(z < -2).
_ELU_ENERGY = 0.5 - math.sqrt(math.e) * math.erfc(math.sqrt(0.5)) + math.e**2 * math.erfc(math.sqrt(2)) / 2


def gain(
    activation: str,
    alpha: Shaped[ArrayLike, "..."] | Variable | None = None,
    *,
    lower: Shaped[ArrayLike, ""] | Variable = 1 / 8,
    upper: Shaped[ArrayLike, ""] | Variable = 1 / 3,
) -> Float[Array, "..."]:
    """The factor on weights of variance 1 / fan_in that keeps the mean square of a signal through a layer.

    gain = 1 / sqrt(E[f(z)^2]) for a standard normal z:

    - `"linear"`: 1
    - `"relu"`: sqrt(2)
    - `"leaky_relu"`, `"prelu"`: sqrt(2 / (1 + alpha^2))
    - `"rrelu"`, in training: sqrt(2 / (1 + E[a^2])), E[a^2] = (lower^2 + lower upper + upper^2) / 3
    - `"elu"`: 1 / sqrt(1/2 + alpha^2 E[expm1(z)^2; z < 0]), 1.2452 at alpha = 1

    Args:
        activation: The name of the rectifier, or `"linear"` for none.
        alpha: Its slope or scale, traced or not. None is the default: 0.01 for `"leaky_relu"`, 0.25 (the
            initial slope) for `"prelu"`, 1 for `"elu"`.
        lower: The smallest slope of `"rrelu"`.
        upper: The largest slope of `"rrelu"`.

    Returns:
        The gain, of the shape of `alpha`, in the default float.

    Raises:
        ValueError: If `activation` is unknown, if `alpha` is given where there is none, if a Python or NumPy
            value or its square is not finite, or if the bounds are out of order.

    References:
        He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015, section 2.2.

    Example:
        >>> [f"{gain(name):.4f}" for name in ("linear", "relu", "leaky_relu", "prelu", "rrelu", "elu")]
        ['1.0000', '1.4142', '1.4141', '1.3720', '1.3761', '1.2452']
    """
    defaults = {"leaky_relu": 0.01, "prelu": 0.25, "elu": 1.0}
    names = get_args(Activation)
    if activation not in names:
        raise ValueError(
            f"`activation` must be one of {', '.join(map(repr, names))}, "
            f"but got {activation!r}{nearest(activation, names)}"
        )
    if alpha is not None and activation not in defaults:
        raise ValueError(f"`alpha` must be None for {activation!r}, which has none, but got alpha={alpha}")
    if alpha is None:
        alpha = defaults.get(activation, float(activation == "linear"))
    square = jnp.square(jnp.asarray(_slope(alpha), float))
    if activation == "rrelu":
        low, high = (jnp.asarray(bound, float) for bound in bounds(lower, upper))
        square = (low * low + low * high + high * high) / 3
    energy = 0.5 + square * (_ELU_ENERGY if activation == "elu" else 0.5)
    return 1 / jnp.sqrt(energy)


def he_normal(
    alpha: Shaped[ArrayLike, ""] | Variable = 0.0,
    *,
    mode: str = "fan_in",
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
    dtype: Any = None,
) -> Initializer:
    """He initialisation from a truncated normal, for a rectifier of slope `alpha`.

    The variance is 2 / ((1 + alpha^2) fan); the normal is cut at two standard deviations and widened to have
    that variance. For alpha = 0 this is `jax.nn.initializers.he_normal`.

    Args:
        alpha: The slope, traced or not.
        mode: Which fan: `"fan_in"`, which keeps the size of signals, `"fan_out"`, which keeps that of
            gradients, or their mean, `"fan_avg"` or `"fan_geo_avg"`.
        in_axis: The axis or axes of the weights that the inputs lie along.
        out_axis: That of the outputs.
        batch_axis: Axes that are neither, nor part of the receptive field, as for weights of several members.
        dtype: The dtype of the weights unless the call names one; None is the default float.

    Returns:
        An initialiser, called with a key, a shape and a dtype.

    Raises:
        TypeError: If `alpha` is no number, array or Variable.
        ValueError: If `alpha` is not a scalar, or a Python or NumPy value that is not finite or whose square
            is not; if `mode` is unknown.

    References:
        He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015, section 2.2.

    Example:
        >>> import jax
        >>> from flax import nnx
        >>> layer = nnx.Linear(256, 256, kernel_init=he_normal(0.5), rngs=nnx.Rngs(0))
        >>> f"{layer.kernel[...].std() * 256**0.5:.1f}, {gain('leaky_relu', 0.5):.1f}"
        '1.3, 1.3'
    """
    return _he(alpha, mode, "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def he_uniform(
    alpha: Shaped[ArrayLike, ""] | Variable = 0.0,
    *,
    mode: str = "fan_in",
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
    dtype: Any = None,
) -> Initializer:
    """He initialisation from a uniform distribution, for a rectifier of slope `alpha`.

    The variance is 2 / ((1 + alpha^2) fan), so the bound is sqrt(6 / ((1 + alpha^2) fan)).

    Args:
        alpha: The slope, traced or not.
        mode: As for `he_normal`.
        in_axis: As for `he_normal`.
        out_axis: As for `he_normal`.
        batch_axis: As for `he_normal`.
        dtype: As for `he_normal`.

    Returns:
        An initialiser, called with a key, a shape and a dtype.

    Raises:
        TypeError: As `he_normal` does.
        ValueError: As `he_normal` does.

    References:
        He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015, section 2.2.

    Example:
        >>> import jax
        >>> weights = he_uniform(0.5)(jax.random.key(0), (256, 256))
        >>> f"{abs(weights).max():.3f}, {(6 / 1.25 / 256) ** 0.5:.3f}"
        '0.137, 0.137'
    """
    return _he(alpha, mode, "uniform", in_axis, out_axis, batch_axis, dtype)


def _he(
    alpha: ArrayLike | Variable,
    mode: str,
    distribution: Literal["truncated_normal", "uniform"],
    in_axis: int | Sequence[int],
    out_axis: int | Sequence[int],
    batch_axis: int | Sequence[int],
    dtype: Any,
) -> Initializer:
    alpha = _slope(scalar("alpha", alpha))
    if mode not in get_args(Mode):
        raise ValueError(
            f"`mode` must be one of {', '.join(map(repr, get_args(Mode)))}, "
            f"but got {mode!r}{nearest(mode, get_args(Mode))}"
        )
    # A Python number stays one: an array made here would start a backend where a module is only defined.
    alpha = alpha if isinstance(alpha, int | float) else jnp.asarray(alpha, float)
    fan: Any = mode
    return jax.nn.initializers.variance_scaling(
        2 / (1 + alpha**2), fan, distribution, in_axis, out_axis, batch_axis, dtype
    )


def _slope(alpha: Any) -> ArrayLike:
    """`alpha` as a number or array whose square the default float can hold, where that is known."""
    alpha = parameter("alpha", alpha)
    largest = math.sqrt(float(jnp.finfo(jnp.result_type(float)).max))
    if not isinstance(alpha, jax.Array) and np.any(np.abs(alpha) > largest):
        raise ValueError(f"`alpha` must have a finite square, but got alpha={alpha}; slopes are near 1")
    return alpha
