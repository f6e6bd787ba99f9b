"""How far a run is, seen from outside: what `sweeps status` prints."""

import collections
import time
from pathlib import Path

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
    members = store.read(directory, "members")
    found = [] if members is None else members["status"].value_counts().to_pylist()
    counts = collections.Counter({row["values"]: row["counts"] for row in found})
    between = counts.pop("running", 0)  # done with a round, and waiting for the next
    running = holder(directory)
    counts["running"] = running.get("members", 0) if running else 0
    counts["between rounds"] = max(0, between - counts["running"])
    counts["pending"] = max(0, manifest["members"] - counts.total())
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
    kept: dict[int, list[int]] = collections.defaultdict(list)
    for record in checkpoints.newest(directory).values():
        kept[record["step"]].append(len(record["members"]))
    for step, sizes in sorted(kept.items()):
        chunks = f" in {len(sizes)} chunks" if len(sizes) > 1 else ""
        rows.append(("checkpoint", f"{sum(sizes)} members{chunks} at step {step}"))
    if not running and (counts["pending"] or counts["between rounds"]):
        rows.append(("to go on", f"sweeps resume {directory}"))
    return rows
