"""One field of a search: what it may be, and where a value stands among that."""

import bisect
import math
from typing import Any, NamedTuple

from sweeps.space.checking import check_value
from sweeps.space.domains import Choice, Domain, LogUniform, Uniform, is_number, possible_values
from sweeps.space.values import CLOSE
from sweeps.space.whole import IntLogUniform, IntUniform
from sweeps.trial import Field


class Axis(NamedTuple):
    """One field that is searched.

    Attributes:
        field: the field.
        domain: where it may be.
        values: what it may be, in the domain's order; None for a continuous domain.
        ordered: the same, ascending, where all of them are levels that are numbers.
    """

    field: Field
    domain: Domain
    values: tuple[Any, ...] | None
    ordered: tuple[float | int, ...] | None


def axis_of(field: Field, domain: Domain) -> Axis:
    """The axis of a field.

    Args:
        field: the field.
        domain: where it may be.

    Raises:
        StudyError: a value is not of the field's type.

    Example:
        >>> from sweeps.space.domains import grid
        >>> axis_of(Field("alpha", True, float, False, 0.0), grid(1, 0)).ordered
        (0.0, 1.0)
    """
    listed = possible_values(domain)
    if listed is None:
        return Axis(field, domain, None, None)
    values = tuple(check_value(field, value) for value in listed)
    ordered = not isinstance(domain, Choice) and all(map(is_number, values))
    return Axis(field, domain, values, tuple(sorted(values)) if ordered else None)


def place_of(axis: Axis, value: Any) -> int | None:
    """Where a value is in `axis.ordered`, or else in `axis.values`; None if it is not there.

    Args:
        axis: an axis with values.
        value: the value; a number finds one that is equal to a relative 1e-9.
    """
    if axis.ordered is not None and is_number(value):
        near = bisect.bisect_left(axis.ordered, value)
        for place in range(max(near - 1, 0), min(near + 1, len(axis.ordered))):
            if math.isclose(axis.ordered[place], value, rel_tol=CLOSE):
                return place
        return None
    # True is not 1 here, though Python says that they are equal.
    own = (isinstance(value, bool), value)
    same = [place for place, other in enumerate(axis.values or ()) if (isinstance(other, bool), other) == own]
    return same[0] if same else None


def contains(axis: Axis, value: Any) -> bool:
    """Whether the axis may have that value.

    Args:
        axis: the axis.
        value: the value.
    """
    if axis.values is not None:
        return place_of(axis, value) is not None
    if not (is_number(value) and math.isfinite(value)):
        return False
    if isinstance(axis.domain, IntUniform | IntLogUniform) and value != int(value):
        return False
    if not isinstance(axis.domain, Uniform | LogUniform | IntUniform | IntLogUniform):
        return True
    return axis.domain.low <= value <= axis.domain.high
