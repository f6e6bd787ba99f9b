"""The random streams that a module makes for itself, beside those it is given.

A module is built again in every step, from the step's key. The streams it is given start from that key, so
what they draw is new in every step; one that it makes itself, as `nnx.Rngs(7)`, would begin anew each time.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from sweeps.models.arrays import dependent


def renewed(module: Any, build: Callable[[jax.Array], Any], key: jax.Array) -> Any:
    """Starts the streams that an NNX module made itself from the key too; others are left as they are.

    Args:
        module: what `build` made, which this call changes.
        build: a key to the module.
        key: the key.

    Returns:
        The same module.
    """
    keys = _keys(module)
    if not keys:
        return module
    given = dependent(lambda key: list(_keys(build(key)).values()), key)
    for stream, depends in zip(keys.values(), given, strict=True):
        if not depends:
            stream.set_value(_folded(stream.get_value(), key))
    return module


def _keys(module: Any) -> dict[Any, nnx.RngKey]:
    """The keys of a module's streams by their place, each once; none of a Linen module."""
    if not isinstance(module, nnx.Module):
        return {}
    return {path: node for path, node in nnx.iter_graph(module) if isinstance(node, nnx.RngKey)}


def _folded(streams: jax.Array, key: jax.Array) -> jax.Array:
    """Keys with all bits of another key folded in; they keep their shape and kind of generator."""
    flat = streams.reshape(-1)
    for word in jax.random.key_data(key):
        flat = jax.vmap(jax.random.fold_in, (0, None))(flat, word)
    return flat.reshape(streams.shape)
