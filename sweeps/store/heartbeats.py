"""Who works on a run besides the holder of its lock: a small record per worker, in the run directory."""

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from sweeps.store.durable import replace_text

WORKERS = "workers"
SAID = ("host", "pid", "time", "chunk", "step", "steps")  # by every worker
RECORDS_PER_SECOND = 100  # written by all workers together, and read: a thousand share a file system


class Superseded(Exception):
    """The run has gone on under another process: what this worker does is not wanted any more."""


class Record:
    """What a worker says of itself.

    Args:
        directory: the run directory.
        name: the worker's name.
        lock: the lock file, and what it said when the worker was started; None does not look.
        workers: how many there may be; each writes once a second, or less often if they are many.
    """

    def __init__(
        self, directory: Path, name: str, lock: tuple[Path, dict[str, Any]] | None = None, workers: int = 1
    ):
        self.path, self.lock, self.last = directory / WORKERS / f"{name}.json", lock, 0.0
        self.seconds_between = max(1.0, workers / RECORDS_PER_SECOND)
        self.path.parent.mkdir(exist_ok=True)

    def say(self, progress: dict[str, Any], at_once: bool = False) -> None:
        """Writes how far the worker is, unless it has just done so.

        Args:
            progress: what `status` shows, as JSON.
            at_once: whether to write in any case.

        Raises:
            Superseded: another process runs the directory by now.
        """
        if time.monotonic() - self.last < self.seconds_between and not at_once:
            return
        self.last = time.monotonic()
        self.check()
        record = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time(), **progress}
        with contextlib.suppress(OSError):  # results say so, if the disk is full
            replace_text(self.path, json.dumps(record))

    def check(self) -> None:
        """Raises Superseded unless the process that started this worker still runs the directory."""
        if self.lock is not None:
            path, holder = self.lock
            found = {}
            for _ in range(5):  # on a shared file system a record may be seen half-written
                with contextlib.suppress(OSError, ValueError):
                    found = json.loads(path.read_text())
                    break
                time.sleep(0.2)
            if any(found.get(name) != value for name, value in holder.items()):
                raise Superseded(f"{path.parent} is run by another process, or by none")


def read(directory: Path) -> dict[str, dict[str, Any]]:
    """What the workers of a run say, by their names.

    Args:
        directory: the run directory.
    """
    found = {}
    for path in sorted((directory / WORKERS).glob("[!.]*.json")):
        with contextlib.suppress(OSError, ValueError):  # one that has just gone
            record = json.loads(path.read_bytes())
            if isinstance(record, dict) and set(SAID) <= set(record):
                found[path.stem] = record
    return found


def forget(directory: Path, name: str) -> None:
    """Removes the record of a worker that is gone.

    Args:
        directory: the run directory.
        name: its name.
    """
    (directory / WORKERS / f"{name}.json").unlink(missing_ok=True)


def disband(directory: Path) -> None:
    """Removes all records of a run that has no workers any more.

    Args:
        directory: the run directory.
    """
    for path in (directory / WORKERS).glob("*"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (directory / WORKERS).rmdir()
