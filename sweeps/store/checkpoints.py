"""Where a chunk is in its training: its stacked carry and its evaluations so far, kept on the disk."""

import contextlib
import math
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.store import checksums
from sweeps.store.arrays import load_arrays, save_arrays
from sweeps.store.checksums import READING_ERRORS, Damaged
from sweeps.store.durable import publish

CHECKPOINTS, RECORD, STATE, EVALUATIONS = "checkpoints", "checkpoint.json", "state", "evaluations.parquet"
KEYS = ("step", "start", "evaluated", "members", "arrays", "setting")  # of the record
NAME = re.compile(r"(\d+)(-evaluated)?")

Evaluations = list[tuple[int, dict[str, np.ndarray]]]


class Checkpoint(NamedTuple):
    """A chunk between two steps.

    Attributes:
        step: how many steps are done.
        members: the ids, one per row.
        leaves: the arrays of the carry, a row per member.
        evaluations: step and metrics, an array of one value per member each.
        setting: the numerical setting of the steps so far.
        start: the step that the chunk began after.
        seconds: how long the steps since then took to train and evaluate; NaN if that is not known.
    """

    step: int
    members: np.ndarray
    leaves: list[np.ndarray]
    evaluations: Evaluations
    setting: dict[str, Any]
    start: int = 0
    seconds: float = math.nan

    @property
    def evaluated(self) -> bool:
        """Whether its step is evaluated, so that another chunk can begin from it."""
        return bool(self.evaluations) and self.evaluations[-1][0] == self.step


