"""Where the axes of the arrays in a traced program come from: the examples, the inputs or the model's state.

Under `jax.vmap` the axes of a rectifier's input stand where the batching put them, and a scan may run over
time or over layers. Both are told by following each axis from the program's inputs through its equations.
"""

import enum
import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from .equations import CALLS, inner, scan_parts


class Source(enum.IntFlag):
    """What an axis goes back to; a combination where it is several of them."""

    NOTHING = 0
    EXAMPLES = 1
    """The leading axis of the model's inputs."""
    INPUTS = 2
    """Their other axes: features, time, space."""
    STATE = 4
    """The axes of the model's parameters: features and channels, and layers or members in a stack."""
    UNKNOWN = 8
    PICKED = 16
    """Those of parameters that were picked from a stack at run time: of several layers, taken for one."""


Sources: TypeAlias = tuple[Source, ...]
_Own = TypeVar("_Own")


class Origin(NamedTuple):
    """What an array goes back to."""

    axes: Sources
    varies: bool = False
    """Whether its values depend on the model's inputs or differ between the steps of a loop."""


def of_input(aval: Any) -> Origin:
    """The origin of an array that the model is called with."""
    return Origin((Source.EXAMPLES, *[Source.INPUTS] * (aval.ndim - 1)) if aval.ndim else (), True)


def of_state(aval: Any) -> Origin:
    """The origin of an array of the model's state; keys and counters of random numbers are no units."""
    random = jnp.issubdtype(aval.dtype, jax.dtypes.prng_key) or aval.dtype == jnp.uint32
    return Origin((Source.NOTHING if random else Source.STATE,) * aval.ndim)


def propagate(eqn: JaxprEqn, origins: list[Origin]) -> list[Origin]:
    """The origins of an equation's outputs from those of its inputs."""
    name, bodies = eqn.primitive.name, inner(eqn)
    if name == "scan":
        return scan(eqn, origins)[1]
    if name in CALLS and len(bodies) == 1:
        return through(bodies[0].jaxpr, origins)
    varies = any(origin.varies for origin in origins)
    if name == "cond":
        branches = [through(body.jaxpr, origins[1:]) for body in bodies]
        return [
            Origin(_union(*(own.axes for own in outputs)), varies) for outputs in zip(*branches, strict=True)
        ]
    if name in _LOOKUPS:
        index_varies = any(origin.varies for origin in origins[1:])
        return [Origin(_LOOKUPS[name](eqn, index_varies, *(own.axes for own in origins)), varies)]
    return [Origin(axes, varies) for axes in _of_outputs(eqn, [origin.axes for origin in origins], bodies)]


def _of_outputs(eqn: JaxprEqn, sources: list[Sources], bodies: list[ClosedJaxpr]) -> list[Sources]:
    name = eqn.primitive.name
    if name in _RULES:
        return [_RULES[name](eqn, *sources)]
    if name.startswith(("reduce_", "arg")) and "axes" in eqn.params:
        return [_without(sources[0], eqn.params["axes"])] * len(eqn.outvars)
    if name == "unstack":
        return [_without(sources[0], (eqn.params["axis"],))] * len(eqn.outvars)
    if len(eqn.outvars) == len(sources) and not bodies:  # optimization_barrier, sort
        return [_same_rank(var.aval, [own], False) for var, own in zip(eqn.outvars, sources, strict=True)]
    return [_same_rank(var.aval, sources, bool(bodies)) for var in eqn.outvars]


def through(jaxpr: Jaxpr, origins: list[Origin]) -> list[Origin]:
    """The origins of a jaxpr's outputs from those of its inputs."""
    known: dict[Any, Origin] = dict(zip(jaxpr.invars, origins, strict=True))
    for eqn in jaxpr.eqns:
        known.update(zip(eqn.outvars, propagate(eqn, read(known, eqn.invars)), strict=True))
    return read(known, jaxpr.outvars)


def scan(eqn: JaxprEqn, origins: list[Origin]) -> tuple[list[Origin], list[Origin]]:
    """The origins of the inputs of a scan's body, and of the scan's outputs."""
    (body,) = inner(eqn)
    constants, carried = scan_parts(eqn)
    fixed, xs = origins[:constants], [own.axes for own in origins[constants + carried :]]
    # Within the loop a counter varies, even if it is nothing but a constant outside.
    carry = [Origin(own.axes, True) for own in origins[constants:][:carried]]
    lead = functools.reduce(operator.or_, (x[0] for x in xs), Source.NOTHING)
    steps = [Origin(x[1:], True) for x in xs]
    while True:
        outputs = [own.axes for own in through(body.jaxpr, [*fixed, *carry, *steps])]
        joined = [
            Origin(_union(old.axes, new), True) for old, new in zip(carry, outputs[:carried], strict=True)
        ]
        if joined == carry:
            break
        carry = joined
    varies = any(origin.varies for origin in origins)
    whole = [*(own.axes for own in carry), *((lead, *y) for y in outputs[carried:])]
    return [*fixed, *carry, *steps], [Origin(axes, varies) for axes in whole]


