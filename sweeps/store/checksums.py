"""Checksums of what a run directory holds, which tell whether it still is what was written."""

import hashlib
import json
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

CHECKSUMS = "checksums.json"  # of a folder: its files, and the SHA-256 of each
SEAL = "sha256"  # of a record that is a file by itself: of the rest of it
BLOCK = 2**16  # bytes that are read at once
READING_ERRORS = (OSError, ValueError, RecursionError)  # of a file that anything may have happened to


class Damaged(ValueError):
    """A file or a folder is not what was written; the text says which, and how it is seen."""


def write(folder: Path, apart: Collection[str] = ()) -> None:
    """Writes the checksums of all files in a folder.

    Args:
        folder: a folder that does not change any more.
        apart: files that have their checksum in them, since the folder is whole without them.
    """
    left = {folder / name for name in (CHECKSUMS, *apart)}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path not in left)
    sums = {path.relative_to(folder).as_posix(): digest(path) for path in files}
    (folder / CHECKSUMS).write_text(json.dumps(sums))


def listed(folder: Path) -> dict[str, Any] | None:
    """The checksums of a folder; None if there are none, as in what earlier versions have written.

    Args:
        folder: the folder.

    Raises:
        Damaged: they cannot be read.
    """
    try:
        with open(f"{os.fspath(folder)}/{CHECKSUMS}", "rb", buffering=0) as file:
            sums = json.loads(file.read())
    except FileNotFoundError:
        return None
    except READING_ERRORS as error:
        raise Damaged(f"{CHECKSUMS} cannot be read ({_reason(error)})") from error
    if not isinstance(sums, dict):
        raise Damaged(f"{CHECKSUMS} is of another kind")
    return sums


def check(folder: Path, needed: Collection[str], kept: str = "") -> bool:
    """Whether the folder has checksums; if so, all of its files have been compared with them.

    Args:
        folder: the folder.
        needed: the files that it must hold.
        kept: files whose names begin so need only be there; nothing begins with the empty one.

    Raises:
        Damaged: a file is missing, or is not what was written.
    """
    if not os.path.isdir(folder):
        raise Damaged(f"{folder.name} is no folder")
    sums, place = listed(folder), os.fspath(folder)
    for name in {*needed, *(sums or ())}:
        if sums is not None and name not in sums:
            raise Damaged(f"{CHECKSUMS} does not list {name}")
        path = f"{place}/{name}"  # text, since there may be tens of thousands
        try:
            if sums is None or (kept and name.startswith(kept)):
                same = stat.S_ISREG(os.stat(path).st_mode)
            else:
                same = digest(path) == sums[name]
        except OSError as error:
            raise Damaged(f"{name} cannot be read ({_reason(error)})") from error
        if not same:
            raise Damaged(f"{name} is not what was written")
    return sums is not None


def sealed(record: Mapping[str, Any], indent: int | None = None) -> str:
    """A record as JSON, with its checksum.

    Args:
        record: what JSON can hold.
        indent: as of `json.dumps`.
    """
    return json.dumps({**record, SEAL: _seal(record)}, indent=indent)


def unsealed(path: Path, keys: Collection[str]) -> tuple[dict[str, Any], bool]:
    """What `sealed` was given, and whether it was; a record of an earlier version has no checksum.

    Args:
        path: the file.
        keys: what the record has.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is not what was written.
    """
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except READING_ERRORS as error:
        raise Damaged(f"{path.name} cannot be read ({_reason(error)})") from error
    if not isinstance(record, dict) or not set(keys) <= set(record):
        raise Damaged(f"{path.name} is of another kind")
    seal = record.pop(SEAL, None)
    if seal is not None and seal != _seal(record):
        raise Damaged(f"{path.name} is not what was written")
    return record, seal is not None


def digest(path: str | Path) -> str:
    """The SHA-256 of a file.

    Args:
        path: the file.
    """
    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def _seal(record: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(record))  # whose keys are text, as those of a record that was read
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _reason(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.splitlines()[0] if said else type(error).__name__
