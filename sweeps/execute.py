"""Runs one chunk for one span of steps; the only file with vmap, loops, shard_map and jit."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sweeps.checking import scalars
from sweeps.devices import cpu_cores
from sweeps.divergence import any_non_finite
from sweeps.permutation import permuted
from sweeps.population import configure
from sweeps.streams import Block
from sweeps.trial import Study

AXIS = "members"
ALIVE = -1  # `diverged_at` of a member that has not diverged

_FACTORISATIONS = {
    operation for name, operation in vars(jax.lax.linalg).items() if name.endswith("_p")
}  # a set, since a primitive is itself wherever it is met

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


class _Loop(NamedTuple):
    """What goes from step to step: the carry, diverged members' last states, and the epoch's order."""

    carry: Carry
    frozen: Any
    order: Any


class Program(NamedTuple):
    """The functions of one static group; each compiles once per width.

    Attributes:
        init: `(root, members, example batch) -> carry`.
        advance: `(root, members, carry, train, start, stop) -> carry`; the bounds are traced.
        evaluate: `(members, carry, evaluation) -> (metrics, carry with sums at zero)`.
        mesh: the devices.
        loop: `scan`, `map` or `host`.
    """

    init: Any
    advance: Any
    evaluate: Any
    mesh: Mesh
    loop: str


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


def build(study: Study, statics: dict[str, Any], mesh: Mesh, loop: str = "scan") -> Program:
    """The program of one static group.

    Args:
        study: the study; its trial's functions are traced when the program first runs.
        statics: the group's static values.
        mesh: the devices that share the members.
        loop: `scan` loops over steps inside the program, each of which trains all members at once; `map` does
            too, but in each step members take turns; `host` calls a program of one step. What is fastest
            depends on the operations and the backend.
    """
    trial = study.trial
    configured = partial(configure, trial.config, statics)
    has_diverged, in_turn = trial.diverged or _any_non_finite, loop == "map"

    def init_member(root: jax.Array, values: dict[str, Any], seed: jax.Array) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(root, INITIALISATION), seed)
        return trial.init(configured(values), key)

    def step_member(
        root: jax.Array, values: dict[str, Any], seed: jax.Array, state: Any, batch: Any, step: Any
    ):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(root, STEP), seed), step)
        config = configured(values)
        state, metrics = trial.step(config, state, batch, key)
        metrics = scalars(metrics)
        return state, metrics, has_diverged(config, state, metrics)

    def evaluate_member(values: dict[str, Any], state: Any, evaluation: Any) -> dict[str, Any]:
        return scalars(trial.evaluate(configured(values), state, evaluation))

    def init(root: jax.Array, members: Members, example: Any) -> Carry:
        one = partial(init_member, root)
        first = jax.tree.map(lambda rows: rows[0], (members.values, members.seeds))
        # jaxlib shares the members of a batched factorisation (orthogonal initialisers have one) among the
        # threads of a pool, and waits for them on threads of that pool: two at a time can wait for ever.
        if _factorises(jax.make_jaxpr(one)(*first).jaxpr):
            state = jax.lax.map(lambda member: one(*member), (members.values, members.seeds))
        else:
            state = jax.vmap(one)(members.values, members.seeds)
        one_state = jax.tree.map(lambda rows: rows[0], state)
        metrics = jax.eval_shape(step_member, root, *first, one_state, example, jnp.int32(0))[1]
        width = members.seeds.shape[0]
        return Carry(
            state=state,
            diverged_at=jnp.full(width, ALIVE, jnp.int32),
            sums={name: jnp.zeros(width, jnp.float32) for name in metrics},
            counts=jnp.zeros(width, jnp.int32),
        )

    def one_step(root: jax.Array, members: Members, train: Any, step: Any, loop: _Loop) -> _Loop:
        carry, frozen = loop.carry, loop.frozen
        batches = _batches(study, root, members.seeds, train)
        batch, order = batches.take(step, loop.order)
        one = partial(step_member, root)
        if in_turn:
            shared = batches.axis is None

            def turn(own: tuple[Any, Any, Any, Any]) -> Any:
                return one(own[0], own[1], own[2], batch if shared else own[3], step)

            rows_of = (members.values, members.seeds, carry.state, () if shared else batch)
            state, metrics, bad = jax.lax.map(turn, rows_of)
        else:
            step_all = jax.vmap(one, in_axes=(0, 0, 0, batches.axis, None))
            state, metrics, bad = step_all(members.values, members.seeds, carry.state, batch, step)
        alive = carry.diverged_at == ALIVE
        diverges = alive & bad
        # Members that have diverged go on, to no effect, so that no step pays for selecting states. Which
        # members diverge is the same question for all of a device's, so this stays a branch, rarely taken.
        keep = partial(_where_rows, diverges)
        frozen = jax.lax.cond(jnp.any(diverges), lambda: jax.tree.map(keep, state, frozen), lambda: frozen)
        carry = Carry(
            state=state,
            diverged_at=jnp.where(diverges, step + 1, carry.diverged_at),
            sums={name: carry.sums[name] + jnp.where(alive, metrics[name], 0) for name in metrics},
            counts=carry.counts + alive,
        )
        return _Loop(carry, frozen, order)

    def first_order(root: jax.Array, members: Members, train: Any, step: Any) -> Any:
        return _batches(study, root, members.seeds, train).order(step)

    def thawed(carry: Carry, frozen: Any) -> Carry:
        """The carry in which the diverged members' states are those they diverged with."""
        alive = partial(_where_rows, carry.diverged_at == ALIVE)
        return carry._replace(state=jax.tree.map(alive, carry.state, frozen))

    def advance(root: jax.Array, members: Members, carry: Carry, train: Any, start: Any, stop: Any) -> Carry:
        begun = _Loop(carry, carry.state, first_order(root, members, train, start))
        ended = jax.lax.fori_loop(start, stop, partial(one_step, root, members, train), begun)
        return thawed(ended.carry, ended.frozen)

    def evaluate(members: Members, carry: Carry, evaluation: Any) -> tuple[dict[str, jax.Array], Carry]:
        metrics = jax.vmap(evaluate_member, in_axes=(0, 0, None))(members.values, carry.state, evaluation)
        steps = {name: total / carry.counts for name, total in carry.sums.items()}
        fresh = carry._replace(
            sums=jax.tree.map(jnp.zeros_like, carry.sums), counts=jnp.zeros_like(carry.counts)
        )
        return steps | metrics, fresh

    rows, whole, whole_cores = PartitionSpec(AXIS), PartitionSpec(), _whole_cores(mesh)
    orders = rows if study.batches == "per_seed" else whole
    # check_vma=False: with the check on, gradients of leaves that do not vary over devices (zero biases)
    # would be summed over devices.
    share = partial(jax.shard_map, mesh=mesh, check_vma=False)
    begin = jax.jit(share(first_order, in_specs=(whole, rows, whole, whole), out_specs=orders))
    specs: Any = (rows, rows, orders)
    once = _Loop(*specs)
    step_once = jax.jit(
        share(one_step, in_specs=(whole, rows, whole, whole, once), out_specs=once),
        donate_argnums=4,
        compiler_options=whole_cores,
    )
    copy, thaw = jax.jit(partial(jax.tree.map, jnp.copy)), jax.jit(thawed, donate_argnums=0)

    def advance_from_host(
        root: Any, members: Members, carry: Carry, train: Any, start: Any, stop: Any
    ) -> Carry:
        loop = _Loop(carry, copy(carry.state), begin(root, members, train, np.int32(start)))
        for step in range(start, stop):
            loop = step_once(root, members, train, np.int32(step), loop)
        return thaw(loop.carry, loop.frozen)

    # Most of a first start was spent on optimising initialisers, which run once; the bits are the same.
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    quickly: dict[str, Any] = whole_cores | ({"xla_backend_optimization_level": 1} if on_cpu else {})
    scanned = share(advance, in_specs=(whole, rows, rows, whole, whole, whole), out_specs=rows)
    return Program(
        init=jax.jit(share(init, in_specs=(whole, rows, whole), out_specs=rows), compiler_options=quickly),
        advance=(
            jax.jit(scanned, donate_argnums=2, compiler_options=whole_cores)
            if loop != "host"
            else advance_from_host
        ),
        evaluate=jax.jit(
            share(evaluate, in_specs=(rows, rows, whole), out_specs=(rows, rows)),
            donate_argnums=1,
            compiler_options=whole_cores,
        ),
        mesh=mesh,
        loop=loop,
    )


