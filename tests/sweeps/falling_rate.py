"""A trial whose losses a line of NumPy gives, and whose rate should fall while it trains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import sweeps


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.01
    width: int = 1


def init(config, key):
    return {"x": jax.random.normal(key), "count": jnp.int32(0)}


def step(config, state, batch, key):
    # Of step t the best rate is 1 / (2 t).
    factor = 1 - config.rate + config.rate**2 * state["count"]
    after = {"x": state["x"] * factor, "count": state["count"] + 1}
    return after, {"train/loss": state["x"] ** 2}


def evaluate(config, state, data):
    return {"test/loss": state["x"] ** 2}


trial = sweeps.Trial(Config, None, init, step, evaluate)
OPTIONS = {"members_per_chunk": 6, "progress": False}


def study(**changes) -> sweeps.Study:
    """20 steps of rates of which none diverges."""
    space = {"rate": sweeps.log_uniform(0.01, 0.5), "seed": range(2)}
    arguments = {"trial": trial, "steps": 20, "metric": "test/loss", "mode": "min", "space": space}
    return sweeps.Study(**(arguments | changes))


def first_state(seed: int) -> float:
    """What `init` makes of a seed, by the documented keys."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), 0), seed)
    return float(jnp.asarray(jax.random.normal(key)))


def loss(seed: int, stages: list[tuple[int, float]]) -> float:
    """The loss after all steps of rates that hold from a step on."""
    rates = np.zeros(20)
    for start, rate in stages:
        rates[start:] = rate
    return first_state(seed) ** 2 * float(np.prod(1 - rates + rates**2 * np.arange(20))) ** 2
