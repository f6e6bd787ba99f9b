"""One value of a field: what it may be, and the text that stands for it."""

import dataclasses
import enum
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from sweeps.errors import StudyError, brief

Scalar: TypeAlias = float | int | bool | str | None
Value: TypeAlias = Scalar | enum.Enum | tuple | Callable[..., Any]

# Relative. Levels are computed: the second of linspace(0, 0.3, 4) is 0.1 but for a rounding.
CLOSE = 1e-9


def values_of(name: str, given: Sequence[Any]) -> tuple[Value, ...]:
    """Values that a person lists, lists among them as tuples.

    Args:
        name: what they are listed in, for the message.
        given: the values.

    Raises:
        StudyError: there is none, one is of another type or NaN, or one comes twice.
    """
    if not given:
        raise StudyError(f"`at least one value` must hold in {name}, but got none")
    values = tuple(_value(name, value) for value in given)
    distinct = {(type(value) is bool, as_text(value) if callable(value) else value) for value in values}
    if len(distinct) < len(values):
        raise StudyError(f"`distinct values` must hold in {name}, but got {brief(values)}")
    return values


def literal(value: Value) -> str:
    """The value in the grammar of domains; a member of an enumeration, a function and a class by their names.

    Example:
        >>> literal((64, "tanh", float("inf")))
        "(64, 'tanh', inf)"
    """
    if isinstance(value, enum.Enum):
        return repr(value.name)
    if callable(value):
        return repr(_name_of(value))
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def as_text(value: Any) -> str:
    """The value as a table has it that has no type for it: a word as it is, others as the grammar has them.

    Example:
        >>> as_text((64,)), as_text("adam"), as_text(True)
        ('(64,)', 'adam', 'True')
    """
    if isinstance(value, enum.Enum):
        return value.name
    if callable(value):
        return _name_of(value)
    return literal(value) if isinstance(value, tuple) else str(value)


def stored(value: Any) -> Any:
    """The value as JSON or a database has it: as text where they have no type for it."""
    return as_text(value) if isinstance(value, enum.Enum | tuple) or callable(value) else value


def restored(value: Any, known: Sequence[Any]) -> Any:
    """A value that a table or JSON may have kept in another form, as it was; itself if it is not known.

    Args:
        value: the value, or its text.
        known: what it may have been.

    Example:
        >>> restored("(64, 64)", [(64,), (64, 64)])
        (64, 64)
    """
    if not isinstance(value, str):
        return value
    return next((own for own in known if as_text(own) == value), value)


def object_column(values: Sequence[Any]) -> np.ndarray:
    """The values as a column of objects, tuples of one length as well."""
    column = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # all at once, such tuples would be rows
        column[place] = value
    return column


def own_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's values without those of fields that its classes have not.

    Args:
        config: values by field.

    Example:
        >>> own_values({"optimizer": "Adam", "optimizer.momentum": None, "decay": None})
        {'optimizer': 'Adam', 'decay': None}
    """
    return {
        name: value
        for name, value in config.items()
        if value is not None or not any(name.startswith(f"{other}.") for other in config)
    }


def _name_of(function: Callable[..., Any]) -> str:
    """The name of a function or a class."""
    return getattr(function, "__name__", "")


def _value(name: str, value: Any) -> Value:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return tuple(_value(name, element) for element in value)
    if callable(value) and not isinstance(value, enum.Enum):
        if not _name_of(value).isidentifier():
            raise StudyError(
                f"`a function has a name, which tables show` must hold in {name}, but got {brief(value)}; "
                f"give it one with def"
            )
        return value
    if not isinstance(value, float | int | bool | str | enum.Enum | None):
        raise StudyError(
            f"`a number, boolean, string, member of an Enum, tuple, function or None` must hold in {name}, "
            f"but got {brief(value)}{_cure(value)}"
        )
    if isinstance(value, float) and math.isnan(value):
        raise StudyError(f"`no NaN` must hold in {name}, but got nan")
    return value


def _cure(value: Any) -> str:
    if not dataclasses.is_dataclass(value):
        return ""
    name = type(value).__name__
    return f'; list classes, {name}, and give their fields values by name: "field.{_first_field(value)}": …'


def _first_field(value: Any) -> str:
    return next((field.name for field in dataclasses.fields(value)), "name")
