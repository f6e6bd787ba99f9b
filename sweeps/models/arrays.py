"""The arrays that a module holds outside Variables: a fixed projection, a mask, a traced hyperparameter.

A module is built again in every step. What its arrays say of the configuration must follow the configuration;
what was drawn must stay as it was drawn, so those arrays that depend on the key are carried along.
"""

import contextlib
import dataclasses
import functools
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import nnx
from jax.extend.core import Literal, jaxprs_in_params
from jax.tree_util import keystr, tree_leaves_with_path, tree_map_with_path

from sweeps.errors import StudyError

CALLS = ("jit", "pjit")  # primitives whose operands and results are those of the function they call
PASSING = (*CALLS, "checkpoint", "remat", "remat2", "closed_call")  # NNX passes whole modules through these
ARRAYS = jax.Array | np.ndarray


def held(module: Any, kinds: Any = jax.Array) -> dict[str, Any]:
    """The arrays that an NNX module holds outside Variables, by their place; none of a Linen module.

    Args:
        module: the module.
        kinds: what counts as an array.
    """
    return {
        place + keystr(path): leaf
        for _, _, place, value in _attributes(module)
        for path, leaf in tree_leaves_with_path(value, is_leaf=_is_node)
        if isinstance(leaf, kinds)
    }


def hold(module: Any, arrays: dict[str, jax.Array]) -> Any:
    """Sets arrays of an NNX module by their place.

    Args:
        module: the module, which this call changes.
        arrays: what `drawn` found.

    Returns:
        The same module.
    """
    if not arrays:
        return module
    for node, name, place, value in list(_attributes(module)):

        def kept(path: Any, leaf: Any, place: str = place) -> Any:
            return arrays.get(place + keystr(path), leaf)

        paths = tree_leaves_with_path(value, is_leaf=_is_node)
        if any(place + keystr(path) in arrays for path, _ in paths):
            # Said to be data: an attribute that is a tracer would be static.
            setattr(node, name, nnx.data(tree_map_with_path(kept, value, is_leaf=_is_node)))
    return module


def drawn(module: Any, build: Callable[[jax.Array], Any], key: jax.Array) -> dict[str, jax.Array]:
    """Those arrays of a module outside Variables that depend on the key it was built with.

    Args:
        module: what `build` made.
        build: a key to the module.
        key: the key.

    Raises:
        StudyError: such an array is where it cannot be set again: in a function, a plain object, or a Linen
            module.
    """
    arrays = held(module)
    if not arrays and not any(True for _ in _enclosed(module)):
        return {}

    def outside(key: jax.Array) -> tuple[dict[str, jax.Array], list[jax.Array]]:
        again = build(key)
        return held(again), list(_enclosed(again))

    depends = dependent(outside, key)
    if any(depends[len(arrays) :]):
        raise StudyError(
            "`what model(config, rngs) draws is held by the module it returns` must hold, but got a random "
            "array in a function, a plain object or a Linen module's field, drawn anew whenever the model is "
            "built; hold it in an nnx.Module's attribute, or in Linen's self.variable(...)"
        )
    return {name: arrays[name] for name, depend in zip(sorted(arrays), depends, strict=False) if depend}


def called(module: Any, inputs: Any, mode: dict[str, Any]) -> Any:
    """What an NNX module returns.

    Args:
        module: the module.
        inputs: what it is called with.
        mode: what it is called with by name.

    Raises:
        StudyError: the call sets an array that the module holds outside Variables, which would be lost.
    """

    def call(module: Any) -> Any:
        return module(inputs, **mode)

    before = held(module, ARRAYS)
    outputs = call(module)
    after = held(module, ARRAYS)
    places = [place for place in before if place in after and after[place] is not before[place]]
    changed = _changed(module, call, {place: before[place] for place in places}) if places else []
    if changed:
        raise StudyError(
            f"`a module keeps its plain arrays when it is called` must hold, but got a call that sets "
            f"{changed[0]!r}, which no later step would see; hold it in an nnx.Variable, as nnx.BatchStat is"
        )
    return outputs


def dependent(function: Callable[[jax.Array], Any], key: jax.Array) -> list[bool]:
    """Which of the arrays that a function of a key returns depend on the key.

    Args:
        function: a key to a pytree of arrays.
        key: the key.
    """
    return _depending(jax.make_jaxpr(function)(key).jaxpr, [True])


