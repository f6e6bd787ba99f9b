"""Least squares with a configuration as people write it: nested dataclasses, and one of two optimisers.

Beside it the same with a flat configuration, whose members must have the same bits.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

import sweeps
from tests.sweeps import plain


@dataclasses.dataclass(frozen=True)
class Sgd:
    learning_rate: float = 0.05
    momentum: float = 0.0


@dataclasses.dataclass(frozen=True)
class Sign:
    learning_rate: float = 0.01
    power: int = 1


@dataclasses.dataclass(frozen=True)
class Leak:
    alpha: float = 0.1
    squared: bool = False


@dataclasses.dataclass(frozen=True)
class Config:
    leak: Leak = Leak()
    optimizer: Sgd | Sign = Sgd()


@dataclasses.dataclass(frozen=True)
class Flat:
    alpha: float = 0.1
    squared: bool = False
    rule: Literal["Sgd", "Sign"] = "Sgd"
    learning_rate: float = 0.05
    momentum: float = 0.0
    power: int = 1


def init(config: Any, key: jax.Array) -> dict[str, Any]:
    return {"params": plain.init(plain.Config(), key), "speed": plain.init(plain.Config(), key)}


def outputs(config: Config, state: dict[str, Any], inputs: Any) -> Any:
    return plain.outputs(state["params"], inputs)


def _gradients(leak: Any, state: dict[str, Any], batch: Any) -> tuple[Any, Any]:
    inputs, targets = batch
    error = plain.outputs(state["params"], inputs) - targets
    error = jnp.where(error > 0, error, (1 - leak.alpha) * error)
    error = error**3 if leak.squared else error
    return {"weight": (error[:, None] * inputs).mean(0), "bias": error.mean()}, {
        "train/loss": (error**2).mean()
    }


def _moved(config: Any, kind: str, state: dict[str, Any], gradients: Any) -> dict[str, Any]:
    if kind == "Sgd":
        speed = jax.tree.map(lambda v, g: config.momentum * v + g, state["speed"], gradients)
    else:
        speed = jax.tree.map(lambda g: jnp.sign(g) ** config.power, gradients)
    params = jax.tree.map(lambda p, v: p - config.learning_rate * v, state["params"], speed)
    return {"params": params, "speed": speed}


def step(config: Config, state: dict[str, Any], batch: Any, key: jax.Array) -> tuple[Any, dict[str, Any]]:
    gradients, metrics = _gradients(config.leak, state, batch)
    return _moved(config.optimizer, type(config.optimizer).__name__, state, gradients), metrics


def flat_step(config: Flat, state: dict[str, Any], batch: Any, key: jax.Array) -> tuple[Any, dict[str, Any]]:
    gradients, metrics = _gradients(config, state, batch)
    return _moved(config, config.rule, state, gradients), metrics


def evaluate(config: Any, state: dict[str, Any], data: Any) -> dict[str, Any]:
    return plain.evaluate(config, state["params"], data)


trial = sweeps.Trial(Config, plain.data(), init, step, evaluate)
flat_trial = trial._replace(config=Flat, step=flat_step)
FLAT_NAMES = {
    "leak.alpha": "alpha",
    "leak.squared": "squared",
    "optimizer": "rule",
    "optimizer.learning_rate": "learning_rate",
    "optimizer.momentum": "momentum",
    "optimizer.power": "power",
}
SPACE = {
    "leak.alpha": [0.0, 0.3],
    "optimizer": [Sgd, Sign],
    "optimizer.momentum": [0.0, 0.5, 0.9],
    "optimizer.learning_rate": [0.01, 0.05],
    "seed": range(2),
}


def study(**changes: Any) -> sweeps.Study:
    """2 leaks x (3 momenta of Sgd, or Sign) x 2 rates x 2 seeds = 32 members, twelve steps."""
    arguments = {"trial": trial, "steps": 12, "metric": "test/loss", "space": SPACE}
    return sweeps.Study(**(arguments | changes))
