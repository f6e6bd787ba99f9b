"""What is damaged in a run directory: found by who looks, and set aside by who goes on with the run."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.store import best_states, checkpoints, chunks, derived, failures, manifest, programs, rungs
from sweeps.store.durable import set_aside, writing
from sweeps.store.heartbeats import WORKERS
from sweeps.store.scores import Judged, scores

FOLDERS = (
    chunks.CHUNKS, checkpoints.CHECKPOINTS, rungs.RUNGS, best_states.KEPT, programs.PROGRAMS, WORKERS,
    chunks.CONFIRMATION,
)  # fmt: skip
FILES = (*derived.TABLES, derived.RECORD)


def find(directory: Path, arrays: bool = True) -> dict[Path, str]:
    """What is damaged, and how that is seen.

    Args:
        directory: the run directory.
        arrays: whether to read the arrays of states too, the most of it.
    """
    places = {name: directory / name for name in (*FOLDERS, *FILES)}
    found = {places[name]: "it is no folder" for name in FOLDERS if places[name].is_file()}
    found |= {places[name]: "it is no file" for name in FILES if places[name].is_dir()}
    committed = chunks.committed(directory)
    read = {folder: chunks.damage(folder) for folder in committed}
    for chunk in (directory / checkpoints.CHECKPOINTS).glob("[0-9]*"):
        read[chunk] = None if chunk.is_dir() else "it is no folder"
    for chunk in checkpoints.folders(directory):
        read |= {folder: checkpoints.damage(folder, arrays) for folder in chunk}
    for folder in (directory / best_states.KEPT).glob("[0-9]*"):
        read[folder] = best_states.damage(folder, arrays)
    read |= programs.damage(directory)
    # What has gone meanwhile was no longer wanted.
    found |= {path: why for path, why in read.items() if why is not None and os.path.lexists(path)}
    return found | rungs.damage(directory, {chunks.interval(folder).start for folder in committed})


def described(directory: Path, arrays: bool = True) -> list[str]:
    """A line for each file and folder that is damaged, the manifest among them.

    Args:
        directory: the run directory.
        arrays: whether to read the arrays of states too.
    """
    said = manifest.damage(directory)
    return [*([] if said is None else [said]),
            *(f"{path}: {why}" for path, why in find(directory, arrays).items())]  # fmt: skip


def repair(directory: Path, recorded: Mapping[str, Any]) -> list[str]:
    """Sets aside what is damaged, so that it is made again, and removes what is half-written.

    What is set aside lies in `damaged/`, and what it held is made again: chunks are trained, decisions made
    from their rows. Call it only while holding the directory's lock.

    Args:
        directory: the run directory.
        recorded: its manifest.

    Returns:
        What was damaged, a line each.

    Raises:
        StudyError: it cannot be written.
    """
    with writing(str(directory)):
        remove_unfinished(directory)
        restored = manifest.restore(directory)
        lines = [] if restored is None else [restored]
        for path, why in find(directory).items():
            name = path.relative_to(directory)
            if os.path.lexists(path):
                set_aside(directory, path)
                lines.append(f"{name} is damaged ({why}): it is set aside, and what it held is made again")
            else:
                lines.append(f"{name} {why}: it is made again")
        (directory / chunks.CHUNKS).mkdir(exist_ok=True)
    return lines + _missing_states(directory, recorded)


def remove_unfinished(directory: Path) -> None:
    """Removes what a process that was killed left half-written.

    Args:
        directory: the run directory.
    """
    for path in [*directory.glob(".*.tmp"), *directory.glob("*/.*.tmp"), *directory.glob("*/*/.*.tmp")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _missing_states(directory: Path, recorded: Mapping[str, Any]) -> list[str]:
    """Has those of the best members trained again whose final states are not kept."""
    count, steps = recorded["keep_best"], recorded["steps"]
    if not count:
        return []
    ids = np.arange(recorded["members"])
    judged = Judged(recorded["metric"], recorded["mode"], recorded.get("select", "last"))
    final = scores(directory, ids, judged, steps)
    ends = dict.fromkeys(ids.tolist(), steps)
    if str(recorded.get("schedule")).startswith("early_stopping"):  # whose states are final too
        ends |= rungs.stopped_members(directory)
        final = np.where([end < steps for end in ends.values()], scores(directory, ids, judged), final)
    kept = best_states.kept_states(directory)
    values = dict(enumerate(final.tolist()))
    gone = [member for member in best_states.best(values, count, recorded["mode"]) if member not in kept]
    if not gone:
        return []
    for folder in chunks.committed(directory):
        start, stop = chunks.interval(folder)
        own = [member for member in gone if ends[member] == stop]
        if own:
            failures.forget(directory, np.intersect1d(chunks.members_of(folder), own), start, decisions=False)
    return [f"the final states of members {', '.join(map(str, gone))} are gone: they are trained again"]
