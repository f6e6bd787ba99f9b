"""The run directory: a manifest, and one folder per committed chunk.

A chunk is written into a temporary folder, synchronised to the disk and renamed, so that it is there
whole or not at all. `members.parquet` and `metrics.parquet` are derived from the chunks.
"""

import contextlib
import itertools
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.errors import StudyError, resume_line
from sweeps.store import checksums
from sweeps.store.checksums import READING_ERRORS, Damaged
from sweeps.store.durable import publish, writing
from sweeps.store.manifest import MANIFEST as MANIFEST
from sweeps.store.manifest import has_manifest as has_manifest
from sweeps.store.manifest import lengths_of
from sweeps.store.manifest import read_manifest as read_manifest
from sweeps.store.manifest import write_manifest as write_manifest
from sweeps.store.rungs import RUNGS, latest, stopped_members, warn_of_damage
from sweeps.store.statuses import Status

CHUNKS, SETTING, SECONDS = "chunks", "setting.json", "seconds.json"
NAME = re.compile(r"\d+-\d+-\d+-\d+")  # of a chunk: group, first member, and the steps it covers
CONFIRMATION = "confirmation"  # the run directory of the winner on fresh seeds, inside that of its run
KINDS = ("members", "metrics")  # of rows
ORDER = [
    ("member", "ascending"),
    ("step", "ascending"),
]  # of the rows of metrics; the first alone, of members


