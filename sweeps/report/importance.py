"""How much of the variation between configurations each field explains."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

RESAMPLES = 500
SMALLEST = 8  # with fewer units a share says nothing
MOST_BINS = 8


class Share(NamedTuple):
    """The share of the variance that a field explains, and its 95 % bootstrap interval."""

    field: str
    share: float
    low: float
    high: float


def explained(
    cells: Integer[np.ndarray, " units"], values: Float[np.ndarray, " units"], seed: int = 0
) -> tuple[float, float, float] | None:
    """The share of the variance of `values` between cells, by one-way analysis of variance.

    The share is epsilon squared (Kelley, 1935): eta squared less what as many cells would explain by chance,
    and no less than 0. The interval resamples the units; it is centred on the share, as resampled units
    repeat and would explain too much.

    Args:
        cells: the cell of each unit, from 0.
        values: its value, finite.
        seed: what the draws depend on.

    Returns:
        Share, lower and upper bound; None where there are too few units, one cell, or no variance.

    Example:
        >>> explained(np.repeat([0, 1], 8), np.repeat([1.0, 2.0], 8))
        (1.0, 1.0, 1.0)
    """
    count = len(values)
    groups = len(np.unique(cells))
    if count < SMALLEST or groups < 2 or groups > count / 2 or np.ptp(values) == 0:
        return None
    centred = (values - values.mean()) / np.ptp(values)
    member = np.eye(int(cells.max()) + 1)[cells]
    share = float(_epsilon_squared(np.ones((1, count)), member, centred)[0])
    random = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            _epsilon_squared(
                random.multinomial(count, np.full(count, 1 / count), 50).astype(float), member, centred
            )
            for _ in range(RESAMPLES // 50)
        ]
    )
    low, high = np.quantile(drawn - drawn.mean() + share, [0.025, 0.975])
    return max(0.0, share), float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))


def quantile_cells(values: np.ndarray) -> np.ndarray:
    """The bin of each value: its own if there are few distinct ones, else one of up to 8 of equal counts.

    Args:
        values: one number per unit; NaN has a bin of its own.
    """
    levels, cells = np.unique(values, return_inverse=True)
    if len(levels) <= MOST_BINS:
        return cells
    # Levels, not units, are cut: equal values stay together.
    middle = (np.cumsum(np.bincount(cells)) - np.bincount(cells) / 2) / len(values)
    bins = int(np.clip(len(values) // 4, 2, MOST_BINS))
    return np.unique((middle * bins).astype(np.int64)[cells], return_inverse=True)[1]


def _epsilon_squared(weights: np.ndarray, member: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Epsilon squared, a row of weights at a time."""
    total = weights.sum(axis=1)
    mean = weights @ values / total
    whole = weights @ values**2 - total * mean**2
    size = weights @ member
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(size > 0, (weights @ (member * values[:, None])) / size, 0)
        between = (size * (means - mean[:, None]) ** 2).sum(axis=1)
        freedom = (size > 0).sum(axis=1) - 1
        inside = (whole - between) / (total - freedom - 1)
        share = (between - freedom * inside) / whole
    return np.where(whole > 1e-12, share, 0.0)
