"""The networks of the populations benchmark: an MLP, a CNN and a GRU on digits, as JAX users write them."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import sweeps

BATCH = 128
LEARNING_RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.01


class MLP(nnx.Module):
    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.first = nnx.Linear(64, 128, rngs=rngs)
        self.second = nnx.Linear(128, 128, rngs=rngs)
        self.logits = nnx.Linear(128, 10, rngs=rngs)
        self.alpha = nnx.data(config.alpha)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        hidden = rectify(self.first(inputs), self.alpha)
        return self.logits(rectify(self.second(hidden), self.alpha))


class CNN(nnx.Module):
    def __init__(self, config: Config, rngs: nnx.Rngs, max_pool: Callable[..., jax.Array] = sweeps.max_pool):
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, 16, (3, 3), rngs=rngs)
        self.logits = nnx.Linear(256, 10, rngs=rngs)
        self.alpha = nnx.data(config.alpha)
        self.max_pool = max_pool

    def __call__(self, inputs: jax.Array) -> jax.Array:
        hidden = rectify(self.first(inputs.reshape(-1, 8, 8, 1)), self.alpha)
        hidden = self.max_pool(rectify(self.second(hidden), self.alpha), (2, 2), (2, 2))
        return self.logits(hidden.reshape(-1, 256))


class GRU(nnx.Module):
    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.rows = nnx.RNN(nnx.GRUCell(8, 64, rngs=rngs), unroll=8)
        self.logits = nnx.Linear(64, 10, rngs=rngs)
        self.alpha = nnx.data(config.alpha)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        rows = inputs.reshape(-1, 8, 8)
        carry = jnp.zeros((len(rows), 64))
        outputs: Any = self.rows(rows, initial_carry=carry)
        return self.logits(rectify(outputs[:, -1], self.alpha))


def plain_cnn(config: Config, rngs: nnx.Rngs) -> CNN:
    """The CNN with nothing of the engine in it."""
    return CNN(config, rngs, nnx.max_pool)


def rectify(x: jax.Array, alpha: Any) -> jax.Array:
    return jax.nn.leaky_relu(x, alpha)


class Work(NamedTuple):
    """One row of the benchmark.

    Attributes:
        model: what the engine trains.
        plain: what plain JAX trains.
        steps: how many steps.
        alphas: how many slopes, 0 to 0.3.
        seeds: how many seeds each.
        timed: how many members a contender that trains one at a time is timed on.
    """

    model: Callable[..., Any]
    plain: Callable[..., Any]
    steps: int
    alphas: int
    seeds: int
    timed: int

    @property
    def members(self) -> int:
        return self.alphas * self.seeds


WORK = {
    "mlp": Work(MLP, MLP, 300, 8, 8, 4),
    "cnn": Work(CNN, plain_cnn, 50, 4, 4, 6),
    "gru": Work(GRU, GRU, 100, 8, 8, 4),
}


def trial_of(model: Callable[..., Any], lowering: str | None = "auto") -> sweeps.Trial:
    """A supervised trial on digits with Adam."""
    return sweeps.supervised(
        config=Config,
        model=model,
        optimizer=lambda config: optax.adam(LEARNING_RATE),
        data=sweeps.data.digits(),
        batch_size=BATCH,
        lowering=lowering,
    )


def study_of(work: Work, steps: int | None = None, members: int | None = None) -> sweeps.Study:
    """The engine's study: slopes x seeds, evaluated once at the end.

    Args:
        work: the row.
        steps: other than the row's.
        members: other than the row's: so many seeds of one slope.
    """
    space: dict[str, Any] = {"alpha": sweeps.linspace(0, 0.3, work.alphas), "seed": range(work.seeds)}
    if members is not None:
        space = {"alpha": [0.1], "seed": range(members)}
    count = steps or work.steps
    return sweeps.Study(
        trial_of(work.model), steps=count, metric="test/accuracy", space=space, evaluate_every=count
    )
