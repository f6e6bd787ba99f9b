"""The final states of the best members, kept on the disk and loaded into the user's model."""

from pathlib import Path
from typing import Any

import numpy as np

from sweeps.store import checksums
from sweeps.store.arrays import load_arrays, save_arrays
from sweeps.store.checkpoints import STATE
from sweeps.store.checksums import READING_ERRORS, Damaged
from sweeps.store.durable import discard, publish, writing

KEPT, RECORD = "kept", "kept.json"
KEYS = ("member", "value", "arrays")


def keep(
    directory: Path, count: int, mode: str, members: np.ndarray, final: np.ndarray, leaves: list[np.ndarray]
) -> None:
    """Keeps the states of those members that are among the best so far.

    Call `prune` when the members' chunk is committed.

    Args:
        directory: the run directory.
        count: how many are kept in all.
        mode: `max` or `min`.
        members: ids.
        final: their metric, NaN where a member diverged.
        leaves: the arrays of the stacked state, a row per member.
    """
    values = {int(member): float(value) for member, value in zip(members, final, strict=True)}
    chosen = best({**kept_states(directory), **values}, count, mode)
    for row, member in enumerate(members.tolist()):
        folder = directory / KEPT / str(member)
        if member in chosen and not folder.exists():
            arrays = [np.asarray(leaf[row]) for leaf in leaves]  # a scalar would be no array
            record = {
                "member": member,
                "value": values[member],
                "arrays": [[list(array.shape), str(array.dtype)] for array in arrays],
            }

            def write(temporary: Path, arrays: Any = arrays, record: Any = record) -> None:
                save_arrays(temporary / STATE, arrays)
                (temporary / RECORD).write_text(checksums.sealed(record))

            with writing(str(folder)):
                publish(folder, write)


def prune(directory: Path, count: int, mode: str) -> None:
    """Removes the states that are no longer among the best.

    Args:
        directory: the run directory.
        count: how many stay.
        mode: `max` or `min`.
    """
    folders = list((directory / KEPT).glob("[0-9]*"))  # before the values: one that comes now is left alone
    chosen = best(kept_states(directory), count, mode)
    for folder in folders:
        if int(folder.name) not in chosen:
            discard(folder)


def forget(directory: Path, member: int) -> None:
    """Removes the state of a member, if it is kept.

    Args:
        directory: the run directory.
        member: the id.
    """
    if (directory / KEPT / str(member)).exists():
        discard(directory / KEPT / str(member))


def forget_others(directory: Path, members: np.ndarray) -> None:
    """Removes the states that are kept of other members than these.

    Args:
        directory: the run directory.
        members: ids.
    """
    for member in set(kept_states(directory)).difference(members.tolist()):
        forget(directory, member)


def kept_members(directory: Path, mode: str) -> list[int]:
    """The members whose states are kept, best first.

    Args:
        directory: the run directory.
        mode: `max` or `min`.
    """
    values = kept_states(directory)
    return best(values, len(values), mode)


def kept_states(directory: Path) -> dict[int, float]:
    """The members whose states are kept, and the metric of each.

    Args:
        directory: the run directory.
    """
    found = {}
    for folder in (directory / KEPT).glob("[0-9]*"):
        try:
            record, _ = checksums.unsealed(folder / RECORD, KEYS)
            found[record["member"]] = record["value"]
        except READING_ERRORS:
            continue  # another process has just removed it, or it is damaged
    return found


def damage(folder: Path, arrays: bool = True) -> str | None:
    """What is wrong with a state that is kept; None if it can be read.

    Args:
        folder: `kept/<member>` of the run directory.
        arrays: whether to read the arrays too.
    """
    try:
        if not checksums.check(folder, (RECORD,), "" if arrays else STATE) and arrays:
            load(folder)  # an earlier version's
    except (*READING_ERRORS, KeyError, TypeError) as error:
        return str(error).splitlines()[0] if isinstance(error, Damaged) else f"it cannot be read ({error!r})"
    return None


def load(folder: Path) -> list[np.ndarray]:
    """The arrays of a state that is kept.

    Args:
        folder: `kept/<member>` of the run directory.
    """
    record, _ = checksums.unsealed(folder / RECORD, KEYS)
    return load_arrays(folder / STATE, record["arrays"])


def best(values: dict[int, float], count: int, mode: str) -> list[int]:
    """The best members, best first; ties go to the smaller id, and a NaN is never among them."""
    sign = -1 if mode == "max" else 1
    finite = [member for member, value in values.items() if np.isfinite(value)]
    return sorted(finite, key=lambda member: (sign * values[member], member))[:count]
