"""Runs one chunk for one span of steps; the only file with vmap, loops, shard_map and jit."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sweeps.space import StudyError
from sweeps.trial import Data, Study

AXIS = "members"
ALIVE = -1  # `diverged_at` of a member that has not diverged

INITIALISATION, STEP, ORDER = 0, 1, 2  # the three streams that are folded into the root key


class Members(NamedTuple):
    """What tells the members of a chunk apart, one row each.

    Attributes:
        values: the traced hyperparameters, by field name.
        seeds: the seeds, uint32.
    """

    values: dict[str, jax.Array]
    seeds: jax.Array


class Carry(NamedTuple):
    """What a chunk carries from span to span, one row per member.

    Attributes:
        state: the stacked states of the trial.
        diverged_at: the step count after which the member was found diverged, or `ALIVE`.
        sums: the step metrics added up since the last evaluation.
        counts: how many steps were added.
    """

    state: Any
    diverged_at: jax.Array
    sums: dict[str, jax.Array]
    counts: jax.Array


class Program(NamedTuple):
    """The compiled functions of one static group; each compiles once per width.

    Attributes:
        init: `(root, members) -> carry`.
        advance: `(root, members, carry, train, start, stop) -> carry`; the bounds are traced.
        evaluate: `(members, carry, evaluation) -> (metrics, carry with sums at zero)`.
        mesh: the devices.
    """

    init: Any
    advance: Any
    evaluate: Any
    mesh: Mesh


def make_mesh(devices: Sequence[Any]) -> Mesh:
    """One axis, `members`, over the devices."""
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def place_members(mesh: Mesh, values: dict[str, np.ndarray], seeds: np.ndarray) -> Members:
    """Puts hyperparameters and seeds on the devices, each device its share of the rows."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    real = jnp.zeros(()).dtype  # the default float, so that hyperparameters stay exact under bf16 parameters
    kinds = {"f": real, "i": np.int32, "b": np.bool_}
    columns = {name: column.astype(kinds[column.dtype.kind]) for name, column in values.items()}
    return Members(jax.device_put(columns, sharding), jax.device_put(seeds.astype(np.uint32), sharding))


def place_data(mesh: Mesh, data: Any) -> Any:
    """Puts a pytree of arrays on every device."""
    return jax.device_put(data, NamedSharding(mesh, PartitionSpec()))


def build(study: Study, statics: dict[str, Any], mesh: Mesh) -> Program:
    """The program of one static group.

    Args:
        study: the study; its trial's functions are traced when the program first runs.
        statics: the group's static values.
        mesh: the devices that share the members.
    """
    trial = study.trial
    configure = partial(_configure, trial.config, statics)
    has_diverged = trial.diverged or _any_non_finite

    def init_member(root: jax.Array, values: dict[str, Any], seed: jax.Array) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(root, INITIALISATION), seed)
        return trial.init(configure(values), key)

    def step_member(
        root: jax.Array, values: dict[str, Any], seed: jax.Array, state: Any, batch: Any, step: Any
    ):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(root, STEP), seed), step)
        config = configure(values)
        state, metrics = trial.step(config, state, batch, key)
        metrics = _scalars(metrics)
        return state, metrics, has_diverged(config, state, metrics)

    def evaluate_member(values: dict[str, Any], state: Any, evaluation: Any) -> dict[str, Any]:
        return _scalars(trial.evaluate(configure(values), state, evaluation))

    def init(root: jax.Array, members: Members, example: Any) -> Carry:
        state = jax.vmap(init_member, in_axes=(None, 0, 0))(root, members.values, members.seeds)
        one = jax.tree.map(lambda rows: rows[0], (members.values, members.seeds, state))
        metrics = jax.eval_shape(step_member, root, *one, example, jnp.int32(0))[1]
        width = members.seeds.shape[0]
        return Carry(
            state=state,
            diverged_at=jnp.full(width, ALIVE, jnp.int32),
            sums={name: jnp.zeros(width, jnp.float32) for name in metrics},
            counts=jnp.zeros(width, jnp.int32),
        )

    def advance(root: jax.Array, members: Members, carry: Carry, train: Any, start: Any, stop: Any) -> Carry:
        batches = _batches(study, root, members.seeds, train)
        step_all = jax.vmap(step_member, in_axes=(None, 0, 0, 0, batches.axis, None))

        def body(step: Any, loop: tuple[Carry, Any]) -> tuple[Carry, Any]:
            carry, order = loop
            batch, order = batches.take(step, order)
            state, metrics, bad = step_all(root, members.values, members.seeds, carry.state, batch, step)
            alive = carry.diverged_at == ALIVE
            freeze = partial(_where_rows, alive)
            return Carry(
                state=jax.tree.map(freeze, state, carry.state),
                diverged_at=jnp.where(alive & bad, step + 1, carry.diverged_at),
                sums={name: carry.sums[name] + jnp.where(alive, metrics[name], 0) for name in metrics},
                counts=carry.counts + alive,
            ), order

        return jax.lax.fori_loop(start, stop, body, (carry, batches.order(start)))[0]

    def evaluate(members: Members, carry: Carry, evaluation: Any) -> tuple[dict[str, jax.Array], Carry]:
        metrics = jax.vmap(evaluate_member, in_axes=(0, 0, None))(members.values, carry.state, evaluation)
        steps = {name: total / carry.counts for name, total in carry.sums.items()}
        fresh = carry._replace(
            sums=jax.tree.map(jnp.zeros_like, carry.sums), counts=jnp.zeros_like(carry.counts)
        )
        return steps | metrics, fresh

    rows, whole = PartitionSpec(AXIS), PartitionSpec()
    # check_vma=False: with the check on, gradients of leaves that do not vary over devices (zero biases)
    # would be summed over devices.
    share = partial(jax.shard_map, mesh=mesh, check_vma=False)
    return Program(
        init=jax.jit(share(init, in_specs=(whole, rows, whole), out_specs=rows)),
        advance=jax.jit(
            share(advance, in_specs=(whole, rows, rows, whole, whole, whole), out_specs=rows),
            donate_argnums=2,
        ),
        evaluate=jax.jit(
            share(evaluate, in_specs=(rows, rows, whole), out_specs=(rows, rows)), donate_argnums=1
        ),
        mesh=mesh,
    )


