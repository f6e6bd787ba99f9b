"""The rows of a run: members and metrics, as Arrow tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.engine.program import ALIVE
from sweeps.members.population import Population
from sweeps.space.values import as_text
from sweeps.store.statuses import Status


def member_rows(
    population: Population, members: np.ndarray, status: np.ndarray, diverged_at: np.ndarray
) -> pa.Table:
    """The rows of `members.parquet`: id, seed, fold, group, status, and every field of the configuration."""
    columns: dict[str, Any] = {
        "member": pa.array(members, pa.int64()),
        "seed": pa.array(population.seeds[members], pa.uint32()),
        **({} if population.folds is None else {"fold": pa.array(population.folds[members], pa.int32())}),
        "group": pa.array(population.groups[members], pa.int32()),
        "status": pa.array(status, pa.string()),
        "diverged_at": pa.array(diverged_at, pa.int32(), mask=diverged_at == ALIVE),
        "stopped_at": pa.nulls(len(members), pa.int32()),
    }
    for field in population.fields:
        column = population.columns.get(field.name)
        values = [population.fixed[field.name]] * len(members) if column is None else column[members].tolist()
        kind = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}.get(field.kind)
        # A value that Parquet has no type for is kept as what a person would read.
        text = [None if value is None else as_text(value) for value in values] if kind is None else values
        columns[field.name] = pa.array(text, kind or pa.string())
    return pa.table(columns)


def metric_rows(
    members: np.ndarray, diverged_at: np.ndarray, evaluations: Sequence[tuple[int, dict[str, np.ndarray]]]
) -> pa.Table:
    """The rows of `metrics.parquet`; a diverged member's end with the first evaluation after it diverged."""
    steps = np.asarray([step for step, _ in evaluations])
    names = list(evaluations[0][1])
    before = np.searchsorted(steps, diverged_at)  # evaluations that came before the divergence
    kept = np.where(diverged_at == ALIVE, len(steps), before + 1)
    mask = np.arange(len(steps)) < kept[:, None]
    columns: dict[str, Any] = {
        "member": pa.array(np.broadcast_to(members[:, None], mask.shape)[mask], pa.int64()),
        "step": pa.array(np.broadcast_to(steps, mask.shape)[mask], pa.int64()),
    }
    for name in names:
        stacked = np.stack([values[name] for _, values in evaluations], axis=1)
        # A whole number, or a float64 of a study under x64, would be rounded to float32.
        columns[name] = pa.array(stacked[mask], pa.float32() if stacked.dtype == np.float32 else pa.float64())
    return pa.table(columns)


def failed_rows(population: Population, members: np.ndarray, metric: str) -> tuple[pa.Table, pa.Table]:
    """The rows of members that could not be trained, and no rows of metrics, the study's among their columns.

    Args:
        population: all members.
        members: ids.
        metric: the study's metric.
    """
    alive = np.full(len(members), ALIVE, np.int32)
    columns = {"member": pa.int64(), "step": pa.int64(), metric: pa.float32()}
    metrics = pa.table({name: pa.array([], kind) for name, kind in columns.items()})
    return member_rows(population, members, np.full(len(members), Status.FAILED), alive), metrics


def pending_rows(population: Population, members: np.ndarray) -> pa.Table:
    """The rows of members that have not been trained yet.

    Args:
        population: all members.
        members: ids.
    """
    alive = np.full(len(members), ALIVE, np.int32)
    return member_rows(population, members, np.full(len(members), Status.PENDING), alive)
