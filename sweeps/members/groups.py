"""Static groups: which members share a program, and what their configurations have in common there."""

import itertools
import math
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sweeps.errors import StudyError
from sweeps.members.instances import attributes, build
from sweeps.space.domains import is_number
from sweeps.space.fields import classes_of
from sweeps.trial import Field

REFUSALS = (ValueError, TypeError)  # what a configuration raises that does not like its values


def static_groups(
    known: tuple[Field, ...], columns: Mapping[str, np.ndarray], fixed: Mapping[str, Any], count: int
) -> tuple[np.ndarray, tuple[dict[str, Any], ...]]:
    """Which members share a program: those that agree in every static field, and in which are None.

    Args:
        known: the fields.
        columns: the values of those that vary, one per member.
        fixed: the values of the others.
        count: how many members there are.

    Returns:
        One number per member, and for each number the values of the static fields. Groups are numbered as
        they come, so that members that are added later leave the groups of the first as they were.
    """
    codes = np.zeros(count, np.int64)
    always, varying = {}, []
    for field in known:
        column = columns.get(field.name)
        if column is None:
            if not field.traced or fixed[field.name] is None:
                always[field.name] = fixed[field.name]
        elif not field.traced or column.dtype == object:
            # Numbered anew each time, so that only combinations that occur are ever counted.
            own = column if not field.traced else np.asarray([value is None for value in column])
            codes = numbered(codes * count + numbered(own))
            varying.append(field)
    places = np.unique(codes, return_index=True)[1] if varying else [0]
    statics = []
    for place in places:
        values = {field.name: columns[field.name][place : place + 1].tolist()[0] for field in varying}
        # A field that is traced where it is set belongs to the columns there, not to the group.
        of_group = {field.name for field in varying if not field.traced or values[field.name] is None}
        statics.append(always | {name: value for name, value in values.items() if name in of_group})
    return codes.astype(np.int32), tuple(statics)


def numbered(column: np.ndarray) -> np.ndarray:
    """A number for each distinct value, in the order in which they come first.

    Args:
        column: the values.
    """
    if column.dtype == object:
        numbers: dict[Any, int] = {}
        return np.asarray([numbers.setdefault(value, len(numbers)) for value in column.tolist()], np.int64)
    if len(column) and (column == column[0]).all():
        return np.zeros(len(column), np.int64)
    _, places, inverse = np.unique(column, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(places, kind="stable"))[inverse]


def constructed(
    config: type,
    points: Iterator[tuple[int, dict[str, Any]]],
    statics: tuple[dict[str, Any], ...],
) -> tuple[dict[str, Any], ...]:
    """Builds configurations with concrete numbers, so that what they refuse is refused before training.

    Args:
        config: the dataclass.
        points: the group and the values of each.
        statics: per group, the values of its static fields.

    Returns:
        Per group, the static values and whatever `__post_init__` sets that does not depend on a traced field.

    Raises:
        StudyError: a configuration refuses its values, or changes a traced one.
    """
    if not _has_post_init(config):  # nothing can be refused or set
        points = itertools.islice(points, 1)
    found: dict[int, dict[str, Any]] = {}
    for group, values in points:
        traced = [name for name in values if name not in statics[group]]
        held = attributes(_built(config, values))
        _check_traced(held, values, traced)
        if group in found:
            found[group] = _common(found[group], held)
        else:
            own = {name: value for name, value in held.items() if name not in traced}
            found[group] = _independent(config, values, traced, own)
    return tuple(static | found.get(group, {}) for group, static in enumerate(statics))


def _built(config: type, values: dict[str, Any]) -> Any:
    try:
        return build(config, values)
    except REFUSALS as error:
        raise StudyError(
            f"`{config.__name__}({values})` must be a valid configuration, but got: {error}"
        ) from error


def _has_post_init(config: type) -> bool:
    return any(hasattr(own, "__post_init__") for own in classes_of(config))


def _check_traced(held: Mapping[str, Any], values: Mapping[str, Any], traced: list[str]) -> None:
    for name in traced:
        if not _same(held[name], values[name]):
            raise StudyError(
                f"`__post_init__ leaves {name} as it is` must hold for a traced field, but got "
                f"{held[name]!r} for {values[name]!r}; change it where it is used, or make it static"
            )


def _independent(
    config: type, values: dict[str, Any], traced: list[str], own: dict[str, Any]
) -> dict[str, Any]:
    """Those attributes that stay as they are when traced fields change."""
    if not _has_post_init(config):
        return own
    for name in traced:
        for other in _others(values[name]):
            try:
                own = _common(own, attributes(build(config, {**values, name: other})))
            except REFUSALS:
                continue  # a value that is not allowed says nothing
    return own


def _others(value: Any) -> list[Any]:
    """Values near and far that a traced field could have instead."""
    if not is_number(value) or not math.isfinite(value):
        return [False, True] if isinstance(value, bool) else [0.0, 1.0]
    if isinstance(value, int):
        return [value + 1, value - 1, 8 * value + 1, -value - 1]
    return [value * 1.001 + 1e-6, value / 2, 8 * value + 1, -value - 1]


def _common(own: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in own.items()
        if name in other and (value is other[name] or _same(value, other[name]))
    }


def _same(first: Any, second: Any) -> bool:
    """Whether two values are equal; functions are if their code and what they hold is."""
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, types.FunctionType):
        held = [[cell.cell_contents for cell in function.__closure__ or ()] for function in (first, second)]
        return first.__code__ is second.__code__ and _same(*held)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    return bool(np.all(first == second))