def over_layers(eqn: JaxprEqn, origins: list[Origin]) -> bool | None:
    """Whether a scan runs over stacked parameters, a layer at each step, and not over time with one layer.

    None if that cannot be told.
    """
    leads = [own.axes[0] for own in origins[sum(scan_parts(eqn)) :]]
    if Source.STATE in leads:
        # Beside the model's inputs, parameters may be those of its layers or what it learned of each step.
        return None if any(lead & ~Source.STATE for lead in leads) else True
    return None if any(Source.UNKNOWN in lead for lead in leads) else False


def units(x: Sources, slope: Sources, axis: int | None) -> tuple[int, ...] | None:
    """The axes of a rectifier's input that are not counted over: stacks of parameters, and last the units'.

    Args:
        x: Sources of the input.
        slope: Sources of a slope of the same rank, NOTHING for each axis along which it is one; or ().
        axis: The axis that the module was given.

    Returns:
        No axes if all of the input is one unit; None if that cannot be told.
    """
    channels = [place for place, source in enumerate(slope) if source == Source.STATE]
    if len(channels) == 1:
        unit = channels[0]
    elif axis is not None and -len(x) <= axis < len(x) and Source.EXAMPLES not in x[axis]:
        unit = axis % len(x)
    elif x and (Source.EXAMPLES not in x[-1] or Source.UNKNOWN in x[-1]):
        unit = len(x) - 1
    else:
        return units_in_any_order(x)
    return (*(place for place in _learned(x) if place != unit), unit)


def units_in_any_order(x: Sources) -> tuple[int, ...] | None:
    """The same where the last axis need not be that of the units, as under `jax.vmap`."""
    learned = _learned(x)
    others = tuple(place for place, source in enumerate(x) if source != Source.EXAMPLES)
    if any(Source.EXAMPLES in x[place] and Source.STATE in x[place] for place in others):
        return None  # units of all examples in one axis
    if learned or not others:
        return learned
    told = len(others) == 1 and not x[others[0]] & (Source.EXAMPLES | Source.UNKNOWN)
    return others if told else None


def _learned(x: Sources) -> tuple[int, ...]:
    return tuple(place for place, source in enumerate(x) if source == Source.STATE)


def read(known: dict[Any, Origin], atoms: list[Any]) -> list[Origin]:
    """The origins of an equation's operands; an array that the model closes over is taken for state."""
    return [
        _literal(atom) if isinstance(atom, Literal) else known.get(atom, of_state(atom.aval))
        for atom in atoms
    ]


def _literal(atom: Literal) -> Origin:
    return Origin((Source.NOTHING,) * _rank(atom.aval))


def _rank(aval: Any) -> int:
    return len(_shape(aval))


def _shape(aval: Any) -> tuple[int, ...]:
    return getattr(aval, "shape", ())


def _union(*sources: Sources) -> Sources:
    joined = list(sources[0])
    for other in sources[1:]:
        joined = [mine | others for mine, others in zip(joined, other, strict=True)]
    return tuple(joined)


def _without(sources: tuple[_Own, ...], axes: Any) -> tuple[_Own, ...]:
    return tuple(source for place, source in enumerate(sources) if place not in axes)


def _same_rank(aval: Any, sources: list[Sources], opaque: bool) -> Sources:
    """The rule of arithmetic, slices and the like: axes keep their places. Else they are unknown."""
    rank = _rank(aval)
    labelled = [own for own in sources if any(own)]
    if any(len(own) != rank for own in labelled) or (opaque and labelled):
        return (Source.UNKNOWN,) * rank
    return _union((Source.NOTHING,) * rank, *labelled)


def _broadcast(eqn: JaxprEqn, x: Sources, *_: Sources) -> Sources:
    new, old = _shape(eqn.outvars[0].aval), _shape(eqn.invars[0].aval)
    result = [Source.NOTHING] * len(new)
    for place, target in enumerate(eqn.params["broadcast_dimensions"]):
        # What is repeated along an axis says nothing of that axis.
        result[target] = x[place] if old[place] == new[target] else Source.NOTHING
    return tuple(result)


def _reshape(eqn: JaxprEqn, x: Sources, *_: Sources) -> Sources:
    # An axis is the interval between the products of the lengths before it and with it: a new axis comes
    # from those whose intervals it overlaps.
    old, new = _ends(_shape(eqn.invars[0].aval)), _ends(_shape(eqn.outvars[0].aval))
    ends = sorted({*old, *new})
    if 0 in ends or any(end % start for start, end in itertools.pairwise(ends)):
        return (Source.UNKNOWN,) * (len(new) - 1)
    result = []
    for start, end in itertools.pairwise(new):
        overlaps = zip(itertools.pairwise(old), x, strict=True)
        shared = [source for (first, last), source in overlaps if first < end and start < last]
        result.append(
            functools.reduce(operator.or_, shared, Source.NOTHING) if start < end else Source.NOTHING
        )
    return tuple(result)


