"""For Linen models: the modules that Flax refuses to give a traced hyperparameter."""

from typing import Any

import jax
from flax import linen as nn

from sweeps.models.traced import drop


class Dropout(nn.Module):
    """Dropout whose rate may differ per member: `flax.linen.Dropout` for a traced rate.

    Attributes:
        rate: the probability, a number or a tracer.
        rng_collection: the random stream to draw from.
        deterministic: whether to leave inputs as they are, here or in the call.

    Example:
        >>> Dropout(0.5).apply({}, jax.numpy.ones(3), deterministic=True)
        Array([1., 1., 1.], dtype=float32)
    """

    rate: Any
    rng_collection: str = "dropout"
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """The inputs, dropped out unless `deterministic`."""
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return inputs
        return drop(self.make_rng(self.rng_collection), inputs, self.rate)
