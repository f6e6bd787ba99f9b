"""Which combinations a study's `where` lets through."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweeps.errors import StudyError, brief, cut
from sweeps.search.branches import completed
from sweeps.space.values import as_text, object_column
from sweeps.trial import Study, fields


def let_through(study: Study, columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Which points there are, a boolean for each.

    Args:
        study: the study, whose `where` is asked about all of them at once, or else about one after the other.
        columns: the swept fields, one value per point.
        count: how many points there are.

    Raises:
        StudyError: `where` raises, gives something else than booleans, or lets nothing through.
    """
    if study.where is None:
        return np.ones(count, bool)
    values = completed(fields(study.trial.config), columns)
    found = _all_at_once(study, values, count)
    if found is None:
        found = np.asarray([_asked(study, _point(values, place)) for place in range(count)], bool)
    if not found.any():
        raise StudyError(f"`where lets some point through` must hold, but it leaves out all {count}")
    return found


def allowed(study: Study, points: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Whether each of some points is let through, were it none of them.

    Args:
        study: the study.
        points: values of the same fields each.
    """
    if study.where is None:
        return [True] * len(points)
    known = fields(study.trial.config)
    return [_asked(study, completed(known, point)) for point in points]


def digest_of(columns: Mapping[str, np.ndarray]) -> str:
    """One word for a set of points.

    Args:
        columns: the swept fields, one value per point.
    """
    found = hashlib.sha256()
    for name, column in columns.items():
        numbers = column.dtype != object
        found.update(name.encode() + b"\0")
        found.update(column.tobytes() if numbers else repr([as_text(value) for value in column]).encode())
    return found.hexdigest()[:16]


def point_columns(points: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Points as columns.

    Args:
        points: values of the same fields each.
    """
    return {name: object_column([point[name] for point in points]) for name in points[0]}


def _all_at_once(study: Study, values: Mapping[str, Any], count: int) -> np.ndarray | None:
    """What `where` says of columns; None if it does not take them."""
    columns = [value for value in values.values() if isinstance(value, np.ndarray)]
    mixed = (column for column in columns if column.dtype == object)
    if any(own is None or isinstance(own, tuple) for column in mixed for own in column):
        return None  # `is None` is never true of a column, and NumPy compares a tuple's elements with members
    assert study.where is not None
    try:
        with warnings.catch_warnings(action="ignore"):
            found = np.asarray(study.where(dict(values)))
    except Exception:  # such as the truth value of an array, which `and` asks for
        return None
    return found if found.dtype == bool and found.shape == (count,) else None


def _asked(study: Study, point: dict[str, Any]) -> bool:
    assert study.where is not None
    try:
        found = study.where(dict(point))
    except Exception as error:  # whatever a person's own function raises
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise StudyError(
            f"`where says True or False of a point` must hold, but got {cut(said)} for {brief(point)}"
        ) from error
    if not isinstance(found, bool | np.bool_):
        raise StudyError(
            f"`where says True or False of a point` must hold, but got {brief(found)} for {brief(point)}"
        )
    return bool(found)


def _point(values: Mapping[str, Any], place: int) -> dict[str, Any]:
    return {
        name: value[place : place + 1].tolist()[0] if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }
