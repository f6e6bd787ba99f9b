"""A member trained by a plain loop over the trial's functions: no vmap, no sharding, no engine.

It says again, from the documented contract, which keys and batches a member sees.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

import sweeps
from sweeps.engine import program as execute
from sweeps.engine.examples import example_batch
from sweeps.members.population import Population, config_of, populate, traced_columns

ROOT = 5


def train_alone(study: sweeps.Study, population: Population, member: int) -> tuple[Any, float]:
    """The state after all steps, and the mean of the training losses."""
    trial, root, seed = study.trial, jax.random.key(ROOT, impl="threefry2x32"), int(population.seeds[member])
    fold, fields = jax.random.fold_in, dataclasses.asdict(config_of(population, member))
    values = {name: value for name, value in fields.items() if isinstance(value, float)}
    static = {name: value for name, value in fields.items() if name not in values}
    assert trial.data is not None and trial.batch_size is not None
    inputs, targets = trial.data.train
    per_epoch, losses = len(inputs) // trial.batch_size, []
    init, step_once = _compiled(trial.init, trial.step, trial.config, tuple(static.items()))
    state = init(values, fold(fold(root, 0), seed))
    for step in range(study.steps):
        order_key = fold(fold(root, 2), step // per_epoch)
        if study.batches == "per_seed":
            order_key = fold(order_key, seed)
        order = jax.random.permutation(order_key, len(inputs))
        index = order[step % per_epoch * trial.batch_size :][: trial.batch_size]
        key = fold(fold(fold(root, 1), seed), step)
        state, metrics = step_once(values, state, (inputs[index], targets[index]), key)
        losses.append(float(metrics["train/loss"]))
    return state, float(np.mean(losses))


@functools.lru_cache(maxsize=4)
def _compiled(init: Any, step: Any, config: type, static: tuple[tuple[str, Any], ...]) -> tuple[Any, Any]:
    """Initialisation and step, compiled once for all members: the floats of a configuration are arguments."""

    # The reference need not be fast, so the compiler does not try to make it so.
    quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

    def configured(values: dict[str, Any]) -> Any:
        return config(**values, **dict(static))

    return (
        quick(lambda values, key: init(configured(values), key)),
        quick(lambda values, state, batch, key: step(configured(values), state, batch, key)),
    )


def train_together(study: sweeps.Study) -> tuple[Population, Any]:
    """The population of a study of one static group, and its stacked states after training on two devices."""
    population = populate(study, None, ROOT)
    assert len(population.statics) == 1 and study.trial.data is not None
    mesh = execute.make_mesh(jax.devices()[:2])
    program = execute.build(study, population.statics[0], mesh)
    ids = np.resize(np.arange(len(population)), -(-len(population) // 2) * 2)
    members = execute.place_members(mesh, traced_columns(population, ids), population.seeds[ids])
    root, train = execute.place_data(
        mesh, (jax.random.key(ROOT, impl="threefry2x32"), study.trial.data.train)
    )
    carry = program.init(root, members, example_batch(study))
    return population, program.advance(root, members, carry, train, 0, study.steps).state


def assert_every_member_is_itself(study: sweeps.Study, rtol: float = 1e-4, atol: float = 1e-5) -> Any:
    """Each member of the population equals the same member alone, and members differ; returns the states.

    The default tolerance is rounding of float32 in another order, some steps of training on.
    """
    population, together = train_together(study)
    for member in range(len(population)):
        alone, _ = train_alone(study, population, member)
        for mine, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            mine, theirs = (np.asarray(leaf, dtype=np.float64) for leaf in (mine[member], theirs))
            np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)
    first, second = (jax.tree.map(lambda leaf, at=at: leaf[at], together.params) for at in (0, 1))
    assert any((one != two).any() for one, two in zip(*map(jax.tree.leaves, (first, second)), strict=True))
    return together
