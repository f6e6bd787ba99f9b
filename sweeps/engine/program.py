"""Runs one chunk for one span of steps; the only file with vmap, loops, shard_map and jit."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sweeps.engine.batches import batches_of
from sweeps.engine.compiler import compiler_options
from sweeps.engine.folds import evaluated
from sweeps.engine.tracing import as_python_numbers, scalars
from sweeps.members.population import configure
from sweeps.models.annealing import annealed
from sweeps.ops.exchange import equations
from sweeps.ops.finite import any_non_finite
from sweeps.ops.threefry import fold_in
from sweeps.trial import Study

AXIS = "members"
ALIVE = -1  # `diverged_at` of a member that has not diverged

_FACTORISATIONS = {operation for name, operation in vars(jax.lax.linalg).items() if name.endswith("_p")}

INITIALISATION, STEP = 0, 1  # streams that are folded into the root key; `batches.ORDER` is the third


class Members(NamedTuple):
    """What tells the members of a chunk apart, one row each.

    Attributes:
        values: the traced hyperparameters, by field name.
        seeds: the seeds, uint32.
        folds: the fold that each holds out, int32; None without folds.
    """

    values: dict[str, jax.Array]
    seeds: jax.Array
    folds: jax.Array | None = None


class Carry(NamedTuple):
    """What a chunk carries from span to span, one row per member.

    Attributes:
        state: the stacked states of the trial.
        diverged_at: the step count after which the member was found diverged, or `ALIVE`.
        sums: the step metrics added up since the last evaluation; of a whole number, the last.
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
        evaluate: `(members, carry, evaluation, steps done) -> (metrics, carry with sums at zero)`.
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


def place_members(
    mesh: Mesh, values: dict[str, np.ndarray], seeds: np.ndarray, folds: np.ndarray | None = None
) -> Members:
    """Puts hyperparameters, seeds and folds on the devices, each device its share of the rows."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    columns = {name: as_python_numbers(column) for name, column in values.items()}
    return Members(*jax.device_put((columns, seeds.astype(np.uint32), folds), sharding))


def place_data(mesh: Mesh, data: Any) -> Any:
    """Puts a pytree of arrays on every device."""
    return jax.device_put(data, NamedSharding(mesh, PartitionSpec()))


class _Group(NamedTuple):
    """A static group, whose members one program trains.

    Attributes:
        study: the study; its trial's functions are traced when the program first runs.
        statics: the group's static values.
        in_turn: whether members take turns in each step, rather than going side by side.
    """

    study: Study
    statics: dict[str, Any]
    in_turn: bool

    def config(self, values: dict[str, Any], step: Any) -> Any:
        """The configuration of one member after so many steps."""
        return annealed(configure(self.study.trial.config, self.statics, values), step, self.study.steps)


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
    group = _Group(study, statics, in_turn=loop == "map")
    rows, whole, options = PartitionSpec(AXIS), PartitionSpec(), compiler_options(mesh)
    # Most of a first start was spent on optimising initialisers, which run once; the bits are the same.
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    quickly: dict[str, Any] = options | ({"xla_backend_optimization_level": 1} if on_cpu else {})
    # check_vma=False: with the check on, gradients of leaves that do not vary over devices (zero biases)
    # would be summed over devices.
    share = partial(jax.shard_map, mesh=mesh, check_vma=False)
    init = share(partial(_init, group), in_specs=(whole, rows, whole), out_specs=rows)
    scanned = share(
        partial(_advance, group), in_specs=(whole, rows, rows, whole, whole, whole), out_specs=rows
    )
    evaluate = share(partial(_evaluate, group), in_specs=(rows, rows, whole, whole), out_specs=(rows, rows))
    compiled = partial(jax.jit, compiler_options=options)
    return Program(
        init=jax.jit(init, compiler_options=quickly),
        advance=_host_loop(group, share, options) if loop == "host" else compiled(scanned, donate_argnums=2),
        evaluate=compiled(evaluate, donate_argnums=1),
        mesh=mesh,
        loop=loop,
    )


def _host_loop(group: _Group, share: Any, options: dict[str, Any]) -> Callable[..., Carry]:
    """Steps called one by one from the host."""
    rows, whole = PartitionSpec(AXIS), PartitionSpec()
    orders: Any = rows if group.study.batches == "per_seed" else whole
    once = _Loop(rows, rows, orders)  # pyright: ignore[reportArgumentType]
    compiled = partial(jax.jit, compiler_options=options)
    begin = compiled(share(partial(_no_order, group), in_specs=(whole, rows, whole), out_specs=orders))
    step_once = compiled(
        share(partial(_one_step, group), in_specs=(whole, rows, whole, whole, once), out_specs=once),
        donate_argnums=4,
    )
    copy, thaw = compiled(partial(jax.tree.map, jnp.copy)), compiled(_thawed, donate_argnums=0)

    def advance(root: Any, members: Members, carry: Carry, train: Any, start: Any, stop: Any) -> Carry:
        loop = _Loop(carry, copy(carry.state), begin(root, members, train))
        for step in range(start, stop):
            loop = step_once(root, members, train, np.int32(step), loop)
        return thaw(loop.carry, loop.frozen)

    return advance


def _init_member(group: _Group, root: jax.Array, values: dict[str, Any], seed: jax.Array) -> Any:
    key = fold_in(fold_in(root, INITIALISATION), seed)
    return group.study.trial.init(group.config(values, 0), key)


def _step_member(
    group: _Group, root: jax.Array, values: dict[str, Any], seed: jax.Array, state: Any, batch: Any, step: Any
) -> tuple[Any, dict[str, jax.Array], Any]:
    """The state after a step, its metrics, and whether the member diverged in it."""
    trial = group.study.trial
    key = fold_in(fold_in(fold_in(root, STEP), seed), step)
    config = group.config(values, step)
    state, metrics = trial.step(config, state, batch, key)
    metrics = scalars(metrics)
    return state, metrics, (trial.diverged or _any_non_finite)(config, state, metrics)


def _init(group: _Group, root: jax.Array, members: Members, example: Any) -> Carry:
    one = partial(_init_member, group, root)
    first = jax.tree.map(lambda rows: rows[0], (members.values, members.seeds))
    # jaxlib shares the members of a batched factorisation (orthogonal initialisers have one) among the
    # threads of a pool, and waits for them on threads of that pool: two at a time can wait for ever.
    if _factorises(jax.make_jaxpr(one)(*first).jaxpr):
        state = jax.lax.map(lambda member: one(*member), (members.values, members.seeds))
    else:
        state = jax.vmap(one)(members.values, members.seeds)
    one_state = jax.tree.map(lambda rows: rows[0], state)
    step = partial(_step_member, group)
    after, metrics, _ = jax.eval_shape(step, root, *first, one_state, example, jnp.int32(0))
    width = members.seeds.shape[0]
    return Carry(
        state=jax.tree.map(_typed_as_after_a_step, state, after),
        diverged_at=jnp.full(width, ALIVE, jnp.int32),
        sums={name: jnp.zeros(width, metric.dtype) for name, metric in metrics.items()},
        counts=jnp.zeros(width, jnp.int32),
    )


def _one_step(group: _Group, root: jax.Array, members: Members, train: Any, step: Any, loop: _Loop) -> _Loop:
    carry, frozen = loop.carry, loop.frozen
    source = batches_of(group.study, root, members, train)
    batch, order = source.take(step, loop.order)
    one = partial(_step_member, group, root)
    # One member is trained as it is: an axis of one would have XLA work out what it needs twice, twice.
    if group.in_turn or len(carry.counts) == 1:
        shared = source.axis is None

        def turn(own: tuple[Any, Any, Any, Any]) -> Any:
            return one(own[0], own[1], own[2], batch if shared else own[3], step)

        rows_of = (members.values, members.seeds, carry.state, () if shared else batch)
        state, metrics, bad = jax.lax.map(turn, rows_of)
    else:
        step_all = jax.vmap(one, in_axes=(0, 0, 0, source.axis, None))
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
        sums={name: _added(carry.sums[name], metrics[name], alive) for name in metrics},
        counts=carry.counts + alive.astype(jnp.int32),
    )
    return _Loop(carry, frozen, order)


def _no_order(group: _Group, root: jax.Array, members: Members, train: Any) -> Any:
    return batches_of(group.study, root, members, train).order


def _thawed(carry: Carry, frozen: Any) -> Carry:
    """The carry in which the diverged members' states are those they diverged with."""
    alive = partial(_where_rows, carry.diverged_at == ALIVE)
    return carry._replace(state=jax.tree.map(alive, carry.state, frozen))


