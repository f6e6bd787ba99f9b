"""Configurations with their statistics over seeds, the best first."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sweeps.statistics import comparisons
from sweeps.store.statuses import UNFINISHED, Status

NOT_DONE = (*UNFINISHED, Status.STOPPED)


class Configuration(NamedTuple):
    """One configuration and its members.

    Attributes:
        config: the swept fields' values.
        members: the ids, one per seed and fold.
        values: the final metric per member, NaN where it is missing or the member diverged.
        interval: mean and 95 % interval over the seeds with a finite value; or over the folds, of each the
            mean of its seeds, with the variance of Nadeau and Bengio (2003).
        means: the mean over the seeds of every metric at the last step.
        diverged: how many members diverged, failed, or came to a value that is not finite.
        tied: whether it cannot be told from the best.
        unfinished: how many members were stopped, or have not come to the last step yet.
        failed: how many of the diverged failed.
        seeds: how many seeds the mean is over.
        folds: how many folds it is over; 0 without folds.
        unscored: how many of the diverged did neither diverge nor fail: their value is not finite.
    """

    config: dict[str, Any]
    members: list[int]
    values: np.ndarray
    interval: comparisons.Interval
    means: dict[str, float]
    diverged: int
    tied: bool
    unfinished: int = 0
    failed: int = 0
    seeds: int = 0
    folds: int = 0
    unscored: int = 0

    @property
    def draws(self) -> int:
        """Of how many values the interval is: one per fold, or without folds one per seed."""
        return self.folds or self.seeds


class Best(NamedTuple):
    """The best configuration over its seeds.

    Attributes:
        config: the swept fields' values.
        metric: the metric's name.
        mean: its mean over the seeds at the last step.
        low: the lower bound of the mean's 95 % interval, NaN for one seed.
        high: the upper bound.
        seeds: how many seeds the mean is over. One that diverged is not among them: its configuration ranks
            after all of which no member did. Of population-based training, members whose states descend from
            one seed are one.
        confirmed: whether the figures come from seeds that did not choose the configuration; where
            not, they are selected on these seeds, so optimistic.
        folds: how many folds the mean is over; 0 without folds. The interval is then over the folds, of each
            the mean of its seeds. Folds share what they train on, so the variance of the mean is taken to be
            (1/k + 1/(k - 1)) s², not s²/k (Nadeau and Bengio, 2003). Fresh seeds are of the same folds.
    """

    config: dict[str, Any]
    metric: str
    mean: float
    low: float
    high: float
    seeds: int
    confirmed: bool
    folds: int = 0


def rank(
    members: pa.Table,
    swept: Sequence[str],
    metric: str,
    finals: Mapping[str, np.ndarray],
    mode: str,
    seeds: np.ndarray | None = None,
    apart: np.ndarray | None = None,
    scored: Sequence[str] = (Status.DONE,),
    folds: int = 0,
) -> list[Configuration]:
    """Every configuration, the best first.

    One with a member that diverged, failed or was stopped comes after all whose members all came to the end,
    under every metric and mode, and the later the more there are of them: first by how many have no final
    value, then by how many of these diverged or failed, then by the mean of the others.

    Args:
        members: rows of members, ascending.
        swept: the fields that tell configurations apart.
        metric: the metric that ranks them.
        finals: every metric of the members at the last step, NaN where there is none.
        mode: `max` or `min`.
        seeds: what tells independent members of a configuration apart; members that share it are one value,
            their mean. None takes the members' own seeds.
        apart: per member what tells it from others of the same values; None is nothing.
        scored: what members are that have a score; a stopped one without has not finished.
        folds: into how many folds the data was cut, whose members share what they train on; 0 into none.
    """
    own_seeds = members["seed"].to_numpy() if seeds is None else seeds
    # The seeds of one fold are trained on the same examples, and are one value.
    draws, overlap = (members["fold"].to_numpy() if folds else own_seeds), overlap_of(folds)
    ids, values = members["member"].to_numpy(), finals[metric]
    points, place = _points(members, swept, apart)
    codes, code = np.unique(draws, return_inverse=True)
    cell, cells = place * len(codes) + code, len(points) * len(codes)
    status, finite = members["status"].to_numpy(), np.isfinite(values)
    waiting = np.isin(status, [each for each in NOT_DONE if each not in scored])
    ended = np.isin(status, (Status.DIVERGED, Status.FAILED)) | waiting
    unfinished, failed, lost, unscored = (
        np.bincount(place, marked, len(points)).astype(int)
        for marked in (waiting, status == Status.FAILED, ~finite, ~finite & ~ended)
    )
    means = {name: _intervals(column, cell, cells, len(codes), overlap) for name, column in finals.items()}
    seeds_of = _different(place[finite], own_seeds[finite], len(points))
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place, minlength=len(points)))[:-1]
    own, rows = np.split(values[order], ends), np.split(ids[order], ends)
    found = [
        Configuration(
            config=dict(zip(swept, point[:-1], strict=True)),
            members=rows[at].tolist(),
            values=own[at],
            interval=means[metric][at][0],
            means={name: intervals[at][0].mean for name, intervals in means.items()},
            diverged=int(lost[at] - unfinished[at]),
            tied=False,
            unfinished=int(unfinished[at]),
            failed=int(failed[at]),
            seeds=int(seeds_of[at]),
            folds=means[metric][at][1] if folds else 0,
            unscored=int(unscored[at]),
        )
        for at, point in enumerate(points)
    ]
    ranked = sorted(range(len(found)), key=lambda at: _rank_of(found[at], mode))
    table, there = _by_seed(values, cell, len(points), len(codes))
    tied = comparisons.tied_with_best(table[ranked], best=0, there=there[ranked], overlap=overlap)
    return [found[at]._replace(tied=bool(mark)) for at, mark in zip(ranked, tied, strict=True)]


def _by_seed(values: np.ndarray, cell: np.ndarray, points: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """A row per configuration and a column per seed, the means of their members; and where there are any."""
    count, total = np.bincount(cell, minlength=points * seeds), np.bincount(cell, values, points * seeds)
    table = np.where(count > 0, total, np.nan) / np.maximum(count, 1)
    return table.reshape(points, seeds), (count > 0).reshape(points, seeds)


def _rank_of(row: Configuration, mode: str) -> tuple[int, int, float]:
    mean = -row.interval.mean if mode == "max" else row.interval.mean
    return row.diverged + row.unfinished, row.diverged, np.inf if mean != mean else mean


def overlap_of(folds: int) -> float:
    """How many examples are held out for each that is trained on.

    Args:
        folds: how many folds there are; 0 for none.
    """
    return 1 / (folds - 1) if folds else 0.0


def _different(place: np.ndarray, seeds: np.ndarray, places: int) -> np.ndarray:
    """How many different seeds there are at each place."""
    codes, code = np.unique(seeds, return_inverse=True)
    return np.bincount(np.unique(place * len(codes) + code) // max(1, len(codes)), minlength=places)


def _points(
    members: pa.Table, swept: Sequence[str], apart: np.ndarray | None
) -> tuple[list[tuple], np.ndarray]:
    """The points of the configurations, in the order they come in, and each member's place among them."""
    columns = [members[name].to_pylist() for name in swept]
    columns.append([None] * len(members) if apart is None else apart.tolist())
    places: dict[tuple, int] = {}
    place = [places.setdefault(point, len(places)) for point in zip(*columns, strict=True)]
    return list(places), np.asarray(place, dtype=np.int64)


def _intervals(
    values: np.ndarray, cell: np.ndarray, cells: int, seeds: int, overlap: float
) -> list[tuple[comparisons.Interval, int]]:
    """Per configuration the mean and interval of a metric over its seeds, and over how many that is.

    Args:
        values: the metric of each member; those that are not finite are left out.
        cell: per member the place of its configuration and seed; the members that share it are one value.
        cells: how many there are.
        seeds: how many there are of each configuration.
        overlap: of folds, how many examples are held out for each that is trained on.
    """
    finite = np.isfinite(values)
    count = np.bincount(cell[finite], minlength=cells)
    sums = np.bincount(cell[finite], values[finite], cells)
    there = count > 0
    means, each = sums[there] / count[there], there.reshape(-1, seeds).sum(axis=1)
    ends = np.cumsum(each)
    found: list[Any] = [None] * len(each)
    for number in np.unique(each).tolist():
        (same,) = np.nonzero(each == number)
        rows = means[(ends[same] - number)[:, None] + np.arange(number)]
        for at, interval in zip(
            same.tolist(), comparisons.student_intervals(rows, overlap=overlap), strict=True
        ):
            found[at] = interval, number
    return found
