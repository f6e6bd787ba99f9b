"""A network whose precision, and whose derivative of ReLU at zero, are chosen: what `subgradient` studies."""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lrelu_jax import relu
from sweeps.models.losses import default_loss

Layers = list[tuple[jax.Array, jax.Array]]


@jax.custom_vjp
def assigned_relu(x: jax.Array) -> jax.Array:
    """ReLU with the faulty rule: the gradient at 0 is 1, whatever gradient is passed back."""
    return relu(x)


assigned_relu.defvjp(
    lambda x: (relu(x), x), lambda x, g: (jnp.where(x == 0, 1, jnp.where(x > 0, g, 0)).astype(g.dtype),)
)

RULES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "zero": functools.partial(relu, subgradient=0.0),
    "one": functools.partial(relu, subgradient=1.0),
    "assigned": assigned_relu,
}


def draw(widths: Sequence[int], dtype: str, key: jax.Array) -> Layers:
    """Weights and biases from U(±1/√fan_in), PyTorch's default, for layers of these widths."""
    shapes = [(before + 1, after) for before, after in itertools.pairwise(widths)]
    total = sum(rows * columns for rows, columns in shapes)
    drawn = jax.random.uniform(key, (total,), jnp.float32)  # all at once: programs compile in half the time
    if dtype == "float64":  # JAX draws 64 bits only where the whole program has them; 46 are made of two
        lower = jax.random.uniform(jax.random.fold_in(key, 1), (total,), jnp.float32)
        drawn = drawn.astype(dtype) + lower.astype(dtype) * 2.0**-23
    layers, start = [], 0
    for rows, columns in shapes:
        own = drawn[start : start + rows * columns].reshape(rows, columns)
        own = ((2 * own - 1) / math.sqrt(rows - 1)).astype(dtype)
        layers.append((own[:-1], own[-1]))
        start += rows * columns
    return layers


def precision(dtype: str) -> contextlib.AbstractContextManager[Any]:
    """Where arithmetic of this precision can be written: JAX has 64 bits only where it is told to."""
    return jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext()


def held(layers: Layers) -> Layers:
    """The layers as they are carried from step to step, through programs that know no 64 bits."""
    return jax.tree.map(
        lambda leaf: jax.lax.bitcast_convert_type(leaf, jnp.uint32) if leaf.dtype == jnp.float64 else leaf,
        layers,
    )


def released(layers: Layers) -> Layers:
    """The layers that were held."""
    return jax.tree.map(
        lambda leaf: jax.lax.bitcast_convert_type(leaf, jnp.float64) if leaf.dtype == jnp.uint32 else leaf,
        layers,
    )


def forward(layers: Layers, images: jax.Array, rule: str) -> tuple[jax.Array, jax.Array]:
    """The logits, and how many inputs of the rectifiers are exactly 0."""
    signal, zeros = images.astype(layers[0][0].dtype), jnp.zeros((), jnp.float32)
    for place, (weights, bias) in enumerate(layers):
        wide = jnp.promote_types(signal.dtype, jnp.float32)
        before = signal.astype(wide) @ weights.astype(wide) + bias.astype(wide)[None]
        # The barrier holds XLA, which may keep more precision than it was asked to, to the rounding.
        signal = jax.lax.optimization_barrier(before.astype(signal.dtype))
        if place < len(layers) - 1:
            zeros += jnp.sum(signal == 0)
            signal = RULES[rule](signal)
    return signal, zeros


def loss(layers: Layers, rule: str, images: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean cross entropy, and the number of zeros that the rectifiers met."""
    logits, zeros = forward(layers, images, rule)
    return jnp.mean(default_loss(logits, targets)), zeros
