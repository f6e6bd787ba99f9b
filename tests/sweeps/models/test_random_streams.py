"""Streams that a model makes itself draw anew in every step; those it is given keep their bits."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import sweeps
from sweeps.models.random_streams import renewed

STEPS, UNITS = 20, 64


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: float = 0.1


class Counted(nnx.Module):
    """Counts how often each unit is kept."""

    def __init__(self, config: Config, rngs: nnx.Rngs, own: Any = None):
        self.drop = nnx.Dropout(0.5, rngs=own() if own else rngs)
        self.kept = nnx.BatchStat(jnp.zeros(UNITS))
        self.out = nnx.Linear(UNITS, 3, rngs=rngs)

    def __call__(self, x):
        x = self.drop(x)
        if not self.drop.deterministic:
            self.kept[...] += x[0] > 0
        return self.out(x)


def counts_of(own: Any) -> np.ndarray:
    """Per seed, a number that tells draws apart, how often units were kept, and how many always or never."""
    data = np.ones((4, UNITS), np.float32), np.zeros(4, np.int32)
    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(Counted, own=own),
        optimizer=lambda config: optax.sgd(config.learning_rate),
        data=sweeps.Data(data, data),
        batch_size=4,
        inspect=lambda model, _: {
            "code": model.kept[...] @ jnp.arange(UNITS),
            "kept": model.kept[...].mean(),
            "stuck": jnp.sum((model.kept[...] == 0) | (model.kept[...] == STEPS)),
        },
    )
    study = sweeps.Study(trial, steps=STEPS, metric="test/loss", space={"seed": range(3)})
    results = sweeps.run(study, progress=False)
    return np.stack([results.final(name) for name in ("code", "kept", "stuck")])


@pytest.mark.parametrize(
    "own", [lambda: nnx.Rngs(7), lambda: nnx.Rngs(dropout=jax.random.key(7, impl="rbg"))]
)
def test_a_stream_of_the_models_own_draws_anew_in_every_step_and_for_every_seed(own):
    code, kept, stuck = counts_of(own)
    assert kept == pytest.approx([STEPS / 2] * 3, abs=1.5)  # five deviations of a mean over 64 units
    assert not stuck.any() and len(set(code.tolist())) == 3


class Streams(nnx.Module):
    def __init__(self, given: nnx.Rngs, own: nnx.Rngs):
        self.given, self.split, self.own = nnx.Dropout(0.5, rngs=given), given.split(3), own


@pytest.mark.parametrize("name", ["all given", "one of its own", "several of its own"])
def test_streams_that_are_given_are_left_alone(name):
    seed = jax.random.key(7)

    def build(key: jax.Array) -> nnx.Module:
        own = {"all given": key, "one of its own": seed, "several of its own": jax.random.split(seed, 3)}
        return Streams(nnx.Rngs(key), nnx.Rngs(own[name]))

    def program(key: jax.Array, renew: bool) -> Any:
        module = renewed(build(key), build, key) if renew else build(key)
        return nnx.to_pure_dict(nnx.state(module, nnx.RngKey))

    key = jax.random.key(0)
    before, after = (jax.tree.map(jax.random.key_data, program(key, renew)) for renew in (False, True))
    same = jax.tree.map(lambda one, other: bool((one == other).all()), before, after)
    assert all(jax.tree.leaves((same["given"], same["split"])))
    assert all(jax.tree.leaves(same["own"])) is (name == "all given")
    programs = [str(jax.make_jaxpr(program, static_argnums=1)(key, renew)) for renew in (False, True)]
    assert (programs[0] == programs[1]) is (name == "all given")
