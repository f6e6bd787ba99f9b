"""A rectifier and its derivative, drawn, with the derivative at zero shown as the convention has it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(
    function: Callable[..., Any], *, limits: tuple[float | int, float | int] = (-3.0, 3.0), **parameters: Any
) -> Figure:
    """Draw an activation and its derivative.

    The derivative at x = 0 is a filled point; a limit from one side that it differs from is a hollow one.

    Args:
        function: An activation of this package, or any other function of a scalar.
        limits: The smallest and the largest x; zero must lie between.
        **parameters: What else `function` takes, such as `alpha` and `subgradient`.

    Returns:
        A matplotlib figure; `figure.savefig("rectifier.png")` writes it.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If zero is not between the limits.

    Example:
        >>> from lrelu_jax import leaky_relu
        >>> figure = plot(leaky_relu, alpha=0.1)
        >>> [axes.get_title() for axes in figure.axes]
        ['leaky_relu(x, alpha=0.1)', 'derivative']
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plotting needs matplotlib: pip install 'lrelu-jax[sweeps]'") from error
    low, high = limits
    if not low < 0 < high:
        raise ValueError(f"`limits` must lie on both sides of 0, but got limits={limits}")
    activation = functools.partial(function, **parameters)
    derivative = jax.vmap(jax.grad(activation))
    # The end of each half is the limit at zero: small enough, and normal, so that no backend flushes it.
    halves = (np.linspace(low, -1e-30, 201), np.linspace(1e-30, high, 201))

    # A figure of its own rather than pyplot's: no global state, and nothing to close.
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    value_axes, slope_axes = figure.subplots(1, 2)
    x = np.concatenate(halves)
    value_axes.plot(x, activation(jnp.asarray(x)), color="C0")
    (at_zero,) = derivative(jnp.zeros(1))
    for half, end in zip(halves, (-1, 0), strict=True):
        slopes = derivative(jnp.asarray(half))
        slope_axes.plot(half, slopes, color="C1")
        if slopes[end] != at_zero:
            slope_axes.plot(0, slopes[end], "o", color="C1", markerfacecolor="white", zorder=3)
    slope_axes.plot(0, at_zero, "o", color="C1", zorder=3)

    name = getattr(function, "__name__", "f")
    arguments = ["x", *(f"{key}={value}" for key, value in parameters.items())]
    value_axes.set_title(f"{name}({', '.join(arguments)})")
    slope_axes.set_title("derivative")
    for axes in (value_axes, slope_axes):
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.set_xlabel("x")
        axes.spines[["top", "right"]].set_visible(False)
    return figure
