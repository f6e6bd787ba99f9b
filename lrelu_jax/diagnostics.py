"""Dead units, sparsity and sign statistics of a model's rectifiers, streamed over a data set.

What is counted is the sign of each unit's input to its rectifier. A unit is a feature or a channel: one
element of the last axis, counted over all the others.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun
from jaxtyping import Array, ArrayLike, Bool, Float, Integer, Shaped

from . import linen, modules
from .rectify import as_floating
from .signs import NEGATIVE, POSITIVE, ZERO, branch

Counts: TypeAlias = Integer[Array, "*members units"] | Integer[np.ndarray, " units"]


class UnitCounts(NamedTuple):
    """How often each unit was positive, zero, negative or non-finite: a pytree of integer arrays [units].

    Counts of disjoint batches add up (`merge`), and across devices (`jax.lax.psum`). On device they are
    int32, enough for 2**31 values of each unit; `dead_units` adds batches up in int64.
    """

    positive: Counts
    zero: Counts
    negative: Counts
    non_finite: Counts


class UnitReport(NamedTuple):
    """What a full pass over the data says about the units of one rectifier."""

    counts: UnitCounts
    never_positive: Bool[np.ndarray, " units"]
    """For ReLU the dead units: their output, and the gradient through them, was always 0."""
    zeros: Float[np.ndarray, " units"]
    """Share of exact zeros among the inputs."""
    negatives: Float[np.ndarray, " units"]
    """Share of negative inputs; for ReLU `zeros + negatives` is the sparsity of the output."""


def count_units(x: Shaped[ArrayLike, "*batch units"]) -> UnitCounts:
    """Count the signs of each unit over all axes but the last.

    Args:
        x: Inputs of a rectifier; subnormals have the sign of their bits.

    Returns:
        Counts of shape (units,).

    Example:
        >>> import jax.numpy as jnp
        >>> counts = count_units(jnp.array([[1.0, -1.0], [0.0, -2.0], [3.0, -3.0]]))
        >>> counts.positive.tolist(), counts.zero.tolist(), counts.negative.tolist()
        ([2, 0], [1, 0], [0, 3])
    """
    x = as_floating("count_units", x)
    finite, side = jnp.isfinite(x), branch(x)
    axes = tuple(range(x.ndim - 1))
    tally = functools.partial(jnp.sum, axis=axes, dtype=jnp.int32)
    return UnitCounts(
        positive=tally(finite & (side == POSITIVE)),
        zero=tally(side == ZERO),
        negative=tally(finite & (side == NEGATIVE)),
        non_finite=tally(~finite),
    )


def merge(first: UnitCounts, *others: UnitCounts) -> UnitCounts:
    """Add up the counts of disjoint batches.

    Example:
        >>> import jax.numpy as jnp
        >>> batches = jnp.array([[[1.0], [2.0]], [[-1.0], [3.0]]])
        >>> merge(*map(count_units, batches)).positive.tolist()
        [3]
    """
    return jax.tree.map(lambda *counts: sum(counts[1:], counts[0]), first, *others)


def unit_counts(model: nnx.Module | nn.Module, *inputs: Any, **kwargs: Any) -> dict[str, UnitCounts]:
    """Run a model on one batch and count the signs at each of its rectifiers; `jit` and `vmap` apply.

    Rectifiers are the modules of this package, also those called under `jit`, `remat` or `scan`, as in
    recurrent models, where all steps count together. One that is called from several places is reported as
    `name`, `name (call 2)` and so on.

    Args:
        model: An NNX model, or a Linen one bound to its variables (`model.bind(variables)`).
        *inputs: What the model is called with.
        **kwargs: Keywords of that call, such as `train=False`.

    Returns:
        Counts by the path of the rectifier in the model, in the order of execution.

    Raises:
        TypeError: If `model` is neither.
        ValueError: If no rectifier module is called, a Linen model is not bound, or a rectifier is called
            inside a primitive that cannot be followed, such as `while_loop`.

    Example:
        >>> from lrelu_jax import ReLU
        >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), ReLU())
        >>> counts = unit_counts(model, jnp.ones((5, 2)))["layers/1"]
        >>> (counts.positive + counts.negative).tolist()
        [5, 5, 5]
    """
    rebuild, state = _split(model)

    def run(state: Any, *inputs: Any) -> None:
        model = rebuild(state)
        if isinstance(model, nnx.Module):
            nnx.recursive_map(_observe_nnx, model)(*inputs, **kwargs)
        else:
            with nn.intercept_methods(_observe_linen):
                model(*inputs, **kwargs)

    closed = jax.make_jaxpr(run)(state, *inputs)
    _, seen = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves((state, *inputs)))
    counts: OrderedDict[str, UnitCounts] = OrderedDict()
    for number, (path, count) in enumerate(seen):
        calls = 1 + sum(earlier == path for earlier, _ in seen[:number])
        counts[path if calls == 1 else f"{path} (call {calls})"] = count
    if not counts:
        raise ValueError(
            "`model` must call rectifier modules of `lrelu_jax` (ReLU, LeakyReLU, PReLU, RReLU, ELU), but "
            f"got none in {type(model).__name__}; a rectifier used as a function cannot be observed"
        )
    return counts


def dead_units(model: nnx.Module | nn.Module, batches: Iterable[Any], **kwargs: Any) -> dict[str, UnitReport]:
    """Report, for each rectifier of a model, the units never positive over a full pass of the data.

    Memory does not grow with the number of batches. A leaky model has no dead units, but may have units that
    are never positive. Models with dropout or batch statistics belong in evaluation mode first.

    Args:
        model: An NNX model, or a Linen one bound to its variables (`model.bind(variables)`).
        batches: The model's inputs, one array (or other pytree) per batch; sizes may differ.
        **kwargs: Keywords of each call, such as `train=False`.

    Returns:
        Reports by the path of the rectifier in the model, in the order of execution.

    Raises:
        TypeError: If `model` is neither.
        ValueError: If there are no batches, or as `unit_counts` does.

    References:
        Lu, Shin, Su and Karniadakis, "Dying ReLU and Initialization", 2019.

    Example:
        >>> from lrelu_jax import ReLU
        >>> layer = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        >>> layer.bias[...] = jnp.array([0.0, 0.0, -100.0])
        >>> report = dead_units(nnx.Sequential(layer, ReLU()), [jnp.ones((5, 2)), -jnp.ones((3, 2))])
        >>> report["layers/1"].never_positive.tolist()
        [False, False, True]
    """
    rebuild, state = _split(model)
    count = jax.jit(lambda state, batch: unit_counts(rebuild(state), batch, **kwargs))
    totals: OrderedDict[str, UnitCounts] = OrderedDict()
    for batch in batches:
        for name, counts in count(state, batch).items():
            wide = UnitCounts(*(np.asarray(c, np.int64) for c in counts))
            totals[name] = merge(totals[name], wide) if name in totals else wide
    if not totals:
        raise ValueError("`batches` must hold at least one batch, but got none")
    return OrderedDict((name, _report(counts)) for name, counts in totals.items())


def _report(counts: UnitCounts) -> UnitReport:
    positive, zero, negative, _ = arrays = [np.asarray(count) for count in counts]
    total = np.sum(arrays, axis=0)
    return UnitReport(counts, positive == 0, zero / total, negative / total)


def _split(model: nnx.Module | nn.Module) -> tuple[Callable[[Any], Any], Any]:
    """A model's arrays, and the function that makes the model of them."""
    if isinstance(model, nnx.Module):
        graphdef, state = nnx.split(model)
        # A copy, as a model may write to its variables.
        return lambda state: nnx.merge(graphdef, state, copy=True), state
    if isinstance(model, nn.Module):
        if model.scope is None:
            raise ValueError(
                f"`model` must be bound to its variables, but got an unbound {type(model).__name__}; "
                "`model.bind(variables)` binds it"
            )
        module, variables = model.unbind()
        return module.bind, variables
    raise TypeError(f"`model` must be an NNX or a bound Linen module, but got {type(model).__name__}")


