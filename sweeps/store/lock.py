"""One process at a time writes a run directory: a lock that names its holder and dies with it.

The lock is the operating system's, on an open file, so that it ends with its holder however that ends, and
holds against processes that cannot see one another, such as those of two containers. The record in the file
names the holder to people; where a file system knows no locks, whoever makes the file has the lock.
"""

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.errors import StudyError
from sweeps.store.durable import set_aside

LOCK = "lock"
RECORD_BYTES = 1024  # one write of a fixed size, so that a reader finds an old record or a new one, whole
PATIENCE_SECONDS = 1.0  # for whoever looks at a lock, which takes a moment, or has just made it
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
UNNAMED = {"pid": "unknown", "host": "unknown"}  # a disk was full, or the holder has not yet written its name


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

    Args:
        directory: the run directory.

    Raises:
        StudyError: another process holds it; the message names the process.
    """
    path = directory / LOCK
    try:
        if path.is_dir():  # which nothing of this package has made
            set_aside(directory, path)
        descriptor = _taken(path)
    except OSError as error:
        raise StudyError(
            f"`{directory} can be written` must hold, but got: {error.strerror}; copy it to a place "
            f"that can be"
        ) from error
    if descriptor is None:
        found = holder(directory)
        if found is None:
            raise StudyError(
                f"`{directory} can be locked` must hold, but its file system knows no locks, and {path} was "
                f"left there by a process that is gone; remove it"
            )
        raise StudyError(
            f"`one process at a time runs {directory}` must hold, but got process {found['pid']} on "
            f"{found['host']}, which is running it; wait for it, or stop it and what it has started"
        )
    # A process that is copied would keep the lock beyond the life of its parent.
    held = [descriptor]
    os.register_at_fork(after_in_child=lambda: [os.close(held.pop()) for _ in range(len(held))])
    try:
        yield Lock(path, descriptor)
    finally:
        if held:
            if _is_open(path, descriptor):
                path.unlink(missing_ok=True)
            os.close(held.pop())


def holder(directory: Path) -> dict[str, Any] | None:
    """The record of the process that runs a directory; None if there is none.

    Args:
        directory: the run directory.
    """
    path = directory / LOCK
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        record = _record(descriptor)
        try:
            _flock(descriptor, shared=True)
        except BlockingIOError:
            return record or UNNAMED
        except OSError as error:
            return record if error.errno in UNSUPPORTED and record and _lives(record) else None
        return None
    finally:
        os.close(descriptor)


def _taken(path: Path) -> int | None:
    """The open file that holds the lock; None if another process has it."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        descriptor, made = _opened(path)
        try:
            _flock(descriptor, shared=False)
            if _is_open(path, descriptor):
                return descriptor
            os.close(descriptor)  # its last holder removed the file between our opening and locking it
            continue
        except BlockingIOError:
            os.close(descriptor)
        except OSError as error:
            if error.errno in UNSUPPORTED and made:
                return descriptor  # a file system without locks: whoever makes the file has it
            os.close(descriptor)
            if error.errno not in UNSUPPORTED:
                raise
            return None
        if time.monotonic() > end:
            return None
        time.sleep(0.05)


def _opened(path: Path) -> tuple[int, bool]:
    """The lock file, open, and whether this made it."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), False


def _flock(descriptor: int, shared: bool) -> None:
    import fcntl  # not on every system, and only runs that are written need it

    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _record(descriptor: int) -> dict[str, Any] | None:
    try:
        record = json.loads(os.pread(descriptor, RECORD_BYTES, 0))
        return record if isinstance(record, dict) and {"pid", "started", "host"} <= set(record) else None
    except (OSError, ValueError):
        return None


def _lives(record: dict[str, Any]) -> bool:
    """Whether the process that a record names is there; one of another host is taken to be."""
    return record["host"] != socket.gethostname() or _started(int(record["pid"])) == record["started"]


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
