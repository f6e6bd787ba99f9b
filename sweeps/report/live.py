"""What a run looks like from outside while it goes on: what the page of `sweeps watch` shows.

Everything is read, and nothing written or locked, in a directory where other processes add and remove files
all the time. A chunk that is committed does not change, so it is read once.
"""

import math
import os
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sweeps.errors import StudyError, resume_line
from sweeps.host.leads import Lead, Leads
from sweeps.host.numbers import clock, short
from sweeps.report.curves import learning_curves
from sweeps.report.markup import embedded
from sweeps.report.standing import last_steps, leads, ranked
from sweeps.report.wording import compact, count, figures, in_words, is_share, title
from sweeps.results.results import Results
from sweeps.store import checkpoints, derived, heartbeats, manifest, rungs
from sweeps.store import chunks as store
from sweeps.store.checksums import READING_ERRORS
from sweeps.store.lock import holder
from sweeps.store.status import lead, tally
from sweeps.store.statuses import Status

LEAST_SECONDS, REST = 1.0, 10.0  # between two looks; and between reading, times what it took last
MOST_POINTS = 2000  # of the best so far
MOST_WORKERS = 200
GONE = (*READING_ERRORS, KeyError)  # what is met where something has gone while it was read
FILES = ("members.parquet", "metrics.parquet", store.SETTING)


class _Chunk(NamedTuple):
    """A committed chunk that was read.

    Attributes:
        stamp: sizes and times of its files.
        members: its rows of members.
        metrics: its rows of metrics.
        leads: the best of its configurations at each evaluation.
    """

    stamp: tuple
    members: pa.Table
    metrics: pa.Table
    leads: list[Lead]


