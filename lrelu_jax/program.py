"""The rectifiers of a traced program: found in its equations, counted while it is evaluated."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jaxtyping import Array

from . import axes, scopes
from .axes import Origin, Source, Sources
from .counts import Tally, tally
from .equations import CALLS, Entry, bind, inner, line, rectified, scan_parts, searched, stack
from .rectify import as_floating


class Seen(NamedTuple):
    """One call of a rectifier."""

    name: str
    """The path of its module, or the line of the call."""
    tally: Tally
    """Arrays [*stack, units]: layers of a scan and members of a vmap are apart."""


class Place(NamedTuple):
    """Where the equations of a jaxpr are."""

    stack: tuple[Entry, ...] = ()
    line: str | None = None

    def of(self, eqn: JaxprEqn) -> "Place":
        """The place of one equation, and of those inside it."""
        return Place((*self.stack, *stack(eqn)), line(eqn) or self.line)

    def name(self) -> str:
        """What a rectifier here is called in a report."""
        scope = scopes.find(self.stack)
        line = None if scope.rectifier else self.line
        if scope.path and line:
            return f"{scope.path} ({line})"
        return scope.path or line or "rectifier"


class _Equation(NamedTuple):
    """An equation that is being evaluated: its inputs, what they go back to, and where it is."""

    eqn: JaxprEqn
    inputs: list[Any]
    origins: list[Origin]
    place: Place


def evaluate(closed: ClosedJaxpr, inputs: list[Any], origins: list[Origin]) -> tuple[list[Any], list[Seen]]:
    """Evaluate a program.

    Args:
        closed: The program.
        inputs: Its inputs.
        origins: What each input goes back to.

    Returns:
        Its outputs, and the calls of rectifiers in the order of execution.

    Raises:
        ValueError: If a rectifier is called inside a primitive that cannot be followed, or its units, steps
            or layers cannot be told.
    """
    return _evaluate(closed, inputs, origins, Place())


def _evaluate(
    closed: ClosedJaxpr, inputs: list[Any], origins: list[Origin], place: Place
) -> tuple[list[Any], list[Seen]]:
    jaxpr = closed.jaxpr
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *inputs], strict=True))
    known: dict[Any, Origin] = dict(zip(jaxpr.invars, origins, strict=True))
    seen: list[Seen] = []

    def read(atoms: list[Any]) -> list[Any]:
        return [atom.val if isinstance(atom, Literal) else values[atom] for atom in atoms]

    for eqn in jaxpr.eqns:
        one = _Equation(eqn, read(eqn.invars), axes.read(known, eqn.invars), place.of(eqn))
        outputs, inside = _step(one, jaxpr)
        values.update(zip(eqn.outvars, outputs, strict=True))
        known.update(zip(eqn.outvars, axes.propagate(eqn, one.origins), strict=True))
        seen.extend(inside)
    return read(jaxpr.outvars), seen


def _step(one: _Equation, jaxpr: Jaxpr) -> tuple[list[Any], list[Seen]]:
    eqn, bodies = one.eqn, searched(one.eqn)
    operand = rectified(eqn)
    # A backward pass inside a model computes its rectifiers again.
    backward = scopes.find(one.place.stack).backward
    if operand is not None and not backward:
        outputs = bind(eqn, jaxpr, one.inputs)
        return outputs, [_count(one, operand, outputs[0])]
    if backward or not any(map(_holds_rectifier, bodies)):
        return bind(eqn, jaxpr, one.inputs), []
    if eqn.primitive.name == "scan":
        return _scan(one)
    if eqn.primitive.name == "cond":
        return _cond(one)
    if eqn.primitive.name in CALLS and len(bodies) == 1:
        return _evaluate(bodies[0], one.inputs, one.origins, one.place)
    raise ValueError(
        f"rectifiers can be counted under {', '.join(CALLS)}, scan and cond, but got one inside "
        f"{eqn.primitive.name}, at {one.place.name()}"
    )


def _scan(one: _Equation) -> tuple[list[Any], list[Seen]]:
    eqn, (body,) = one.eqn, inner(one.eqn)
    constants, carried = scan_parts(eqn)
    fixed, init = one.inputs[:constants], one.inputs[constants:][:carried]
    origins, _ = axes.scan(eqn, one.origins)
    names: list[str] = []

    def step(carry: list[Any], x: list[Any]) -> tuple[list[Any], tuple[list[Any], list[Tally]]]:
        outputs, seen = _evaluate(body, [*fixed, *carry, *x], origins, one.place)
        names[:] = [call.name for call in seen]
        return outputs[:carried], (outputs[carried:], [call.tally for call in seen])

    xs = one.inputs[constants + carried :]
    carry, (ys, tallies) = lax.scan(step, init, xs, eqn.params["length"], eqn.params["reverse"])
    layers = axes.over_layers(eqn, one.origins)
    if layers is None and names:
        raise ValueError(
            f"the steps of a scan must be told from layers, but what {names[0]} is scanned over holds both "
            "parameters and inputs of the model, or comes from operations that cannot be followed; add what "
            "is learned of each step to the inputs before the scan, or compute it outside the model"
        )
    if not layers:
        tallies = jax.tree.map(lambda counts: counts.sum(0), tallies)
    return [*carry, *ys], list(map(Seen, names, tallies))


def _cond(one: _Equation) -> tuple[list[Any], list[Seen]]:
    """The branch that is taken counts its rectifiers; those of the others see nothing."""
    index, *inputs = one.inputs
    bodies = inner(one.eqn)
    names: list[list[str]] = [[] for _ in bodies]

    def branch(taken: int, *inputs: Any) -> tuple[list[Any], list[Tally]]:
        outputs, seen = _evaluate(bodies[taken], list(inputs), one.origins[1:], one.place)
        names[taken] = [call.name for call in seen]
        return outputs, [call.tally for call in seen]

    branches = [functools.partial(branch, taken) for taken in range(len(bodies))]
    shapes = [jax.eval_shape(own, *inputs)[1] for own in branches]

    def among_all(taken: int, *inputs: Any) -> tuple[list[Any], list[list[Tally]]]:
        outputs, own = branches[taken](*inputs)
        zeros = jax.tree.map(lambda tally: jnp.zeros(tally.shape, tally.dtype), shapes)
        return outputs, [*zeros[:taken], own, *zeros[taken + 1 :]]

    branches_of_one_type = [functools.partial(among_all, taken) for taken in range(len(bodies))]
    outputs, tallies = lax.switch(index, branches_of_one_type, *inputs)
    return outputs, list(map(Seen, itertools.chain(*names), itertools.chain(*tallies)))


def _count(one: _Equation, operand: int, y: Array) -> Seen:
    x, sources = jnp.asarray(one.inputs[operand]), one.origins[operand].axes
    scope, name = scopes.find(one.place.stack), one.place.name()
    if x.size == 0:
        raise ValueError(f"a batch must hold at least one example, but got {name} with shape {x.shape}")
    if any(Source.PICKED in axis for origin in one.origins for axis in origin.axes):
        raise ValueError(
            f"the layers of a rectifier must be told apart, but {name} gets parameters that were picked from "
            "a stack at run time; pass the stack to `lax.scan` as what it scans over, or call the layers one "
            "by one"
        )
    if not scope.vmaps:
        # A slope of a larger shape repeats the input.
        x, sources = jnp.broadcast_to(x, y.shape), (Source.NOTHING,) * (y.ndim - x.ndim) + sources
        kept = axes.units(_told(x, sources), _slope(one, operand, y), scope.axis)
        both = (kept, kept)
    else:
        # Batching need not put the axes of input and output in one order.
        outcome, *_ = axes.propagate(one.eqn, one.origins)
        both = (axes.units_in_any_order(_told(x, sources)), axes.units_in_any_order(_told(y, outcome.axes)))
    first, second = (_arranged(array, kept) for array, kept in zip((x, y), both, strict=True))
    if first is None or second is None or first.shape != second.shape:
        raise ValueError(
            f"the units of a rectifier must be told from its other axes, but {name} has an input of shape "
            f"{x.shape}{', in part by `jax.vmap`' if scope.vmaps else ''}, where they may be along any axis; "
            "call it outside `jax.vmap`, with the units last"
        )
    return Seen(name, tally(first, second, first.ndim - 2))


def _arranged(array: Array, kept: tuple[int, ...] | None) -> Array | None:
    """The axes that are kept, with all others as one axis before the last of them."""
    if kept is None:
        return None
    others = [axis for axis in range(array.ndim) if axis not in kept]
    sizes = [array.shape[axis] for axis in kept] or [1]
    array = jnp.transpose(array, (*kept[:-1], *others, *kept[-1:]))
    return as_floating("rectifier", array).reshape(*sizes[:-1], -1, sizes[-1])


def _slope(one: _Equation, operand: int, y: Array) -> Sources:
    """The sources of a slope of the input's rank, of those axes along which it has several values."""
    for slope, origin in zip(one.inputs[operand + 1 :], one.origins[operand + 1 :], strict=True):
        if jnp.ndim(slope) == y.ndim > 0:
            sizes = zip(origin.axes, jnp.shape(slope), strict=True)
            return tuple(source if size > 1 else Source.NOTHING for source, size in sizes)
    return ()


def _told(x: Array, sources: Sources) -> Sources:
    """An axis of length 1 that goes back to nothing, or to one example, may be counted over."""
    sizes = zip(sources, x.shape, strict=True)
    return tuple(
        Source.EXAMPLES if size == 1 and (not source or Source.EXAMPLES in source) else source
        for source, size in sizes
    )


def _holds_rectifier(closed: ClosedJaxpr) -> bool:
    return any(
        rectified(eqn) is not None or any(map(_holds_rectifier, searched(eqn))) for eqn in closed.jaxpr.eqns
    )
