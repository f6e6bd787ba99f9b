"""Numbers and configurations as a person reads them."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

SHARES = re.compile(r"accuracy|precision|recall|error_rate|share|fraction|dead", re.IGNORECASE)
SYMBOLS = {"alpha": "α"}


def is_share(name: str, values: np.ndarray) -> bool:
    """Whether a metric reads best in percent: its name says that it is a share, and its values are.

    Args:
        name: the metric's.
        values: those there are.

    Example:
        >>> is_share("test/accuracy", np.array([0.5, np.nan])), is_share("train/loss", np.array([0.5]))
        (True, False)
    """
    finite = values[np.isfinite(values)]
    return bool(SHARES.search(name)) and len(finite) > 0 and bool(np.all((0 <= finite) & (finite <= 1)))


def figures(mean: float, low: float, high: float, *, percent: bool = False) -> str:
    """A mean and half the width of its interval, to the digits that the interval supports.

    Args:
        mean: the mean.
        low: the lower bound of a symmetric interval, NaN if there is none.
        high: the upper bound.
        percent: whether to give it in percent.

    Example:
        >>> figures(0.9781, 0.9763, 0.9799, percent=True), figures(0.25, math.nan, math.nan)
        ('97.8 % ± 0.2', '0.25')
    """
    if math.isnan(mean):
        return "no value"
    scale, unit = (100.0, " %") if percent else (1.0, "")
    mean, half = scale * mean, scale * (high - low) / 2
    if math.isnan(half):
        return f"{mean:.4g}{unit}"
    if half == 0:
        return f"{mean:.4g}{unit} ± 0"
    exponent = math.floor(math.log10(half))
    decimals = -exponent + (half < 1.5 * 10.0**exponent)
    largest = max(abs(mean), half)
    if decimals > 6 or largest >= 1e6:
        digits = max(0, math.floor(math.log10(largest)) - exponent)
        return f"{mean:.{digits}e}{unit} ± {half:.1g}"
    decimals = max(0, decimals)
    return f"{mean:.{decimals}f}{unit} ± {half:.{decimals}f}"


def number(value: Any) -> str:
    """A field's value as text.

    Args:
        value: a number, a text, a boolean or None.
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def point(config: Mapping[str, Any], *, symbols: bool = False) -> str:
    """A configuration as text: `alpha = 0.1, width = 64`.

    Args:
        config: fields and values.
        symbols: whether a field goes by its symbol, where it has one.
    """
    named = {SYMBOLS.get(name, name) if symbols else name: value for name, value in config.items()}
    return ", ".join(f"{name} = {number(value)}" for name, value in named.items()) or "the one configuration"


def count(amount: int, noun: str) -> str:
    """A number of things: `1 seed`, `8 seeds`, `1,024 members`.

    Args:
        amount: how many.
        noun: what, in the singular.
    """
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def listing(names: Iterable[str], last: str = "and") -> str:
    """Names in a row: `alpha, width and depth`.

    Args:
        names: at least one.
        last: the word before the last.
    """
    *others, final = names
    return f"{', '.join(others)} {last} {final}" if others else final


def compact(values: Any, digits: int = 6) -> list[float | int | None]:
    """Numbers for JSON, rounded to so many digits; None where one is not finite.

    Args:
        values: numbers.
        digits: how many.

    Example:
        >>> compact(np.array([1 / 3, np.nan, 2.0]))
        [0.333333, None, 2]
    """
    return [
        None if not math.isfinite(value) else int(value) if value == int(value) else value
        for value in (float(f"{value:.{digits}g}") for value in np.asarray(values, dtype=np.float64).tolist())
    ]
