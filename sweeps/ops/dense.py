"""Products of dense layers whose gradients are fast for a population on CPU.

XLA's CPU backend is slow at two things that every population of networks does. The gradient of a kernel
with few output features, the last layer's, is a product with few columns, which takes up to 10 times as
long as the same product with few rows. And where all members see one batch, `vmap` makes the first
layer's products those of one wide kernel, whose results, and whose gradients, are then transposed to and
fro; a copy of the batch for each member costs less.

On other backends, and for every other product, `dot_general` is `jax.lax`'s own.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike
from jaxtyping import Array

# Measured with a bias and Adam around the product, for 32 to 512 examples and 1 to 8 members: below these
# bounds a narrow kernel is 0.85 to 4 times as fast this way, and a wide one 0.9 to 3 times from there on.
NARROW = 32  # output features at most, and half the inputs at most, for the gradient to be turned
WIDE = 128  # output features at least, for a shared batch to be copied


def dot_general(
    lhs: Array,
    rhs: Array,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
    *,
    out_sharding: Any = None,
) -> Array:
    """Multiplies as `jax.lax.dot_general` does, with gradients that are fast for a population on CPU.

    Signature, meaning, shapes, dtypes and errors are `jax.lax.dot_general`'s; values and derivatives agree
    with it to rounding. What a dense layer does, `lhs[..., i] @ rhs[i, o]` in one floating dtype, is
    lowered as this module says; every other call is passed to `jax.lax` unchanged. Derivatives of any
    order, in forward and in reverse mode, and every transform work.

    Args:
      lhs: the inputs.
      rhs: the kernel.
      dimension_numbers: which axes are summed over and which are batched, as in `jax.lax`.
      precision: as in `jax.lax`.
      preferred_element_type: the dtype to accumulate in and return.
      out_sharding: as in `jax.lax`.

    Returns:
      The product, of the shape and dtype that `jax.lax.dot_general` gives it.

    Raises:
      TypeError, ValueError: what `jax.lax.dot_general` raises for the same arguments.

    >>> inputs, kernel = jnp.ones((2, 64)), jnp.ones((64, 10))
    >>> dot_general(inputs, kernel, (((1,), (0,)), ((), ()))).shape
    (2, 10)
    """
    own = functools.partial(
        lax.dot_general,
        dimension_numbers=dimension_numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
    )
    (contracted, batched) = dimension_numbers
    dense = (
        lhs.ndim > 1
        and rhs.ndim == 2
        and [list(axes) for axes in (*contracted, *batched)] == [[lhs.ndim - 1], [0], [], []]
        and lhs.shape[-1] == rhs.shape[0]
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and preferred_element_type is None
        and out_sharding is None
        and 0 not in (*lhs.shape, *rhs.shape)
    )
    if not dense or not (_is_narrow(rhs) or _is_wide(rhs)):
        return own(lhs, rhs)
    rows = lhs.reshape(-1, lhs.shape[-1])
    fast = functools.partial(_product, precision)
    plain = functools.partial(lax.dot, precision=precision)
    return lax.platform_dependent(rows, rhs, cpu=fast, default=plain).reshape(*lhs.shape[:-1], -1)


def _is_narrow(kernel: Array) -> bool:
    inputs, features = kernel.shape
    return features <= min(NARROW, inputs // 2)


def _is_wide(kernel: Array) -> bool:
    return kernel.shape[1] >= WIDE


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _product(precision: Any, rows: Array, kernel: Array) -> Array:
    """The product; its tangents are written so that their transposes are the fast gradients."""
    return lax.dot(_own_rows(rows, kernel), kernel, precision=precision)


@functools.partial(_product.defjvp, symbolic_zeros=True)
def _(precision: Any, primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Any]:
    (rows, kernel), (d_rows, d_kernel) = primals, tangents
    # A tangent that is zero is left out, and JAX asks for none if both are.
    parts = []
    if type(d_rows) is not SymbolicZero:
        parts.append(lax.dot(d_rows, kernel, precision=precision))
    if type(d_kernel) is not SymbolicZero:
        # For the backward pass only what the caller has anyway is kept, not the copies.
        change = jax.checkpoint(functools.partial(_kernel_tangent, precision), prevent_cse=False)
        parts.append(change(rows, kernel, d_kernel))
    tangent = functools.reduce(jnp.add, parts)
    return _product(precision, rows, kernel), tangent


def _kernel_tangent(precision: Any, rows: Array, kernel: Array, d_kernel: Array) -> Array:
    rows = _own_rows(rows, kernel)
    if not _is_narrow(kernel):
        return lax.dot(rows, d_kernel, precision=precision)
    # The barrier keeps XLA from turning the gradient's product back into one with few columns.
    turned, both_last = lax.optimization_barrier(d_kernel.T), (((1,), (1,)), ((), ()))
    return lax.dot_general(rows, turned, both_last, precision=precision)


@jax.custom_jvp
def _own_rows(rows: Array, kernel: Array) -> Array:
    """The rows; under `vmap` over a wide kernel alone, a copy of them for each member."""
    return _copied(rows, kernel) if _is_wide(kernel) else rows


@_own_rows.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return _own_rows(*primals), tangents[0]


@jax.custom_batching.custom_vmap
def _copied(rows: Array, kernel: Array) -> Array:
    return rows


@_copied.def_vmap
def _(size: int, batched: list[bool], rows: Array, kernel: Array) -> tuple[Array, bool]:
    if batched[1] and not batched[0]:
        return lax.optimization_barrier(jnp.broadcast_to(rows, (size, *rows.shape))), True
    return rows, batched[0]