def _whole_cores(mesh: Mesh) -> dict[str, str]:
    """Compiler options that keep XLA from cutting operations up for other cores, where each is a device."""
    if mesh.devices.flat[0].platform != "cpu" or mesh.size < cpu_cores():
        return {}
    return {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}


class _Batches(NamedTuple):
    """How the loop gets at batches: the order of an epoch, and the batch of a step."""

    axis: int | None
    order: Callable[[Any], Any]
    take: Callable[[Any, Any], tuple[Any, Any]]


def _batches(study: Study, root: jax.Array, seeds: jax.Array, train: Any) -> _Batches:
    size = study.trial.batch_size
    if isinstance(train, Block):
        return _Batches(None, lambda step: (), lambda step, order: (_at(train, step), order))
    if train is None or size is None:
        return _Batches(None, lambda step: (), lambda step, order: (train, order))
    count = len(jax.tree.leaves(train)[0])
    per_epoch = count // size
    per_seed = study.batches == "per_seed"

    def of_epoch(epoch: Any) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(root, ORDER), epoch)
        if not per_seed:
            return permuted(key, count)
        return jax.vmap(lambda seed: permuted(jax.random.fold_in(key, seed), count))(seeds)

    def take(step: Any, order: Any) -> tuple[Any, Any]:
        place = step % per_epoch
        # The step counter is the same for all members, so this stays a branch: an epoch is ordered once.
        order = jax.lax.cond(place == 0, lambda: of_epoch(step // per_epoch), lambda: order)
        index = jax.lax.dynamic_slice_in_dim(order, place * size, size, axis=-1)
        return jax.tree.map(lambda array: array.at[index].get(mode="promise_in_bounds"), train), order

    return _Batches(0 if per_seed else None, lambda step: of_epoch(step // per_epoch), take)


def _at(block: Block, step: Any) -> Any:
    return jax.tree.map(lambda rows: rows[step - block.first], block.batches)


def _where_rows(mask: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(mask.shape + (1,) * (new.ndim - 1)), new, old)


def _factorises(jaxpr: Any) -> bool:
    """Whether a matrix factorisation is among the operations, or in a function that they call."""
    if any(equation.primitive in _FACTORISATIONS for equation in jaxpr.eqns):
        return True
    return any(_factorises(inner) for equation in jaxpr.eqns for inner in jaxprs_in_params(equation.params))


def _any_non_finite(config: Any, state: Any, metrics: dict[str, jax.Array]) -> jax.Array:
    return any_non_finite((state, metrics.get("train/loss", ())))


def program_bytes(program: Program, *arguments: Any) -> int:
    """What a step needs on each device: arguments, results and temporaries, as the compiler counts them.

    Args:
        program: a program whose loop is not `host`.
        *arguments: what `advance` will be called with.
    """
    found = program.advance.lower(*arguments).compile().memory_analysis()
    sizes = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
    return int(sizes - found.alias_size_in_bytes)
