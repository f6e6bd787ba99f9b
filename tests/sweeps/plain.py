"""A trial of seven numbers, for the tests of what is around a model: least squares, its gradient by hand.

Its programs compile in a fraction of a second, and runs of this one trial share them.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sweeps


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.1
    learning_rate: float = 0.05
    width: int = 8


def data(examples: int = 50) -> sweeps.Data:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(examples, 6)).astype(np.float32)
    targets = (inputs @ rng.normal(size=6) > 0.3).astype(np.float32)
    return sweeps.Data((inputs, targets), (inputs[:20], targets[:20]))


def init(config: Config, key: jax.Array) -> dict[str, Any]:
    bits = jax.random.key_data(key).astype(jnp.float32) / 2.0**32  # two numbers, of which six are made
    return {"weight": jnp.sin(bits[0] * jnp.arange(1.0, 7) * 9), "bias": bits[1]}


def outputs(state: dict[str, Any], inputs: Any) -> Any:
    return (inputs * state["weight"][None]).sum(-1) + state["bias"]


def step(config: Config, state: dict[str, Any], batch: Any, key: jax.Array) -> tuple[Any, dict[str, Any]]:
    """One of gradient descent on the mean squared error, with a leak of `alpha`."""
    inputs, targets = batch
    error = outputs(state, inputs) - targets
    error = jnp.where(error > 0, error, (1 - config.alpha) * error)
    rate = config.learning_rate
    after = {
        "weight": state["weight"] - rate * (error[:, None] * inputs).mean(0),
        "bias": state["bias"] - rate * error.mean(),
    }
    return after, {"train/loss": (error**2).mean()}


def evaluate(config: Config, state: dict[str, Any], data: Any) -> dict[str, Any]:
    inputs, targets = data
    found = outputs(state, inputs)
    return {
        "test/accuracy": ((found > 0.5) == (targets > 0.5)).mean(),
        "test/loss": ((found - targets) ** 2).mean(),
    }


def model(config: Config, state: dict[str, Any]) -> Any:
    """What a kept state is loaded into: a function of inputs."""
    return partial(outputs, state)


trial = sweeps.Trial(Config, data(), init, step, evaluate, model=model)  # a step sees all examples
shuffled = trial._replace(batch_size=16)  # three steps an epoch; its program compiles for two seconds


def study(**changes: Any) -> sweeps.Study:
    """Nine members, twelve steps."""
    space = {"alpha": [0.0, 0.1, 0.3], "seed": range(3)}
    arguments = {"trial": trial, "steps": 12, "metric": "test/accuracy", "space": space}
    return sweeps.Study(**(arguments | changes))
