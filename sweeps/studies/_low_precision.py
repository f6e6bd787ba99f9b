"""A network whose precision, and whose derivative of ReLU at zero, are chosen: what `subgradient` studies."""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from lrelu_jax import relu
from sweeps.space import StudyError
from sweeps.supervision import default_loss

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
    """Weights and biases from U(±1/√fan_in), PyTorch's default, for layers of these widths.

    Raises:
        StudyError: the precision is float64, and JAX has none.
    """
    if dtype == "float64" and not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise StudyError("`JAX_ENABLE_X64=1` must hold for float64, but got 0; float32 is the nearest")
    layers = []
    for place, own in enumerate(jax.random.split(key, len(widths) - 1)):
        bound = 1 / math.sqrt(widths[place])
        drawn = jax.random.uniform(own, (widths[place] + 1, widths[place + 1]), minval=-bound, maxval=bound)
        layers.append((drawn[:-1].astype(dtype), drawn[-1].astype(dtype)))
    return layers


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