def _advance(
    group: _Group, root: jax.Array, members: Members, carry: Carry, train: Any, start: Any, stop: Any
) -> Carry:
    first = _Loop(carry, carry.state, _no_order(group, root, members, train))
    last = jax.lax.fori_loop(start, stop, partial(_one_step, group, root, members, train), first)
    return _thawed(last.carry, last.frozen)


def _evaluate(
    group: _Group, members: Members, carry: Carry, evaluation: Any, step: Any
) -> tuple[dict[str, jax.Array], Carry]:
    def one(values: dict[str, Any], state: Any, evaluation: Any, fold: Any) -> dict[str, Any]:
        config = group.config(values, step)
        return evaluated(
            lambda data: scalars(group.study.trial.evaluate(config, state, data)), evaluation, fold
        )

    # A configuration without traced fields and a state without arrays do not say how many members there are.
    every = jax.vmap(one, in_axes=(0, 0, None, 0), axis_size=len(carry.counts))
    metrics = every(members.values, carry.state, evaluation, members.folds)
    steps = {name: _mean(total, carry.counts) for name, total in carry.sums.items()}
    fresh = carry._replace(sums=jax.tree.map(jnp.zeros_like, carry.sums), counts=jnp.zeros_like(carry.counts))
    return steps | metrics, fresh


def _added(total: jax.Array, values: jax.Array, alive: jax.Array) -> jax.Array:
    """Floats are averaged between evaluations; whole numbers count something, and the last is what holds."""
    if jnp.issubdtype(values.dtype, jnp.integer):
        return jnp.where(alive, values, total)
    return total + jnp.where(alive, values, jnp.zeros_like(values))


def _mean(total: jax.Array, counts: jax.Array) -> jax.Array:
    return total if jnp.issubdtype(total.dtype, jnp.integer) else total / counts.astype(total.dtype)


def _typed_as_after_a_step(rows: Any, after: Any) -> Any:
    """The rows, no longer weakly typed where a step makes them so; a loop would, and be compiled twice."""
    weaker = getattr(rows, "weak_type", False) and not after.weak_type
    return jax.lax.convert_element_type(rows, rows.dtype) if weaker else rows


def _where_rows(mask: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(mask.shape + (1,) * (new.ndim - 1)), new, old)


def _factorises(jaxpr: Any) -> bool:
    """Whether a matrix factorisation is among the operations, or in a function that they call."""
    return any(equation.primitive in _FACTORISATIONS for equation in equations(jaxpr))


def _any_non_finite(config: Any, state: Any, metrics: dict[str, jax.Array]) -> jax.Array:
    return any_non_finite((state, metrics.get("train/loss", ())))
