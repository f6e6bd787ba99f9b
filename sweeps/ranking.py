"""Configurations with their statistics over seeds, the best first."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sweeps import statistics

UNFINISHED = ("pending", "running", "stopped")


class Configuration(NamedTuple):
    """One configuration and its members.

    Attributes:
        config: the swept fields' values.
        members: the ids, one per seed.
        values: the final metric per member, NaN where it is missing or the member diverged.
        interval: mean and 95 % interval over the finite values.
        means: the mean over the seeds of every metric at the last step.
        diverged: how many members diverged, or came to a value that is not finite.
        unfinished: how many members were stopped, or have not come to the last step yet.
        tied: whether it cannot be told from the best.
    """

    config: dict[str, Any]
    members: list[int]
    values: np.ndarray
    interval: statistics.Interval
    means: dict[str, float]
    diverged: int
    tied: bool
    unfinished: int = 0


def rank(
    members: pa.Table, swept: Sequence[str], metric: str, finals: Mapping[str, np.ndarray], mode: str
) -> list[Configuration]:
    """Every configuration, those with members that diverged or were stopped after the others.

    Args:
        members: rows of members, ascending.
        swept: the fields that tell configurations apart.
        metric: the metric that ranks them.
        finals: every metric of the members at the last step, NaN where there is none.
        mode: `max` or `min`.
    """
    ids, values = members["member"].to_numpy(), finals[metric]
    columns = [members[name].to_pylist() for name in swept]
    places: dict[tuple, list[int]] = {}
    for row, point in enumerate(zip(*columns, strict=True) if swept else [()] * len(values)):
        places.setdefault(point, []).append(row)
    unfinished = np.isin(members["status"].to_numpy(), UNFINISHED)
    found = []
    for point, rows in places.items():
        own, missing = values[rows], int(unfinished[rows].sum())
        finite = own[np.isfinite(own)]
        found.append(
            Configuration(
                config=dict(zip(swept, point, strict=True)),
                members=ids[rows].tolist(),
                values=own,
                interval=statistics.student_interval(finite),
                means={name: _finite_mean(column[rows]) for name, column in finals.items()},
                diverged=len(own) - len(finite) - missing,
                tied=False,
                unfinished=missing,
            )
        )
    sign = -1 if mode == "max" else 1
    found.sort(
        key=lambda row: (row.diverged + row.unfinished, np.nan_to_num(sign * row.interval.mean, nan=np.inf))
    )
    seeds = members["seed"].to_numpy()
    table, there = _by_seed(found, [seeds[np.searchsorted(ids, row.members)] for row in found])
    tied = statistics.tied_with_best(table, best=0, there=there)
    return [row._replace(tied=bool(mark)) for row, mark in zip(found, tied, strict=True)]


def _by_seed(rows: Sequence[Configuration], seeds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The values, a row per configuration and a column per seed, and where there is a member."""
    columns, column = np.unique(np.concatenate(seeds), return_inverse=True)
    row = np.repeat(np.arange(len(rows)), [len(each) for each in seeds])
    table = np.full((len(rows), len(columns)), np.nan)
    there = np.zeros(table.shape, dtype=bool)
    table[row, column] = np.concatenate([each.values for each in rows])
    there[row, column] = True
    return table, there


def _finite_mean(values: np.ndarray) -> float:
    return statistics.mean(values[np.isfinite(values)])
