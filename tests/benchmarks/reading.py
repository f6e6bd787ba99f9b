"""What reading a large run directory costs: `python -m tests.benchmarks.reading`.

A finished run of 100,000 members in 10,000 chunk folders, made without training, is read in processes of
their own: with the tables that a run writes at its end; with those of a run that was killed just before it
would have extended them; and with the chunks alone, as when the tables are damaged. The table shows processor
seconds without what imports take, and the peak of memory with them.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq

from sweeps.results import export
from sweeps.results.results import load
from sweeps.store import chunks as store
from sweeps.store import derived, durable
from sweeps.store.status import status
from tests.sweeps.synthetic_runs import run_of

SEEDS, CHUNK = 10, 10  # per configuration, and members per chunk
TARGETS = {"status": 2.0, "load, best": 2.0, "export to csv": 6.0}  # seconds
MEMORY = 500  # MB


def make(directory: Path, members: int) -> None:
    """Writes a run directory as a run would, but for waiting until the disk has it."""
    side = round((members // SEEDS) ** 0.5)
    levels = {
        "alpha": [place / side for place in range(side)],
        "learning_rate": [10 ** (-4 + 3 * place / side) for place in range(side)],
    }
    run = run_of({"alpha": "grid", "learning_rate": "grid"}, SEEDS, levels=levels, evaluations=5)
    ids = run.metrics["member"].to_numpy()
    said = {**run.manifest, "schedule": None, "search": "grid", "keep_best": 0, "confirm": 0}
    with mock.patch.object(durable, "_sync", lambda path: None):
        store.create(directory, said)
        for first in range(0, len(run.members), CHUNK):
            start, stop = ids.searchsorted([first, first + CHUNK])
            rows = run.members.slice(first, CHUNK), run.metrics.slice(start, stop - start)
            store.commit(directory, f"0-{first}-0-{said['steps']}", *rows, {"devices": 2})


@contextlib.contextmanager
def tables_without(directory: Path, count: int) -> Iterator[None]:
    """The tables as they were before the last so many chunks were committed."""
    last = [directory / store.CHUNKS / name for name in store.committed_names(directory)[-count:] if count]
    none = pq.read_schema(next((directory / store.CHUNKS).glob("[0-9]*")) / "members.parquet").empty_table()
    for folder in last:
        folder.rename(folder.with_name(f".{folder.name}"))
    derived.derive(directory, store.read_manifest(directory)["members"], lambda ids: none)
    for folder in last:
        folder.with_name(f".{folder.name}").rename(folder)
    yield
    (directory / derived.RECORD).unlink()


def read(directory: Path, what: str) -> None:
    """Reads it, and prints the processor seconds and the peak of memory in MB."""
    began = time.process_time()
    if what == "status":
        status(directory)
    elif what == "load, best":
        load(directory).best()
    else:
        with tempfile.TemporaryDirectory() as out:
            export.write(load(directory), "csv", out)
    seconds = time.process_time() - began
    # Of this process alone; what `getrusage` says begins with that of the process it was started by.
    said = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    print(json.dumps([seconds, int(said.split()[0]) / 1024]))


def measured(directory: Path, what: str) -> tuple[float, float]:
    """The seconds and the memory of a process that reads the directory."""
    words = [sys.executable, "-m", "tests.benchmarks.reading", "--read", what, "--directory", str(directory)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    seconds, memory = json.loads(done.stdout)
    return seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, help="where the run is, or is made if it is not there")
    parser.add_argument("--read", choices=list(TARGETS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        warnings.simplefilter("error")
        return read(options.directory, options.read)
    with contextlib.ExitStack() as last:
        directory = options.directory or Path(last.enter_context(tempfile.TemporaryDirectory())) / "run"
        if not directory.exists():
            make(directory, options.members)
        killed = derived.CHUNKS_BETWEEN - 1
        found: dict[str, list[tuple[float, float]]] = {what: [] for what in TARGETS}
        for state in (
            tables_without(directory, 0),
            tables_without(directory, killed),
            contextlib.nullcontext(),
        ):
            with state:
                for what, measurements in found.items():
                    measurements.append(measured(directory, what))
        print("| what | s with tables | s after a kill | s with chunks alone | target | MB, the largest |")
        print("|---|---|---|---|---|---|")
        for what, target in TARGETS.items():
            (tables, _), (killed, _), (alone, _) = found[what]
            memory = max(memory for _, memory in found[what])
            missed = ": missed" if max(tables, killed) > target or memory > MEMORY else ""
            took = f"{tables:.2f} | {killed:.2f} | {alone:.1f}"
            print(f"| {what} | {took} | ≤ {target:.0f}{missed} | {memory:.0f} |")


if __name__ == "__main__":
    main()
