"""What was decided between the rounds of a schedule, kept so that every reader agrees on it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sweeps.durability import replace, writing

RUNGS = "rungs"


class Rung(NamedTuple):
    """A decision.

    Attributes:
        stopped: the ids of the members that end here.
        sources: members that go on from another's state, and whose.
        values: members whose hyperparameters change, and to what.
    """

    stopped: np.ndarray
    sources: dict[int, int]
    values: dict[int, dict[str, float]]


def write_rung(directory: Path, first: int, step: int, rung: Rung) -> None:
    """Keeps a decision.

    Args:
        directory: the run directory.
        first: the first member of the batch that it is about.
        step: the step after which it was made.
        rung: the decision.

    Raises:
        StudyError: it cannot be written.
    """
    path = directory / RUNGS / f"{first}-{step}.json"
    record = {"step": step, **rung._asdict(), "stopped": rung.stopped.tolist()}
    with writing(str(path)):
        path.parent.mkdir(exist_ok=True)
        replace(path, lambda temporary: temporary.write_text(json.dumps(record)))


def read_rung(directory: Path, first: int, step: int) -> Rung | None:
    """A decision, or None if it was not made yet.

    Args:
        directory: the run directory.
        first: the first member of the batch.
        step: the step.
    """
    path = directory / RUNGS / f"{first}-{step}.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    return Rung(
        np.asarray(record["stopped"], np.int64),
        {int(member): source for member, source in record["sources"].items()},
        {int(member): values for member, values in record["values"].items()},
    )


def stopped_members(directory: Path) -> dict[int, int]:
    """The members that were stopped, and the step at which each was.

    Args:
        directory: the run directory.
    """
    found: dict[int, int] = {}
    for path in (directory / RUNGS).glob("[0-9]*.json"):
        record = json.loads(path.read_text())
        found |= dict.fromkeys(record["stopped"], record["step"])
    return found


def latest(tables: list[pa.Table], stops: list[int], stopped: dict[int, int]) -> pa.Table:
    """One row per member, of the last of its intervals.

    Args:
        tables: rows of members, each table of one interval.
        stops: the step at which each interval ends.
        stopped: the members that were stopped, and where.
    """
    rows = pa.concat_tables(tables, promote_options="default")
    members = rows["member"].to_numpy()
    order = np.lexsort((np.repeat(stops, [len(table) for table in tables]), members))
    last = np.append(members[order][1:] != members[order][:-1], True)
    rows = rows.take(pa.array(order[last]))
    status = np.asarray(rows["status"].to_pylist(), dtype=object)
    at = np.asarray([stopped.get(member, -1) for member in rows["member"].to_pylist()])
    ended = (status == "running") & (at >= 0)
    columns: dict[str, Any] = {
        "status": pa.array(np.where(ended, "stopped", status).tolist(), pa.string()),
        "stopped_at": pa.array(at, pa.int32(), mask=~ended),
    }
    for name, column in columns.items():
        rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows
