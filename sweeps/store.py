"""The run directory: a manifest, and one folder per committed chunk.

A chunk is written into a temporary folder, synchronised to the disk and renamed, so that it is there
whole or not at all. `members.parquet` and `metrics.parquet` are derived from the chunks.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.space import StudyError

FORMAT_VERSION = 1
MANIFEST, CHUNKS = "manifest.json", "chunks"
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


def derive(directory: Path, members: pa.Table) -> None:
    """Writes `members.parquet` and `metrics.parquet`, each whole or not at all.

    Args:
        directory: the run directory; the metrics are those of its chunks.
        members: the rows of all members.
    """
    _write_table(directory / "members.parquet", members.sort_by(ORDER[:1]))
    metrics = read(directory, "metrics")
    if metrics is not None:
        _write_table(directory / "metrics.parquet", metrics)


def _write_table(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    _write(path, sink.getvalue().to_pybytes())


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
