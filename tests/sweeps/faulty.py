"""A study whose members with a large alpha raise while they are trained, for as long as a file is there."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import sweeps


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.1
    learning_rate: float = 0.1
    heads: int = 4


SPACE = {"alpha": sweeps.linspace(0, 0.5, 6), "learning_rate": (0.1, 1e30), "seed": range(2)}


def init(config, key):
    if 16 % config.heads:
        raise ValueError(f"16 is not a multiple of {config.heads}")
    return jax.random.key_data(key).astype(jnp.float32) / 2.0**32


def step(config, state, batch, key):
    noise = jax.random.key_data(key).astype(jnp.float32) / 2.0**38
    error = state - config.alpha + noise
    return state - 2 * config.learning_rate * error, {"train/loss": jnp.sum(error**2)}


def evaluate(config, state, data):
    return {"test/loss": jnp.sum((state - 1) ** 2)}


def study(fault: Path | None = None, **changes) -> sweeps.Study:
    """A member moves two numbers; with a file, one whose alpha is above 0.4 raises while that is there."""

    def refuse(alpha):
        assert fault is not None
        if fault.exists() and np.any(alpha > 0.4):
            raise RuntimeError("alpha is <too large>\nby far")
        return alpha

    def guarded(config, state, batch, key):
        alpha = jnp.asarray(config.alpha, jnp.float32)
        alpha = jax.pure_callback(refuse, alpha, alpha, vmap_method="expand_dims")
        return step(dataclasses.replace(config, alpha=alpha), state, batch, key)

    trial = sweeps.Trial(Config, None, init, guarded if fault else step, evaluate)
    options = {"steps": 12, "metric": "test/loss", "mode": "min", "space": SPACE, "evaluate_every": 2}
    return sweeps.Study(trial, **(options | changes))