def save(directory: Path, name: str, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, whole or not at all, and removes the chunk's earlier ones.

    Args:
        directory: the run directory.
        name: the chunk's name.
        checkpoint: where it is.
    """
    folder = directory / CHECKPOINTS / name / f"{checkpoint.step}{'-evaluated' * checkpoint.evaluated}"

    def write(temporary: Path) -> None:
        save_arrays(temporary / STATE, checkpoint.leaves)
        columns = {"step": np.repeat([step for step, _ in checkpoint.evaluations], len(checkpoint.members))}
        for metric in checkpoint.evaluations[0][1] if checkpoint.evaluations else ():
            columns[metric] = np.concatenate([values[metric] for _, values in checkpoint.evaluations])
        pq.write_table(pa.table(columns), temporary / EVALUATIONS, write_page_checksum=True)
        record = {
            "step": checkpoint.step,
            "start": checkpoint.start,
            "evaluated": checkpoint.evaluated,
            "members": checkpoint.members.tolist(),
            "arrays": [[list(leaf.shape), str(leaf.dtype)] for leaf in checkpoint.leaves],
            "setting": checkpoint.setting,
            "seconds": checkpoint.seconds if math.isfinite(checkpoint.seconds) else None,
        }
        (temporary / RECORD).write_text(checksums.sealed(record))

    if not folder.exists():
        publish(folder, write)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other)


def load(folder: Path) -> Checkpoint:
    """Reads one checkpoint.

    Args:
        folder: `checkpoints/<chunk>/<step>` of the run directory.
    """
    record = _record(folder)
    with pq.ParquetFile(folder / EVALUATIONS, page_checksum_verification=True) as file:
        table = file.read(use_threads=False)
    members, evaluations = np.asarray(record["members"]), []
    for first in range(0, len(table), len(members)):
        rows = table.slice(first, len(members))
        values = {
            name: rows[name].to_numpy(zero_copy_only=False) for name in table.column_names if name != "step"
        }
        evaluations.append((rows["step"][0].as_py(), values))
    seconds = record.get("seconds")  # which earlier versions did not take down
    return Checkpoint(
        record["step"],
        members,
        load_arrays(folder / STATE, record["arrays"]),
        evaluations,
        record["setting"],
        seconds=math.nan if seconds is None else seconds,
    )


def damage(folder: Path, arrays: bool = True) -> str | None:
    """What is wrong with a checkpoint; None if it is what was written.

    Args:
        folder: `checkpoints/<chunk>/<step>` of the run directory.
        arrays: whether to read the arrays too, the most of it.
    """
    try:
        if not checksums.check(
            folder, (RECORD, EVALUATIONS), "" if arrays else STATE
        ):  # an earlier version's
            _record(folder)
            if arrays:
                load(folder)
    except (*READING_ERRORS, KeyError, TypeError) as error:
        return str(error).splitlines()[0] if isinstance(error, Damaged) else f"it cannot be read ({error!r})"
    return None


def folders(directory: Path) -> Iterator[list[Path]]:
    """By chunk the folders of its checkpoints, damaged or not, the newest first.

    Args:
        directory: the run directory.
    """
    for chunk in sorted((directory / CHECKPOINTS).glob("[0-9]*")):
        # A name that goes on after the step, since that is evaluated, comes after the step alone.
        there = {path: NAME.fullmatch(path.name) for path in chunk.glob("[0-9]*")}
        steps = [(int(name[1]), path.name, path) for path, name in there.items() if name]
        yield [path for *_, path in sorted(steps, reverse=True)]


def newest(directory: Path) -> dict[Path, dict[str, Any]]:
    """The newest checkpoint of every chunk that has one, and its record; damaged ones are left out.

    Args:
        directory: the run directory.
    """
    found = {}
    for chunk in folders(directory):
        for folder in chunk:
            # One that another worker replaces meanwhile is of another chunk, or there will be a newer one.
            with contextlib.suppress(*READING_ERRORS):
                found[folder] = _record(folder)
                break
    return found


def evaluations(directory: Path) -> list[pa.Table]:
    """What members in flight were evaluated to until their chunk's newest checkpoint: rows of metrics.

    Args:
        directory: the run directory.
    """
    found = []
    for folder, record in newest(directory).items():
        with contextlib.suppress(*READING_ERRORS):  # one that has just gone
            with pq.ParquetFile(folder / EVALUATIONS, page_checksum_verification=True) as file:
                table = file.read(use_threads=False)
            if len(table):
                rows = np.tile(np.asarray(record["members"]), len(table) // len(record["members"]))
                found.append(table.add_column(0, "member", pa.array(rows, pa.int64())))
    return found


def in_flight(
    directory: Path, members: np.ndarray, start: int, stop: int, after: int | None = None
) -> Checkpoint | None:
    """The newest rows of members inside an interval, from however many checkpoints.

    Args:
        directory: the run directory.
        members: ids.
        start: the step after which the interval begins.
        stop: the step with which it ends.
        after: the step after which they are trained, earlier where that is done again; None takes the start.

    Returns:
        A checkpoint of these members; None unless all of them are found, at one step and evaluated after the
        same ones.
    """
    found = {
        folder: record
        for folder, record in newest(directory).items()
        if record["start"] == start and (start if after is None else after) < record["step"] <= stop
    }
    return _gather(found, members)


def at_rung(directory: Path, members: np.ndarray, step: int) -> Checkpoint | None:
    """The states that members ended an interval with, with no evaluations; None unless all are found.

    Args:
        directory: the run directory.
        members: ids, some perhaps more than once.
        step: the step with which the interval ended.
    """
    found = {
        folder: record
        for folder, record in newest(directory).items()
        if record["evaluated"] and record["step"] == step
    }
    gathered = _gather(found, members, evaluations=False)
    return None if gathered is None else gathered._replace(start=step, seconds=0.0)


def joined(parts: Sequence[Checkpoint]) -> Checkpoint:
    """All rows of some checkpoints as one.

    Args:
        parts: checkpoints at one step, evaluated after the same steps.
    """
    first, *others = parts
    if not others:
        return first
    evaluations = [
        (
            step,
            {name: np.concatenate([part.evaluations[place][1][name] for part in parts]) for name in values},
        )
        for place, (step, values) in enumerate(first.evaluations)
    ]
    return first._replace(
        members=np.concatenate([part.members for part in parts]),
        leaves=[np.concatenate(rows) for rows in zip(*(part.leaves for part in parts), strict=True)],
        evaluations=evaluations,
        seconds=sum(part.seconds for part in parts),
    )


def _record(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; raises Damaged where that, or its table, is gone."""
    record, _ = checksums.unsealed(folder / RECORD, KEYS)
    if not (folder / EVALUATIONS).is_file():
        raise Damaged(f"{EVALUATIONS} is missing")
    return record


def _gather(
    records: dict[Path, dict[str, Any]], members: np.ndarray, evaluations: bool = True
) -> Checkpoint | None:
    missing, parts = members, []
    for folder, record in sorted(records.items(), key=lambda item: -item[1]["step"]):
        there = np.intersect1d(missing, record["members"])
        if len(there):
            missing = np.setdiff1d(missing, there)
            part = _rows(load(folder), there)
            parts.append(part if evaluations else part._replace(evaluations=[]))
    # What was evaluated at its last step is in another state there than what was not yet.
    if len(missing) or len({(part.step, *(step for step, _ in part.evaluations)) for part in parts}) != 1:
        return None
    return _rows(joined(parts), members)


def _rows(checkpoint: Checkpoint, members: np.ndarray) -> Checkpoint:
    """The checkpoint of these members alone, in their order, with their share of the seconds."""
    order = np.argsort(checkpoint.members, kind="stable")
    rows = order[np.searchsorted(checkpoint.members[order], members)]
    return checkpoint._replace(
        members=members,
        leaves=[leaf[rows] for leaf in checkpoint.leaves],
        evaluations=[
            (step, {name: column[rows] for name, column in values.items()})
            for step, values in checkpoint.evaluations
        ],
        seconds=checkpoint.seconds * len(members) / len(checkpoint.members),
    )


def remove(directory: Path, name: str) -> None:
    """Removes the checkpoints of a chunk.

    Args:
        directory: the run directory.
        name: the chunk's name.
    """
    shutil.rmtree(directory / CHECKPOINTS / name, ignore_errors=True)


def prune(directory: Path, step: float | int, keep: Mapping[int, Collection[int]] | None = None) -> None:
    """Removes the checkpoints before a step, which no chunk begins from any more.

    Args:
        directory: the run directory.
        step: the step; infinity for a run that is finished and keeps no states.
        keep: step to members whose states at it stay; None keeps none.
    """
    for folder, record in newest(directory).items():
        wanted = (keep or {}).get(record["step"], ()) if record["evaluated"] else ()
        if record["step"] < step and not set(record["members"]).intersection(wanted):
            shutil.rmtree(folder.parent)
    if step == math.inf and not keep:
        shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)


class Writer:
    """Writes checkpoints in a thread, one at a time.

    Args:
        directory: the run directory.
        seconds: how long to train between two.
    """

    def __init__(self, directory: Path, seconds: float | int):
        self.directory, self.seconds = directory, seconds
        self.last = time.monotonic()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="sweeps-checkpoint")
        self.pending: Future[None] | None = None

    def begin(self) -> None:
        """Says that a chunk begins, whose first checkpoint is due one interval from now."""
        self.last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for another one, and the last has been written."""
        busy = self.pending is not None and not self.pending.done()
        return not busy and time.monotonic() - self.last >= self.seconds

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Starts to write a checkpoint; the arrays must not change any more.

        Args:
            name: the chunk's name.
            checkpoint: where it is.
        """
        self.finish()
        self.last = time.monotonic()
        self.pending = self.thread.submit(save, self.directory, name, checkpoint)

    def finish(self) -> str | None:
        """Waits for what is being written; returns why it could not be, or None."""
        pending, self.pending = self.pending, None
        error = None if pending is None else pending.exception()
        return None if error is None else f"{type(error).__name__}: {error}".splitlines()[0]
