"""What may vary: the domain of one field.

A domain is either a list of *levels* (`grid`, `linspace`, `logspace`, a `range`), which cross with
the levels of other fields, or *sampled* (`uniform`, `log_uniform`, `int_uniform`, `int_log_uniform`,
`normal`, `choice`), drawn jointly with the other sampled fields.
"""

import math
import statistics
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from sweeps.errors import StudyError, brief
from sweeps.space.bounds import MAX_LEVELS, check_width, finite_bounds, level_count, ordered_bounds
from sweeps.space.folds import Folds, folds_text
from sweeps.space.values import Scalar, Value, literal, object_column, values_of
from sweeps.space.whole import IntLogUniform, IntUniform, whole_quantile

WIDE = 8  # standard deviations that stand for the whole of a normal distribution


class Grid(NamedTuple):
    """Levels, listed one by one."""

    values: tuple[Value, ...]


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

    values: tuple[Value, ...]


Sampled: TypeAlias = Uniform | LogUniform | IntUniform | IntLogUniform | Normal | Choice
Domain: TypeAlias = Grid | Linspace | Logspace | range | Sampled | Folds


def grid(*values: Any) -> Grid:
    """Levels given one by one: `grid(0.0, 0.01, 0.1)`.

    Args:
        *values: numbers, booleans, strings, members of an Enum, tuples of these, or None.

    Raises:
        StudyError: there is no value, one is of another type or NaN, or one comes twice.

    Example:
        >>> grid(0.0, 0.01, 0.1)
        Grid(values=(0.0, 0.01, 0.1))
    """
    return Grid(values_of("grid", values))


def choice(*values: Any) -> Choice:
    """A value drawn from a list, each equally likely: `choice("sgd", "adam")`.

    Args:
        *values: numbers, booleans, strings, members of an Enum, tuples of these, or None.

    Raises:
        StudyError: there is no value, one is of another type or NaN, or one comes twice.
    """
    return Choice(values_of("choice", values))


def linspace(start: Scalar, stop: Scalar, num: Scalar) -> Linspace:
    """`num` levels from `start` to `stop`, evenly spaced, both ends included.

    Args:
        start: the first level.
        stop: the last level.
        num: how many levels.

    Raises:
        StudyError: a bound or their difference is not a finite number, or `num` is not a positive integer.

    Example:
        >>> levels(linspace(0, 0.5, 3))
        (0.0, 0.25, 0.5)
    """
    first, last = finite_bounds("linspace", start=start, stop=stop)
    check_width("linspace", "stop - start", last - first)
    return Linspace(first, last, level_count("linspace", num))


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
    first, last = finite_bounds("logspace", start=start, stop=stop)
    if min(first, last) <= 0:
        hint = ""
        if max(abs(first), abs(last)) < 30:
            hint = f"; the bounds are values, not exponents: logspace({10.0**first:g}, {10.0**last:g}, {num})"
        raise StudyError(f"`0 < start` and `0 < stop` must hold in logspace, but got {first}, {last}{hint}")
    return Logspace(first, last, level_count("logspace", num))


def uniform(low: Scalar, high: Scalar) -> Uniform:
    """A number drawn uniformly from [low, high).

    Args:
        low: the lower bound.
        high: the upper bound.

    Raises:
        StudyError: a bound or their difference is not finite, or `low < high` does not hold.
    """
    first, last = ordered_bounds("uniform", low, high)
    check_width("uniform", "high - low", last - first)
    return Uniform(first, last)


def log_uniform(low: Scalar, high: Scalar) -> LogUniform:
    """A number whose logarithm is drawn uniformly from [log low, log high).

    Args:
        low: the lower bound, positive.
        high: the upper bound.

    Raises:
        StudyError: a bound is not finite, or `0 < low < high` does not hold.
    """
    first, last = ordered_bounds("log_uniform", low, high)
    if first <= 0:
        raise StudyError(f"`0 < low` must hold in log_uniform, but got low={first}; uniform takes any bounds")
    return LogUniform(first, last)


def normal(mean: Scalar, std: Scalar) -> Normal:
    """A number drawn from the normal distribution with this mean and standard deviation.

    Args:
        mean: the mean.
        std: the standard deviation, positive.

    Raises:
        StudyError: one is not finite, what is drawn might not be, or `std` is not positive.
    """
    center, spread = finite_bounds("normal", mean=mean, std=std)
    if spread <= 0:
        raise StudyError(f"`0 < std` must hold in normal, but got std={spread}")
    check_width("normal", f"|mean| + {WIDE} std", abs(center) + WIDE * spread)
    return Normal(center, spread)


