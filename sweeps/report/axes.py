"""How a swept field is laid along an axis: as numbers or as categories, in levels or in bins."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError
from sweeps.results.lineage import is_evolved
from sweeps.results.results import Results
from sweeps.space import grammar
from sweeps.space.domains import Choice, Grid, is_logarithmic, is_sampled

MOST_LEVELS = 64  # more distinct numbers than this are put into bins
MOST_CATEGORIES = 12  # so many distinct values, with None among them, are categories
DIGITS = 6  # of a value that was multiplied up and down again, as in population-based training
MOST_BINS, LEAST_BINS = 16, 4
DECADES = 50.0  # listed positive levels whose largest is so many times the smallest go on a log axis


class Axis(NamedTuple):
    """One field of all members.

    Attributes:
        field: its name.
        values: per member the number, NaN where it is not set; or the category's place in `labels`.
        numeric: whether the values are numbers.
        log: whether they belong on a logarithmic axis.
        binned: whether the cells are ranges rather than levels.
        labels: what each cell is called, in the order of the axis.
        centers: where each cell lies: its level, the middle of its bin, or its place.
        cells: per member the place of its cell, -1 where it is in none.
    """

    field: str
    values: np.ndarray
    numeric: bool
    log: bool
    binned: bool
    labels: list[str]
    centers: np.ndarray
    cells: np.ndarray


def axis_of(results: Results, field: str) -> Axis:
    """Lays a field of the members along an axis.

    Args:
        results: a run.
        field: a column of its members.
    """
    column = results.members[field].to_pylist()
    domain = _domain(results, field)
    known = {value for value in column if value is not None}
    numeric = bool(known) and all(_is_number(value) for value in known)
    own = any(field.startswith(f"{other}.") for other in results.swept)  # None: the member has no such field
    if numeric and (own or len(known) == len(set(column)) or len(known) > MOST_CATEGORIES):
        values = np.asarray([math.nan if value is None else value for value in column], dtype=np.float64)
        if is_evolved(results.manifest):
            values = np.asarray([float(f"{value:.{DIGITS}g}") for value in values])
        return _numeric(field, values, domain)
    ordered = sorted(
        known if own else set(column), key=lambda value: (value is None, str(type(value)), value)
    )
    place = {value: cell for cell, value in enumerate(ordered)}
    cells = np.asarray([place.get(value, -1) for value in column], dtype=np.int64)
    centers = np.arange(len(ordered), dtype=np.float64)
    return Axis(
        field, cells.astype(np.float64), False, False, False, distinct_labels(ordered), centers, cells
    )


def varying(results: Results) -> list[str]:
    """The swept fields that differ between members that have them; all where none does.

    A field of the members of population-based training has a history, even where all have come to one value.

    Args:
        results: a run.
    """
    if is_evolved(results.manifest):
        return list(results.swept)
    nested = [any(field.startswith(f"{other}.") for other in results.swept) for field in results.swept]
    found = [
        field
        for field, own in zip(results.swept, nested, strict=True)
        if len({value for value in results.members[field].to_pylist() if not own or value is not None}) > 1
    ]
    return found or list(results.swept)


def distinct_labels(values: Sequence[Any]) -> list[str]:
    """Values as text, numbers with as few digits as tell them apart.

    Args:
        values: different values.

    Example:
        >>> distinct_labels([0.1, 0.1 + 1e-7, "adam", None])
        ['0.1', '0.1000001', 'adam', 'None']
    """
    for digits in (4, 7, 10, 17):
        labels = [f"{value:.{digits}g}" if isinstance(value, float) else str(value) for value in values]
        if len(set(labels)) == len(labels):
            break
    return labels


def _numeric(field: str, values: np.ndarray, domain: Any) -> Axis:
    there = np.isfinite(values)
    levels = np.unique(values[there])
    positive = len(levels) > 0 and levels[0] > 0
    if domain is None or isinstance(domain, Grid | Choice):
        log = bool(positive and len(levels) > 2 and levels[-1] / levels[0] >= DECADES)
    else:
        log = bool(positive and is_logarithmic(domain))
    sampled = domain is not None and is_sampled(domain) and not isinstance(domain, Choice)
    if len(levels) <= (MOST_CATEGORIES if sampled else MOST_LEVELS):
        cells = np.where(there, np.searchsorted(levels, values), -1)
        return Axis(field, values, True, log, False, distinct_labels(levels.tolist()), levels, cells)
    laid = np.log10(levels) if log else levels
    # By the root of how many there are: in narrow bins a mean is that of one or two, and only noise.
    bins = int(np.clip(round(math.sqrt(len(levels))), LEAST_BINS, MOST_BINS))
    edges = np.linspace(laid[0], laid[-1], bins + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    along = np.log10(values, where=there, out=np.full_like(values, np.nan)) if log else values
    cells = np.where(there, np.clip(np.searchsorted(edges, along, side="right") - 1, 0, bins - 1), -1)
    ends = distinct_labels((10**edges if log else edges).tolist())
    labels = [f"{low} to {high}" for low, high in zip(ends[:-1], ends[1:], strict=True)]
    return Axis(field, values, True, log, True, labels, 10**middles if log else middles, cells)


def _domain(results: Results, field: str) -> Any:
    """The field's domain, if the manifest says it."""
    said = (results.manifest.get("space") or {}).get(field)
    try:
        return grammar.parse(said) if isinstance(said, str) else None
    except StudyError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
