"""Test accuracy against α for a two-hidden-layer MLP on handwritten digits.

The claims: the slope of Leaky ReLU must be tuned (common advice), and 0.01 or 0.1 are good values (0.01 is
from Maas, Hannun and Ng, 2013). Measured: test accuracy, training loss and the share of dead units, 8 slopes
from 0 (ReLU) to 0.5, 16 seeds each, on the same batches; the best slope and 0.01 again on 32 fresh seeds.
A unit is dead if it puts out zero for every test image. Half a percentage point of accuracy, two of the 360
test images, is taken as the smallest difference that matters.

Found here: 0.01 itself came out best, and the best other slope, 0, changes its accuracy by -0.02 points
(-0.18 to +0.15, for 14 comparisons together), so tuning gains less than half a point, and so it does over
0.1 (+0.09, -0.17 to +0.35).
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU
from sweeps.claims.tuning import Question, answers, drawn
from sweeps.claims.verdicts import Claim, Finding
from sweeps.results.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


CLAIMS = (
    Claim(
        "The slope of Leaky ReLU must be tuned: another one than the default, 0.01, does better.",
        "common advice; Xu et al., 2015, find 0.18 better than 0.01",
    ),
    Claim(
        "0.01 and 0.1 are good slopes: hardly any other does better.",
        "common practice; 0.01 from Maas, Hannun and Ng, 2013",
    ),
)
QUESTION = Question("alpha", (0.01, 0.1), *CLAIMS, margin=0.005, unit="points of accuracy", scale=100)
OPTIONS = {"confirm": 32}


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    alpha: float = 0.01
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    width: int = 128


class MLP(nnx.Module):
    """Pixels, two hidden layers of Leaky ReLU units, classes."""

    def __init__(self, config: Config, rngs: nnx.Rngs, *, pixels: int = 64, classes: int = 10):
        self.hidden1 = nnx.Linear(pixels, config.width, rngs=rngs)
        self.hidden2 = nnx.Linear(config.width, config.width, rngs=rngs)
        self.logits = nnx.Linear(config.width, classes, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def hidden(self, images: jax.Array) -> list[jax.Array]:
        """What each hidden layer puts out, shape (n, width)."""
        first = self.activation(self.hidden1(images.reshape(len(images), -1)))
        return [first, self.activation(self.hidden2(first))]

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (n, classes) of images (n, ...)."""
        return self.logits(self.hidden(images)[-1])


def dead_share(model: MLP, images: jax.Array) -> dict[str, jax.Array]:
    """The share of hidden units that put out zero for every image."""
    dead = jnp.stack([jnp.all(layer == 0, axis=0) for layer in model.hidden(images)])
    return {"test/dead_units": jnp.mean(dead)}


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on these images, digits if None."""
    data = data or sweeps.data.digits()
    pixels = math.prod(data.train[0].shape[1:])
    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(MLP, pixels=pixels, classes=sweeps.data.classes(data)),
        optimizer=lambda config: optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
        data=data,
        batch_size=128,
        inspect=dead_share,
    )
    slopes = sweeps.grid(0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
    return sweeps.Study(trial, steps=500, metric="test/accuracy", space={"alpha": slopes, "seed": range(16)})


study = make()


def findings(results: Results) -> tuple[Finding, ...]:
    """Whether another slope than 0.01 does better, and whether any does better than 0.01 and 0.1."""
    return answers(results, QUESTION)


def picture(results: Results) -> "Figure":
    """Accuracy against the slope, with the winner and the default on fresh seeds."""
    return drawn(results, QUESTION, "α, the slope below zero (0: ReLU)", "test accuracy")
