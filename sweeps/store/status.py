"""How far a run is, seen from outside: what `sweeps status` prints."""

import collections
import itertools
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeps.errors import resume_line
from sweeps.host.leads import Lead
from sweeps.host.numbers import clock, short
from sweeps.store import checkpoints, derived, failures, heartbeats, repair
from sweeps.store import chunks as store
from sweeps.store.leading import committed_lead, in_words
from sweeps.store.lock import holder
from sweeps.store.statuses import Status

MOST_ERRORS = 5  # that are shown, and members of each
MOST_WORKERS = 8


def status(directory: str | Path) -> list[tuple[str, str]]:
    """Labels and values; reads the run directory and changes nothing.

    Args:
        directory: the run directory, finished or not, running or not.

    Raises:
        StudyError: it is not a run directory.
    """
    directory = Path(directory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is damaged is among the rows below
        manifest = store.read_manifest(directory)
        tables = derived.held(directory)
        members = derived.read(directory, "members", manifest["members"], ["member", "status"], tables)
    found = [] if members is None else members["status"].value_counts().to_pylist()
    running = holder(directory)
    counts = tally({row["values"]: row["counts"] for row in found}, manifest["members"], running or {})
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    rows = [
        ("study", f"{manifest['study']}, {manifest['members']} members x {manifest['steps']} steps"),
        ("members", said),
    ]
    rows += _how_far(directory, manifest, running or {}, tables)
    if running:
        if "workers" in running:
            where = f"{running['workers']} workers"
        elif "chunk" in running:
            where = f"chunk {running['chunk']}, step {running['step']}/{running['steps']}"
        else:
            where = running.get("phase") or "planning"
        rows.append(
            (
                "running",
                f"process {running['pid']} on {running['host']}, {where}",
            )
        )
    records = heartbeats.read(directory) if running else {}  # those of a killed run say nothing any more
    for name, record in itertools.islice(records.items(), MOST_WORKERS):
        ago = max(0.0, time.time() - record["time"])
        where = f"chunk {record['chunk']}, step {record['step']}/{record['steps']}, {ago:.0f} s ago"
        rows.append((name, f"process {record['pid']} on {record['host']}, {where}"))
    if len(records) > MOST_WORKERS:
        rows.append(("workers", f"… and {len(records) - MOST_WORKERS} more"))
    kept: dict[int, list[int]] = collections.defaultdict(list)
    for record in checkpoints.newest(directory).values():
        kept[record["step"]].append(len(record["members"]))
    for step, sizes in sorted(kept.items()):
        chunks = f" in {len(sizes)} chunks" if len(sizes) > 1 else ""
        last = step == manifest["steps"] and manifest.get("keep_states")
        rows.append(("states kept" if last else "checkpoint", f"{sum(sizes)} members{chunks} at step {step}"))
    rows += _failures(directory) if counts[Status.FAILED] else []
    damaged = repair.described(directory, arrays=False)
    rows += [("damaged", line) for line in damaged]
    waiting = counts[Status.PENDING] or counts["between rounds"] or counts[Status.FAILED]
    if not running and (damaged or waiting):
        rows.append(("to go on", resume_line(directory)))
    return rows


def tally(found: Mapping[str, int], members: int, running: Mapping[str, Any]) -> collections.Counter[str]:
    """How many members are at what.

    Args:
        found: how many the tables have of each status.
        members: how many the run has.
        running: the record of the process that runs it; empty if there is none.
    """
    counts = collections.Counter(found)
    between = counts.pop(Status.RUNNING, 0)  # done with a round, and waiting for the next
    counts[Status.RUNNING] = running.get("members", 0)
    counts["between rounds"] = max(0, between - counts[Status.RUNNING])
    counts.pop(Status.PENDING, None)  # those that are running among them
    counts[Status.PENDING] = max(0, members - counts.total())
    return counts


def _how_far(
    directory: Path, manifest: dict[str, Any], running: dict[str, Any], tables: derived.Held
) -> list[tuple[str, str]]:
    """Best so far, rate and time left, as far as they are known."""
    rows = []
    best = lead(directory, manifest, running, tables)
    if best is not None:
        seeds = f", mean of {best.seeds} seeds" if best.seeds > 1 else ""
        said = f"{manifest['metric']} {best.value:.4g} at step {best.step}{seeds}: {best.config}"
        rows.append(("best so far", said))
    if running.get("of"):
        share = int(100 * running["trained"] / running["of"])
        rate = "" if running["rate"] is None else f", {short(running['rate'])} a second"
        rows.append(("rate", f"{running['trained']:,} of {running['of']:,} member-steps ({share} %){rate}"))
        rows.append(("time left", clock(running["left"])))
    return rows


def lead(
    directory: Path, manifest: dict[str, Any], running: dict[str, Any], tables: derived.Held | None = None
) -> Lead | None:
    """The best configuration so far, as the process that runs the directory knows it, or as is committed.

    Args:
        directory: the run directory.
        manifest: what the run is.
        running: the record of that process; empty if there is none.
        tables: what `derived.held` has said; None asks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if running.get("best") is None:
            return committed_lead(directory, manifest, tables)
        names, best = list(manifest["swept"]), Lead(*running["best"])
        columns = ["member", "status", *names]
        found = derived.read(directory, "members", manifest["members"], columns, tables)
        found = derived.announced(directory, columns) if found is None else found
        rows = [] if found is None else found.filter(found["member"].to_numpy() == best.member).to_pylist()
    return best._replace(
        config=in_words({name: rows[0][name] for name in names}) if rows else f"member {best.member}"
    )


def _failures(directory: Path) -> list[tuple[str, str]]:
    """Why members failed, the most frequent errors first."""
    members: dict[str, list[int]] = collections.defaultdict(list)
    for member, error in failures.errors(directory).items():
        members[error].append(member)
    most = sorted(members.items(), key=lambda item: -len(item[1]))
    rows = []
    for error, ids in most[:MOST_ERRORS]:
        which = ", ".join(map(str, sorted(ids)[:MOST_ERRORS])) + (", …" if len(ids) > MOST_ERRORS else "")
        rows.append(("failed", f"{len(ids)} member{'s' * (len(ids) > 1)} ({which}): {error}"))
    if len(most) > MOST_ERRORS:
        rows.append(("failed", f"… and {len(most) - MOST_ERRORS} more errors; report.html has them"))
    return rows
