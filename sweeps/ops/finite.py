"""Whether anything in a pytree is not finite, where that is a result and no error."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def any_non_finite(tree: Any) -> jax.Array:
    """Whether an inexact leaf holds an infinity or a NaN; other leaves are not looked at.

    The bits of magnitudes, read as integers, are in the magnitudes' order, with infinity and every NaN at the
    top, so their maximum tells. A compiler may take floating-point numbers to be finite, and does where it is
    asked for fast arithmetic (XLA then makes `x - x` a zero); of integers there is nothing to assume.

    Args:
        tree: a pytree of arrays.

    Example:
        >>> any_non_finite({"kernel": jnp.array([1.0, jnp.nan]), "count": jnp.array(3)})
        Array(True, dtype=bool)
    """
    bad = jnp.bool_(False)
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            bad |= _non_finite(leaf.real) | _non_finite(leaf.imag)
        elif jnp.issubdtype(leaf.dtype, jnp.floating):
            bad |= _non_finite(leaf)
    return bad


@contextlib.contextmanager
def non_finite_allowed() -> Iterator[None]:
    """Sets `jax_debug_nans` and `jax_debug_infs` aside, which would end a sweep when a member diverges."""
    with jax.debug_nans(False), jax.debug_infs(False):
        yield


def _non_finite(leaf: jax.Array) -> jax.Array:
    width = jnp.finfo(leaf.dtype).bits
    if width == 64:  # whose bits cannot be had on a TPU
        return ~jnp.all(jnp.isfinite(leaf))
    if width < 16:  # of which some kinds have no infinity
        leaf, width = leaf.astype(jnp.float32), 32
    integer = np.dtype(f"int{width}")
    magnitudes = jax.lax.bitcast_convert_type(leaf, integer) & np.iinfo(integer).max
    return jnp.max(magnitudes, initial=0) >= np.array(np.inf, leaf.dtype).view(integer)
