"""What Flax and optax refuse to take traced: a dropout rate, the height of a schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx


class Dropout(nnx.Module):
    """Dropout whose rate may differ per member: `flax.nnx.Dropout` for a traced rate.

    Zeroes each element with probability `rate` and scales the others by 1 / (1 - rate).

    Args:
        rate: the probability, a number or a tracer.
        deterministic: whether to leave inputs as they are; `model.train()`, `model.eval()` and
            `nnx.view` set it.
        rng_collection: the random stream to draw from.
        rngs: where the stream comes from.

    References:
        Srivastava et al., 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting.

    Example:
        >>> Dropout(0.5, deterministic=True)(jnp.ones(3))
        Array([1., 1., 1.], dtype=float32)
    """

    def __init__(
        self,
        rate: Any,
        *,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs | None = None,
    ):
        self.rate = nnx.data(rate) if isinstance(rate, jax.Array) else rate
        self.deterministic = deterministic
        self.rngs = None if rngs is None else rngs[rng_collection].fork()

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """The inputs, dropped out in training mode."""
        if self.deterministic:
            return inputs
        if self.rngs is None:
            raise ValueError("`rngs` must be given to Dropout in training mode, but got None; pass rngs=rngs")
        return drop(self.rngs(), inputs, self.rate)

    def set_view(self, deterministic: bool | None = None):
        """Takes part in `nnx.view(model, deterministic=...)`.

        Args:
            deterministic: True for evaluation, False for training, None to leave it as it is.
        """
        if deterministic is not None:
            self.deterministic = deterministic


def drop(key: jax.Array, inputs: jax.Array, rate: Any) -> jax.Array:
    """Zeroes each element with probability `rate`, traced or not, and scales the others by 1 / (1 - rate).

    Args:
        key: the random key.
        inputs: an array of any shape.
        rate: the probability; at 1 everything is zero, with a gradient of zero.
    """
    keep = 1.0 - jnp.asarray(rate)
    mask = jax.random.bernoulli(key, keep, inputs.shape)
    scaled = inputs / jnp.where(keep > 0, keep, 1).astype(inputs.dtype)
    return jnp.where(mask, scaled, jnp.zeros_like(inputs))


def scaled_schedule(unit_schedule: optax.Schedule, peak: Any) -> optax.Schedule:
    """A schedule whose height may differ per member: `peak` times a schedule of height one.

    Several of optax's schedules branch in Python on their peak and refuse a traced one.

    Args:
        unit_schedule: a schedule whose numbers are all static, such as
            `optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100)`.
        peak: what multiplies it, a number or a tracer.

    Example:
        >>> schedule = scaled_schedule(optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100), 0.5)
        >>> float(schedule(10))
        0.5
    """
    return lambda count: unit_schedule(count) * peak
