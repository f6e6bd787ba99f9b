"""Sums over several axes that are fast on CPU.

XLA's CPU backend leaves sums to the YNNPACK library, which gets some of them wrong and is therefore kept out
of the engine's programs (`sweeps/engine/compiler.py`). Its own code sums over several axes a number at a
time, and over one axis a vector at a time. The gradient of a convolution's bias, a sum over examples, rows
and columns, is one of the former. By how much: `python -m tests.benchmarks.products`.
"""

import functools
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import Jaxpr, JaxprEqn
from jaxtyping import Array, Float

from sweeps.ops.exchange import call, equations


def spreads(jaxpr: Jaxpr) -> bool:
    """Whether an array is repeated along neighbouring axes, which its gradient will be summed over.

    Args:
        jaxpr: a program that is to be differentiated.
    """
    return any(_neighbours(_spread_axes(eqn)) for eqn in equations(jaxpr))


def fast_sum(eqn: JaxprEqn) -> JaxprEqn:
    """A sum over neighbouring axes as one over the first of them and one over the others, on CPU.

    They agree to rounding. Any other equation is returned as it is.

    Args:
        eqn: an equation.
    """
    axes: tuple[int, ...] = eqn.params.get("axes", ())
    if eqn.primitive.name != "reduce_sum" or len(axes) < 2 or axes != tuple(range(axes[0], axes[-1] + 1)):
        return eqn
    terms: Any = eqn.invars[0].aval
    if terms.dtype not in (jnp.float32, jnp.float64) or 0 in terms.shape:
        return eqn
    return call(functools.partial(_summed, axes), eqn)


def _spread_axes(eqn: JaxprEqn) -> list[int]:
    """The axes of an equation's output along which one of its inputs, not a scalar, is repeated."""
    shape, found = getattr(eqn.outvars[0].aval, "shape", ()) if eqn.outvars else (), set()
    for one in eqn.invars:
        own = getattr(one.aval, "shape", ())
        if eqn.primitive.name == "broadcast_in_dim" and own:
            sizes = dict(zip(eqn.params["broadcast_dimensions"], own, strict=True))
            found |= {axis for axis, size in enumerate(shape) if sizes.get(axis, 1) < size}
        elif len(own) == len(shape) and eqn.primitive.name in ("add", "sub", "mul", "div"):
            found |= {axis for axis, size in enumerate(shape) if own[axis] < size}
    return sorted(found)


def _neighbours(axes: list[int]) -> bool:
    return any(other == axis + 1 for axis, other in pairwise(axes))


def _summed(axes: tuple[int, ...], terms: Float[Array, "..."]) -> Float[Array, "..."]:
    own = functools.partial(jnp.sum, axis=axes)
    return lax.platform_dependent(terms, cpu=functools.partial(_in_two, axes), default=own)


def _in_two(axes: tuple[int, ...], terms: Array) -> Array:
    """The sum over the first of these axes, and over the others as one; barriers keep them apart."""
    first, last = axes[0], axes[-1]
    partial = lax.optimization_barrier(jnp.sum(terms, first))
    merged = partial.reshape(*partial.shape[:first], -1, *partial.shape[last:])
    return jnp.sum(lax.optimization_barrier(merged), first)
