"""What the equations of a traced program hold: all that the diagnostics know of JAX's insides.

The types are public (`jax.extend`), but not promised are: the names of primitives and of their parameters
(`jit`'s `name` and `jaxpr`, `scan`'s `jaxpr`, `length` and `reverse`, `cond`'s `branches`), `debug_info`, and
the two kinds of entries in a name stack. Where a new JAX changes one of them, it is mended here alone; the
tests of the diagnostics fail then, since a rectifier is missing or a primitive is refused.
"""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jaxtyping
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun
from jax.extend.source_info_util import summarize

CALLS = ("jit", "closed_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")
"""The primitives that only call a jaxpr; for values the rules of derivatives may be dropped."""

# The functions of jax.nn that are rectifiers, by the names of their jits, and what marks flax's PReLU.
_RECTIFIERS = ("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "flax_prelu")
# These hold a relu6 of a shifted input, whose sign says nothing.
_GATES = ("hard_sigmoid", "hard_silu")
_OWN = f"{Path(__file__).parent}{os.sep}"
# The package's own rectifiers and their derivatives, by the names of the traced functions.
_RULES = tuple(f"{name} at {_OWN}" for name in ("_leaky", "_elu"))
_DERIVATIVES = tuple(f"{name} at {_OWN}" for name in ("_along_x", "_along_scale", "_along_slope"))
# Whose frames are not the user's: libraries, and the checks of types that jaxtyping and beartype wrap around.
_LIBRARIES = tuple(f"{Path(str(module.__file__)).parent}{os.sep}" for module in (jax, flax, jaxtyping))
_NOT_THE_USERS = (_OWN, *_LIBRARIES, "<@beartype")


class Entry(NamedTuple):
    """A named scope, or a transformation of JAX (`vmap`, `jvp`, `transpose`), around an equation."""

    name: str
    transforms: bool


def rectified(eqn: JaxprEqn) -> int | None:
    """The position of the input whose sign a rectifier tests, if the equation is a rectifier."""
    if eqn.primitive.name not in ("jit", "custom_jvp_call"):
        return None
    (body,) = (closed.jaxpr for closed in inner(eqn)) if inner(eqn) else (None,)
    if body is None:
        return None
    if eqn.primitive.name == "jit":
        return _tested(body) if eqn.params["name"] in _RECTIFIERS else None
    if body.debug_info.func_src_info.startswith(_RULES):
        return 0
    # jax.nn.relu: a custom_jvp around a jit; the line of the outer one is that of the caller.
    if len(body.eqns) != 1 or (place := rectified(body.eqns[0])) is None:
        return None
    return _position(body, body.eqns[0].invars[place])


def inner(eqn: JaxprEqn) -> list[ClosedJaxpr]:
    """The jaxprs among an equation's parameters."""
    if eqn.params.get("name") in _GATES:
        return []
    leaves = jax.tree.leaves(list(eqn.params.values()))
    closed = [ClosedJaxpr(leaf, ()) if isinstance(leaf, Jaxpr) else leaf for leaf in leaves]
    return [leaf for leaf in closed if isinstance(leaf, ClosedJaxpr)]


def searched(eqn: JaxprEqn) -> list[ClosedJaxpr]:
    """The same, if rectifiers in them count: the derivatives of this package's own compute them again."""
    closed = inner(eqn)
    derive = any(body.jaxpr.debug_info.func_src_info.startswith(_DERIVATIVES) for body in closed)
    return [] if derive else closed


def scan_parts(eqn: JaxprEqn) -> tuple[int, int]:
    """How many inputs of a scan are constants, and how many are carried; the rest is scanned over."""
    (body,) = inner(eqn)
    # By their ranks, since the parameters that say so have other names in other versions.
    carried = sum(
        own == step for own, step in zip(_ranks(eqn.outvars), _ranks(body.jaxpr.outvars), strict=True)
    )
    whole = sum(own == step for own, step in zip(_ranks(eqn.invars), _ranks(body.jaxpr.invars), strict=True))
    return whole - carried, carried


def stack(eqn: JaxprEqn) -> tuple[Entry, ...]:
    """The named scopes and transformations around an equation, from the outside in."""
    entries = eqn.source_info.name_stack.stack
    return tuple(Entry(entry.name, type(entry).__name__ == "Transform") for entry in entries)


def line(eqn: JaxprEqn) -> str | None:
    """The file and line of the user's code that an equation comes from, where that is known."""
    for frame in reversed(summarize(eqn.source_info, num_frames=100).splitlines()):
        found = re.match(r"(.+?):(\d+)(?::\d+)? \(", frame)
        if found and not found[1].startswith(_NOT_THE_USERS):
            return f"{Path(found[1]).name}:{found[2]}"
    return None


def bind(eqn: JaxprEqn, jaxpr: Jaxpr, inputs: list[Any]) -> list[Any]:
    """Evaluate one equation of a jaxpr as it is."""
    distinct = {
        var: value for var, value in zip(eqn.invars, inputs, strict=True) if not isinstance(var, Literal)
    }
    alone = jaxpr.replace(eqns=[eqn], constvars=[], invars=list(distinct), outvars=eqn.outvars)
    return jaxpr_as_fun(ClosedJaxpr(alone, ()))(*distinct.values())


def _tested(body: Jaxpr) -> int | None:
    """The input that a rectifier's body compares with zero."""
    for eqn in body.eqns:
        if eqn.primitive.name in ("max", "gt", "ge"):
            operand, zero = eqn.invars
            # Inside shard_map the zero is no literal: it is told first that it may vary over devices.
            other = isinstance(zero, Literal) and zero.val != 0
            return None if other or _ranks([zero]) != [0] else _position(body, operand)
        if (place := rectified(eqn)) is not None:  # the elu in selu
            return _position(body, eqn.invars[place])
    return None


def _position(body: Jaxpr, operand: Any) -> int | None:
    return next((place for place, var in enumerate(body.invars) if var is operand), None)


def _ranks(atoms: list[Any]) -> list[int]:
    return [len(getattr(atom.aval, "shape", ())) for atom in atoms]
