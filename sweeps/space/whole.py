"""Sampled whole numbers: `int_uniform` and `int_log_uniform`, both bounds included."""

import math
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError, brief
from sweeps.space.bounds import finite, ordered_bounds

MOST = 2**53  # beyond which not every whole number is a float, and draws are made of floats


class IntUniform(NamedTuple):
    """Whole numbers, sampled uniformly, both bounds included."""

    low: int
    high: int


class IntLogUniform(NamedTuple):
    """Whole numbers, sampled uniformly in the logarithm, both bounds included."""

    low: int
    high: int


def int_uniform(low: Any, high: Any) -> IntUniform:
    """A whole number from `low` to `high`, each equally likely: `int_uniform(1, 6)`.

    Args:
        low: the least, which may be drawn.
        high: the greatest, which may be drawn.

    Raises:
        StudyError: one is no whole number of at most 2**53, or `low < high` does not hold.

    Example:
        >>> int_uniform(1, 6)
        IntUniform(low=1, high=6)
    """
    return IntUniform(*_whole_bounds("int_uniform", low, high))


def int_log_uniform(low: Any, high: Any) -> IntLogUniform:
    """A whole number from `low` to `high` whose logarithm is drawn uniformly: `int_log_uniform(8, 512)`.

    A number n is as likely as [n - 1/2, n + 1/2] is under a log-uniform distribution from `low` - 1/2 to
    `high` + 1/2.

    Args:
        low: the least, positive, which may be drawn.
        high: the greatest, which may be drawn.

    Raises:
        StudyError: one is no whole number of at most 2**53, or `0 < low < high` does not hold.
    """
    first, last = _whole_bounds("int_log_uniform", low, high)
    if first <= 0:
        raise StudyError(
            f"`0 < low` must hold in int_log_uniform, but got low={first}; int_uniform takes any bounds"
        )
    return IntLogUniform(first, last)


def whole_quantile(domain: IntUniform | IntLogUniform, fraction: np.ndarray) -> np.ndarray:
    """The whole numbers at these fractions of a domain's probability, int64.

    Args:
        domain: the domain.
        fraction: numbers in [0, 1), of any shape.

    Example:
        >>> whole_quantile(int_uniform(1, 6), np.array([0.0, 0.5, 0.99])).tolist()
        [1, 4, 6]
    """
    low, high = domain
    if isinstance(domain, IntUniform):
        found = low + np.floor(fraction * (high - low + 1))
    else:
        first, last = math.log(low - 0.5), math.log(high + 0.5)
        found = np.rint(np.exp(first + (last - first) * fraction))
    return np.clip(found, low, high).astype(np.int64)  # rounding may pass a bound


def _whole_bounds(name: str, low: Any, high: Any) -> tuple[int, int]:
    for key, bound in (("low", low), ("high", high)):
        number = finite(bound)
        if number is None or not number.is_integer() or abs(number) > MOST:
            raise StudyError(
                f"`{key} is a whole number of at most 2**53` must hold in {name}, but got "
                f"{key}={brief(bound)}"
            )
    ordered_bounds(name, int(low), int(high))
    return int(low), int(high)
