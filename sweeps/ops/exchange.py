"""Equations of a traced program exchanged for others that compute the same, faster."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun, jaxprs_in_params

Exchange = Callable[[JaxprEqn], JaxprEqn]

# What calls a jaxpr that is differentiated as it stands; others have rules of their own.
_CALLS = ("jit", "closed_call", "checkpoint", "remat2", "scan", "cond", "while")


class Traced(NamedTuple):
    """A function of pytrees of arrays, as it was traced; called as it.

    Attributes:
        program: its equations.
        outputs: the shapes of what it returns.
    """

    program: ClosedJaxpr
    outputs: Any

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        found = jaxpr_as_fun(self.program)(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(self.outputs), found)


def trace(function: Callable[..., Any], *arguments: Any) -> Traced:
    """Traces a function for arguments of these shapes."""
    return Traced(*jax.make_jaxpr(function, return_shape=True)(*arguments))


def exchanged(traced: Traced, exchange: Exchange) -> Traced:
    """The same function with its equations exchanged.

    Args:
        traced: the function.
        exchange: returns an equation in place of each, those of functions that are called as well; the
            same one where it is to stay.
    """
    program = traced.program
    return traced._replace(program=ClosedJaxpr(_exchanged(program.jaxpr, exchange), program.consts))


def call(function: Callable[[Any], Any], eqn: JaxprEqn) -> JaxprEqn:
    """A call of a function of one array, in place of an equation that takes and returns one.

    Args:
        function: what is called.
        eqn: whose input and output it has.
    """
    (found,) = jax.make_jaxpr(jax.jit(function))(eqn.invars[0].aval).jaxpr.eqns
    return found.replace(invars=eqn.invars, outvars=eqn.outvars)


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """All equations of a program, those of every function that it calls too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from equations(inner)


def _exchanged(jaxpr: Jaxpr, exchange: Exchange) -> Jaxpr:
    return jaxpr.replace(eqns=[_inner(eqn, exchange) for eqn in jaxpr.eqns])


def _inner(eqn: JaxprEqn, exchange: Exchange) -> JaxprEqn:
    if eqn.primitive.name not in _CALLS:
        return exchange(eqn)
    return eqn.replace(params={name: _value(value, exchange) for name, value in eqn.params.items()})


def _value(value: Any, exchange: Exchange) -> Any:
    """A parameter of an equation, with the equations of a program exchanged."""
    if isinstance(value, ClosedJaxpr):
        return ClosedJaxpr(_exchanged(value.jaxpr, exchange), value.consts)
    if isinstance(value, Jaxpr):
        return _exchanged(value, exchange)
    return tuple(_value(each, exchange) for each in value) if type(value) is tuple else value