def _ends(shape: tuple[int, ...]) -> list[int]:
    return list(itertools.accumulate(shape, operator.mul, initial=1))


def _stack(eqn: JaxprEqn, *arrays: Sources) -> Sources:
    joined, axis = _union(*arrays), eqn.params["axis"]
    return (*joined[:axis], _of_joined(joined), *joined[axis:])


def _concatenate(eqn: JaxprEqn, *arrays: Sources) -> Sources:
    joined, axis = list(_union(*arrays)), eqn.params["dimension"]
    joined[axis] |= _of_joined(_without(tuple(joined), (axis,)))
    return tuple(joined)


def _of_joined(others: Sources) -> Source:
    """Parameters that the model stacks are a stack of parameters."""
    return Source.STATE if others and all(other == Source.STATE for other in others) else Source.NOTHING


def _tile(eqn: JaxprEqn, x: Sources) -> Sources:
    repeats = zip(x, eqn.params["reps"], strict=True)
    return tuple(source if times == 1 else Source.NOTHING for source, times in repeats)


def _transpose(eqn: JaxprEqn, x: Sources) -> Sources:
    return tuple(x[place] for place in eqn.params["permutation"])


def _squeeze(eqn: JaxprEqn, x: Sources) -> Sources:
    return _without(x, eqn.params["dimensions"])


def _dot(eqn: JaxprEqn, left: Sources, right: Sources) -> Sources:
    contracted, batched = eqn.params["dimension_numbers"]
    batch = [left[one] | right[other] for one, other in zip(*batched, strict=True)]
    free = [_without(own, (*contracted[side], *batched[side])) for side, own in enumerate((left, right))]
    return (*batch, *free[0], *free[1])


def _convolution(eqn: JaxprEqn, left: Sources, right: Sources) -> Sources:
    numbers = eqn.params["dimension_numbers"]
    result = list(left)
    for target, place in zip(numbers.out_spec, numbers.lhs_spec, strict=True):
        result[target] = left[place]
    result[numbers.out_spec[1]] = right[numbers.rhs_spec[0]]
    return tuple(result)


def _ragged_dot(eqn: JaxprEqn, left: Sources, right: Sources, *_: Sources) -> Sources:
    """A product in which groups of rows pick their matrices from a stack."""
    numbers = eqn.params["ragged_dot_dimension_numbers"]
    (contracted, batched), groups = numbers.dot_dimension_numbers, numbers.rhs_group_dimensions
    if not groups:
        return (Source.UNKNOWN,) * _rank(eqn.outvars[0].aval)
    batch = [left[one] | right[other] for one, other in zip(*batched, strict=True)]
    rows = _without(left, (*contracted[0], *batched[0]))
    return (*batch, *rows, *_picked(_without(right, (*contracted[1], *batched[1], *groups))))


def _dynamic_slice(eqn: JaxprEqn, varies: bool, x: Sources, *_: Sources) -> Sources:
    one = _one_of_several(eqn, x, eqn.params["slice_sizes"])
    return _picked(x) if varies and any(one) else x


def _gather(eqn: JaxprEqn, varies: bool, operand: Sources, indices: Sources) -> Sources:
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    batched = numbers.operand_batching_dims
    looked_up = list(indices[:-1])
    for place, axis in zip(numbers.start_indices_batching_dims, batched, strict=True):
        looked_up[place] |= operand[axis]
    one = _without(_one_of_several(eqn, operand, sizes), batched)
    several = len(looked_up) > len(batched)
    constant = not varies and (not several or math.prod(_shape(eqn.invars[1].aval)[:-1]) == 1)
    # A table of vectors is looked up by one layer, for each token say; a table of matrices is a stack.
    rest = [size > 1 and Source.STATE in own for size, own in zip(sizes, operand, strict=True)]
    if any(one) and not constant and (sum(rest) > 1 or not several):
        operand = _picked(operand)
    windows = list(_without(operand, (*numbers.collapsed_slice_dims, *batched)))
    rank = _rank(eqn.outvars[0].aval)
    return tuple((windows if place in numbers.offset_dims else looked_up).pop(0) for place in range(rank))


def _one_of_several(eqn: JaxprEqn, x: Sources, sizes: tuple[int, ...]) -> tuple[bool, ...]:
    """The axes of parameters, of a length above 1, of which an index takes one element."""
    whole = zip(x, sizes, _shape(eqn.invars[0].aval), strict=True)
    return tuple(source == Source.STATE and size == 1 < length for source, size, length in whole)


def _picked(sources: Sources) -> Sources:
    return tuple(own | Source.PICKED if Source.STATE in own else own for own in sources)


_RULES: dict[str, Callable[..., Sources]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "stack": _stack,
    "concatenate": _concatenate,
    "tile": _tile,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "ragged_dot_general": _ragged_dot,
    "ragged_dot": _ragged_dot,
}

_LOOKUPS: dict[str, Callable[..., Sources]] = {"dynamic_slice": _dynamic_slice, "gather": _gather}
