"""What a metric cannot be above or below, by its name: no interval shown leaves these bounds."""

import math
import re

import numpy as np

from sweeps.report.wording import SHARES, WORD
from sweeps.statistics.intervals import Interval

SHARE = re.compile(rf"{SHARES.pattern}|{WORD.format(words='f1|auc|auroc|dice|m?iou')}")
AT_MOST_ONE = re.compile(r"(?<![a-z0-9])r2(?![a-z0-9])", re.IGNORECASE)
AT_LEAST_ZERO = re.compile(r"(?<![a-z])(mse|mae|rmse|error|perplexity)", re.IGNORECASE)


def bounds_of(metric: str, values: np.ndarray) -> tuple[float, float]:
    """The least and the largest value that a metric can have; infinities where its name says nothing.

    Values outside of the bounds show that the name meant something else, such as an accuracy in percent.

    Args:
        metric: its name.
        values: those there are.

    Example:
        >>> bounds_of("test/accuracy", np.array([0.9, 1.0])), bounds_of("test/accuracy", np.array([97.0]))
        ((0.0, 1.0), (-inf, inf))
        >>> bounds_of("test/auc_pr", np.array([0.9])), bounds_of("test/faucet", np.array([0.9]))
        ((0.0, 1.0), (-inf, inf))
        >>> bounds_of("test/r2", np.array([-3.0, 0.5]))
        (-inf, 1.0)
    """
    if SHARE.search(metric):
        low, high = 0.0, 1.0
    elif AT_MOST_ONE.search(metric):
        low, high = -math.inf, 1.0
    elif AT_LEAST_ZERO.search(metric):
        low, high = 0.0, math.inf
    else:
        return -math.inf, math.inf
    finite = values[np.isfinite(values)]
    return (low, high) if bool(np.all((low <= finite) & (finite <= high))) else (-math.inf, math.inf)


def within(interval: Interval, bounds: tuple[float, float]) -> Interval:
    """An interval without what lies outside of the bounds; NaN stays NaN.

    Args:
        interval: a mean and its interval.
        bounds: as `bounds_of` gives them.

    Example:
        >>> within(Interval(0.98, 0.95, 1.01), (0.0, 1.0))
        Interval(mean=0.98, low=0.95, high=1.0)
    """
    low, high = np.clip([interval.low, interval.high], *bounds).tolist()
    return Interval(interval.mean, low, high)


def of_differences(bounds: tuple[float, float]) -> tuple[float, float]:
    """The bounds of the difference of two values of a metric.

    Args:
        bounds: the metric's.

    Example:
        >>> of_differences((0.0, 1.0)), of_differences((0.0, math.inf))
        ((-1.0, 1.0), (-inf, inf))
    """
    return bounds[0] - bounds[1], bounds[1] - bounds[0]
