"""Files and folders that are on the disk whole or not at all, and survive a power failure once they are."""

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweeps.space import StudyError


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


def publish(folder: Path, write: Callable[[Path], None]) -> None:
    """Makes a folder that is there whole or not at all, and survives a power failure once it is.

    Args:
        folder: its path, which does not exist.
        write: puts the files into the folder it is given.
    """
    temporary = _beside(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        for path in sorted(temporary.rglob("*")):
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
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def discard(folder: Path) -> None:
    """Removes a folder that was published; no reader and no later process finds a part of it.

    Args:
        folder: its path.
    """
    temporary = _beside(folder)
    folder.rename(temporary)
    shutil.rmtree(temporary)


def _beside(path: Path) -> Path:
    """A neighbour whose name no other process takes, on any host that shares the file system."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
