"""The run directory: a manifest, and one folder per committed chunk.

A chunk is written into a temporary folder, synchronised to the disk and renamed, so that it is there
whole or not at all. `members.parquet` and `metrics.parquet` are derived from the chunks.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset

from sweeps.space import StudyError

FORMAT_VERSION = 1
MANIFEST, CHUNKS = "manifest.json", "chunks"
WINDOW = 100_000  # members whose rows are in memory at once while the derived tables are written
ORDER = [
    ("member", "ascending"),
    ("step", "ascending"),
]  # of the rows of metrics; the first alone, of members


def check_new(directory: str | Path) -> None:
    """Raises a StudyError unless a run directory can be made there."""
    path = Path(directory)
    if path.exists() and not path.is_dir():
        raise StudyError(f"`out is a new or empty folder` must hold, but got {path}, which is a file")
    if path.exists() and any(path.iterdir()):
        what = "a run" if (path / MANIFEST).exists() else "something else"
        raise StudyError(
            f"`out is a new or empty folder` must hold, but got {path}, which holds {what}; name another"
        )


def create(directory: str | Path, manifest: dict[str, Any]) -> Path:
    """Makes a run directory.

    Args:
        directory: a path that does not exist, or an empty folder.
        manifest: what the run is.

    Raises:
        StudyError: the path is not a folder, holds something already, or cannot be written.
    """
    check_new(directory)
    path = Path(directory)
    try:
        (path / CHUNKS).mkdir(parents=True)
        _write(path / MANIFEST, json.dumps({"format_version": FORMAT_VERSION, **manifest}, indent=2).encode())
    except OSError as error:
        raise StudyError(f"`out can be written` must hold, but got {path}: {error.strerror}") from error
    return path


def commit(directory: Path, name: str, members: pa.Table, metrics: pa.Table) -> None:
    """Writes a chunk's rows: after this call they survive a power failure, before it there is no trace.

    Args:
        directory: the run directory.
        name: the chunk's folder name.
        members: one row per member.
        metrics: one row per member and evaluation.
    """
    temporary = directory / CHUNKS / f".{name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for kind, table in (("members", members), ("metrics", metrics)):
        with open(temporary / f"{kind}.parquet", "wb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
    _sync(temporary)
    temporary.rename(directory / CHUNKS / name)
    _sync(directory / CHUNKS)


def read_manifest(directory: str | Path) -> dict[str, Any]:
    """The manifest of a run directory.

    Raises:
        StudyError: there is none, it is damaged, or a later version of this package wrote it.
    """
    path = Path(directory) / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        version = manifest["format_version"]
    except FileNotFoundError:
        raise StudyError(f"`a run directory with {MANIFEST}` must be given, but got {directory}") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise StudyError(
            f"`{path} is a readable manifest` must hold, but got {type(error).__name__}: {error}"
        ) from error
    if version > FORMAT_VERSION:
        raise StudyError(
            f"`format_version <= {FORMAT_VERSION}` must hold, but got {version}; update lrelu-jax"
        )
    return manifest


def committed(directory: str | Path) -> list[Path]:
    """The folders of the committed chunks, in the order of their names."""
    return sorted(path for path in (Path(directory) / CHUNKS).iterdir() if not path.name.startswith("."))


def read(directory: str | Path, kind: str) -> pa.Table | None:
    """The rows of all committed chunks, in the order of member and step; None if there is no chunk.

    Args:
        directory: the run directory.
        kind: `members` or `metrics`.
    """
    tables = [pq.read_table(folder / f"{kind}.parquet") for folder in committed(directory)]
    if not tables:
        return None
    return pa.concat_tables(tables, promote_options="default").sort_by(ORDER[: 1 + (kind == "metrics")])


def derive(directory: Path, count: int, pending: Callable[[np.ndarray], pa.Table]) -> None:
    """Writes `members.parquet` and `metrics.parquet` from the chunks, each whole or not at all.

    Members are taken a window at a time, so that memory does not grow with their number.

    Args:
        directory: the run directory.
        count: how many members the run has.
        pending: ids to the rows of members that no chunk holds yet.
    """
    for kind in ("members", "metrics"):
        files = [str(folder / f"{kind}.parquet") for folder in committed(directory)]
        if files or kind == "members":
            rows = _windows(files, count, pending if kind == "members" else None)
            _write_windows(directory / f"{kind}.parquet", rows)


def _windows(
    files: list[str], count: int, pending: Callable[[np.ndarray], pa.Table] | None
) -> Iterator[pa.Table]:
    """The rows of the files in the order of members, some members at a time."""
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
    temporary = path.with_name(f".{path.name}.tmp")
    first = next(windows)
    with open(temporary, "wb") as file:
        with pq.ParquetWriter(file, first.schema) as writer:
            writer.write_table(first)
            for window in windows:
                writer.write_table(window.cast(first.schema))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
