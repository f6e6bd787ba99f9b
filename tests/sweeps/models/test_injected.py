"""What `optax.inject_hyperparams` keeps in a state follows the configuration."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import sweeps
from sweeps.models.injected import injected

STEPS = 6
INPUTS = np.random.default_rng(3).normal(size=(8, 2)).astype(np.float32)
DATA = INPUTS, (INPUTS[:, 0] > 0).astype(np.int32)
injecting = optax.inject_hyperparams(optax.sgd)


@dataclasses.dataclass(frozen=True)
class Falling:
    learning_rate: sweeps.Schedule = sweeps.Linear(0.5, 0.0)


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: float = 0.5


def trial_of(config: type, optimizer: Callable[..., Any]) -> sweeps.Trial:
    return sweeps.supervised(
        config=config,
        model=lambda config, rngs: nnx.Linear(2, 2, rngs=rngs),
        optimizer=lambda config: optimizer(config.learning_rate),
        data=sweeps.Data(DATA, DATA),
        batch_size=8,
    )


def nested(rate: Any) -> Any:
    """For kernels in a chain in another one that keeps numbers; for biases plain."""
    inner = optax.inject_hyperparams(lambda scale: optax.chain(injecting(rate), optax.scale(scale)))
    return optax.multi_transform(
        {"kernel": inner(1.0), "bias": optax.sgd(rate)},
        lambda params: jax.tree.map(lambda leaf: "kernel" if leaf.ndim > 1 else "bias", params),
    )


@pytest.mark.parametrize("optimizer", [injecting, nested], ids=["itself", "nested"])
def test_a_value_that_falls_while_a_member_is_trained_takes_effect(optimizer):
    def losses(optimizer):
        study = sweeps.Study(trial_of(Falling, optimizer), steps=STEPS, metric="test/loss", evaluate_every=1)
        return sweeps.run(study, progress=False).metrics["train/loss"].to_numpy()

    falling = optax.linear_schedule(0.5, 0.0, STEPS)  # by which optax does the same with numbers of its own
    np.testing.assert_allclose(losses(optimizer), losses(lambda rate: optax.sgd(falling)), rtol=1e-6)


def test_a_value_that_is_taken_over_from_another_member_takes_effect():
    def best(optimizer):
        study = sweeps.Study(
            trial_of(Config, optimizer),
            steps=8,
            metric="test/loss",
            space={"learning_rate": sweeps.log_uniform(1e-4, 1.0)},
        )
        options: Any = {"search": "random", "samples": 4, "schedule": "pbt"}
        return sweeps.run(study, **options, progress=False).best()

    one, other = best(injecting), best(optax.sgd)
    assert one.config == other.config and one.mean == pytest.approx(other.mean, rel=1e-5)


def test_scheduled_numbers_and_states_inside_are_left_alone():
    optimizer = optax.inject_hyperparams(optax.sgd)(optax.linear_schedule(0.5, 0.0, 4), momentum=0.9)
    params = jnp.ones(2)
    state = fresh = optimizer.init(params)
    for _ in range(2):
        one, other = (optimizer.update(params, now) for now in (state, injected(state, lambda: fresh)))
        jax.tree.map(np.testing.assert_array_equal, one, other)
        state = one[1]
    plain = optax.sgd(0.1, momentum=0.9).init(params)
    assert injected(plain, lambda: pytest.fail("made for nothing")) is plain
