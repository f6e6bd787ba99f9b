"""A million tiny networks: 2 inputs, 16 hidden units, 1 output, 20 steps of SGD on noisy XOR.

Run as a script, `python tests/sweeps/tiny_networks.py MEMBERS OUT`, it prints its peak memory in bytes.
"""

import dataclasses
import resource
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import sweeps


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.1
    learning_rate: float = 0.1


def xor(examples: int = 32) -> sweeps.Data:
    inputs = np.random.default_rng(0).uniform(-1, 1, (examples, 2)).astype(np.float32)
    targets = np.sign(inputs[:, :1] * inputs[:, 1:]).astype(np.float32)
    return sweeps.Data((inputs, targets), (inputs, targets))


def init(config, key):
    first, second = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (2, 16)),
        "b1": jnp.zeros((1, 16)),
        "w2": jax.random.normal(second, (16, 1)) / 4,
        "b2": jnp.zeros((1, 1)),
    }


def loss(params, config, batch):
    inputs, targets = batch
    hidden = inputs @ params["w1"] + params["b1"]
    hidden = jnp.where(hidden > 0, hidden, config.alpha * hidden)
    return jnp.mean((hidden @ params["w2"] + params["b2"] - targets) ** 2)


def step(config, params, batch, key):
    value, gradients = jax.value_and_grad(loss)(params, config, batch)
    return jax.tree.map(lambda p, g: p - config.learning_rate * g, params, gradients), {"train/loss": value}


def evaluate(config, params, data):
    return {"test/loss": loss(params, config, data)}


def study(members: int) -> sweeps.Study:
    """A study of `members` members, 10 seeds each."""
    trial = sweeps.Trial(Config, xor(), init, step, evaluate)
    space = {"alpha": sweeps.linspace(0, 0.5, members // 10), "seed": range(10)}
    return sweeps.Study(trial, steps=20, metric="test/loss", mode="min", space=space, evaluate_every=20)


if __name__ == "__main__":
    sweeps.use_cpu_cores()
    # The width is given: on a busy machine one may be measured that takes an hour for a million members.
    sweeps.run(study(int(sys.argv[1])), out=Path(sys.argv[2]), members_per_chunk=500, progress=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
