"""Max-pooling whose gradient stays fast inside CPU loops."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array, Float

from sweeps.ops.exchange import call


def max_pool(
    inputs: Float[Array, "*batch_places_channels"],
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Float[Array, "*batch_outputs_channels"]:
    """Takes the maximum over windows as `flax.nnx.max_pool` does, with a gradient that is fast on CPU.

    Where windows do not overlap (strides equal to the window, padding "VALID") and the backend is a CPU,
    each window keeps where its first maximum is, and the gradient goes there: XLA's rule for ties, without
    its select-and-scatter, which costs as much as three small convolutions. Overlapping or padded windows
    and other backends fall back to `jax.lax.reduce_window`. NaN anywhere in a window is its maximum.

    Values and gradients are the same bits as Flax's but for three things on a CPU. Of zeros of both signs the
    first is the maximum, where Flax's is +0. The gradient of a window with NaN goes to the first NaN, where
    Flax's goes to an element after the last NaN, if there is one. And subnormal maxima are returned as they
    are, where Flax's are zeros.

    Args:
      inputs: floating point, of shape (*batch, *places, channels).
      window_shape: the n extents of the window over the n places.
      strides: n strides; None is 1 along each, as in Flax.
      padding: "VALID", "SAME" or n pairs (low, high).

    Returns:
      The maxima, of the inputs' dtype.

    Raises:
      ValueError: if `window_shape` and `strides` do not fit each other and the inputs.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), (2, 2), (2, 2))[0, :, :, 0]
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    window, steps = tuple(window_shape), tuple(strides or (1,) * len(window_shape))
    if not len(window) == len(steps) < inputs.ndim:
        raise ValueError(
            "`len(window_shape) == len(strides) < inputs.ndim` must hold, "
            f"but got {len(window)}, {len(steps)} and {inputs.ndim}"
        )
    before = (1,) * (inputs.ndim - len(window) - 1)
    sides = padding if isinstance(padding, str) else [(0, 0)] * len(before) + list(padding) + [(0, 0)]

    def own(inputs: Array) -> Array:
        return lax.reduce_window(
            inputs, -jnp.inf, lax.max, (*before, *window, 1), (*before, *steps, 1), sides
        )

    places = inputs.shape[len(before) : -1]
    fits = all(size >= extent for size, extent in zip(places, window, strict=True))
    if steps != window or padding != "VALID" or not fits or inputs.size == 0:
        return own(inputs)
    tiles = functools.partial(_tiles_maximum, window, places)
    return lax.platform_dependent(inputs, cpu=tiles, default=own)


def fast_pool(eqn: JaxprEqn) -> JaxprEqn:
    """A max-pool of tiles, such as `flax.nnx.max_pool`'s, as `max_pool`'s: the same bits, but where it says.

    Forward-mode derivatives are not available then. Any other equation is returned as it is.

    Args:
        eqn: an equation.
    """
    if eqn.primitive.name != "reduce_window_max" or not _of_tiles(eqn):
        return eqn
    window = eqn.params["window_dimensions"][1:-1]
    return call(functools.partial(max_pool, window_shape=window, strides=window), eqn)


def _of_tiles(eqn: JaxprEqn) -> bool:
    """Whether a pool is over tiles of the inner axes, which `max_pool` has a fast gradient for."""
    one: Any = eqn.invars[0].aval
    window = eqn.params["window_dimensions"]
    ones = (1,) * len(window)
    return (
        len(window) > 2
        and (window[0], window[-1]) == (1, 1)
        and tuple(eqn.params["window_strides"]) == tuple(window)
        and tuple(eqn.params["base_dilation"]) == tuple(eqn.params["window_dilation"]) == ones
        and all(tuple(sides) == (0, 0) for sides in eqn.params["padding"])
        and jnp.issubdtype(one.dtype, jnp.floating)
    )


def _tiles_with_positions(window: tuple[int, ...], inputs: Array) -> tuple[Array, Array]:
    """The maximum of each tile of the size of `window`, and where in its tile the first one is."""
    first = inputs.ndim - len(window) - 1

    def part(offset: tuple[int, ...]) -> Array:
        result = inputs
        for axis, (start, extent) in enumerate(zip(offset, window, strict=True), first):
            result = lax.slice_in_dim(result, start, inputs.shape[axis] // extent * extent, extent, axis)
        return result

    start, *others = np.ndindex(*window)
    maximum = part(start)
    position = jnp.zeros(maximum.shape, jnp.float32)
    for index, offset in enumerate(others, 1):
        candidate = part(offset)
        keep = (maximum >= candidate) | (maximum != maximum)
        maximum, position = jnp.where(keep, maximum, candidate), jnp.where(keep, position, float(index**2))
    # XLA holds a square root to be dear, so it stores the positions instead of working them out again for
    # every pixel of the gradient. The roots of these squares are exact.
    return maximum, lax.sqrt(position)


def _tiles_gradient(
    window: tuple[int, ...], places: tuple[int, ...], position: Array, g: Array
) -> tuple[Array]:
    """The gradient at the position of each tile's maximum, zero elsewhere."""
    n, first = len(window), g.ndim - len(window) - 1
    within = [first + 1 + 2 * axis for axis in range(n)]
    shape = [1] * (g.ndim + n)
    for axis, extent in zip(within, window, strict=True):
        shape[axis] = extent
    index = jnp.arange(math.prod(window), dtype=position.dtype).reshape(shape)
    spread = jnp.where(jnp.expand_dims(position, within) == index, jnp.expand_dims(g, within), 0)
    tiled = [size * extent for size, extent in zip(g.shape[first:-1], window, strict=True)]
    result = spread.reshape(*g.shape[:first], *tiled, g.shape[-1])
    rest = [(0, 0)] * first + [(0, size - tile) for size, tile in zip(places, tiled, strict=True)] + [(0, 0)]
    return (jnp.pad(result, rest) if any(high for _, high in rest) else result,)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _tiles_maximum(window: tuple[int, ...], places: tuple[int, ...], inputs: Array) -> Array:
    """The maximum of each tile of the size of `window`."""
    return _tiles_with_positions(window, inputs)[0]


_tiles_maximum.defvjp(lambda window, _, inputs: _tiles_with_positions(window, inputs), _tiles_gradient)
