"""One process at a time writes a run directory: a lock that names its holder and dies with it."""

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.space import StudyError

LOCK = "lock"
RECORD_BYTES = 1024  # one write of a fixed size, so that a reader finds an old record or a new one, whole
PATIENCE = 10  # tenths of a second
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class Lock:
    """A lock that is held; what it says of its holder can be added to.

    Attributes:
        path: the lock file.
        descriptor: the open file.
    """

    def __init__(self, path: Path, descriptor: int):
        self.path, self.descriptor = path, descriptor
        self.say({})

    def holder(self) -> dict[str, Any]:
        """What names this process."""
        return {"pid": os.getpid(), "started": _started(os.getpid()), "host": socket.gethostname()}

    def say(self, progress: dict[str, Any]) -> None:
        """Writes the holder's name and how far it is.

        Args:
            progress: what `status` shows, as JSON.
        """
        record = self.holder()
        with contextlib.suppress(OSError):  # a full disk stops the run where results are written, not here
            os.pwrite(self.descriptor, json.dumps(record | progress).encode().ljust(RECORD_BYTES), 0)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[Lock]:
    """Holds the lock of a run directory.

    The operating system frees the lock of a process that dies, however it dies.

    Args:
        directory: the run directory.

    Raises:
        StudyError: another process holds it; the message names the process.
    """
    import fcntl  # not on every system, and only runs that are written need it

    path, patience = directory / LOCK, PATIENCE
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StudyError(
                f"`{directory} can be written` must hold, but got: {error.strerror}; copy it to a place "
                f"that can be"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            found = holder(directory)
            if error.errno in UNSUPPORTED and found is None:
                lock = Lock(path, descriptor)  # a file system without locks: the record alone must do
                break
            os.close(descriptor)
            if found is None:
                patience -= 1
                time.sleep(0.1)  # it may be just about to write its name
                if patience == 0:  # no: it is dead, and its children still hold the file open
                    path.unlink(missing_ok=True)
                continue
            raise StudyError(
                f"`one process at a time runs {directory}` must hold, but got process {found['pid']} on "
                f"{found['host']}, which is running it; wait for it, or stop it"
            ) from None
        lock = Lock(path, descriptor)
        if _is_open(path, descriptor):
            break
        os.close(descriptor)  # its last holder removed the file between our opening and locking it
    try:
        yield lock
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def holder(directory: Path) -> dict[str, Any] | None:
    """The record of the process that runs a directory; None if there is none, or it is dead.

    A process of another host is taken to be alive.

    Args:
        directory: the run directory.
    """
    try:
        record = json.loads((directory / LOCK).read_text())
        here = record["host"] == socket.gethostname()
        alive = not here or _started(int(record["pid"])) == record["started"]
        return record if alive else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_open(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _started(pid: int) -> str | None:
    """When a process started, in ticks since the system did, so that a number used again is told apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:  # a system without /proc
        os.kill(pid, 0)
        return "alive"
    except ProcessLookupError:
        return None
    except PermissionError:
        return "alive"
