"""The run directory: a manifest, and one folder per committed chunk.

A chunk is written into a temporary folder, synchronised to the disk and renamed, so that it is there
whole or not at all. `members.parquet` and `metrics.parquet` are derived from the chunks.
"""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.durability import publish, replace, writing
from sweeps.rungs import RUNGS, latest, stopped_members
from sweeps.space import StudyError

FORMAT_VERSION = 1
MANIFEST, CHUNKS, SETTING = "manifest.json", "chunks", "setting.json"
CONFIRMATION = "confirmation"  # the run directory of the winner on fresh seeds, inside that of its run
KINDS = ("members", "metrics")  # of rows
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
        other = f", or `sweeps resume {path}`" if what == "a run" else ""
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

    def write(folder: Path) -> None:
        (folder / CHUNKS).mkdir()
        replace(folder / MANIFEST, lambda temporary: temporary.write_text(_as_text(manifest)))

    with writing("out"):
        write(path) if path.exists() else publish(path, write)
    return path


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Replaces the manifest of a run directory.

    Args:
        directory: the run directory.
        manifest: what the run is.

    Raises:
        StudyError: it cannot be written.
    """
    with writing(str(directory / MANIFEST)):
        replace(directory / MANIFEST, lambda temporary: temporary.write_text(_as_text(manifest)))


def discard(directory: Path) -> None:
    """Removes a run directory in which nothing was trained."""
    if not committed(directory):
        shutil.rmtree(directory)


def commit(directory: Path, name: str, members: pa.Table, metrics: pa.Table, setting: dict[str, Any]) -> None:
    """Writes a chunk's rows: after this call they survive a power failure, before it there is no trace.

    Args:
        directory: the run directory.
        name: the chunk's folder name.
        members: one row per member.
        metrics: one row per member and evaluation.
        setting: the numerical setting that it ran in.

    Raises:
        StudyError: it cannot be written.
    """

    def write(folder: Path) -> None:
        pq.write_table(members, folder / "members.parquet")
        pq.write_table(metrics, folder / "metrics.parquet")
        (folder / SETTING).write_text(json.dumps(setting, indent=2))

    with writing(str(directory / CHUNKS / name)):
        publish(directory / CHUNKS / name, write)


def read_chunk(folder: Path) -> tuple[pa.Table, pa.Table]:
    """The rows of members and of metrics of a committed chunk.

    Args:
        folder: its folder.
    """
    return pq.read_table(folder / "members.parquet"), pq.read_table(folder / "metrics.parquet")


def clean(directory: Path) -> list[str]:
    """Removes what a process that was killed left half-written, and sets damaged chunks aside.

    Call it only while holding the directory's lock.

    Args:
        directory: the run directory.

    Returns:
        The damaged chunks' names; they are kept beside the others, out of sight, as `.NAME.damaged`.
    """
    for path in [*directory.glob(".*.tmp"), *directory.glob("*/.*.tmp"), *directory.glob("*/*/.*.tmp")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    damaged = [folder for folder in committed(directory) if _damage(folder)]
    for folder in damaged:
        aside = folder.with_name(f".{folder.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    return [folder.name for folder in damaged]


def reopen(directory: Path) -> int:
    """Sets chunks aside whose members were given up as `failed`, so that they are trained again.

    Call it only while holding the directory's lock.

    Args:
        directory: the run directory.

    Returns:
        How many members there are in them.
    """
    count = 0
    for folder in committed(directory):
        status = pq.read_table(folder / "members.parquet", columns=["status"])["status"].to_pylist()
        if "failed" in status:
            count += len(status)
            aside = folder.with_name(f".{folder.name}.failed")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
    return count


def errors(directory: Path) -> dict[int, str]:
    """Why members were given up as `failed`.

    Args:
        directory: the run directory.
    """
    found = {}
    for folder in committed(directory):
        error = read_setting(folder).get("error")
        if error is not None:
            found |= dict.fromkeys(read_chunk(folder)[0]["member"].to_pylist(), error)
    return found


def read_setting(folder: Path) -> dict[str, Any]:
    """The numerical setting that a committed chunk ran in."""
    return json.loads((folder / SETTING).read_text())


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


class Interval(NamedTuple):
    """The steps that a committed chunk covers: after `start`, up to and with `stop`."""

    start: int
    stop: int


def interval(folder: Path) -> Interval:
    """The interval of a committed chunk, which its name ends in."""
    start, stop = folder.name.split("-")[-2:]
    return Interval(int(start), int(stop))


def committed_members(directory: str | Path, steps: Interval) -> np.ndarray:
    """The ids of the members whose rows of an interval are committed, ascending.

    Args:
        directory: the run directory.
        steps: the interval.
    """
    found = [
        pq.read_table(folder / "members.parquet", columns=["member"])["member"].to_numpy()
        for folder in committed(directory)
        if interval(folder) == steps
    ]
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)


def progress(directory: str | Path, steps: int) -> tuple[int, int, int]:
    """How many members came to the last step, how many steps were trained, and how many members diverged.

    Args:
        directory: the run directory.
        steps: the last step.
    """
    done = trained = diverged = 0
    for folder in committed(directory):
        status = pq.read_table(folder / "members.parquet", columns=["status"])["status"].to_pylist()
        done += status.count("done")
        diverged += status.count("diverged")
        trained += len(status) * (interval(folder).stop - interval(folder).start)
    return done, trained, diverged


def scores(directory: Path, members: np.ndarray, metric: str, stop: int | None = None) -> np.ndarray:
    """A metric of members at the end of an interval, NaN where one has diverged or has no row.

    Args:
        directory: the run directory.
        members: ids.
        metric: the metric's name.
        stop: the step with which the interval ends; None takes the last of each member.
    """
    found: dict[int, float] = {}
    ends = {folder: interval(folder).stop for folder in committed(directory)}
    for folder, end in sorted(ends.items(), key=lambda item: item[1]):
        if stop is None or end == stop:
            rows = pq.read_table(folder / "metrics.parquet", columns=["member", "step", metric])
            rows = rows.filter(rows["step"].to_numpy() == end)
            alive = pq.read_table(folder / "members.parquet", columns=["member", "diverged_at"])
            diverged = alive.filter(alive["diverged_at"].is_valid())["member"].to_pylist()
            found |= dict(zip(rows["member"].to_pylist(), rows[metric].to_pylist(), strict=True))
            found |= dict.fromkeys(diverged, float("nan"))
    values = [found.get(member) for member in members.tolist()]
    return np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)


def read(directory: str | Path, kind: str) -> pa.Table | None:
    """The rows of all committed chunks, in the order of member and step; None if there is no chunk.

    Args:
        directory: the run directory.
        kind: `members` or `metrics`.

    Warns:
        UserWarning: a chunk is damaged; its rows are left out.
    """
    tables, stops = [], []
    for folder in committed(directory):
        damage = _damage(folder)
        if damage:
            warnings.warn(
                f"{damage}; the rows of this chunk are left out, `sweeps resume {directory}` trains its "
                f"members again",
                stacklevel=2,
            )
        else:
            tables.append(pq.read_table(folder / f"{kind}.parquet"))
            stops.append(interval(folder).stop)
    if not tables:
        return None
    if kind == "members" and scheduled(Path(directory)):
        return latest(tables, stops, stopped_members(Path(directory)))
    return pa.concat_tables(tables, promote_options="default").sort_by(ORDER[: 1 + (kind == "metrics")])


def scheduled(directory: Path) -> bool:
    """Whether members have several intervals, or are stopped after one."""
    return (directory / RUNGS).exists()


def _damage(folder: Path) -> str | None:
    """What is wrong with a chunk; None if its files can be read."""
    for kind in KINDS:
        try:
            pq.read_metadata(folder / f"{kind}.parquet")
        except (OSError, pa.ArrowException) as error:
            return f"{folder / kind}.parquet is damaged ({str(error).splitlines()[0]})"
    return None


def _as_text(manifest: dict[str, Any]) -> str:
    return json.dumps({"format_version": FORMAT_VERSION, **manifest}, indent=2)
