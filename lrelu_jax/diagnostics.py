"""Dead and dormant units, sparsity and sign statistics of a model's rectifiers, streamed over a data set.

What is counted is the sign of each unit's input to its rectifier. A unit is a feature or a channel: one
element of the last axis, or of the `axis` of a PReLU, counted over all the others.
"""

import functools
import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import nnx
from jax.extend.core import ClosedJaxpr

from . import axes, counts, program, scopes
from .counts import Tally
from .counts import UnitCounts as UnitCounts
from .counts import UnitReport as UnitReport
from .counts import count_units as count_units
from .counts import merge as merge


def unit_counts(model: nnx.Module | nn.Module, *inputs: Any, **kwargs: Any) -> dict[str, UnitCounts]:
    """Run a model on one batch and count the signs at each of its rectifiers; `jit` and `vmap` apply.

    Rectifiers are this package's functions and modules, those of `jax.nn`, which are Flax's too (`relu`,
    `relu6`, `leaky_relu`, `elu`, `celu`, `selu`), and Flax's PReLU. They are found in the traced program,
    also under `jit`, `remat`, `vmap`, `scan` and `cond`; arithmetic as in `jnp.maximum(x, 0)` is not.

    A rectifier is named by the path of its module; one that is called as a function by the line of the call,
    after the path of the calling module: `blocks/0 (model.py:12)`. One that is called from several places is
    reported as `name`, `name (call 2)` and so on. Steps of a recurrent model count together. The layers of a
    scanned stack, the members of a `vmap` over parameters and other axes that go back to parameters alone,
    such as the experts of one product of matrices, are apart: `name[0]`, `name[1]` and so on.

    Args:
        model: An NNX model, or a Linen one bound to its variables (`model.bind(variables)`).
        *inputs: What the model is called with; the leading axis is that of the examples.
        **kwargs: Keywords of that call, such as `train=False`.

    Returns:
        Counts by the name of the rectifier, in the order of execution.

    Raises:
        TypeError: If `model` is neither.
        ValueError: If no rectifier is called, a Linen model is not bound, there are no examples, a rectifier
            is called inside a primitive that cannot be followed, such as `while_loop`, its units cannot be
            told from its other axes, as may be under `jax.vmap`, or its layers from each other, as where a
            counter picks their parameters from a stack.

    Example:
        >>> import jax.numpy as jnp
        >>> from lrelu_jax import ReLU
        >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), ReLU())
        >>> counts = unit_counts(model, jnp.ones((5, 2)))["layers/1"]
        >>> (counts.positive + counts.negative).tolist()
        [5, 5, 5]
    """
    return OrderedDict((name, own.counts) for name, own in _tallies(model, inputs, kwargs).items())


def dead_units(
    model: nnx.Module | nn.Module,
    batches: Iterable[Any],
    *,
    inputs: Callable[[Any], Any] | int | str | None = None,
    **kwargs: Any,
) -> dict[str, UnitReport]:
    """Report, for each rectifier of a model, the units never positive over a full pass of the data.

    Memory does not grow with the number of batches. A leaky model has no dead units, but may have units that
    are never positive, or *dormant* ones, with outputs much smaller than those of their layer
    (`UnitReport.dormant`). A unit with a NaN or infinity among its inputs is neither. Models with dropout or
    batch statistics belong in evaluation mode first.

    Rectifiers are found as `unit_counts` finds them: one that is written by hand, as `jnp.maximum(x, 0)` or
    `jnp.where(x > 0, x, 0)`, is not seen and has no report.

    Args:
        model: An NNX model, or a Linen one bound to its variables (`model.bind(variables)`).
        batches: The model's inputs, one array (or other pytree) per batch; sizes may differ.
        inputs: What of a batch is the model's input, where it holds more, as a pair (x, y) does: a function
            of the batch, or an index or key, as in `inputs=0`.
        **kwargs: Keywords of each call, such as `train=False`.

    Returns:
        Reports by the name of the rectifier, as `unit_counts` has it, in the order of execution. A rectifier
        in a branch of `cond` that no batch takes has none.

    Raises:
        TypeError: If `model` is neither.
        ValueError: If there are no batches, batches give a rectifier other numbers of units, or as
            `unit_counts` does.

    References:
        Lu, Shin, Su and Karniadakis, "Dying ReLU and Initialization", 2019. Sokar, Agarwal, Castro and Evci,
        "The Dormant Neuron Phenomenon in Deep Reinforcement Learning", 2023.

    Example:
        >>> import jax.numpy as jnp
        >>> from lrelu_jax import ReLU
        >>> layer = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        >>> layer.bias[...] = jnp.array([0.0, 0.0, -100.0])
        >>> report = dead_units(nnx.Sequential(layer, ReLU()), [jnp.ones((5, 2)), -jnp.ones((3, 2))])
        >>> report["layers/1"].never_positive.tolist()
        [False, False, True]
        >>> report["layers/1"].dormant(0.025).tolist()
        [False, False, True]
    """
    rebuild, state = _split(model)
    select = (lambda batch: batch) if inputs is None else _selector(inputs)
    count = jax.jit(lambda state, batch: _tallies(rebuild(state), (batch,), kwargs))
    totals: OrderedDict[str, Tally] = OrderedDict()
    for batch in batches:
        for name, own in count(state, select(batch)).items():
            wide = Tally(
                UnitCounts(*(np.asarray(c, np.int64) for c in own.counts)),
                np.asarray(own.magnitude, np.float64),
            )
            totals[name] = _add(name, totals[name], wide) if name in totals else wide
    if not totals:
        raise ValueError("`batches` must hold at least one batch, but got none")
    reached = ((name, total) for name, total in totals.items() if np.any(total.counts))
    return OrderedDict((name, counts.report(total)) for name, total in reached)


