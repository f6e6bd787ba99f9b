"""The metric of members over training: every curve to its end, and the best so far."""

from typing import Any

import numpy as np

from sweeps.report.marginals import places, seed_columns
from sweeps.report.wording import compact
from sweeps.results.results import Configuration, Results

MOST_NUMBERS = 300_000  # about 2 MB of the page
MOST_STEPS = 60


def trajectories(results: Results, metric: str, held: np.ndarray) -> dict[str, Any]:
    """The curves of members, each to where it ended.

    Args:
        results: a run.
        metric: a metric.
        held: the places of the members that the page holds, ascending.

    Returns:
        `steps`, and `values`: one list per member, None where it was not evaluated or not finite, and without
        what follows its last value; an empty one for members that would make the page too large.
    """
    table, ids = results.metrics, results.members["member"].to_numpy()[held]
    steps = np.unique(table["step"].to_numpy())
    if len(steps) > MOST_STEPS:
        steps = steps[np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int)]
    most = max(1, MOST_NUMBERS // max(1, len(steps)))
    drawn = np.arange(len(ids))
    if len(ids) > most:
        drawn = np.unique(np.linspace(0, len(ids) - 1, most).round().astype(int))
    values = curves_of(results, metric, ids[drawn], steps)
    found: list[list[Any]] = [[] for _ in ids]
    for place, row in zip(drawn.tolist(), values, strict=True):
        last = np.flatnonzero(np.isfinite(row))
        found[place] = compact(row[: last[-1] + 1], 5) if len(last) else []
    return {"steps": steps.tolist(), "values": found}


def curves_of(results: Results, metric: str, ids: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """A row per member and a column per step, NaN where the member was not evaluated.

    Args:
        results: a run.
        metric: a metric.
        ids: of the members, ascending.
        steps: ascending.
    """
    table = results.metrics
    member, step = table["member"].to_numpy(), table["step"].to_numpy()
    kept = np.isin(member, ids) & np.isin(step, steps)
    values = np.full((len(ids), len(steps)), np.nan)
    at = np.searchsorted(ids, member[kept]), np.searchsorted(steps, step[kept])
    values[at] = table[metric].to_numpy(zero_copy_only=False)[kept]
    return values


def best_so_far(
    results: Results, rows: list[Configuration], metric: str
) -> tuple[list[int], list[float | int | None]]:
    """The best mean over seeds that any configuration had at any evaluation, against member-steps.

    Batches of a search are trained one after the other, the members of one together.

    Args:
        results: a run.
        rows: its configurations.
        metric: the metric that is the best.

    Returns:
        Member-steps, ascending, and the best so far after them.
    """
    steps = np.unique(results.metrics["step"].to_numpy())
    ids = results.members["member"].to_numpy()
    values = curves_of(results, metric, ids, steps)
    place = places(results, rows)
    batch = _batches(results, rows)[place]
    reached = np.where(np.isfinite(values), steps, 0).max(axis=1, initial=0)
    sign = 1 if results.manifest["mode"] == "max" else -1
    spent, best, found = 0, -np.inf, []
    for number in np.unique(batch).tolist():
        own = batch == number
        means = seed_columns(values[own].T, place[own])  # a row per step, a column per configuration
        scores = np.where(np.isfinite(means), sign * means, -np.inf).max(axis=1, initial=-np.inf)
        for step, score in zip(steps.tolist(), scores.tolist(), strict=True):
            best = max(best, score)
            found.append((spent + int(np.minimum(reached[own], step).sum()), sign * best))
        spent = found[-1][0]
    costs, so_far = zip(*found, strict=True)
    return list(costs), compact(so_far, 6)


def _batches(results: Results, rows: list[Configuration]) -> np.ndarray:
    """Which batch of the search each configuration came in; all in one where the search learns nothing."""
    points = results.manifest.get("points_per_batch")
    order = np.argsort(np.argsort([row.members[0] for row in rows]))
    return order // int(points) if points else np.zeros(len(rows), dtype=np.int64)
