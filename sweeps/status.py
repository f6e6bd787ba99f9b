"""How far a run is, seen from outside: what `sweeps status` prints."""

import collections
import time
from pathlib import Path

import pyarrow.parquet as pq

from sweeps import checkpoints, roster, store
from sweeps.lock import holder


def status(directory: str | Path) -> list[tuple[str, str]]:
    """Labels and values; reads the run directory and changes nothing.

    Args:
        directory: the run directory, finished or not, running or not.

    Raises:
        StudyError: it is not a run directory.
    """
    directory, manifest = Path(directory), store.read_manifest(directory)
    counts: collections.Counter[str] = collections.Counter()
    for folder in store.committed(directory):
        column = pq.read_table(folder / "members.parquet", columns=["status"])["status"]
        counts.update({row["values"]: row["counts"] for row in column.value_counts().to_pylist()})
    running = holder(directory)
    counts["running"] = running.get("members", 0) if running else 0
    counts["pending"] = manifest["members"] - counts.total()
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    rows = [
        ("study", f"{manifest['study']}, {manifest['members']} members x {manifest['steps']} steps"),
        ("members", said),
    ]
    if running:
        if "workers" in running:
            where = f"{running['workers']} workers"
        elif "chunk" in running:
            where = f"chunk {running['chunk']}, step {running['step']}/{running['steps']}"
        else:
            where = "planning"
        rows.append(
            (
                "running",
                f"process {running['pid']} on {running['host']}, {where}",
            )
        )
    for name, record in roster.read(directory).items():
        ago = max(0.0, time.time() - record["time"])
        where = f"chunk {record['chunk']}, step {record['step']}/{record['steps']}, {ago:.0f} s ago"
        rows.append((name, f"process {record['pid']} on {record['host']}, {where}"))
    for folder, record in checkpoints.newest(directory).items():
        rows.append(
            (
                "checkpoint",
                f"{len(record['members'])} members at step {record['step']} ({folder.parent.name})",
            )
        )
    if not running and counts["pending"]:
        rows.append(("to go on", f"sweeps resume {directory}"))
    return rows
