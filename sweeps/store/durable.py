"""Files and folders that are on the disk whole or not at all, and survive a power failure once they are."""

import contextlib
import errno
import os
import shutil
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from sweeps.errors import StudyError
from sweeps.store import checksums

DAMAGED = "damaged"  # what is set aside, at the place that it had in the run directory


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Says in one message what could not be written, and why.

    Args:
        what: its name.

    Raises:
        StudyError: the operating system refused.
    """
    try:
        yield
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise StudyError(f"`{what} can be written` must hold, but got {reason}") from error


def publish(
    folder: Path, write: Callable[[Path], None], changes: bool = False, apart: Collection[str] = ()
) -> None:
    """Makes a folder that is there whole or not at all, and survives a power failure once it is.

    Args:
        folder: its path, which does not exist.
        write: puts the files into the folder it is given.
        changes: whether files of it change later, so that it has no checksums.
        apart: files of it that have their checksum in them, and may be lost when the power fails.
    """
    temporary = _beside(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        if not changes:
            checksums.write(temporary, apart)
        for path in sorted(temporary.rglob("*")):
            if path.name not in apart:
                _sync(path)
        _sync(temporary)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(folder.parent)


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file that is there whole or not at all, in place of an earlier one.

    Args:
        path: its path.
        write: writes the path it is given.
    """
    temporary = _beside(path)
    try:
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # of a folder that is none there is nothing to remove either
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(temporary):
            # Nobody knows of the neighbour; what is not there is the folder.
            error.filename = str(path.parent if error.errno == errno.ENOENT else path)
        raise
    _sync(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Writes a file of text as `replace` does.

    Args:
        path: its path.
        text: what is to be in it.
    """
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def discard(folder: Path) -> None:
    """Removes a folder that was published; no reader and no later process finds a part of it.

    Args:
        folder: its path.
    """
    temporary = _beside(folder)
    folder.rename(temporary)
    shutil.rmtree(temporary)


def set_aside(directory: Path, path: Path) -> Path:
    """Puts a damaged file or folder where nothing of the run is looked for; nothing is deleted.

    Args:
        directory: the run directory.
        path: what is damaged, inside it.

    Returns:
        Where it is now: `damaged/`, and the path that it had.
    """
    place = directory / DAMAGED / path.relative_to(directory)
    place.parent.mkdir(parents=True, exist_ok=True)
    names = (place.with_name(f"{place.name}{'-' * (n > 0)}{n or ''}") for n in range(10**6))
    free = next(name for name in names if not os.path.lexists(name))
    path.rename(free)
    return free


def _beside(path: Path) -> Path:
    """A neighbour whose name no other thread takes, on any host that shares the file system."""
    own = f"{socket.gethostname()}-{os.getpid()}-{threading.get_native_id()}"
    return path.with_name(f".{path.name}.{own}.tmp")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