def _selector(inputs: Any) -> Callable[[Any], Any]:
    return inputs if callable(inputs) else operator.itemgetter(inputs)


def _add(name: str, first: Tally, second: Tally) -> Tally:
    if first.magnitude.shape != second.magnitude.shape:
        raise ValueError(
            f"`batches` must have one width, but {name} got {len(first.magnitude)} units from the first and "
            f"{len(second.magnitude)} from another; count them apart"
        )
    return Tally(merge(first.counts, second.counts), first.magnitude + second.magnitude)


def _tallies(model: nnx.Module | nn.Module, inputs: tuple, kwargs: dict) -> dict[str, Tally]:
    """Trace a model, and evaluate the program with a count at each rectifier."""
    rebuild, state = _split(model)
    given, structure = jax.tree.flatten(kwargs)
    arrays = {place: leaf for place, leaf in enumerate(given) if isinstance(leaf, jax.Array | np.ndarray)}

    def run(state: Any, inputs: tuple, arrays: dict[int, Any]) -> None:
        model = rebuild(state)
        if isinstance(model, nnx.Module):
            scopes.name_modules(model)
        keywords = structure.unflatten(arrays.get(place, leaf) for place, leaf in enumerate(given))
        with nn.intercept_methods(scopes.name_linen_modules):
            model(*inputs, **keywords)

    traced = jax.make_jaxpr(run)(state, inputs, arrays)
    leaves = jax.tree.leaves((state, inputs, arrays))
    own = len(jax.tree.leaves(state))
    avals = [var.aval for var in traced.jaxpr.invars]
    origins = [*map(axes.of_state, avals[:own]), *map(axes.of_input, avals[own:])]
    return _named(type(model).__name__, traced, leaves, origins)


def _named(
    model: str, traced: ClosedJaxpr, leaves: list[Any], origins: list[axes.Origin]
) -> dict[str, Tally]:
    """The tallies of a traced model, each with a name of its own."""
    names: list[str] = []

    @jax.jit
    def counted(leaves: list[Any]) -> list[Tally]:
        _, seen = program.evaluate(traced, leaves, origins)
        names[:] = [call.name for call in seen]
        return [call.tally for call in seen]

    tallies: OrderedDict[str, Tally] = OrderedDict()
    calls: dict[str, int] = {}
    for tally, name in zip(counted(leaves), names, strict=True):
        calls[name] = calls.get(name, 0) + 1
        name = name if calls[name] == 1 else f"{name} (call {calls[name]})"
        for index in np.ndindex(tally.magnitude.shape[:-1]):
            suffix = f"[{', '.join(map(str, index))}]" if index else ""
            tallies[name + suffix] = jax.tree.map(operator.itemgetter(index), tally)
    if not tallies:
        raise ValueError(
            "`model` must call rectifiers of `lrelu_jax` or `jax.nn` (relu, leaky_relu, elu, …), but got "
            f"none in {model}; arithmetic written out, as `jnp.maximum(x, 0)`, is not found"
        )
    return tallies


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
        # What else it was bound with: the keys of dropout, and the collections that it may write to.
        rngs: Any = model.scope.rngs
        return functools.partial(module.bind, rngs=rngs, mutable=model.scope.mutable), variables
    raise TypeError(f"`model` must be an NNX or a bound Linen module, but got {type(model).__name__}")
