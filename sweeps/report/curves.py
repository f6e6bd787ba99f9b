"""Learning curves for the page: the mean and band of some configurations, and the members behind them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sweeps.report.bounds import bounds_of
from sweeps.report.marginals import seed_columns, student_rows
from sweeps.report.wording import compact, point
from sweeps.results.results import Configuration, Results

BEST = 8
MOST_CONFIGURATIONS = 48
MOST_SEEDS = 16
MOST_STEPS = 100
MOST_NUMBERS = 400_000  # about 3 MB of the page


def learning_curves(results: Results, rows: list[Configuration], metrics: Sequence[str]) -> dict[str, Any]:
    """Curves of the best configurations, and of others spread evenly over the ranking.

    Args:
        results: a run.
        rows: its configurations, the best first.
        metrics: names, the most wanted first; those that would make the page too large are left out.

    Returns:
        `steps`, `configurations` with a label, a rank and the members' ids, `metrics` by name, and what was
        `left_out` in words.
    """
    ranks = _chosen(len(rows))
    table = results.metrics
    steps = np.unique(table["step"].to_numpy())
    every = len(steps)
    if every > MOST_STEPS:
        steps = steps[np.linspace(0, every - 1, MOST_STEPS).round().astype(int)]
    groups = [rows[rank].members[:MOST_SEEDS] for rank in ranks]
    everyone = [rows[rank].members for rank in ranks]
    ids = np.unique(np.concatenate(everyone)) if everyone else np.zeros(0, np.int64)
    kept = np.isin(table["member"].to_numpy(), ids) & np.isin(table["step"].to_numpy(), steps)
    row = np.searchsorted(ids, table["member"].to_numpy()[kept])
    column = np.searchsorted(steps, table["step"].to_numpy()[kept])
    each = (3 * len(ranks) + sum(map(len, groups))) * max(1, len(steps))
    shown = list(metrics[: max(1, MOST_NUMBERS // each)])
    whole, seeds = results.members["member"].to_numpy(), results.draws
    found = {}
    for name in shown:
        cut = bounds_of(name, table[name].to_numpy(zero_copy_only=False))
        values = np.full((len(ids), len(steps)), np.nan)
        values[row, column] = table[name].to_numpy(zero_copy_only=False)[kept]
        bands = [
            student_rows(
                seed_columns(values[np.searchsorted(ids, members)].T, seeds[np.searchsorted(whole, members)]),
                results.overlap,
            )
            for members in everyone
        ]
        found[name] = {
            "mean": [compact(mean, 5) for mean, _, _ in bands],
            "low": [compact(np.clip(low, *cut), 5) for _, low, _ in bands],
            "high": [compact(np.clip(high, *cut), 5) for _, _, high in bands],
            "members": [
                [compact(curve, 5) for curve in values[np.searchsorted(ids, members)]] for members in groups
            ],
        }
    return {
        "steps": steps.tolist(),
        "configurations": [
            {"label": point(rows[rank].config), "rank": rank + 1, "members": members}
            for rank, members in zip(ranks, groups, strict=True)
        ],
        "order": _order([rows[rank] for rank in ranks]),
        "metrics": found,
        "left_out": _left_out(rows, ranks, groups, every, list(metrics[len(shown) :])),
    }


def _chosen(count: int) -> list[int]:
    """The places of the configurations that are drawn, ascending."""
    if count <= MOST_CONFIGURATIONS:
        return list(range(count))
    even = np.linspace(BEST, count - 1, MOST_CONFIGURATIONS - BEST).round().astype(int)
    return [*range(BEST), *even.tolist()]


def _order(rows: list[Configuration]) -> list[int]:
    """The places of the rows in the order of their values."""
    values = [[(value is not None, str(type(value)), value) for value in row.config.values()] for row in rows]
    return sorted(range(len(rows)), key=values.__getitem__)


def _left_out(
    rows: list[Configuration], ranks: list[int], groups: list[list[int]], steps: int, metrics: list[str]
) -> str:
    said = []
    if len(ranks) < len(rows):
        said.append(
            f"{len(ranks)} of the {len(rows):,} configurations are on this page: the {BEST} best, and others "
            f"spread evenly over the ranking"
        )
    most = max((len(rows[rank].members) for rank in ranks), default=0)
    if any(len(rows[rank].members) > len(group) for rank, group in zip(ranks, groups, strict=True)):
        said.append(f"of up to {most} members of a configuration, {MOST_SEEDS} can be shown")
    if steps > MOST_STEPS:
        said.append(f"{MOST_STEPS} of the {steps:,} evaluations are shown")
    if metrics:
        said.append(f"{len(metrics)} metrics are not drawn ({', '.join(metrics[:5])})")
    return "; ".join(said)
