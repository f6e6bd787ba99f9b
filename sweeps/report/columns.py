"""The members' table as columns for the page, no more of it than a browser opens at once."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sweeps.report.axes import Axis
from sweeps.report.wording import compact
from sweeps.results.results import Results

MOST_CELLS = 600_000  # about 5 MB of the page
STEPS = ("diverged_at", "stopped_at")


class Columns(NamedTuple):
    """What the page holds of the members.

    Attributes:
        rows: the places of the members that it holds, ascending.
        columns: name, kind and values of every column.
        fields: every swept field's cells, for those members.
    """

    rows: np.ndarray
    columns: list[dict[str, Any]]
    fields: list[dict[str, Any]]


def member_columns(results: Results, axes: list[Axis], finals: dict[str, np.ndarray]) -> Columns:
    """Columns of the table: id, seed, fold, status, swept fields, and the metrics at the last step.

    Args:
        results: a run.
        axes: its swept fields.
        finals: the metrics at the last step, one value per member.
    """
    table = results.members
    steps = [name for name in STEPS if name in table.column_names and table[name].null_count < len(table)]
    names = ["member", "seed", *(["fold"] if results.folds else []), "status", *steps, *results.swept]
    most = max(1, MOST_CELLS // (len(names) + len(axes) + len(finals)))
    rows = np.arange(len(table))
    if len(rows) > most:
        rows = np.unique(np.linspace(0, len(table) - 1, most).round().astype(np.int64))
    columns = [_column(name, "member", table[name].take(rows)) for name in names]
    columns += [
        {"name": name, "of": "metric", "kind": "number", "values": compact(values[rows])}
        for name, values in finals.items()
    ]
    fields = [
        {
            "name": axis.field,
            "numeric": axis.numeric,
            "log": axis.log,
            "binned": axis.binned,
            "labels": axis.labels,
            "centers": compact(axis.centers),
            "cells": axis.cells[rows].tolist(),
        }
        for axis in axes
    ]
    return Columns(rows, columns, fields)


def _column(name: str, of: str, column: pa.ChunkedArray) -> dict[str, Any]:
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        values = compact(column.to_numpy(zero_copy_only=False), 10)
        return {"name": name, "of": of, "kind": "number", "values": values}
    encoded = pa.array([str(value) for value in column.to_pylist()], pa.string()).dictionary_encode()
    return {
        "name": name,
        "of": of,
        "kind": "text",
        "labels": encoded.dictionary.to_pylist(),
        "values": encoded.indices.to_pylist(),
    }