def whole_range(*bounds: Any) -> range:
    """Levels of whole numbers, as Python's `range` gives them.

    Args:
        *bounds: `stop`, or `start, stop`, or `start, stop, step`.

    Raises:
        TypeError: a bound is not a whole number.
        StudyError: there is no level, there are too many, or a bound does not fit in 64 bits.
    """
    if not all(type(bound) is int for bound in bounds):
        raise TypeError("bounds are whole numbers")
    if large := [bound for bound in bounds if not -(2**63) <= bound < 2**63]:
        raise StudyError(f"`bounds fit in 64 bits` must hold in range, but got {brief(large[0])}")
    domain = range(*bounds)
    count = max(0, -(-(domain.stop - domain.start) // domain.step))  # `len` counts no further than 2**63
    if not 0 < count <= MAX_LEVELS:
        raise StudyError(f"`1 to {MAX_LEVELS} levels` must hold, but got {domain}, which has {count}")
    return domain


def is_sampled(domain: Domain) -> bool:
    """Whether the domain is drawn from, rather than crossed level by level."""
    return isinstance(domain, Sampled)


def is_logarithmic(domain: Domain) -> bool:
    """Whether the domain's values belong on a logarithmic axis."""
    return isinstance(domain, Logspace | LogUniform | IntLogUniform)


def size(domain: Domain) -> int:
    """How many levels a domain has, without listing them; 1 for a sampled one."""
    match domain:
        case Grid(values):
            return len(values)
        case range():
            return len(domain)
        case Linspace() | Logspace() | Folds():
            return domain.num
        case _:
            return 1


def levels(domain: Domain) -> tuple[Value, ...]:
    """The levels of a domain that has them, in order.

    Raises:
        StudyError: the domain is sampled.
    """
    return domain.values if isinstance(domain, Grid) else tuple(level_column(domain).tolist())


def possible_values(domain: Domain) -> tuple[Value, ...] | None:
    """All that a domain may be, in its order; None where it is a distribution of numbers.

    Example:
        >>> possible_values(choice(3, 1)), possible_values(linspace(0, 1, 2)), possible_values(uniform(0, 1))
        ((3, 1), (0.0, 1.0), None)
    """
    if isinstance(domain, Choice):
        return domain.values
    return None if is_sampled(domain) else levels(domain)


def level_column(domain: Domain) -> np.ndarray:
    """The levels of a domain that has them: float64 or int64 where they are computed, objects where listed.

    Raises:
        StudyError: the domain is sampled.
    """
    match domain:
        case range():
            return np.arange(domain.start, domain.stop, domain.step, dtype=np.int64)
        case Folds(num):
            return np.arange(num, dtype=np.int64)
        case Linspace(start, stop, num):
            return np.linspace(start, stop, num)
        case Logspace(start, stop, num):
            return np.geomspace(start, stop, num)
        case Grid(values):
            return object_column(values)
        case _:
            raise StudyError(f"`levels` must be listed, but got {text(domain)}, which is sampled")


def listed_values(domain: Domain) -> tuple[Value, ...]:
    """The values that a domain lists one by one; none for one that computes or draws them."""
    return domain.values if isinstance(domain, Grid | Choice) else ()


def quantile(domain: Domain, fraction: np.ndarray) -> np.ndarray:
    """The values of a sampled domain at these fractions of its probability.

    Args:
        domain: a sampled domain.
        fraction: numbers in [0, 1), of any shape.

    Returns:
        The values: float64 for a distribution of numbers, int64 of whole numbers, objects for `choice`.

    Raises:
        StudyError: the domain lists levels instead.
    """
    match domain:
        case Uniform(low, high):
            return low + (high - low) * fraction
        case LogUniform(low, high):
            values = np.exp(math.log(low) + (math.log(high) - math.log(low)) * fraction)
            return np.clip(values, low, high)  # rounding may pass a bound by a unit in the last place
        case IntUniform() | IntLogUniform():
            return whole_quantile(domain, fraction)
        case Normal(mean, std):
            normal_quantile = np.vectorize(statistics.NormalDist(mean, std).inv_cdf, otypes=[float])
            return normal_quantile(np.clip(fraction, 1e-12, 1 - 1e-12))
        case Choice(values):
            index = np.minimum((fraction * len(values)).astype(int), len(values) - 1)
            return object_column(values)[index]
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
    if isinstance(domain, Folds):
        return folds_text(domain)
    arguments = domain.values if isinstance(domain, Grid | Choice) else tuple(domain)
    return f"{NAMES[type(domain)]}({', '.join(map(literal, arguments))})"


NAMES: dict[type, str] = {
    Grid: "grid",
    Linspace: "linspace",
    Logspace: "logspace",
    Uniform: "uniform",
    LogUniform: "log_uniform",
    IntUniform: "int_uniform",
    IntLogUniform: "int_log_uniform",
    Normal: "normal",
    Choice: "choice",
}


def is_number(value: Any) -> TypeGuard[float | int]:
    """Whether it is a number; a boolean is none."""
    return isinstance(value, float | int) and not isinstance(value, bool)