def _attributes(module: Any) -> Iterator[tuple[Any, str, str, Any]]:
    """Every attribute of every part of an NNX module: the part, name, place in the module, value."""
    if isinstance(module, nnx.Module):
        for path, node in nnx.iter_graph(module):
            if isinstance(node, nnx.Pytree):
                for name, value in vars(node).items():
                    if not _is_node(value):
                        yield node, name, "/".join(map(str, (*path, name))), value


def _is_node(value: Any) -> bool:
    return isinstance(value, nnx.Pytree | nnx.Variable)


def _enclosed(module: Any) -> Iterator[jax.Array]:
    """The arrays that are out of reach: in functions and plain objects, and in a Linen module's fields.

    Variables count too where they are in a function alone; random streams draw anew, so they do not.
    """
    graph = nnx.iter_graph(module) if isinstance(module, nnx.Module) else ()
    seen = {id(node) for _, node in graph if _is_node(node)}

    def walk(value: Any, arrays: bool = True) -> Iterator[jax.Array]:
        for leaf in jax.tree.leaves(value, is_leaf=_is_opened):
            if isinstance(leaf, jax.Array):
                if arrays:
                    yield leaf
            elif id(leaf) not in seen:
                seen.add(id(leaf))
                yield from walk(_kept_in(leaf))

    if isinstance(module, nn.Module):
        yield from walk(module)
    for _, _, _, value in _attributes(module):
        yield from walk(value, arrays=False)


def _is_opened(value: Any) -> bool:
    # A dictionary too: JAX would sort its keys, and those of somebody's object need have no order.
    return _is_node(value) or isinstance(value, nn.Module | dict)


def _kept_in(value: Any) -> list[Any]:
    """What a function, a method or a plain object holds, a Variable, or a Linen module's fields."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, nn.Module):
        return [getattr(value, field.name) for field in dataclasses.fields(value) if field.name != "parent"]
    if isinstance(value, nnx.Variable):
        return [] if isinstance(value, nnx.RngState) else [value.get_value()]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, type | types.ModuleType):
        return []
    # The function inside of a decorated or jitted one is among its attributes.
    found = list(getattr(value, "__dict__", {}).values())
    if isinstance(value, types.FunctionType):
        found += [value.__defaults__, value.__kwdefaults__]
        for cell in value.__closure__ or ():
            with contextlib.suppress(ValueError):  # a cell that is still empty
                found.append(cell.cell_contents)
    return found


def _changed(module: Any, call: Callable[[Any], Any], arrays: dict[str, Any]) -> list[str]:
    """Those arrays that a call certainly changes: after `nnx.jit` and `nnx.remat` all look like new ones."""
    graph, state = nnx.split(module)

    def again(arrays: dict[str, Any]) -> list[Any]:
        copy = hold(nnx.merge(graph, state, copy=True), arrays)
        call(copy)
        return [held(copy, ARRAYS).get(place) for place in sorted(arrays)]

    program = jax.make_jaxpr(again)(arrays).jaxpr
    origins = [_origin(program, var) for var in program.outvars]
    return [
        place
        for place, own, origin in zip(sorted(arrays), program.invars, origins, strict=True)
        if origin is not None and origin is not own
    ]


def _origin(program: Any, var: Any) -> Any:
    """The variable that a result of a traced program is, seen through calls; None where that is not known."""
    for equation in program.eqns:
        if var in equation.outvars:
            inner = list(jaxprs_in_params(equation.params))
            if not inner:
                return var
            if len(inner) > 1 or equation.primitive.name not in PASSING:
                return None  # a loop may pass it on
            origin = _origin(inner[0], inner[0].outvars[equation.outvars.index(var)])
            if origin in inner[0].invars:
                return _origin(program, equation.invars[inner[0].invars.index(origin)])
            return None if origin is None else var
    return var


def _depending(program: Any, inputs: Sequence[bool]) -> list[bool]:
    """Which results of a traced program depend on the marked ones among its inputs."""
    marked = {var for var, mark in zip(program.invars, inputs, strict=True) if mark}

    def marks(variables: Any) -> list[bool]:
        return [not isinstance(var, Literal) and var in marked for var in variables]

    for equation in program.eqns:
        before, inner = marks(equation.invars), list(jaxprs_in_params(equation.params))
        if equation.primitive.name in CALLS and len(inner) == 1:
            after = _depending(inner[0], before)
        else:
            after = [any(before)] * len(equation.outvars)
        marked.update(var for var, mark in zip(equation.outvars, after, strict=True) if mark)
    return marks(program.outvars)
