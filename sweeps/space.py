"""What may vary: the domain of one field.

A domain is either a list of *levels* (`grid`, `linspace`, `logspace`, a `range`), which cross with
the levels of other fields, or *sampled* (`uniform`, `log_uniform`, `normal`, `choice`), drawn
jointly with the other sampled fields.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Scalar: TypeAlias = float | int | bool | str | None
MAX_LEVELS = 10_000_000  # one field with more levels than this is a slip of the keyboard


class StudyError(ValueError):
    """What was asked for cannot be done; the message says what must hold and what was got."""


class Grid(NamedTuple):
    """Levels, listed one by one."""

    values: tuple[Scalar, ...]


class Linspace(NamedTuple):
    """`num` evenly spaced levels, both ends included."""

    start: float
    stop: float
    num: int


class Logspace(NamedTuple):
    """`num` levels evenly spaced in the logarithm, both ends included."""

    start: float
    stop: float
    num: int


class Uniform(NamedTuple):
    """Sampled uniformly between two bounds."""

    low: float
    high: float


class LogUniform(NamedTuple):
    """Sampled uniformly in the logarithm."""

    low: float
    high: float


class Normal(NamedTuple):
    """Sampled from a normal distribution."""

    mean: float
    std: float


class Choice(NamedTuple):
    """Sampled from a list, each value equally likely."""

    values: tuple[Scalar, ...]


Domain: TypeAlias = Grid | Linspace | Logspace | range | Uniform | LogUniform | Normal | Choice


def grid(*values: Any) -> Grid:
    """Levels given one by one: `grid(0.0, 0.01, 0.1)`.

    Args:
        *values: numbers, booleans, strings or None.

    Raises:
        StudyError: there is no value, one is not a scalar, or one comes twice.

    Example:
        >>> grid(0.0, 0.01, 0.1)
        Grid(values=(0.0, 0.01, 0.1))
    """
    return Grid(_scalars("grid", values))


def choice(*values: Any) -> Choice:
    """A value drawn from a list, each equally likely: `choice("sgd", "adam")`.

    Args:
        *values: numbers, booleans, strings or None.

    Raises:
        StudyError: there is no value, one is not a scalar, or one comes twice.
    """
    return Choice(_scalars("choice", values))


def linspace(start: Scalar, stop: Scalar, num: Scalar) -> Linspace:
    """`num` levels from `start` to `stop`, evenly spaced, both ends included.

    Args:
        start: the first level.
        stop: the last level.
        num: how many levels.

    Raises:
        StudyError: a bound is not a finite number, or `num` is not a positive integer.

    Example:
        >>> levels(linspace(0, 0.5, 3))
        (0.0, 0.25, 0.5)
    """
    return Linspace(*_bounds("linspace", start=start, stop=stop), _count("linspace", num))


def logspace(start: Scalar, stop: Scalar, num: Scalar) -> Logspace:
    """`num` levels from `start` to `stop`, evenly spaced in the logarithm, both ends included.

    The bounds are the values themselves (as in `numpy.geomspace`), not exponents.

    Args:
        start: the first level, positive.
        stop: the last level, positive.
        num: how many levels.

    Raises:
        StudyError: a bound is not positive and finite, or `num` is not a positive integer.

    Example:
        >>> levels(logspace(1e-4, 1e-2, 3))
        (0.0001, 0.001, 0.01)
    """
    first, last = _bounds("logspace", start=start, stop=stop)
    if min(first, last) <= 0:
        hint = ""
        if max(abs(first), abs(last)) < 30:
            hint = f"; the bounds are values, not exponents: logspace({10.0**first:g}, {10.0**last:g}, {num})"
        raise StudyError(f"`0 < start` and `0 < stop` must hold in logspace, but got {first}, {last}{hint}")
    return Logspace(first, last, _count("logspace", num))


def uniform(low: Scalar, high: Scalar) -> Uniform:
    """A number drawn uniformly from [low, high).

    Args:
        low: the lower bound.
        high: the upper bound.

    Raises:
        StudyError: a bound is not finite, or `low < high` does not hold.
    """
    return Uniform(*_ordered("uniform", low, high))


def log_uniform(low: Scalar, high: Scalar) -> LogUniform:
    """A number whose logarithm is drawn uniformly from [log low, log high).

    Args:
        low: the lower bound, positive.
        high: the upper bound.

    Raises:
        StudyError: a bound is not finite, or `0 < low < high` does not hold.
    """
    first, last = _ordered("log_uniform", low, high)
    if first <= 0:
        raise StudyError(f"`0 < low` must hold in log_uniform, but got low={first}; uniform takes any bounds")
    return LogUniform(first, last)


def normal(mean: Scalar, std: Scalar) -> Normal:
    """A number drawn from the normal distribution with this mean and standard deviation.

    Args:
        mean: the mean.
        std: the standard deviation, positive.

    Raises:
        StudyError: one is not finite, or `std` is not positive.
    """
    center, spread = _bounds("normal", mean=mean, std=std)
    if spread <= 0:
        raise StudyError(f"`0 < std` must hold in normal, but got std={spread}")
    return Normal(center, spread)


def whole_range(*bounds: Any) -> range:
    """Levels of whole numbers, as Python's `range` gives them.

    Args:
        *bounds: `stop`, or `start, stop`, or `start, stop, step`.

    Raises:
        TypeError: a bound is not a whole number.
        StudyError: there is no level, or there are too many.
    """
    if not all(type(bound) is int for bound in bounds):
        raise TypeError("bounds are whole numbers")
    domain = range(*bounds)
    if not 0 < len(domain) <= MAX_LEVELS:
        raise StudyError(f"`1 to {MAX_LEVELS} levels` must hold, but got {domain}, which has {len(domain)}")
    return domain


def is_sampled(domain: Domain) -> bool:
    """Whether the domain is drawn from, rather than crossed level by level."""
    return isinstance(domain, Uniform | LogUniform | Normal | Choice)


def is_logarithmic(domain: Domain) -> bool:
    """Whether the domain's values belong on a logarithmic axis."""
    return isinstance(domain, Logspace | LogUniform)


