"""A metric along one field: its mean at every value, and the interval of that mean."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sweeps.report.axes import Axis
from sweeps.results.lineage import ancestors, is_evolved
from sweeps.results.results import Configuration, Results
from sweeps.statistics.intervals import CONFIDENCE, inflation


class Marginal(NamedTuple):
    """Means along an axis.

    Attributes:
        mean: per cell of the axis, NaN where no member has a finite value.
        low: the lower bounds, NaN where there is no interval.
        high: the upper bounds.
        band: what mean and band are, in words.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    band: str


def marginal(
    axis: Axis,
    values: np.ndarray,
    seeds: np.ndarray,
    configurations: np.ndarray,
    overlap: float = 0.0,
) -> Marginal:
    """The mean of a metric in every cell of an axis, and its 95 % Student interval.

    What was drawn independently is what the interval is over: the seeds, each first averaged over whatever
    else varies; in bins, or with one seed, the configurations, each first averaged over its seeds.

    Args:
        axis: a field of the members.
        values: the metric per member, NaN where it has none.
        seeds: per member; of a study with folds, the folds.
        configurations: per member the place of its configuration.
        overlap: of folds, how many examples are held out for each that is trained on.
    """
    _, seed = np.unique(seeds, return_inverse=True)
    count = int(seed.max(initial=-1)) + 1
    alone = int(configurations.max(initial=-1)) + 1 <= len(axis.labels)  # no other field varies
    if count > 1 and not axis.binned:
        table = _cell_means(axis, values, seed, count)
        one = "fold" if overlap else "seed"
        over = f"{count} {one}s" + ("" if alone else f", each {one} averaged over the other swept fields")
        return Marginal(*student_rows(table, overlap), f"mean and 95 % interval over {over}")
    elif alone and not axis.binned:
        table = _cell_means(axis, values, seed, max(1, count))
        return Marginal(*student_rows(table), "the one value at each level: one seed, so no interval")
    else:
        table = _cell_means(axis, values, configurations, int(configurations.max(initial=0)) + 1)
        over = f"the configurations in each of {len(axis.labels)} " + ("bins" if axis.binned else "levels")
    return Marginal(*student_rows(table), f"mean and 95 % interval over {over}")


def differences_along(
    axis: Axis, values: np.ndarray, seeds: np.ndarray, mode: str, overlap: float = 0.0
) -> Marginal | None:
    """How far each cell of an axis is from the best one, seed by seed: where bands overlap, this tells more.

    Args:
        axis: a field of the members, not in bins.
        values: the metric per member, NaN where it has none.
        seeds: per member.
        mode: `max` or `min`.
        overlap: what the variance of a mean over folds is corrected by.

    Returns:
        Means of the differences and their 95 % Student intervals, not corrected for their number; None in
        bins, with one seed or one cell.
    """
    own, seed = np.unique(seeds, return_inverse=True)
    table = _cell_means(axis, values, seed, len(own))
    mean, low, _ = student_rows(table, overlap)
    if axis.binned or len(mean) < 2 or not np.isfinite(low).any():
        return None
    best = int(np.nanargmax(mean if mode == "max" else -mean))
    return Marginal(
        *student_rows(table - table[best], overlap), f"difference to {axis.labels[best]}, seed by seed"
    )


def student_rows(
    table: Float[np.ndarray, "rows draws"], overlap: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of each row and the bounds of its 95 % Student interval, over the values that are finite.

    Args:
        table: one row per mean.
        overlap: of folds, how many examples are held out for each that is trained on.

    Returns:
        Means, lower and upper bounds; NaN where there is nothing to average, or one value to bound.

    Example:
        >>> mean, low, high = student_rows(np.array([[1.0, 2.0, 3.0], [4.0, np.nan, np.nan]]))
        >>> mean.tolist(), round(float(high[0] - low[0]), 4), bool(np.isnan(low[1]))
        ([2.0, 4.0], 4.9683, True)
    """
    from scipy import special

    there = np.isfinite(table)
    count = there.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, table, 0).sum(axis=1) / count
        spread = (np.where(there, table - mean[:, None], 0) ** 2).sum(axis=1) / (count - 1)
        reach = special.stdtrit(np.maximum(count - 1, 1), (1 + CONFIDENCE) / 2) * np.sqrt(spread / count)
    reach = np.where(count > 1, reach * inflation(count, overlap), np.nan)
    return mean, mean - reach, mean + reach


def seed_columns(
    table: Float[np.ndarray, "rows members"], seeds: np.ndarray
) -> Float[np.ndarray, "rows seeds"]:
    """One column per seed: the mean of the finite values of members that share it, NaN where none is.

    Args:
        table: a column per member.
        seeds: per member the seed that its state descends from.

    Example:
        >>> seed_columns(np.array([[1.0, 2.0, 6.0]]), np.array([0, 1, 1])).tolist()
        [[1.0, 4.0]]
    """
    own, place = np.unique(seeds, return_inverse=True)
    shared = (place[:, None] == np.arange(len(own))).astype(np.float64)
    there = np.isfinite(table)
    with np.errstate(invalid="ignore"):
        return (np.where(there, table, 0) @ shared) / (there @ shared)


def draws(results: Results, rows: list[Configuration]) -> np.ndarray:
    """Per member which of the independently drawn configurations it descends from.

    It is its own configuration, but in population-based training, where it is that of its ancestor at step 0.

    Args:
        results: a run.
        rows: its configurations.
    """
    if not is_evolved(results.manifest):
        return places(results, rows)
    table = results.lineage
    begun = table.filter(table["step"].to_numpy() == 0)
    values = [begun[name].dictionary_encode("encode").combine_chunks().indices for name in results.swept]
    _, point = np.unique(np.stack([column.to_numpy() for column in values], 1), axis=0, return_inverse=True)
    descends = ancestors(table, results.members["member"].to_numpy())
    return point.reshape(-1)[np.searchsorted(begun["member"].to_numpy(), descends)]


def places(results: Results, rows: list[Configuration]) -> np.ndarray:
    """Per member the place of its configuration among the rows.

    Args:
        results: a run.
        rows: its configurations.
    """
    found = np.zeros(len(results.members), dtype=np.int64)
    ids = results.members["member"].to_numpy()
    members = np.concatenate([row.members for row in rows])
    found[np.searchsorted(ids, members)] = np.repeat(np.arange(len(rows)), [len(row.members) for row in rows])
    return found


def _cell_means(axis: Axis, values: np.ndarray, replicate: np.ndarray, count: int) -> np.ndarray:
    """The mean in each cell of the axis (rows) and each replicate (columns), NaN where there is none."""
    kept = np.isfinite(values) & (axis.cells >= 0)
    place = axis.cells[kept] * count + replicate[kept]
    size = len(axis.labels) * count
    sums = np.bincount(place, values[kept], minlength=size)
    numbers = np.bincount(place, minlength=size)
    with np.errstate(invalid="ignore"):
        return (sums / numbers).reshape(len(axis.labels), count)
