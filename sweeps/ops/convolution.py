"""Convolutions whose gradients stay fast inside CPU loops and under `vmap` over kernels.

Inside `lax.scan` and `lax.while_loop` XLA's CPU backend runs a convolution through its fast kernels only
if operands and result are laid out as NHWC, HWIO and NHWC. The gradients that `jax.lax` derives are not,
and run 8 to 65 times slower there than outside a loop (jax issue 12868). Here both gradients are written
as forward convolutions in that layout, and `lax.optimization_barrier` keeps XLA from undoing the
transposes. `vmap` over kernels turns `jax.lax`'s convolution into a grouped one, slow on CPU; here the
members take turns instead, one fast convolution after another, in one program.

On other backends `conv_general_dilated` is `jax.lax`'s own convolution with `jax.lax`'s own gradients.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

_CANONICAL = ("NHWC", "HWIO", "NHWC")


class _Window(NamedTuple):
    """How a kernel moves over its image: everything static about a canonical convolution."""

    image: tuple[int, ...]  # the two spatial extents
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # never negative
    dilation: tuple[int, ...]  # of the kernel
    groups: int
    precision: Any


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Any = None,
) -> Array:
    """Convolves as `jax.lax.conv_general_dilated` does, and stays fast in loops and under `vmap`.

    Signature, meaning, shapes, dtypes and errors are `jax.lax.conv_general_dilated`'s; values and gradients
    of finite numbers agree with it to rounding. A NaN or infinity may reach neighbouring columns too, as it
    meets the zeros of a kernel that is folded over several columns. One- and two-dimensional convolutions of
    floating-point arrays are lowered as this module says; every other call (three dimensions,
    `batch_group_count` above 1, complex or integer arrays, mixed dtypes, an `out_sharding`) is passed to
    `jax.lax` unchanged.

    Reverse-mode derivatives of any order, `jit`, `vmap`, `scan` and `checkpoint` work; forward-mode (`jvp`)
    does not, since the gradients are a `jax.custom_vjp`.

    Args:
      lhs: the input, of rank n + 2 for n spatial dimensions.
      rhs: the kernel, of rank n + 2.
      window_strides: n strides.
      padding: "SAME", "SAME_LOWER", "VALID" or n pairs (low, high), which may be negative.
      lhs_dilation: n dilations of the input.
      rhs_dilation: n dilations of the kernel.
      dimension_numbers: the meaning of the axes, as in `jax.lax`.
      feature_group_count: the number of groups of input features.
      batch_group_count: the number of groups of examples.
      precision: as in `jax.lax`.
      preferred_element_type: the dtype to accumulate in and return.
      out_sharding: as in `jax.lax`.

    Returns:
      The convolution, of the shape and dtype that `jax.lax.conv_general_dilated` gives it.

    Raises:
      TypeError, ValueError: what `jax.lax.conv_general_dilated` raises for the same arguments.

    References:
      Chetlur et al., 2014, cuDNN: Efficient Primitives for Deep Learning, sections 2 and 3: both gradients
      of a convolution are convolutions.

    >>> images, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    >>> conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).shape
    (2, 8, 8, 4)
    """
    own = functools.partial(
        lax.conv_general_dilated,
        window_strides=window_strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
    )
    result = jax.eval_shape(own, lhs, rhs)  # raises what jax.lax raises
    if batch_group_count > 1 or out_sharding is not None or not _is_ordinary(lhs, rhs, result):
        return own(lhs, rhs)

    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    (batch, channel, *places), (o, i, *taps) = numbers.lhs_spec, numbers.rhs_spec
    image, kernel = jnp.transpose(lhs, (batch, *places, channel)), jnp.transpose(rhs, (*taps, i, o))
    window, image, kernel = _canonical(
        image, kernel, window_strides, padding, lhs_dilation, rhs_dilation, feature_group_count, precision
    )
    if _sees_padding_alone(window):  # nothing is left of some axis, which no gradient could be made of
        return jnp.zeros(result.shape, result.dtype)
    output = _convolution(window, image, kernel)
    if lhs.ndim == 3:
        output = output[:, 0]
    order = np.argsort((numbers.out_spec[0], *numbers.out_spec[2:], numbers.out_spec[1]))
    return jnp.transpose(output, tuple(order))


def _is_ordinary(lhs: Array, rhs: Array, result: jax.ShapeDtypeStruct) -> bool:
    """Whether it is a convolution of rows or images, of floating-point numbers of one type, and not empty."""
    return bool(
        lhs.ndim in (3, 4)
        and lhs.dtype == rhs.dtype == result.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and 0 not in (*lhs.shape, *rhs.shape, *result.shape)
    )


def _canonical(
    image: Array,
    kernel: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    groups: int,
    precision: Any,
) -> tuple[_Window, Array, Array]:
    """The window, image and kernel of a convolution of two dimensions whose padding is never negative."""
    spatial = image.ndim - 2
    strides, spread, dilation = (
        (1,) * spatial if sizes is None else tuple(int(n) for n in sizes)
        for sizes in (window_strides, lhs_dilation, rhs_dilation)
    )
    if isinstance(padding, str):
        reaches = [d * (size - 1) + 1 for size, d in zip(kernel.shape[:-2], dilation, strict=True)]
        padding = lax.padtype_to_pads(image.shape[1:-1], reaches, strides, padding)
    # What a negative pad leaves of an image is at least nothing, however much the other side is padded.
    extents = [d * (size - 1) + 1 for size, d in zip(image.shape[1:-1], spread, strict=True)]
    crops = [[max(-size, min(pad, 0)) for pad in pads] for pads, size in zip(padding, extents, strict=True)]
    image = _padded(image, [(low, high) for low, high in crops], spread)
    pads = tuple((max(int(low), 0), max(int(high), 0)) for low, high in padding)
    if spatial == 1:  # a row is an image of height 1
        image, kernel = image[:, None], kernel[None]
        strides, dilation, pads = (1, *strides), (1, *dilation), ((0, 0), *pads)
    window = _Window(image.shape[1:3], kernel.shape[:2], strides, pads, dilation, groups, precision)
    return window, image, kernel


def _padded(image: Array, pads: Sequence[tuple[int, int]], spread: Sequence[int]) -> Array:
    """Puts `spread` - 1 zeros between pixels, then pads, or crops where a pad is negative."""
    config = [(int(low), int(high), d - 1) for (low, high), d in zip(pads, spread, strict=True)]
    if all(entry == (0, 0, 0) for entry in config):
        return image
    return lax.pad(image, jnp.zeros((), image.dtype), [(0, 0, 0), *config, (0, 0, 0)])


def _sees_padding_alone(window: _Window) -> bool:
    """Whether, along some axis, nothing of the image is left or the last window ends before it begins."""
    for image, kernel, stride, (low, high), dilation in zip(*window[:5], strict=True):
        reach = dilation * (kernel - 1)
        last = (image + low + high - reach - 1) // stride * stride
        if not image or last + reach < low:
            return True
    return False


def _own(window: _Window, image: Array, kernel: Array) -> Array:
    """The convolution as `jax.lax` has it."""
    return lax.conv_general_dilated(
        image,
        kernel,
        window.strides,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=_CANONICAL,
        feature_group_count=window.groups,
        precision=window.precision,
    )


def _fast(window: _Window, image: Array, kernel: Array) -> Array:
    """The convolution in the layout, and with the number of features, that XLA's CPU kernels are best at.

    From 17 features on XLA uses YNNPACK, below that Eigen, which is slower. So where there are few output
    features, `fold` neighbouring output columns are computed as the features of one: their kernels, each
    shifted by its column, side by side. The result is the same array, read differently.
    """
    *_, channels, features = kernel.shape
    (stride, (low, high)), taps = (window.strides[1], window.padding[1]), window.kernel[1]
    fold = min(8, max(2, 32 // features))
    last = stride * (fold - 1)
    few = window.groups == 1 and max(channels, features) < 17
    # A kernel wider than its image would have XLA swap the two, and leave the layout.
    if not few or window.dilation[1] != 1 or taps + last > window.image[1]:
        return _own(window, *lax.optimization_barrier((image, kernel)))
    width = (window.image[1] + low + high - taps) // stride + 1
    missing = -width % fold
    kernel = jnp.concatenate(
        [jnp.pad(kernel, ((0, 0), (i, last - i), (0, 0), (0, 0))) for i in range(0, last + 1, stride)], -1
    )
    high = stride * (width + missing - 1) + taps - window.image[1] - low
    image = _padded(image, [(0, 0), (0, min(high, 0))], (1, 1))
    window = window._replace(
        strides=(window.strides[0], stride * fold), padding=(window.padding[0], (low, max(high, 0)))
    )
    output = _own(window, *lax.optimization_barrier((image, kernel)))
    count, height = output.shape[:2]
    return output.reshape(count, height, -1, features)[:, :, :width]


def _fast_image_gradient(window: _Window, gradient: Array, kernel: Array) -> Array:
    """The gradient in the image: a convolution of the output's gradient with the kernel turned round."""
    spread, groups = window.strides, window.groups
    pads = []
    for axis in range(2):
        reach = window.dilation[axis] * (window.kernel[axis] - 1)
        low = reach - window.padding[axis][0]
        size = spread[axis] * (gradient.shape[axis + 1] - 1) + 1
        pads.append((low, window.image[axis] + reach - size - low))
    gradient = _padded(gradient, [(min(low, 0), min(high, 0)) for low, high in pads], spread)
    height, width, channels, features = kernel.shape
    turned = kernel[::-1, ::-1].reshape(height, width, channels, groups, features // groups)
    turned = jnp.transpose(turned, (0, 1, 4, 3, 2)).reshape(height, width, features // groups, -1)
    window = window._replace(
        image=gradient.shape[1:3],
        strides=(1, 1),
        padding=tuple((max(low, 0), max(high, 0)) for low, high in pads),
    )
    return _fast(window, gradient, turned)


def _fast_kernel_gradient(window: _Window, image: Array, gradient: Array) -> Array:
    """The gradient in the kernel: a convolution with the output's gradient, examples being the channels."""
    pads = []
    for axis in range(2):
        low = window.padding[axis][0]
        reach = window.dilation[axis] * (window.kernel[axis] - 1)
        size = window.strides[axis] * (gradient.shape[axis + 1] - 1) + 1
        pads.append((low, reach + size - window.image[axis] - low))
    image = _padded(image, [(0, min(high, 0)) for _, high in pads], (1, 1))
    count, height, width, channels = image.shape
    image = image.reshape(count, height, width, window.groups, channels // window.groups)
    image = jnp.transpose(image, (4, 1, 2, 3, 0)).reshape(-1, height, width, window.groups * count)
    window = window._replace(
        image=(height, width),
        kernel=gradient.shape[1:3],
        strides=window.dilation,
        padding=tuple((low, max(high, 0)) for low, high in pads),
        dilation=window.strides,
    )
    output = _fast(window, image, jnp.transpose(gradient, (1, 2, 0, 3)))
    return jnp.transpose(output, (1, 2, 0, 3))


def _own_image_gradient(window: _Window, gradient: Array, kernel: Array) -> Array:
    """The gradient in the image as `jax.lax` has it."""
    channels = window.groups * kernel.shape[2]
    image = jax.ShapeDtypeStruct((gradient.shape[0], *window.image, channels), gradient.dtype)
    return jax.linear_transpose(lambda x: _own(window, x, kernel), image)(gradient)[0]


def _own_kernel_gradient(window: _Window, image: Array, gradient: Array) -> Array:
    """The gradient in the kernel as `jax.lax` has it."""
    shape = (*window.kernel, image.shape[-1] // window.groups, gradient.shape[-1])
    kernel = jax.ShapeDtypeStruct(shape, image.dtype)
    return jax.linear_transpose(lambda w: _own(window, image, w), kernel)(gradient)[0]


def _per_platform(fast: Callable[..., Array], own: Callable[..., Array], shared: bool):
    """Joins the two forms of a bilinear function; on CPU a mapped axis is worked through in turn.

    Args:
      fast: the function for CPUs.
      own: the function for every other platform, where `vmap` has its usual meaning.
      shared: whether the first argument's leading axis counts examples, and is the result's too, so that a
        mapped axis of the first argument alone is only more examples.
    """

    def function(window: _Window, first: Array, second: Array) -> Array:
        @jax.custom_batching.custom_vmap
        def call(first: Array, second: Array) -> Array:
            return lax.platform_dependent(
                first,
                second,
                cpu=functools.partial(fast, window),
                default=functools.partial(own, window),
            )

        @call.def_vmap
        def _(size: int, batched: list[bool], first: Array, second: Array) -> tuple[Array, bool]:
            def in_turn(first: Array, second: Array) -> Array:
                if shared and not batched[1]:
                    merged = call(first.reshape(-1, *first.shape[2:]), second)
                    return merged.reshape(size, -1, *merged.shape[1:])
                mapped = tuple(x for x, is_mapped in zip((first, second), batched, strict=True) if is_mapped)

                def one(arrays: tuple[Array, ...]) -> Array:
                    a, *rest = arrays
                    return call(a if batched[0] else first, (rest or [a])[0] if batched[1] else second)

                return lax.map(one, mapped)

            axes = tuple(0 if is_mapped else None for is_mapped in batched)
            together = jax.vmap(functools.partial(own, window), axes)
            return lax.platform_dependent(first, second, cpu=in_turn, default=together), True

        return call(first, second)

    return function


# Each of the three is bilinear, and the gradients of each are the other two: derivatives of any order
# never leave them.
_convolution = jax.custom_vjp(_per_platform(_fast, _own, shared=True), nondiff_argnums=(0,))
_image_gradient = jax.custom_vjp(
    _per_platform(_fast_image_gradient, _own_image_gradient, shared=True), nondiff_argnums=(0,)
)
_kernel_gradient = jax.custom_vjp(
    _per_platform(_fast_kernel_gradient, _own_kernel_gradient, shared=False), nondiff_argnums=(0,)
)
_convolution.defvjp(
    lambda window, image, kernel: (_convolution(window, image, kernel), (image, kernel)),
    lambda window, saved, g: (_image_gradient(window, g, saved[1]), _kernel_gradient(window, saved[0], g)),
)
_image_gradient.defvjp(
    lambda window, g, kernel: (_image_gradient(window, g, kernel), (g, kernel)),
    lambda window, saved, t: (_convolution(window, t, saved[1]), _kernel_gradient(window, t, saved[0])),
)
_kernel_gradient.defvjp(
    lambda window, image, g: (_kernel_gradient(window, image, g), (image, g)),
    lambda window, saved, t: (_image_gradient(window, saved[1], t), _convolution(window, saved[0], t)),
)
