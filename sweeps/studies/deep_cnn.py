"""Xu's, He's and Clevert's orderings in eight convolutions, without BatchNorm and with it.

The claims are those of `activations`, of He et al. (2015), Xu et al. (2015) and Clevert et al. (2015), each
against ReLU in the same network, asked again of a plain one that is four times as deep, with BatchNorm before
every rectifier and without. Measured: the error on the test examples and on every second training example at
the end, of eight convolutions of width 3 and 16 channels, pooled after the second and the fifth, and a linear
layer, paired over seeds. Each rectifier has He's initialisation for its own gain, PReLU's for 0.25, where its
slopes begin. Adam takes 600 steps of 100 examples at a rate that falls to zero as a cosine from 0.01: by a
pilot of ReLU it leaves a test error of 7.5 % without BatchNorm and 3.0 % with it, where 0.005 leaves 8.4 and
3.9 % and 0.02, without, 8.2 % (two seeds each).

The data are MNIST-1D, and the convolutions along its signals; of images they are 3x3. On the digits this
network fits every training example, so that no training error could be lower than another, and misses 12 to
16 of 360 test images, of which half a point is two. One point of error, a seventh of what ReLU is left with
without BatchNorm and a third with it, is the smallest difference that matters. A claim holds under these
conditions if it does without BatchNorm or with it, but not in both. By these 36 seeds, 53 tell one point
from none with a power of 90 % in all 20 comparisons; 36 tell 1.23 points, and every comparison came out one
way or the other. They took 34 minutes on two cores that had other work.

Found here with 36 seeds (intervals hold together for 20 comparisons): the orderings are there without
BatchNorm and gone with it. Without, ReLU's test error of 6.8 % is lowered by 1.7 points by 0.18 (0.8 to
2.6), 2.1 by PReLU (1.3 to 2.9), 2.3 by RReLU (1.5 to 3.1) and 1.7 by ELU (0.8 to 2.5), and by less than one
by 0.01 (0.3, -0.3 to +0.9). With it, ReLU has 3.0 % and none is better by one point. PReLU's training error
is the lowest of neither: without BatchNorm that of 0.18 is as low (+0.06, -0.06 to +0.18), with it all are
near none. RReLU's training error is not above ReLU's without BatchNorm but below it, by 0.70 (0.17 to 1.23),
and above it by 0.11 (0.07 to 0.16) with it.
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import sweeps
from lrelu_jax.initializers import gain
from sweeps.claims.verdicts import Finding
from sweeps.results.results import Results
from sweeps.studies.activations import CLAIMS as CLAIMS
from sweeps.studies.activations import SLOPES, drawn, judged, on_training, rectifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


DATA = "mnist-1d"  # what `make` takes by itself
MARGIN = 0.01  # of the error
CONDITIONS = {"without BatchNorm": {"normalisation": "none"}, "with BatchNorm": {"normalisation": "batch"}}
DEPTH = 8
STEPS = 600
POOLS = (2, 5)  # the convolutions after which signals are pooled


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    activation: str = "relu"
    normalisation: Literal["none", "batch"] = "none"
    learning_rate: float = 1e-2
    channels: int = 16


def own_gain(name: str) -> jax.Array:
    """The gain that keeps signals at their size through layers with that activation.

    Args:
        name: one of `SLOPES`.
    """
    return gain("leaky_relu", SLOPES[name]) if name.startswith("leaky") else gain(name)


class Layer(nnx.Module):
    """A convolution of width 3, BatchNorm or none, and the rectifier."""

    def __init__(self, inputs: int, places: int, config: Config, rngs: nnx.Rngs):
        scaled = jax.nn.initializers.variance_scaling(
            jnp.square(own_gain(config.activation)), "fan_in", "truncated_normal"
        )
        self.conv = nnx.Conv(inputs, config.channels, (3,) * places, kernel_init=scaled, rngs=rngs)
        batch = config.normalisation == "batch"
        self.norm = nnx.BatchNorm(config.channels, momentum=0.9, rngs=rngs) if batch else None
        self.rectifier = rectifier(config.activation, config.channels, rngs)

    def __call__(self, signal: jax.Array) -> jax.Array:
        """What the layer puts out, of shape (n, *places, channels)."""
        signal = self.conv(signal)
        return self.rectifier(signal if self.norm is None else self.norm(signal))


class DeepCNN(nnx.Module):
    """Eight convolutions with two max-pools between them, and a linear layer."""

    def __init__(
        self, config: Config, rngs: nnx.Rngs, *, shape: tuple[int, ...] = (40, 1), classes: int = 10
    ):
        *places, channels = shape
        sizes = [channels, *(DEPTH - 1) * [config.channels]]
        self.layers = nnx.List([Layer(size, len(places), config, rngs) for size in sizes])
        flat = config.channels * math.prod(size // 2 ** len(POOLS) for size in places)
        self.logits = nnx.Linear(flat, classes, rngs=rngs)

    def __call__(self, signal: jax.Array) -> jax.Array:
        """Logits (n, classes) of images (n, height, width, channels) or signals (n, places, channels)."""
        for place, layer in enumerate(self.layers, 1):
            signal = layer(signal)
            if place in POOLS:
                window = (2,) * (signal.ndim - 2)
                signal = sweeps.max_pool(signal, window, window)
        return self.logits(signal.reshape(len(signal), -1))


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on this data, MNIST-1D if None."""
    data = data or sweeps.data.mnist_1d()
    if np.ndim(data.train[0]) == 2:  # a signal with one channel
        data = sweeps.Data(*((inputs[..., None], targets) for inputs, targets in data))
    falling = optax.cosine_decay_schedule(1.0, STEPS)
    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(DeepCNN, shape=data.train[0].shape[1:], classes=sweeps.data.classes(data)),
        optimizer=lambda config: optax.adam(sweeps.scaled_schedule(falling, config.learning_rate)),
        data=data,
        batch_size=100,
        metrics={"error": lambda logits, targets: (jnp.argmax(logits, -1) != targets).astype(jnp.float32)},
        inspect=on_training(data),
    )
    space = {
        "normalisation": sweeps.grid("none", "batch"),
        "activation": sweeps.grid(*SLOPES),
        "seed": range(16),
    }
    return sweeps.Study(
        trial, steps=STEPS, metric="test/error", mode="min", evaluate_every=STEPS // 2, space=space
    )


study = make()


def findings(results: Results) -> tuple[Finding, ...]:
    """What holds of each claim, without BatchNorm and with it."""
    return judged(results, CONDITIONS, MARGIN)


def picture(results: Results) -> "Figure":
    """How much lower each activation's errors are than ReLU's, without BatchNorm and with it."""
    return drawn(results, CONDITIONS, MARGIN)