def check(study: Study, statics: dict[str, Any], values: dict[str, np.ndarray]) -> list[str]:
    """Runs the trial's functions on shapes alone, so that what is wrong with them is said before compiling.

    Args:
        study: the study.
        statics: the static values of a group.
        values: the traced values of one of its members, arrays of one row.

    Returns:
        The names of the metrics that an evaluation reports.
    """
    trial = study.trial
    data = trial.data or Data(None, None)

    def one_step(root: jax.Array, columns: dict[str, Any], batch: Any, evaluation: Any) -> dict[str, Any]:
        config = _configure(trial.config, statics, columns)
        state, metrics = trial.step(config, trial.init(config, root), batch, root)
        return _scalars(metrics) | _scalars(trial.evaluate(config, state, evaluation))

    columns = {name: jnp.asarray(column[0]) for name, column in values.items()}
    return list(jax.eval_shape(one_step, jax.random.key(0), columns, example_batch(study), data.evaluation))


def example_batch(study: Study) -> Any:
    """A batch of the shape that steps will see, made of zeros; None where there is no training data."""
    data = study.trial.data
    if data is None or data.train is None:
        return None
    size = study.trial.batch_size
    return jax.tree.map(
        lambda array: jnp.zeros((size or len(array), *array.shape[1:]), array.dtype), data.train
    )


class _Batches(NamedTuple):
    """How the loop gets at batches: the order of an epoch, and the batch of a step."""

    axis: int | None
    order: Callable[[Any], Any]
    take: Callable[[Any, Any], tuple[Any, Any]]


def _batches(study: Study, root: jax.Array, seeds: jax.Array, train: Any) -> _Batches:
    size = study.trial.batch_size
    if train is None or size is None:
        return _Batches(None, lambda step: (), lambda step, order: (train, order))
    count = len(jax.tree.leaves(train)[0])
    per_epoch = count // size
    per_seed = study.batches == "per_seed"

    def of_epoch(epoch: Any) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(root, ORDER), epoch)
        if not per_seed:
            return jax.random.permutation(key, count)
        return jax.vmap(lambda seed: jax.random.permutation(jax.random.fold_in(key, seed), count))(seeds)

    def take(step: Any, order: Any) -> tuple[Any, Any]:
        place = step % per_epoch
        # The step counter is the same for all members, so this stays a branch: an epoch is ordered once.
        order = jax.lax.cond(place == 0, lambda: of_epoch(step // per_epoch), lambda: order)
        index = jax.lax.dynamic_slice_in_dim(order, place * size, size, axis=-1)
        return jax.tree.map(lambda array: jnp.take(array, index, axis=0), train), order

    return _Batches(0 if per_seed else None, lambda step: of_epoch(step // per_epoch), take)


def _configure(config: type, statics: dict[str, Any], values: dict[str, Any]) -> Any:
    """A configuration with traced values; `__post_init__` has seen the concrete ones and does not run."""
    instance = object.__new__(config)
    for name, value in (statics | values).items():
        object.__setattr__(instance, name, value)
    return instance


def _where_rows(mask: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(mask.shape + (1,) * (new.ndim - 1)), new, old)


def _scalars(metrics: dict[str, Any]) -> dict[str, jax.Array]:
    """The metrics as float32 scalars."""
    found = {}
    for name, value in metrics.items():
        value = jnp.asarray(value)
        if value.shape != ():
            raise StudyError(f"`metric {name} is a scalar` must hold, but got shape {value.shape}")
        found[name] = value.astype(jnp.float32)
    return found


def _any_non_finite(config: Any, state: Any, metrics: dict[str, jax.Array]) -> jax.Array:
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    leaves += [metrics[name] for name in ("train/loss",) if name in metrics]
    return jnp.any(jnp.asarray([~jnp.all(jnp.isfinite(leaf)) for leaf in leaves], dtype=bool))
