"""Whether a value is of its field's type, and what the field then holds."""

import dataclasses
import enum
import inspect
import math
import sys
import typing
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from sweeps.errors import StudyError, brief, unknown
from sweeps.space.bounds import finite
from sweeps.space.domains import Choice, Domain, Grid, is_number
from sweeps.space.fields import Field, hashable, kind_of
from sweeps.space.grammar import parse_value
from sweeps.space.values import literal, restored


def check_value(field: Field, value: Any) -> Any:
    """The value as its field holds it: a float field takes whole numbers too, an Enum names of its members.

    What a table, JSON or a command line has as text or as a list comes back as a member or a tuple.

    Args:
        field: the field.
        value: what was given.

    Raises:
        StudyError: the value is not of the field's type, is NaN, or is too large.
    """
    if value is None and field.optional:
        return None
    kind, origin = field.kind, typing.get_origin(field.kind)
    if origin is Literal:
        options = typing.get_args(kind)
        value = value.__name__ if inspect.isclass(value) else value  # a choice of classes is one of names
        return one_of(field.name, restored(value, options), options)
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return _member(field.name, kind, value)
    if kind is tuple or origin is tuple:
        return _tuple(field, value)
    if is_function(kind):
        return _function(field, value)
    if isinstance(value, float) and math.isnan(value):
        raise StudyError(f"{field.name} takes numbers, and nan is none; infinities are allowed.")
    return _plain(field, value) if kind in (float, int, bool, str) else hashable(field.name, value)


def check_room(field: Field, domain: Domain) -> None:
    """Refuses numbers that would be others where they are traced, as arrays of JAX's default floats.

    Args:
        field: the field.
        domain: its levels, or the bounds that its values are drawn within.

    Raises:
        StudyError: a number would be infinite, or zero.
    """
    if not field.traced or field.kind is not float or jax.config.read("jax_enable_x64"):
        return
    listed = domain.values if isinstance(domain, Grid | Choice) else domain
    for value in (finite(each) for each in listed if is_number(each)):
        with np.errstate(over="ignore", under="ignore"):
            single = 0.0 if value is None else float(np.float32(value))
        if math.isinf(single) or (single == 0 and value):
            raise StudyError(
                f"`field {field.name} fits in 32 bits` must hold, but got {brief(value)}, which "
                f"would be {single:g}; jax_enable_x64 gives 64 bits"
            )


def _plain(field: Field, value: Any) -> float | int | bool | str:
    """The value of a field that is a number, a truth value or text."""
    kind = field.kind
    if kind is float and is_number(value) and (isinstance(value, float) or finite(value) is not None):
        return float(value)
    if kind is int and is_number(value) and (isinstance(value, int) or value.is_integer()):
        return _within(field, int(value))
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return str.__str__(value)  # `str` of an Enum's member would be its name with that of its class
    raise StudyError(_other(field.name, kind, value))


def _other(name: str, kind: type, value: Any) -> str:
    """What is said of a value that is of another type than its field."""
    if isinstance(value, list | tuple) and value:
        listed = literal(tuple(value))
        return f"{name} takes values, not a list: grid{listed} or choice{listed}."
    what = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}[kind]
    return f"{name} takes {what}, but got {brief(value)}."


def one_of(name: str, value: Any, options: tuple) -> Any:
    """The value, if it is one of the options.

    Args:
        name: what it is the value of, for the message.
        value: the value.
        options: what there is.

    Raises:
        StudyError: it is none of them.
    """
    if value not in options:
        raise StudyError(unknown(f"Unknown {name}", value, [str(option) for option in options]))
    return value


def is_function(kind: Any) -> bool:
    """Whether the values of a field are functions or classes.

    Args:
        kind: the field's type.
    """
    return (typing.get_origin(kind) or kind) in (Callable, type)


def _function(field: Field, value: Any) -> Any:
    """A function or a class, given as such or by a name such as `jax.nn.relu`; nothing is imported for it."""
    value = restored(value, [field.default, *(branch.default for branch in field.branches)])
    if isinstance(value, str):
        module, _, name = value.rpartition(".")
        value = getattr(sys.modules.get(module), name, value)
    if callable(value):
        return value
    raise StudyError(
        f"`field {field.name} is a function` must hold, but got {brief(value)}; a name such as jax.nn.relu "
        f"is looked up in the modules that are imported by then"
    )


def _within(field: Field, value: int) -> int:
    """The whole number, if there is room for it: a traced one is an array of JAX's default integers."""
    bits = 32 if field.traced and not jax.config.read("jax_enable_x64") else 64
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        cure = "; jax_enable_x64 gives 64 bits, and a float field or a static one has room" * (bits == 32)
        raise StudyError(
            f"`field {field.name} fits in {bits} bits` must hold for a whole number, but got "
            f"{brief(value)}{cure}"
        )
    return value


def _member(name: str, kind: Any, value: Any) -> Any:
    """A member of an Enum, given as such, by its name or by its value."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and value in kind.__members__:
        return kind[value]
    try:
        return kind(value)
    except ValueError:
        raise StudyError(unknown(f"Unknown {name}", value, kind.__members__)) from None


def _tuple(field: Field, value: Any) -> tuple:
    """A tuple, given as such, as a list or as text, each element of its own type."""
    if isinstance(value, str):
        value = parse_value(value)
    if not isinstance(value, list | tuple):
        raise StudyError(
            f"{field.name} takes a tuple, but got {brief(value)}. Several are grid((64, 64), (32,))."
        )
    kinds = typing.get_args(field.kind) or (Any, ...)
    kinds = kinds[:1] * len(value) if kinds[1:] == (...,) else kinds
    if len(kinds) != len(value):
        raise StudyError(f"{field.name} takes a tuple of {len(kinds)}, but got {brief(value)}.")
    elements = [
        check_value(Field(f"{field.name}[{place}]", False, *kind_of(hint), dataclasses.MISSING), element)
        for place, (hint, element) in enumerate(zip(kinds, value, strict=True))
    ]
    return tuple(elements)
