"""A small supervised trial with biases, for the tests of the engine."""

import dataclasses

import numpy as np
import optax
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.1
    learning_rate: float = 0.05
    width: int = 8


class MLP(nnx.Module):
    def __init__(self, config: Config, rngs: nnx.Rngs):
        uniform = nnx.initializers.lecun_uniform()  # which compiles faster than a truncated normal
        self.hidden = nnx.Linear(6, config.width, kernel_init=uniform, rngs=rngs)
        self.logits = nnx.Linear(config.width, 3, kernel_init=uniform, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, inputs):
        return self.logits(self.activation(self.hidden(inputs)))


def small_data(examples: int = 50) -> sweeps.Data:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(examples, 6)).astype(np.float32)
    targets = (inputs @ rng.normal(size=(6, 3))).argmax(axis=1).astype(np.int32)
    return sweeps.Data((inputs, targets), (inputs[:20], targets[:20]))


def sgd(config: Config) -> optax.GradientTransformation:
    return optax.sgd(config.learning_rate, momentum=0.9)


def small_trial(**changes) -> sweeps.Trial:
    arguments = {"config": Config, "model": MLP, "optimizer": sgd, "data": small_data(), "batch_size": 16}
    return sweeps.supervised(**(arguments | changes))


TRIAL = small_trial()  # of all studies that name no other, so that what it compiles to is compiled once


def small_study(**changes) -> sweeps.Study:
    space = {"alpha": [0.0, 0.1, 0.3], "seed": range(3)}
    arguments = {"trial": TRIAL, "steps": 12, "metric": "test/accuracy", "space": space}
    return sweeps.Study(**(arguments | changes))
