"""Studies for workers: seconds of arithmetic, a group that fails everywhere but where it was made."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np

import sweeps

MADE_BY = os.getpid()
# A chunk of four members trains for some seconds on a core: workers say once a second how far they are,
# and what the tests do to one of them must find it at work.
STEPS = 12_000


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.1
    kind: str = "good"


def init(config, key):
    return {"w": jax.random.normal(key, (96, 96)) / 10}


def step(config, state, batch, key):
    hidden = batch[0] @ state["w"]
    for _ in range(8):
        hidden = jnp.where(hidden > 0, hidden, config.alpha * hidden) @ state["w"]
    error = hidden - batch[1]
    moved = state["w"] - 1e-3 * jnp.tanh(batch[0].T @ error)
    return {"w": moved}, {"train/loss": jnp.mean(error**2)}


def evaluate(config, state, data):
    return {"test/loss": jnp.mean((data[0] @ state["w"] - data[1]) ** 2)}


def data(examples: int = 64) -> sweeps.Data:
    draws = np.random.default_rng(0)
    inputs = draws.normal(size=(examples, 96)).astype(np.float32)
    part = (inputs, np.tanh(inputs))
    return sweeps.Data(part, part)


def study(steps: int = STEPS, slopes: int = 4, seeds: int = 4, step=step) -> sweeps.Study:
    """Sixteen members, each worth about a second of a core."""
    trial = sweeps.Trial(Config, data(), init, step, evaluate)
    space = {"alpha": sweeps.linspace(0, 0.3, slopes), "seed": range(seeds)}
    return sweeps.Study(trial, steps=steps, metric="test/loss", mode="min", space=space, evaluate_every=1000)


def failing(made_by: int) -> sweeps.Study:
    """A study with a group that cannot be trained in another process than `made_by`."""

    def fails(config, state, batch, key):
        if config.kind == "bad" and os.getpid() != made_by:
            raise RuntimeError("no such <kernel> here")
        return step(config, state, batch, key)

    short = study(steps=20, slopes=2, seeds=2, step=fails)
    return dataclasses.replace(short, space={**short.space, "kind": ("good", "bad")})


long = study()