class Live:
    """A run directory that is looked at again and again.

    Args:
        directory: the run directory.

    Raises:
        StudyError: it is not a run directory.
    """

    def __init__(self, directory: Path):
        self.directory, self.manifest = directory, store.read_manifest(directory)
        self.lock = threading.Lock()  # of this object: requests come in threads
        self.chunks: dict[str, _Chunk] = {}
        self.damaged: dict[str, str] = {}
        self.seen: Any = None
        self.version, self.drawn, self.text = 0, dict[str, Any](), ""
        self.counts: dict[str, int] = {}
        # What was said of the best since this began to look: member-steps, its value, and the step it was at.
        self.points: list[tuple[int, float, int]] = []
        self.next = self.again = 0.0  # when to look, and when to read what is new
        self.ran = False  # whether a process ran it when it was read last
        self.led: tuple[Any, Lead | None] = None, None  # what the process said of the best, and what that is

    def state(self, version: int) -> str:
        """Everything that the page shows, as JSON; the figures only where they are others than before.

        Args:
            version: of the figures that the page has.
        """
        with self.lock:
            if time.monotonic() >= self.next:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what is damaged is among what is shown
                    self.now = self._look()
                self.next = time.monotonic() + LEAST_SECONDS
            drawn = self.drawn if version != self.version else None
            return embedded({**self.now, "version": self.version, "drawn": drawn})

    def _look(self) -> dict[str, Any]:
        """How far the run is now; reads what is new."""
        try:
            self.manifest = store.read_manifest(self.directory)
            damage = manifest.damage(self.directory)
        except StudyError as error:
            if not self.directory.exists():
                return self._said("gone", {}, f"The folder {self.directory} is gone.", [])
            damage = str(error)
        running = holder(self.directory) or {}
        fresh = holder(self.directory / store.CONFIRMATION)
        began = time.monotonic()
        if began >= self.again or bool(running) != self.ran:
            self._read()
            took = time.monotonic() - began
            self.again, self.ran = time.monotonic() + REST * took, bool(running)
        lines = [*([] if damage is None else [damage]), *self.damaged.values()]
        tallied = tally(self.counts, self.manifest["members"], running)
        if fresh is not None:
            return self._said(
                "confirming", tallied, _heading("Confirming the best on fresh seeds", fresh), lines
            )
        if running:
            self._remember(running)
            begun = "of" in running or "chunk" in running
            what = running.get("phase") or ("training" if begun else "planning")
            return self._said("running", tallied, _heading(what, running), lines, running)
        waiting = [tallied[name] for name in (Status.PENDING, "between rounds")]
        if any(waiting) or lines:
            heading = f"Stopped before its end; `{resume_line(self.directory)}` goes on"
            return self._said("stopped", tallied, heading, lines)
        return self._said("ended", tallied, "The run has ended.", lines)

    def _said(
        self, state: str, tallied: Any, heading: str, damaged: list[str], running: Any = None
    ) -> dict[str, Any]:
        run, running = self.manifest, running or {}
        rate = running.get("rate")
        best = self._best(running)
        return {
            "state": state,
            "heading": heading,
            "study": str(run["study"]),
            "size": f"{count(run['members'], 'member')}, {count(run['steps'], 'training step')} each",
            "counts": {name: number for name, number in tallied.items() if number},
            "members": run["members"],
            "share": running["trained"] / running["of"] if running.get("of") else None,
            "trained": running.get("trained"),
            "left": clock(running["left"]) if running.get("left") is not None else None,
            "rate": None if rate is None else f"{short(rate)} member-steps a second",
            "best": best,
            "points": [list(point) for point in self.points],
            "workers": _workers(self.directory, running) if running else [],
            "damaged": damaged,
        }

    def _best(self, running: dict[str, Any]) -> str | None:
        run = self.manifest
        try:
            if (said := running.get("best")) and said != self.led[0]:
                self.led = said, lead(self.directory, run, running)
            best = self.led[1] if said else self.drawn.get("lead")
        except GONE:  # what has gone meanwhile
            best = None
        if best is None:
            return None
        seeds = f", mean of {best.seeds} seeds" if best.seeds > 1 else ""
        percent = is_share(run["metric"], np.asarray([best.value]))
        value = figures(best.value, math.nan, math.nan, percent=percent)
        return f"{value} {in_words(run['metric'])} at step {best.step:,}{seeds}: {best.config}"

    def _remember(self, running: dict[str, Any]) -> None:
        """Keeps what the process says of the best, for what it has not committed yet."""
        if running.get("best"):
            step, _, value, _ = running["best"]
            point = int(running["trained"]), float(value), int(step)
            if not self.points or (self.points[-1][0] < point[0] and self.points[-1][1:] != point[1:]):
                self.points = [*self.points, point][-MOST_POINTS:]

    def _read(self) -> None:
        """Reads what is new among chunks and checkpoints, and makes the figures again if anything is."""
        chunks = dict(_stamps(self.directory))
        flight = [str(newest) for newest, *_ in filter(None, checkpoints.folders(self.directory))]
        decided = sorted(path.name for path in (self.directory / rungs.RUNGS).glob("[0-9]*.json"))
        announced = (self.directory / derived.TABLES[0]).exists()
        seen = (chunks, flight, decided, self.manifest["members"], self.manifest["steps"], announced)
        if seen == self.seen:
            return
        try:
            self.damaged = {name: line for name, line in self.damaged.items() if name in chunks}
            self.chunks = {
                name: chunk for name, chunk in self.chunks.items() if chunks.get(name) == chunk.stamp
            }
            for name, stamp in chunks.items():
                if name not in self.chunks:
                    self._take(name, stamp)
            lost = rungs.damage(self.directory, {store.interval(Path(name)).start for name in self.chunks})
            self.damaged |= {path.name: f"{path}: {why}" for path, why in lost.items()}
            drawn = self._draw()
        except GONE:
            return  # something has gone while it was read; it is looked at again
        self.seen = seen
        if (text := embedded({**drawn, "lead": None})) != self.text:
            self.version, self.text = self.version + 1, text
        self.drawn = drawn

    def _take(self, name: str, stamp: tuple) -> None:
        """Reads a chunk that is new."""
        folder = self.directory / store.CHUNKS / name
        why = store.damage(folder)
        self.damaged.pop(name, None)
        if why is not None:
            if folder.exists():
                self.damaged[name] = f"{folder}: {why}"
            return
        members, metrics = store.read_chunk(folder)
        self.chunks[name] = _Chunk(stamp, members, metrics, leads(members, metrics, self.manifest))

    def _draw(self) -> dict[str, Any]:
        """The figures, from what was read."""
        run, metric = self.manifest, self.manifest["metric"]
        members, metrics = self._tables()
        names = [name for name in metrics.column_names if name not in ("member", "step", metric)]
        status = members["status"].value_counts().to_pylist() if "status" in members.column_names else []
        self.counts = {row["values"]: row["counts"] for row in status}
        titles = {name: title(name) for name in (metric, *names)}
        drawn: dict[str, Any] = {
            "metric": metric,
            "mode": run["mode"],
            "steps": run["steps"],
            "titles": titles,
        }
        drawn |= {"best": self._best_so_far(), "curves": None, "lead": None, "percent": [], "table": []}
        if metric not in metrics.column_names or not len(members):
            return drawn
        results = Results(run, self.directory, (members, metrics))
        rows, drawn["lead"] = ranked(results)
        curves = learning_curves(results, rows, [metric, *names])
        held = len(curves["configurations"])
        curves["groups"] = ["all"] if held <= 8 else ["some", "best", "all"]
        values = {name: metrics[name].to_numpy(zero_copy_only=False) for name in (metric, *names)}
        percent = [name for name, column in values.items() if is_share(name, column)]
        return drawn | {"curves": curves, "percent": percent}

    def _tables(self) -> tuple[pa.Table, pa.Table]:
        """The rows of members, those that are pending among them, and of metrics, with those in flight."""
        folders = [self.directory / store.CHUNKS / name for name in self.chunks]
        read = list(self.chunks.values())
        members = store.merged(self.directory, "members", folders, [chunk.members for chunk in read])
        metrics = store.merged(self.directory, "metrics", folders, [chunk.metrics for chunk in read])
        pending = derived.announced(self.directory)
        if members is None:
            members = pa.table({"member": pa.array([], pa.int64())}) if pending is None else pending
        elif pending is not None and len(members) < self.manifest["members"]:
            rest = pending.filter(~np.isin(pending["member"].to_numpy(), members["member"].to_numpy()))
            members = pa.concat_tables([members, rest], promote_options="permissive").sort_by(store.ORDER[:1])
        flight = checkpoints.evaluations(self.directory)
        if metrics is None and not flight:
            return members, pa.table({"member": pa.array([], pa.int64()), "step": pa.array([], pa.int64())})
        known = [] if metrics is None else [metrics]
        if flight:
            more = pa.concat_tables(flight, promote_options="permissive")
            there = np.isin(more["member"].to_numpy(), members["member"].to_numpy())
            if metrics is not None:
                there &= more["step"].to_numpy() > last_steps(metrics, more["member"].to_numpy())
            known.append(more.filter(pa.array(there)))
        return members, pa.concat_tables(known, promote_options="permissive").sort_by(store.ORDER)

    def _best_so_far(self) -> dict[str, Any]:
        """What the best of what was committed reached, against the member-steps trained until then."""
        trained, leads, x, y = 0, Leads(), list[int](), list[float]()
        for name, chunk in sorted(self.chunks.items(), key=lambda item: item[1].stamp):
            steps, size = store.interval(Path(name)), len(chunk.members)
            for found in chunk.leads:
                leads.add(found, self.manifest["mode"])
                assert leads.best is not None
                x.append(trained + size * (found.step - steps.start))
                y.append(leads.best.value)
            trained += size * (steps.stop - steps.start)
        kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(int))
        return {"x": [x[at] for at in kept], "y": compact([y[at] for at in kept]), "trained": trained}


