"""A regression on random Fourier features, which are drawn once, as plain arrays or as Variables."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import sweeps


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: float = 0.01
    alpha: float = 0.1


class Features(nnx.Module):
    """A linear model of random Fourier features, drawn as a plain array or as a Variable."""

    def __init__(self, config, rngs, kind=lambda array: array):
        self.directions = kind(jax.random.normal(rngs.params(), (1, 32)) * 5)
        self.linear = nnx.Linear(64, 1, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x):
        waves = x @ jnp.asarray(self.directions)
        return self.linear(jnp.concatenate([jnp.sin(waves), jnp.cos(waves)], axis=1))


class Fixed(nnx.Variable):
    """What no optimiser changes."""


INPUTS = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
DATA = sweeps.Data((INPUTS, np.sin(8 * INPUTS)), (INPUTS, np.sin(8 * INPUTS)))


def study_of(model: Any, steps: int = 12, space: Any = None, **changes: Any) -> sweeps.Study:
    arguments = {
        "config": Config,
        "model": model,
        "optimizer": lambda config: optax.adam(config.learning_rate),
        "data": DATA,
        "batch_size": 64,
    }
    trial = sweeps.supervised(**(arguments | changes))
    space = {"learning_rate": [0.01, 0.02], "seed": range(2)} if space is None else space
    return sweeps.Study(trial, steps=steps, metric="test/loss", mode="min", space=space, evaluate_every=4)


def of_variables(config: Config, rngs: nnx.Rngs) -> Features:
    return Features(config, rngs, Fixed)


plain = study_of(Features)