def check_new(directory: str | Path) -> None:
    """Raises a StudyError unless a run directory can be made there."""
    path = Path(directory)
    if "\0" in str(path):
        raise StudyError(f"`out is a path` must hold, but got {str(path)!r}, with a zero byte in it")
    if os.path.islink(path) and not os.path.exists(path):
        raise StudyError(
            f"`out is a new or empty folder` must hold, but got {path}, a link to {os.readlink(path)}, where "
            f"nothing is; make that folder, or name another"
        )
    if os.path.exists(path) and not os.path.isdir(path):
        raise StudyError(f"`out is a new or empty folder` must hold, but got {path}, which is a file")
    with writing("out"):
        taken = os.path.exists(path) and any(path.iterdir())
    if taken:
        what = "a run" if has_manifest(path) else "something else"
        other = f", or `{resume_line(path)}`" if what == "a run" else ""
        raise StudyError(
            f"`out is a new or empty folder` must hold, but got {path}, which holds {what}; name another"
            f"{other}"
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
    there = standing(path)

    def write(folder: Path) -> None:
        (folder / CHUNKS).mkdir()
        write_manifest(folder, manifest)

    try:
        write(path) if there == path else publish(path, write, changes=True)
    except OSError:
        check_new(path)  # someone else may have been faster
        _remove_empty(path, there)
        with writing("out"):
            raise
    return path


def standing(directory: str | Path) -> Path:
    """The path itself, or else the nearest folder above it, that is there."""
    path = Path(directory)
    return next((place for place in (path, *path.parents) if os.path.exists(place)), path)


def discard(directory: Path, there: Path) -> None:
    """Removes a run in which nothing was trained, and the folders that were made for it.

    Args:
        directory: the run directory.
        there: what `standing` said before it was made; that stays.
    """
    if not committed(directory):
        for path in directory.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        _remove_empty(directory, there)


def _remove_empty(path: Path, there: Path) -> None:
    """Removes a folder and those above it up to one, which stays; one that is not empty stays too."""
    for place in itertools.takewhile(lambda place: place != there, (path, *path.parents)):
        with contextlib.suppress(OSError):
            place.rmdir()


def commit(
    directory: Path,
    name: str,
    members: pa.Table,
    metrics: pa.Table,
    setting: dict[str, Any],
    seconds: float = math.nan,
) -> None:
    """Writes a chunk's rows: after this call they survive a power failure, before it there is no trace.

    Args:
        directory: the run directory.
        name: the chunk's folder name.
        members: one row per member.
        metrics: one row per member and evaluation.
        setting: the numerical setting that it ran in.
        seconds: how long it took to train and evaluate; NaN if that is not known.

    Raises:
        StudyError: it cannot be written.
    """

    def write(folder: Path) -> None:
        pq.write_table(members, folder / "members.parquet", write_page_checksum=True)
        pq.write_table(metrics, folder / "metrics.parquet", write_page_checksum=True)
        (folder / SETTING).write_text(json.dumps(setting, indent=2))
        if math.isfinite(seconds):
            (folder / SECONDS).write_text(checksums.sealed({"seconds": round(seconds, 6)}))

    with writing(str(directory / CHUNKS / name)):
        publish(directory / CHUNKS / name, write, apart=(SECONDS,))  # no two runs take as long


def read_chunk(folder: Path) -> tuple[pa.Table, pa.Table]:
    """The rows of members and of metrics of a committed chunk.

    Args:
        folder: its folder.
    """
    return read_file(folder / "members.parquet"), read_file(folder / "metrics.parquet")


def read_file(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one file; several times as fast as `pyarrow.parquet.read_table` where they are few.

    Args:
        path: a Parquet file.
        columns: the columns wanted; None takes all.
    """
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read(columns=columns, use_threads=False)


def read_setting(folder: Path) -> dict[str, Any]:
    """The numerical setting that a committed chunk ran in."""
    return json.loads((folder / SETTING).read_text())


def committed(directory: str | Path) -> list[Path]:
    """The folders of the committed chunks, in the order of their names."""
    return [Path(directory) / CHUNKS / name for name in committed_names(directory)]


def committed_names(directory: str | Path) -> list[str]:
    """The names of the committed chunks, ascending."""
    try:
        return sorted(name for name in os.listdir(Path(directory) / CHUNKS) if NAME.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):  # which `resume` makes again
        return []


def damage(folder: Path) -> str | None:
    """What is wrong with a committed chunk; None if it is what was written.

    Args:
        folder: its folder.
    """
    files = [f"{kind}.parquet" for kind in KINDS]
    try:
        if not checksums.check(folder, [*files, SETTING]):  # an earlier version's
            read_chunk(folder)
            read_setting(folder)
    except READING_ERRORS as error:  # pyarrow's are among them
        return str(error).splitlines()[0] if isinstance(error, Damaged) else f"it cannot be read ({error})"
    return None


def readable(directory: str | Path, folders: Sequence[Path] | None = None) -> list[Path]:
    """The folders of those committed chunks that are what was written.

    Args:
        directory: the run directory.
        folders: of the chunks that are looked at; None takes all.

    Warns:
        UserWarning: a chunk is damaged, and left out.
    """
    found = []
    for folder in committed(directory) if folders is None else folders:
        why = damage(folder)
        if why is None:
            found.append(folder)
        elif folder.exists():  # otherwise it has just been set aside
            warnings.warn(
                f"{folder} is damaged: {why}; the rows of this chunk are left out, "
                f"`{resume_line(directory)}` trains its members again",
                stacklevel=3,
            )
    return found


class Interval(NamedTuple):
    """The steps that a committed chunk covers: after `start`, up to and with `stop`."""

    start: int
    stop: int


def interval(folder: Path) -> Interval:
    """The interval of a committed chunk, which its name ends in."""
    start, stop = folder.name.split("-")[-2:]
    return Interval(int(start), int(stop))


def members_of(folder: Path) -> np.ndarray:
    """The ids of the members of a committed chunk.

    Args:
        folder: `chunks/<name>` of the run directory.
    """
    return read_file(folder / "members.parquet", ["member"])["member"].to_numpy()


def committed_members(directory: str | Path, steps: Interval) -> np.ndarray:
    """The ids of the members whose rows of an interval are committed, ascending.

    Args:
        directory: the run directory.
        steps: the interval.
    """
    found = [members_of(folder) for folder in committed(directory) if interval(folder) == steps]
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)


def members_with(directory: Path, stop: int, *statuses: Status) -> np.ndarray:
    """The ids of the members that an interval left with one of some statuses, ascending.

    Args:
        directory: the run directory.
        stop: the step with which the interval ends.
        *statuses: the statuses.
    """
    found = [np.zeros(0, np.int64)]
    for folder in committed(directory):
        if interval(folder).stop == stop:
            rows = read_file(folder / "members.parquet", ["member", "status"])
            found.append(rows["member"].to_numpy()[np.isin(rows["status"].to_pylist(), statuses)])
    return np.sort(np.concatenate(found))


def progress(directory: str | Path, steps: int) -> tuple[int, dict[int, int], int]:
    """How many members came to the last step, how many steps of each group were trained, how many diverged.

    Args:
        directory: the run directory.
        steps: the last step.
    """
    done, trained, diverged = 0, {}, 0
    for folder in committed(directory):
        status = read_file(folder / "members.parquet", ["status"])["status"].to_pylist()
        start, stop = interval(folder)
        done += status.count(Status.DONE) * (stop == steps)
        diverged += status.count(Status.DIVERGED)
        group = int(folder.name.split("-")[0])
        trained[group] = trained.get(group, 0) + len(status) * (stop - start)
    return done, trained, diverged


def read(directory: str | Path, kind: str, columns: Sequence[str] | None = None) -> pa.Table | None:
    """The rows of all committed chunks, in the order of member and step; None if there is no chunk.

    Args:
        directory: the run directory.
        kind: `members` or `metrics`.
        columns: the columns wanted, `member` among them, and `status` of a run with a schedule; None takes
            all.

    Warns:
        UserWarning: a chunk is damaged; its rows are left out.
    """
    folders = readable(directory)
    return merged(
        Path(directory), kind, folders, [read_file(folder / f"{kind}.parquet", columns) for folder in folders]
    )


def merged(directory: Path, kind: str, folders: Sequence[Path], tables: list[pa.Table]) -> pa.Table | None:
    """The rows of some chunks as `read` has them; None if there is no chunk.

    Args:
        directory: the run directory.
        kind: `members` or `metrics`.
        folders: the chunks.
        tables: the rows of each.

    Warns:
        UserWarning: a decision between two rounds is damaged.
    """
    if not tables:
        return None
    if kind == "members" and scheduled(directory, folders):
        warn_of_damage(directory, {interval(folder).start for folder in folders})
        stops = [interval(folder).stop for folder in folders]
        return latest(tables, stops, stopped_members(directory), lengths_of(directory)[:-1])
    # A metric may be float32 in one chunk and float64 in another, which a later version has written.
    return pa.concat_tables(tables, promote_options="permissive").sort_by(ORDER[: 1 + (kind == "metrics")])


def scheduled(directory: Path, folders: Sequence[Path]) -> bool:
    """Whether members have several intervals, or are stopped after one, or are to go on after one.

    Args:
        directory: the run directory.
        folders: its committed chunks.
    """
    several = len({interval(folder) for folder in folders}) > 1
    return several or (directory / RUNGS).exists() or len(lengths_of(directory)) > 1
