"""A stacked state as NumPy arrays: from the devices and back, and on the disk."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PACKED, SMALL = "packed", 2**22  # arrays of fewer bytes are written as one


def to_host(tree: Any, rows: int) -> list[np.ndarray]:
    """The leaves of a stacked pytree as NumPy arrays, the first rows of each; random keys as their data.

    Args:
        tree: the pytree.
        rows: how many rows are wanted; those past them are padding.
    """
    leaves = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)]
    return [np.array(leaf)[:rows] for leaf in jax.device_get(leaves)]


def from_host(leaves: Sequence[np.ndarray], like: Any) -> Any:
    """The pytree again.

    Args:
        leaves: what `to_host` gave.
        like: a pytree of its structure and dtypes.
    """
    wanted, structure = jax.tree.flatten(like)
    keys = {"fry": "threefry2x32", "rbg": "rbg", "unrbg": "unsafe_rbg"}
    found = [
        jax.random.wrap_key_data(
            jnp.asarray(leaf), impl=keys[str(other.dtype).removeprefix("key<").removesuffix(">")]
        )
        if _is_key(other)
        else leaf
        for leaf, other in zip(leaves, wanted, strict=True)
    ]
    return jax.tree.unflatten(structure, found)


def save_arrays(folder: Path, arrays: Sequence[np.ndarray]) -> None:
    """Writes arrays with Orbax.

    Args:
        folder: a path that does not exist.
        arrays: any number of them. Small ones are written as one, since each takes Orbax milliseconds.
    """
    import orbax.checkpoint

    named = {str(place): array for place, array in enumerate(arrays) if array.nbytes >= SMALL}
    small = [np.ravel(array).view(np.uint8) for array in arrays if array.nbytes < SMALL]
    named[PACKED] = np.concatenate([*small, np.zeros(1, np.uint8)])  # Orbax refuses empty arrays
    orbax.checkpoint.PyTreeCheckpointer().save(folder.absolute(), named)


def load_arrays(folder: Path, shapes: Sequence[Sequence[Any]]) -> list[np.ndarray]:
    """Reads what `save_arrays` wrote.

    Args:
        folder: its path.
        shapes: the shape and the name of the dtype of every array.
    """
    import orbax.checkpoint

    named = orbax.checkpoint.PyTreeCheckpointer().restore(folder.absolute())
    packed, start, arrays = np.asarray(named[PACKED]), 0, []
    for place, (shape, name) in enumerate(shapes):
        dtype = np.dtype(name)
        stop = start + math.prod(shape) * dtype.itemsize
        if stop - start >= SMALL:
            arrays.append(np.asarray(named[str(place)]))
        else:
            arrays.append(packed[start:stop].copy().view(dtype).reshape(shape))
            start = stop
    return arrays


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