# A rectifier's input is marked with the rectifier's path, and the marks are found in the model's jaxpr: they
# survive every transformation that a model may use inside, where a variable to write counts to would not.
_MARK = "lrelu_jax.rectifier:"
_NNX = (modules.ReLU, modules.LeakyReLU, modules.PReLU, modules.RReLU, modules.ELU)
_LINEN = (linen.ReLU, linen.LeakyReLU, linen.PReLU, linen.RReLU, linen.ELU)


class _Observed(nnx.Module):
    def __init__(self, rectifier: nnx.Module, path: str):
        self.rectifier: Any = rectifier
        self.path = path

    def __call__(self, x: ArrayLike, **kwargs: Any) -> Any:
        return self.rectifier(checkpoint_name(jnp.asarray(x), _MARK + self.path), **kwargs)


def _observe_nnx(path: tuple, node: Any) -> Any:
    return _Observed(node, "/".join(map(str, path))) if isinstance(node, _NNX) else node


def _observe_linen(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
    if isinstance(context.module, _LINEN) and context.method_name == "__call__":
        mark = _MARK + "/".join(context.module.path)
        args = (checkpoint_name(jnp.asarray(args[0]), mark), *args[1:])
    return call(*args, **kwargs)


def _evaluate(jaxpr: Jaxpr, consts: Any, args: Any) -> tuple[list[Any], list[tuple[str, UnitCounts]]]:
    """Evaluate a jaxpr; return its outputs, and the path and the counts of every mark in it."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    seen = []

    def read(atoms: list[Any]) -> list[Any]:
        return [atom.val if isinstance(atom, Literal) else values[atom] for atom in atoms]

    for eqn in jaxpr.eqns:
        inner_seen = []
        if _is_mark(eqn):
            inner_seen = [(eqn.params["name"].removeprefix(_MARK), count_units(*read(eqn.invars)))]
        if not any(map(_holds_mark, _inner(eqn))):
            invars = list(dict.fromkeys(v for v in eqn.invars if not isinstance(v, Literal)))
            alone = jaxpr.replace(eqns=[eqn], constvars=[], invars=invars, outvars=eqn.outvars)
            outputs = jaxpr_as_fun(ClosedJaxpr(alone, ()))(*read(invars))
        elif eqn.primitive.name == "scan":
            outputs, inner_seen = _evaluate_scan(eqn, read(eqn.invars))
        elif eqn.primitive.name in _CALLS:
            (inner,) = _inner(eqn)
            outputs, inner_seen = _evaluate(inner.jaxpr, inner.consts, read(eqn.invars))
        else:
            raise ValueError(
                f"an observed rectifier must be under none but {', '.join(_CALLS)} and scan, but got one "
                f"inside {eqn.primitive.name}"
            )
        values.update(zip(eqn.outvars, outputs, strict=True))
        seen.extend(inner_seen)
    return read(jaxpr.outvars), seen


# The primitives that only call a jaxpr; counting needs no derivative, so custom rules may be dropped.
_CALLS = ("jit", "closed_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")


def _evaluate_scan(eqn: JaxprEqn, inputs: list[Any]) -> tuple[list[Any], list[tuple[str, UnitCounts]]]:
    (inner,) = _inner(eqn)
    num_consts, num_carry = eqn.params["num_consts"], eqn.params["num_carry"]
    consts, init, xs = inputs[:num_consts], inputs[num_consts:][:num_carry], inputs[num_consts + num_carry :]
    paths: list[str] = []

    def step(carry: list[Any], x: list[Any]) -> tuple[list[Any], tuple[list[Any], list[UnitCounts]]]:
        outputs, seen = _evaluate(inner.jaxpr, inner.consts, [*consts, *carry, *x])
        paths[:] = [path for path, _ in seen]
        return outputs[:num_carry], (outputs[num_carry:], [counts for _, counts in seen])

    carry, (ys, by_step) = lax.scan(step, init, xs, eqn.params["length"], eqn.params["reverse"])
    totals = jax.tree.map(lambda counts: counts.sum(0), by_step)
    return [*carry, *ys], list(zip(paths, totals, strict=True))


def _is_mark(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name == "name" and eqn.params["name"].startswith(_MARK)


def _inner(eqn: JaxprEqn) -> list[ClosedJaxpr]:
    """The jaxprs among an equation's parameters."""
    leaves = jax.tree.leaves(list(eqn.params.values()))
    closed = [ClosedJaxpr(leaf, ()) if isinstance(leaf, Jaxpr) else leaf for leaf in leaves]
    return [leaf for leaf in closed if isinstance(leaf, ClosedJaxpr)]


def _holds_mark(closed: ClosedJaxpr) -> bool:
    return any(_is_mark(eqn) or any(map(_holds_mark, _inner(eqn))) for eqn in closed.jaxpr.eqns)
