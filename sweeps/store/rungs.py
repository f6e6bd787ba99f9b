"""What was decided between the rounds of a schedule, kept so that every reader agrees on it."""

import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.errors import resume_line
from sweeps.schedules.decision import Decision
from sweeps.store.checksums import Damaged, sealed, unsealed
from sweeps.store.durable import replace_text, writing
from sweeps.store.manifest import lengths_of
from sweeps.store.statuses import Status

RUNGS = "rungs"
KEYS = ("step", "stopped", "sources", "values")  # earlier versions did not write `failed`


def write_rung(directory: Path, first: int, step: int, decision: Decision) -> None:
    """Keeps a decision.

    Args:
        directory: the run directory.
        first: the first member of the batch that it is about.
        step: the step after which it was made.
        decision: what was decided.

    Raises:
        StudyError: it cannot be written.
    """
    path = directory / RUNGS / f"{first}-{step}.json"
    lists = {"stopped": decision.stopped.tolist(), "failed": decision.failed.tolist()}
    record = {"step": step, **decision._asdict(), **lists}
    with writing(str(path)):
        path.parent.mkdir(exist_ok=True)
        replace_text(path, sealed(record))


def read_rung(directory: Path, first: int, step: int) -> Decision | None:
    """A decision, or None if it was not made yet, or cannot be read and must be made anew.

    Args:
        directory: the run directory.
        first: the first member of the batch.
        step: the step.
    """
    try:
        record, _ = unsealed(directory / RUNGS / f"{first}-{step}.json", KEYS)
    except (FileNotFoundError, Damaged):
        return None
    return Decision(
        np.asarray(record["stopped"], np.int64),
        {int(member): source for member, source in record["sources"].items()},
        {int(member): values for member, values in record["values"].items()},
        np.asarray(record.get("failed", []), np.int64),
    )


def sources(directory: Path, step: int) -> dict[int, int]:
    """Whose states members went on from after a step, in all batches.

    Args:
        directory: the run directory.
        step: the step.
    """
    return sources_by_step(directory).get(step, {})


def remove(directory: Path, members: np.ndarray, step: int) -> None:
    """Removes what was decided after a step.

    Args:
        directory: the run directory.
        members: the members of whole batches.
        step: the step; decisions at it stay.
    """
    for path in (directory / RUNGS).glob("[0-9]*.json"):
        first, at = map(int, path.stem.split("-"))
        if first in members and at > step:
            path.unlink()


def stopped_members(directory: Path) -> dict[int, int]:
    """The members that were stopped, and the step at which each was.

    Args:
        directory: the run directory.
    """
    found: dict[int, int] = {}
    for record in _records(directory):
        found |= dict.fromkeys(record["stopped"], record["step"])
    return found


def sources_by_step(directory: Path) -> dict[int, dict[int, int]]:
    """By step the members that went on from another's state then, and whose.

    Args:
        directory: the run directory.
    """
    found: dict[int, dict[int, int]] = {}
    for record in _records(directory):
        taken = {int(member): source for member, source in record["sources"].items()}
        found[record["step"]] = found.get(record["step"], {}) | taken
    return found


def damage(directory: Path, starts: Collection[int] = ()) -> dict[Path, str]:
    """The decisions that cannot be read, and why.

    Args:
        directory: the run directory.
        starts: the steps that chunks begin after; something was decided at all of them but 0, and those at
            which a run had ended before it was given more.
    """
    decided = {step for step in starts if step}
    decided -= set(lengths_of(directory)) if decided else set()
    missing = {step for step in decided if not any((directory / RUNGS).glob(f"[0-9]*-{step}.json"))}
    found = {directory / RUNGS / f"*-{step}.json": "is missing" for step in missing}
    for path in (directory / RUNGS).glob("[0-9]*.json"):
        try:
            unsealed(path, KEYS)
        except FileNotFoundError:
            pass
        except Damaged as error:
            found[path] = str(error)
    return found


def warn_of_damage(directory: Path, starts: Collection[int]) -> None:
    """Warns of decisions that cannot be read, without which members seem to go on by themselves.

    Args:
        directory: the run directory.
        starts: the steps that chunks begin after.

    Warns:
        UserWarning: there are some.
    """
    for path, why in damage(directory, starts).items():
        warnings.warn(
            f"{path} is damaged ({why}): whom it stopped and whose states were taken is not known until "
            f"`{resume_line(directory)}` decides it again",
            stacklevel=4,
        )


def _records(directory: Path) -> Iterator[dict[str, Any]]:
    """All decisions that can be read."""
    for path in sorted((directory / RUNGS).glob("[0-9]*.json")):
        try:
            yield unsealed(path, KEYS)[0]
        except (FileNotFoundError, Damaged):
            continue  # who reports on the run says so


def latest(
    tables: list[pa.Table], stops: list[int], stopped: dict[int, int], ends: Collection[int] = ()
) -> pa.Table:
    """One row per member, of the last of its intervals.

    Args:
        tables: rows of members, each table of one interval.
        stops: the step at which each interval ends.
        stopped: the members that were stopped, and where.
        ends: the steps at which the run had ended before it was given more: who was done then is no longer.
    """
    rows, stop = pa.concat_tables(tables, promote_options="permissive"), np.repeat(stops, [*map(len, tables)])
    members = rows["member"].to_numpy()
    order = np.lexsort((stop, members))
    last = order[np.append(members[order][1:] != members[order][:-1], True)]
    rows = rows.take(pa.array(last))
    status = np.asarray(rows["status"].to_pylist(), dtype=object)
    status = np.where((status == Status.DONE) & np.isin(stop[last], list(ends)), Status.RUNNING, status)
    at = np.asarray([stopped.get(member, -1) for member in rows["member"].to_pylist()])
    ended = (status == Status.RUNNING) & (at >= 0)
    columns: dict[str, Any] = {
        "status": pa.array(np.where(ended, Status.STOPPED, status).tolist(), pa.string()),
        "stopped_at": pa.array(at, pa.int32(), mask=~ended),
    }
    for name in rows.column_names:
        if name in columns:
            rows = rows.set_column(rows.column_names.index(name), name, columns[name])
    return rows
