"""The numbers that domains are made of: finite, in order, and not too many."""

import math
from typing import Any

import numpy as np

from sweeps.errors import StudyError, brief

MAX_LEVELS = 10_000_000  # one field with more levels than this is a slip of the keyboard


def finite_bounds(name: str, **bounds: Any) -> tuple[float, float]:
    """Two numbers that a domain was given, as floats.

    Args:
        name: the domain, for the message.
        **bounds: the numbers by what they are called.

    Raises:
        StudyError: one is not a finite number.
    """
    for key, value in bounds.items():
        if finite(value) is None:
            raise StudyError(f"`{key} is a finite number` must hold in {name}, but got {key}={brief(value)}")
    first, second = bounds.values()
    return float(first), float(second)


def finite(value: Any) -> float | None:
    """The value as a float, if it is a finite number that one can hold.

    Example:
        >>> finite(1), finite(10**400), finite(True)
        (1.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, float | int | np.integer | np.floating):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return None
    return number if math.isfinite(number) else None


def whole_number(name: str, value: Any, least: int = 1, where: str = "") -> int:
    """A value that must be a whole number, and not too small.

    Args:
        name: what it is called.
        value: the value.
        least: the smallest that it may be.
        where: the function that was given it, if the message is to say so.

    Raises:
        StudyError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        inside = f" in {where}" if where else ""
        whole = isinstance(value, np.integer) or (isinstance(value, float) and value.is_integer())
        cure = f"; int({name}) is one to Python" if whole and value >= least else ""
        raise StudyError(
            f"`{least} <= {name}` must hold{inside} and be a whole number, but got {name}={brief(value)}"
            f"{cure}"
        )
    return value


def check_width(name: str, what: str, width: float) -> None:
    """Raises a StudyError unless what a domain computes from its bounds is finite.

    Args:
        name: the domain, for the message.
        what: what is computed.
        width: the result.
    """
    if not math.isfinite(width):
        raise StudyError(
            f"`{what} is finite` must hold in {name}, but got a number beyond 1.8e308; bring the bounds "
            f"nearer to each other"
        )


def ordered_bounds(name: str, low: Any, high: Any) -> tuple[float, float]:
    """Two finite numbers, the first of which is smaller.

    Args:
        name: the domain, for the message.
        low: the first.
        high: the second.

    Raises:
        StudyError: they are not.
    """
    low, high = finite_bounds(name, low=low, high=high)
    if not low < high:
        hint = f"; did you mean {name}({high}, {low})?" if low > high else f"; a fixed value is grid({low})"
        raise StudyError(f"`low < high` must hold in {name}, but got low={low}, high={high}{hint}")
    return low, high


def level_count(name: str, num: Any) -> int:
    """How many levels a domain was asked for.

    Args:
        name: the domain, for the message.
        num: the number.

    Raises:
        StudyError: it is no whole number, or there would be none or too many.
    """
    if not (isinstance(num, int | np.integer) and not isinstance(num, bool) and 1 <= num <= MAX_LEVELS):
        raise StudyError(
            f"`num is a whole number from 1 to {MAX_LEVELS}` must hold in {name}, but got {brief(num)}"
        )
    return int(num)
