"""JAX's own random words, in a form that XLA's CPU backend compiles in a quarter of the time.

JAX gives that backend the rounds of Threefry as loops, each of which becomes functions of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, UInt32

IMPL = "threefry2x32"
PARITY = np.uint32(0x1BD11BDA)
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def fold_in(key: Array, data: ArrayLike) -> Array:
    """The key of `jax.random.fold_in`, of a Threefry key.

    Args:
        key: the random key.
        data: a whole number, as `jax.random.fold_in` takes it: a Python one from 0 to 2**32 - 1.

    Example:
        >>> key = jax.random.key(0, impl="threefry2x32")
        >>> bool(fold_in(key, 3) == jax.random.fold_in(key, 3))
        True
    """
    words = _threefry(jax.random.key_data(key), jnp.uint32(0), jnp.uint32(data))
    return jax.random.wrap_key_data(jnp.stack(words), impl=IMPL)


def random_words(key: Array, rounds: int, count: int) -> list[UInt32[Array, " {count}"]]:
    """Random words, `count` for each round, as `key, subkey = split(key)` and `bits(subkey)` draw them.

    Args:
        key: the random key.
        rounds: how many times.
        count: how many words each time.
    """
    # What follows is how keys are split and words drawn with this setting, JAX's default; without it, and for
    # other kinds of keys, JAX does it.
    ours = str(jax.random.key_impl(key)) == IMPL and getattr(jax.config, "jax_threefry_partitionable", False)
    drawn = []
    for _ in range(rounds):
        if ours:
            key, subkey = fold_in(key, 0), fold_in(key, 1)
            places = jnp.arange(count, dtype=jnp.uint32)
            high, low = _threefry(jax.random.key_data(subkey), jnp.zeros_like(places), places)
            drawn.append(high ^ low)
        else:
            key, subkey = jax.random.split(key)
            drawn.append(jax.random.bits(subkey, (count,), jnp.uint32))
    return drawn


@jax.jit
def _threefry(key: Array, high: Array, low: Array) -> tuple[Array, Array]:
    """Threefry-2x32 of 20 rounds (Salmon et al., 2011)."""
    keys = key[0], key[1], key[0] ^ key[1] ^ PARITY
    high, low = high + keys[0], low + keys[1]
    for group in range(5):
        for turn in ROTATIONS[group % 2]:
            high = high + low
            low = high ^ (low << np.uint32(turn) | low >> np.uint32(32 - turn))
        high = high + keys[(group + 1) % 3]
        low = low + keys[(group + 2) % 3] + np.uint32(group + 1)
    return high, low
