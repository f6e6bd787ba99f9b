"""Where a chunk is in its training: its stacked carry and its evaluations so far, kept on the disk."""

import contextlib
import json
import math
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.durability import publish

CHECKPOINTS, RECORD, STATE, EVALUATIONS = "checkpoints", "checkpoint.json", "state", "evaluations.parquet"
PACKED, SMALL = "packed", 2**22  # arrays of fewer bytes are written as one

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
    """

    step: int
    members: np.ndarray
    leaves: list[np.ndarray]
    evaluations: Evaluations
    setting: dict[str, Any]
    start: int = 0

    @property
    def evaluated(self) -> bool:
        """Whether its step is evaluated, so that another chunk can begin from it."""
        return bool(self.evaluations) and self.evaluations[-1][0] == self.step


def to_host(tree: Any, rows: int) -> list[np.ndarray]:
    """The leaves of a stacked pytree as NumPy arrays, the first rows of each; random keys as their data.

    Args:
        tree: the pytree.
        rows: how many rows are wanted; those past them are padding.
    """
    leaves = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)]
    return [np.array(leaf)[:rows] for leaf in jax.device_get(leaves)]


def from_host(leaves: Sequence[np.ndarray], like: Any) -> Any:
    """The pytree again.

    Args:
        leaves: what `to_host` gave.
        like: a pytree of its structure and dtypes.
    """
    wanted, structure = jax.tree.flatten(like)
    keys = {"fry": "threefry2x32", "rbg": "rbg", "unrbg": "unsafe_rbg"}
    found = [
        jax.random.wrap_key_data(
            jnp.asarray(leaf), impl=keys[str(other.dtype).removeprefix("key<").removesuffix(">")]
        )
        if _is_key(other)
        else leaf
        for leaf, other in zip(leaves, wanted, strict=True)
    ]
    return jax.tree.unflatten(structure, found)


def save_arrays(folder: Path, arrays: Sequence[np.ndarray]) -> None:
    """Writes arrays with Orbax.

    Args:
        folder: a path that does not exist.
        arrays: any number of them. Small ones are written as one, since each takes Orbax milliseconds.
    """
    import orbax.checkpoint

    named = {str(place): array for place, array in enumerate(arrays) if array.nbytes >= SMALL}
    small = [np.ravel(array).view(np.uint8) for array in arrays if array.nbytes < SMALL]
    named[PACKED] = np.concatenate([*small, np.zeros(1, np.uint8)])  # Orbax refuses empty arrays
    orbax.checkpoint.PyTreeCheckpointer().save(folder.absolute(), named)


def load_arrays(folder: Path, shapes: Sequence[Sequence[Any]]) -> list[np.ndarray]:
    """Reads what `save_arrays` wrote.

    Args:
        folder: its path.
        shapes: the shape and the name of the dtype of every array.
    """
    import orbax.checkpoint

    named = orbax.checkpoint.PyTreeCheckpointer().restore(folder.absolute())
    packed, start, arrays = np.asarray(named[PACKED]), 0, []
    for place, (shape, name) in enumerate(shapes):
        dtype = np.dtype(name)
        stop = start + math.prod(shape) * dtype.itemsize
        if stop - start >= SMALL:
            arrays.append(np.asarray(named[str(place)]))
        else:
            arrays.append(packed[start:stop].copy().view(dtype).reshape(shape))
            start = stop
    return arrays


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
        pq.write_table(pa.table(columns), temporary / EVALUATIONS)
        record = {
            "step": checkpoint.step,
            "start": checkpoint.start,
            "evaluated": checkpoint.evaluated,
            "members": checkpoint.members.tolist(),
            "arrays": [[list(leaf.shape), str(leaf.dtype)] for leaf in checkpoint.leaves],
            "setting": checkpoint.setting,
        }
        (temporary / RECORD).write_text(json.dumps(record))

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
    record = json.loads((folder / RECORD).read_text())
    table = pq.read_table(folder / EVALUATIONS)
    members, evaluations = np.asarray(record["members"]), []
    for first in range(0, len(table), len(members)):
        rows = table.slice(first, len(members))
        values = {
            name: rows[name].to_numpy(zero_copy_only=False) for name in table.column_names if name != "step"
        }
        evaluations.append((rows["step"][0].as_py(), values))
    return Checkpoint(
        record["step"], members, load_arrays(folder / STATE, record["arrays"]), evaluations, record["setting"]
    )


def newest(directory: Path) -> dict[Path, dict[str, Any]]:
    """The newest checkpoint of every chunk that has one, and its record.

    Args:
        directory: the run directory.
    """
    found = {}
    for chunk in sorted((directory / CHECKPOINTS).glob("[0-9]*")):
        # One that another worker replaces meanwhile is of another chunk, or there will be a newer one.
        with contextlib.suppress(FileNotFoundError):
            there = [path for path in chunk.iterdir() if path.name[0] != "."]
            if there:
                # A name that goes on after the step, since that is evaluated, comes after the step alone.
                folder = max(there, key=lambda path: (int(path.name.partition("-")[0]), path.name))
                found[folder] = json.loads((folder / RECORD).read_text())
    return found


def in_flight(directory: Path, members: np.ndarray, start: int, stop: int) -> Checkpoint | None:
    """The newest rows of members inside an interval, from however many checkpoints.

    Args:
        directory: the run directory.
        members: ids.
        start: the step after which the interval begins.
        stop: the step with which it ends.

    Returns:
        A checkpoint of these members; None unless all of them are found, at one step.
    """
    found = {
        folder: record
        for folder, record in newest(directory).items()
        if record["start"] == start and start < record["step"] <= stop
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
    gathered = _gather(found, members)
    return None if gathered is None else gathered._replace(evaluations=[], start=step)


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
    )


def _gather(records: dict[Path, dict[str, Any]], members: np.ndarray) -> Checkpoint | None:
    missing, parts = members, []
    for folder, record in sorted(records.items(), key=lambda item: -item[1]["step"]):
        there = np.intersect1d(missing, record["members"])
        if len(there):
            missing = np.setdiff1d(missing, there)
            parts.append(_rows(load(folder), there))
    if len(missing) or len({part.step for part in parts}) != 1:
        return None
    return _rows(joined(parts), members)


def _rows(checkpoint: Checkpoint, members: np.ndarray) -> Checkpoint:
    """The checkpoint of these members alone, in their order."""
    order = np.argsort(checkpoint.members, kind="stable")
    rows = order[np.searchsorted(checkpoint.members[order], members)]
    return checkpoint._replace(
        members=members,
        leaves=[leaf[rows] for leaf in checkpoint.leaves],
        evaluations=[
            (step, {name: column[rows] for name, column in values.items()})
            for step, values in checkpoint.evaluations
        ],
    )


def remove(directory: Path, name: str) -> None:
    """Removes the checkpoints of a chunk.

    Args:
        directory: the run directory.
        name: the chunk's name.
    """
    shutil.rmtree(directory / CHECKPOINTS / name, ignore_errors=True)


def prune(directory: Path, step: int) -> None:
    """Removes the checkpoints before a step, which no chunk begins from any more.

    Args:
        directory: the run directory.
        step: the step.
    """
    for folder, record in newest(directory).items():
        if record["step"] < step:
            shutil.rmtree(folder.parent)


def clear(directory: Path) -> None:
    """Removes all checkpoints of a run that is finished.

    Args:
        directory: the run directory.
    """
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


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
