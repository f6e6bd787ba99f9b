"""What members score by the evaluations that are committed: by the last of them, or by the best."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sweeps.store.chunks import committed, interval, read_file
from sweeps.store.statuses import LOST
from sweeps.trial import Study


class Judged(NamedTuple):
    """What members are judged by.

    Attributes:
        metric: the study's metric.
        mode: `max` or `min`.
        select: which of a member's evaluations is its score: `last` or `best`.
    """

    metric: str
    mode: str
    select: str = "last"


def judged_by(study: Study) -> Judged:
    """What the members of a study are judged by.

    Args:
        study: the study.
    """
    return Judged(study.metric, study.mode, study.select)


def scores(directory: Path, members: np.ndarray, judged: Judged, stop: int | None = None) -> np.ndarray:
    """The score of members at the end of an interval, NaN where one has diverged, has failed or has no row.

    Args:
        directory: the run directory.
        members: ids.
        judged: what they are judged by.
        stop: the step with which the interval ends; None takes the last of each member.
    """
    found: dict[int, float] = {}
    lost: dict[int, bool] = {}
    ends = {folder: interval(folder).stop for folder in committed(directory)}
    for folder, end in sorted(ends.items(), key=lambda item: item[1]):
        if stop is None or end == stop:
            alive = read_file(folder / "members.parquet", ["member", "status"])
            ended = np.isin(alive["status"].to_pylist(), LOST)
            lost |= dict(zip(alive["member"].to_pylist(), ended.tolist(), strict=True))
            if judged.select == "last" and not ended.all():
                rows = read_file(folder / "metrics.parquet", ["member", "step", judged.metric])
                rows = rows.filter(rows["step"].to_numpy() == end)
                found |= dict(zip(rows["member"].to_pylist(), rows[judged.metric].to_pylist(), strict=True))
    if judged.select == "best":
        history = score_history(directory, members, judged, stop)
        if len(history):
            found = dict(zip(members.tolist(), history[-1].tolist(), strict=True))
    values = [None if lost.get(member, True) else found.get(member) for member in members.tolist()]
    return np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)


def score_history(
    directory: Path, members: np.ndarray, judged: Judged, stop: int | None = None
) -> np.ndarray:
    """The score that members had after every evaluation up to a step, diverged or not.

    Args:
        directory: the run directory.
        members: ids, ascending.
        judged: what they are judged by.
        stop: the step; None takes all.

    Returns:
        A row per evaluation, the oldest first, and a column per member; NaN where there is none.
    """
    names = ["member", "step", judged.metric]
    tables = [
        read_file(folder / "metrics.parquet", names)
        for folder in committed(directory)
        if stop is None or interval(folder).stop <= stop
    ]
    if not tables:
        return np.empty((0, len(members)))
    rows = pa.concat_tables(tables, promote_options="permissive")
    rows = rows.filter(np.isin(rows["member"].to_numpy(), members))
    steps, at = np.unique(rows["step"].to_numpy(), return_inverse=True)
    table = np.full((len(steps), len(members)), np.nan)
    place = np.searchsorted(members, rows["member"].to_numpy())
    table[at, place] = rows[judged.metric].to_numpy(zero_copy_only=False)
    return so_far(table, judged.mode) if judged.select == "best" else table


def so_far(values: np.ndarray, mode: str) -> np.ndarray:
    """The best finite value down to each row; NaN until there is one.

    Args:
        values: a row per evaluation, the oldest first.
        mode: `max` or `min`.

    Example:
        >>> so_far(np.array([[0.5, np.nan], [np.inf, 0.2], [0.4, 0.1]]), "max").tolist()
        [[0.5, nan], [0.5, 0.2], [0.5, 0.2]]
    """
    better = np.fmax if mode == "max" else np.fmin
    return better.accumulate(np.where(np.isfinite(values), values, np.nan), axis=0)