def _stamps(directory: Path) -> Iterator[tuple[str, tuple]]:
    """The committed chunks, and what their files look like from outside, the time of the commit first."""
    for name in store.committed_names(directory):
        folder = directory / store.CHUNKS / name
        try:
            found = [os.stat(folder / file) for file in FILES]
        except OSError:
            found = []  # it has gone, or lacks a file
        times = max((each.st_mtime_ns for each in found), default=0)
        yield name, (times, *((each.st_size, each.st_mtime_ns, each.st_ino) for each in found))


def _heading(what: str, running: dict[str, Any]) -> str:
    """What is done, how much of it, and how long it still takes."""
    said = what[:1].upper() + what[1:]
    if running.get("of") and (running["trained"] or not running.get("phase")):
        said += f": {int(100 * running['trained'] / running['of'])} %"
    if running.get("left") is not None:
        said += f", {clock(running['left'])} left"
    return said


def _workers(directory: Path, running: dict[str, Any]) -> list[list[str]]:
    """Who trains what: name, where, chunk, step, and how long ago that was said."""
    records = dict(list(heartbeats.read(directory).items())[:MOST_WORKERS])
    if not records and "chunk" in running:
        records = {"this process": running}
    return [
        [
            name,
            f"process {record['pid']} on {record['host']}",
            str(record["chunk"]),
            f"{record['step']}/{record['steps']}",
            f"{max(0.0, time.time() - record['time']):.0f} s ago" if "time" in record else "",
        ]
        for name, record in records.items()
    ]
