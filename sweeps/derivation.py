"""`members.parquet` and `metrics.parquet` of a run directory, derived from its committed chunks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.durability import replace, writing
from sweeps.store import KINDS, ORDER, committed, read, scheduled

WINDOW = 100_000  # members whose rows are in memory at once


def derive(directory: Path, count: int, pending: Callable[[np.ndarray], pa.Table]) -> None:
    """Writes `members.parquet` and `metrics.parquet` from the chunks, each whole or not at all.

    Members are taken a window at a time, so that memory does not grow with their number.

    Args:
        directory: the run directory.
        count: how many members the run has.
        pending: ids to the rows of members that no chunk holds yet.
    """
    folders = committed(directory)
    for kind in KINDS:
        files = [str(folder / f"{kind}.parquet") for folder in folders]
        if kind == "members" and folders and scheduled(directory):
            rows = _merged(directory, count, pending)
        elif files or kind == "members":
            rows = _windows(files, count, pending if kind == "members" else None)
        else:
            continue
        with writing(str(directory / f"{kind}.parquet")):
            _write_windows(directory / f"{kind}.parquet", rows)


def _merged(directory: Path, count: int, pending: Callable[[np.ndarray], pa.Table]) -> Iterator[pa.Table]:
    """The rows of the members of a run with a schedule, whose intervals must be seen together."""
    found = read(directory, "members")
    assert found is not None  # there are chunks of several intervals
    missing = pending(np.setdiff1d(np.arange(count), found["member"].to_numpy()))
    yield pa.concat_tables([found, missing], promote_options="default").sort_by(ORDER[:1])


def _windows(
    files: list[str], count: int, pending: Callable[[np.ndarray], pa.Table] | None
) -> Iterator[pa.Table]:
    """The rows of the files in the order of members, some members at a time."""
    from pyarrow import dataset  # which imports pandas, where there is one

    schemas = [pq.read_schema(file) for file in files]
    schema = pa.unify_schemas(schemas) if schemas else None
    found = dataset.dataset(files, schema=schema, format="parquet") if files else None
    for first in range(0, count, WINDOW):
        ids = np.arange(first, min(first + WINDOW, count))
        parts: list[pa.Table] = []
        if found is not None:
            member = dataset.field("member")
            parts.append(found.to_table(filter=(member >= first) & (member < first + len(ids))))
        if pending is not None:
            there = parts[0]["member"].to_numpy() if parts else np.zeros(0, int)
            parts.append(pending(np.setdiff1d(ids, there)))
        yield pa.concat_tables(parts, promote_options="default").sort_by(ORDER[: 1 + (pending is None)])


def _write_windows(path: Path, windows: Iterator[pa.Table]) -> None:
    def write(temporary: Path) -> None:
        first = next(windows)
        with pq.ParquetWriter(temporary, first.schema) as writer:
            writer.write_table(first)
            for window in windows:
                writer.write_table(window.cast(first.schema))

    replace(path, write)
