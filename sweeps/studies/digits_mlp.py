"""Test accuracy against α for a two-hidden-layer MLP on handwritten digits.

The claim: the slope of Leaky ReLU must be tuned, and 0.01 or 0.1 are the usual values (Maas, Hannun and
Ng, 2013). Measured: test accuracy, training loss and the share of dead units, 16 slopes from 0 (ReLU)
to 0.5, 8 seeds each, on the same batches. A unit is dead if it puts out zero for every test image.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    alpha: float = 0.01
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    width: int = 128


class MLP(nnx.Module):
    """64 pixels, two hidden layers of Leaky ReLU units, 10 classes."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.hidden1 = nnx.Linear(64, config.width, rngs=rngs)
        self.hidden2 = nnx.Linear(config.width, config.width, rngs=rngs)
        self.logits = nnx.Linear(config.width, 10, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def hidden(self, images: jax.Array) -> list[jax.Array]:
        """What each hidden layer puts out, shape (n, width)."""
        first = self.activation(self.hidden1(images))
        return [first, self.activation(self.hidden2(first))]

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (n, 10) of images (n, 64)."""
        return self.logits(self.hidden(images)[-1])


def dead_share(model: MLP, images: jax.Array) -> dict[str, jax.Array]:
    """The share of hidden units that put out zero for every image."""
    dead = jnp.stack([jnp.all(layer == 0, axis=0) for layer in model.hidden(images)])
    return {"test/dead_units": jnp.mean(dead)}


study = sweeps.Study(
    sweeps.supervised(
        config=Config,
        model=MLP,
        optimizer=lambda config: optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
        data=sweeps.data.digits(),
        batch_size=128,
        inspect=dead_share,
    ),
    steps=500,
    metric="test/accuracy",
    space={"alpha": sweeps.linspace(0, 0.5, 16), "seed": range(8)},
)