def size(domain: Domain) -> int:
    """How many levels a domain has, without listing them; 1 for a sampled one."""
    match domain:
        case Grid(values):
            return len(values)
        case range():
            return len(domain)
        case Linspace() | Logspace():
            return domain.num
        case _:
            return 1


def levels(domain: Domain) -> tuple[Scalar, ...]:
    """The levels of a domain that has them, in order.

    Raises:
        StudyError: the domain is sampled.
    """
    match domain:
        case Grid(values):
            return values
        case range():
            return tuple(domain)
        case Linspace(start, stop, num):
            return tuple(np.linspace(start, stop, num).tolist())
        case Logspace(start, stop, num):
            return tuple(np.geomspace(start, stop, num).tolist())
        case _:
            raise StudyError(f"`levels` must be listed, but got {text(domain)}, which is sampled")


def quantile(domain: Domain, fraction: np.ndarray) -> np.ndarray:
    """The values of a sampled domain at these fractions of its probability.

    Args:
        domain: a sampled domain.
        fraction: numbers in [0, 1), of any shape.

    Returns:
        The values, float64 for a distribution of numbers, objects for `choice`.

    Raises:
        StudyError: the domain lists levels instead.
    """
    match domain:
        case Uniform(low, high):
            return low + (high - low) * fraction
        case LogUniform(low, high):
            values = np.exp(math.log(low) + (math.log(high) - math.log(low)) * fraction)
            return np.clip(values, low, high)  # rounding may pass a bound by a unit in the last place
        case Normal(mean, std):
            normal_quantile = np.vectorize(statistics.NormalDist(mean, std).inv_cdf, otypes=[float])
            return normal_quantile(np.clip(fraction, 1e-12, 1 - 1e-12))
        case Choice(values):
            index = np.minimum((fraction * len(values)).astype(int), len(values) - 1)
            chosen = np.empty(len(values), dtype=object)
            chosen[:] = values
            return chosen[index]
        case _:
            raise StudyError(f"`quantile` needs a sampled domain, but got {text(domain)}")


def text(domain: Domain) -> str:
    """The domain in the grammar of `sweeps.grammar`, which reads it back.

    Example:
        >>> text(logspace(1e-4, 0.1, 7))
        'logspace(0.0001, 0.1, 7)'
    """
    if isinstance(domain, range):
        return repr(domain)
    arguments = domain.values if isinstance(domain, Grid | Choice) else tuple(domain)
    return f"{NAMES[type(domain)]}({', '.join(map(repr, arguments))})"


def _scalars(name: str, values: Sequence[Any]) -> tuple[Scalar, ...]:
    values = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    if not values:
        raise StudyError(f"`at least one value` must hold in {name}, but got none")
    for value in values:
        if not isinstance(value, float | int | bool | str | None):
            raise StudyError(f"`a number, boolean, string or None` must hold in {name}, but got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise StudyError(f"`finite numbers` must hold in {name}, but got {value}")
    if len({(type(value) is bool, value) for value in values}) < len(values):
        raise StudyError(f"`distinct values` must hold in {name}, but got {values}")
    return values


def _bounds(name: str, **bounds: Any) -> tuple[float, float]:
    for key, value in bounds.items():
        number = isinstance(value, float | int | np.number) and not isinstance(value, bool)
        if not (number and math.isfinite(value)):
            raise StudyError(f"`{key} is a finite number` must hold in {name}, but got {key}={value!r}")
    first, second = bounds.values()
    return float(first), float(second)


def _ordered(name: str, low: Any, high: Any) -> tuple[float, float]:
    low, high = _bounds(name, low=low, high=high)
    if not low < high:
        hint = f"; did you mean {name}({high}, {low})?" if low > high else f"; a fixed value is grid({low})"
        raise StudyError(f"`low < high` must hold in {name}, but got low={low}, high={high}{hint}")
    return low, high


def _count(name: str, num: Any) -> int:
    if not (isinstance(num, int | np.integer) and not isinstance(num, bool) and 1 <= num <= MAX_LEVELS):
        raise StudyError(
            f"`num is a whole number from 1 to {MAX_LEVELS}` must hold in {name}, but got {num!r}"
        )
    return int(num)


NAMES: dict[type, str] = {
    Grid: "grid",
    Linspace: "linspace",
    Logspace: "logspace",
    Uniform: "uniform",
    LogUniform: "log_uniform",
    Normal: "normal",
    Choice: "choice",
}
