"""Which members a filter keeps."""

import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.errors import StudyError, unknown
from sweeps.space.values import CLOSE, as_text


def matching(members: pa.Table, conditions: Mapping[str, Any]) -> np.ndarray:
    """Which members meet every condition.

    Args:
        members: a row per member.
        conditions: a column's name to the value, or to the values, that it may have; numbers of a column of
            floats match to a relative 1e-9 (infinities to themselves), None matches what is not set. A tuple
            is one value where a member has it.

    Returns:
        A boolean per member, at least one of them true.

    Raises:
        StudyError: there is no such column, a value is not of its type, or no member is left.

    Example:
        >>> members = pa.table({"member": [0, 1, 2], "alpha": [0.0, 0.1, 0.2]})
        >>> matching(members, {"alpha": [0.1, 0.2]}).tolist()
        [False, True, True]
    """
    mask = np.ones(len(members), dtype=bool)
    for name, wanted in conditions.items():
        if name not in members.column_names:
            raise StudyError(unknown("Members have no column", name, members.column_names))
        values = _listed(wanted, members[name])
        own = _matches(name, members[name], values)
        if not own.any():
            raise StudyError(_instead(name, members[name], wanted, values))
        mask &= own
    if not mask.any():
        said = ", ".join(f"{name}={reprlib.repr(wanted)}" for name, wanted in conditions.items())
        raise StudyError(f"No member has all of {said}; each of them is met by some.")
    return mask


def _listed(wanted: Any, column: pa.ChunkedArray) -> list[Any]:
    text = pa.types.is_string(column.type)
    if text and isinstance(wanted, tuple) and as_text(wanted) in column.unique().to_pylist():
        return [wanted]  # a level that is a tuple, not several levels
    several = isinstance(wanted, Iterable) and not isinstance(wanted, str) and getattr(wanted, "ndim", 1)
    values: list[Any] = list(wanted) if several else [wanted]
    return [value.item() if hasattr(value, "item") else value for value in values]


def _matches(name: str, column: pa.ChunkedArray, values: list[Any]) -> np.ndarray:
    given = [value for value in values if value is not None]
    if pa.types.is_string(column.type):
        # Fields of other types than numbers and booleans are kept as text.
        return _one_of(column, {value if value is None else as_text(value) for value in values})
    if pa.types.is_boolean(column.type):
        _check_type(name, "True or False", given, bool)
        return _one_of(column, set(values))
    _check_type(name, "a number", given, float | int)
    tolerance = CLOSE if pa.types.is_floating(column.type) else 0.0
    numbers = np.asarray(given, dtype=np.float64)
    found = column.to_numpy(zero_copy_only=False).astype(np.float64)  # NaN where it is not set
    unset = column.is_null().to_numpy() & (None in values)
    # Infinities are near to none: their difference is not a number.
    infinite = np.isin(found, numbers[np.isinf(numbers)])
    return unset | infinite | _near(found, np.sort(numbers[np.isfinite(numbers)]), tolerance)


def _one_of(column: pa.ChunkedArray, wanted: set[Any]) -> np.ndarray:
    encoded = column.dictionary_encode("encode").combine_chunks()
    return np.asarray([value in wanted for value in encoded.dictionary.to_pylist()])[
        encoded.indices.to_numpy()
    ]


def _check_type(name: str, what: str, values: list[Any], kind: Any) -> None:
    for value in values:
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise StudyError(f"`{name} is {what}` must hold in a filter, but got {value!r}")


def _near(found: np.ndarray, values: np.ndarray, tolerance: float) -> np.ndarray:
    """Which of the numbers are one of the sorted values, but for rounding."""
    if not len(values):
        return np.zeros(len(found), dtype=bool)
    place = np.searchsorted(values, found)
    around = values[np.maximum(place - 1, 0)], values[np.minimum(place, len(values) - 1)]
    return np.any([np.abs(found - value) <= tolerance * np.abs(value) for value in around], axis=0)


def _instead(name: str, column: pa.ChunkedArray, wanted: Any, values: list[Any]) -> str:
    """That no member has what was asked for, and what there is instead."""
    there, given = column.drop_null().unique(), [value for value in values if value is not None]
    if pa.types.is_string(column.type) and given:
        return unknown(f"No member has the {name}", str(given[0]), there.to_pylist())
    if not given or not len(there) or pa.types.is_boolean(column.type):
        some = ", ".join(map(str, there.to_pylist()[:8])) or "none that are set"
        return f"No member has {name}={reprlib.repr(wanted)}. There are {some}."
    numbers = there.to_numpy(zero_copy_only=False)
    asked = np.clip(given[0], float(numbers.min()), float(numbers.max()))  # all are as far from an infinity
    nearest = numbers[np.abs(numbers.astype(np.float64) - asked).argmin()]
    return f"No member has {name}={reprlib.repr(wanted)}. The nearest is {nearest}."
