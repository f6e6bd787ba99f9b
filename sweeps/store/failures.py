"""Members that were given up as `failed`: why, what they began from, and what their return undoes."""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.store import best_states, checkpoints, rungs
from sweeps.store.checksums import READING_ERRORS
from sweeps.store.chunks import committed, damage, interval, members_of, read_setting


def errors(directory: Path) -> dict[int, str]:
    """Why members were given up as `failed`.

    Args:
        directory: the run directory.
    """
    found = {}
    for folder, ids in _failed(directory):
        if damage(folder) is None:
            found |= dict.fromkeys(ids, str(read_setting(folder)["error"]))
    return found


def reopen(directory: Path) -> int:
    """Sets chunks aside whose members were given up as `failed`, so that they are trained again.

    Call it only while holding the directory's lock.

    Args:
        directory: the run directory.

    Returns:
        How many members there are in them.
    """
    found = _failed(directory)
    for folder, _ in found:
        _set_aside(folder, "failed")
    return sum(len(ids) for _, ids in found)


def failed_members(directory: Path, stop: int) -> np.ndarray:
    """The members that were given up in an interval, ascending.

    Args:
        directory: the run directory.
        stop: the step with which the interval ends.
    """
    found = [ids for folder, ids in _failed(directory) if interval(folder).stop == stop]
    return np.sort(np.asarray([member for ids in found for member in ids], np.int64))


def beginnings(directory: Path) -> dict[int, set[int]]:
    """The states that members that failed began from, which `resume` needs: step to whose they are.

    Args:
        directory: the run directory.
    """
    found: dict[int, set[int]] = {}
    for folder, ids in _failed(directory):
        start = interval(folder).start
        if start:
            sources = rungs.sources(directory, start)
            found.setdefault(start, set()).update(sources.get(member, member) for member in ids)
    return found


def without_state(
    directory: Path, members: np.ndarray, sources: Mapping[int, int], start: int, stop: int
) -> np.ndarray:
    """The members of an interval that no checkpoint says how to begin or to go on with.

    Args:
        directory: the run directory.
        members: ids.
        sources: members that go on from another's state, and whose.
        start: the step after which the interval begins.
        stop: the step with which it ends.
    """
    begun, there = set[int](), set[int]()
    for record in checkpoints.newest(directory).values():
        if record["evaluated"] and record["step"] == start:
            there.update(record["members"])
        elif record["start"] == start and start < record["step"] <= stop:
            begun.update(record["members"])
    return np.asarray([m for m in members.tolist() if m not in begun and sources.get(m, m) not in there])


def forget(directory: Path, members: np.ndarray, step: int, decisions: bool = True) -> None:
    """Sets aside what members were trained to after a step, and what was decided on it.

    Args:
        directory: the run directory.
        members: ids, of whole batches if decisions are forgotten.
        step: the step; 0 forgets all.
        decisions: whether to forget those too; otherwise the members are trained to what was decided.
    """
    for folder, record in checkpoints.newest(directory).items():
        if record["step"] > step and np.isin(record["members"], members).any():
            shutil.rmtree(folder.parent)
    if decisions:
        rungs.remove(directory, members, step)
    for folder in committed(directory):
        if interval(folder).start >= step:
            ids = _members(folder)
            if np.isin(ids, members).any():
                for member in ids:
                    best_states.forget(directory, member)
                _set_aside(folder, "again")


def _failed(directory: Path) -> list[tuple[Path, list[int]]]:
    """The chunks that were given up, and their members."""
    found = []
    for folder in committed(directory):
        with contextlib.suppress(*READING_ERRORS):  # who reports on the run says so
            if _is_failed(read_setting(folder)):
                found.append((folder, _members(folder)))
    return found


def _is_failed(setting: Any) -> bool:
    return isinstance(setting, dict) and setting.get("error") is not None


def _members(folder: Path) -> list[int]:
    return members_of(folder).tolist()


def _set_aside(folder: Path, why: str) -> None:
    """Puts a chunk beside the others, out of sight."""
    aside = folder.with_name(f".{folder.name}.{why}")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
