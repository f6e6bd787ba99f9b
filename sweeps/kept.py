"""The final states of the best members, kept on the disk and loaded into the user's model."""

import contextlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sweeps.checkpoints import STATE, from_host, load_arrays, save_arrays
from sweeps.durability import discard, publish, writing
from sweeps.population import Population, config_of
from sweeps.space import StudyError
from sweeps.trial import Study

KEPT, RECORD = "kept", "kept.json"


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
    best = _best({**_kept(directory), **values}, count, mode)
    for row, member in enumerate(members.tolist()):
        folder = directory / KEPT / str(member)
        if member in best and not folder.exists():
            arrays = [np.asarray(leaf[row]) for leaf in leaves]  # a scalar would be no array
            record = {
                "member": member,
                "value": values[member],
                "arrays": [[list(array.shape), str(array.dtype)] for array in arrays],
            }

            def write(temporary: Path, arrays: Any = arrays, record: Any = record) -> None:
                save_arrays(temporary / STATE, arrays)
                (temporary / RECORD).write_text(json.dumps(record))

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
    best = _best(_kept(directory), count, mode)
    for folder in folders:
        if int(folder.name) not in best:
            discard(folder)


def kept_members(directory: Path, mode: str) -> list[int]:
    """The members whose states are kept, best first.

    Args:
        directory: the run directory.
        mode: `max` or `min`.
    """
    values = _kept(directory)
    return _best(values, len(values), mode)


def load_kept(directory: Path, study: Study, population: Population, member: int) -> Any:
    """A member that was kept: the user's model with its final variables, or the final state.

    Args:
        directory: the run directory.
        study: the study that was run.
        population: its members.
        member: the id.

    Raises:
        StudyError: that member was not kept.
    """
    folder = directory / KEPT / str(member)
    if not folder.exists():
        kept = sorted(_kept(directory))
        how = f"there are {kept}" if kept else "none was kept; run with keep_best=3 (--keep-best 3)"
        raise StudyError(f"`a member whose state was kept` must hold, but got {member}; {how}")
    record = json.loads((folder / RECORD).read_text())
    config = config_of(population, member)
    like = jax.eval_shape(lambda key: study.trial.init(config, key), jax.random.key(0))
    state = jax.tree.map(jnp.asarray, from_host(load_arrays(folder / STATE, record["arrays"]), like))
    return state if study.trial.model is None else study.trial.model(config, state)


def _kept(directory: Path) -> dict[int, float]:
    records = []
    for path in (directory / KEPT).glob(f"[0-9]*/{RECORD}"):
        with contextlib.suppress(FileNotFoundError):  # another process has just removed it
            records.append(json.loads(path.read_text()))
    return {record["member"]: record["value"] for record in records}


def _best(values: dict[int, float], count: int, mode: str) -> list[int]:
    """The best members, best first; ties go to the smaller id, and a NaN is never among them."""
    sign = -1 if mode == "max" else 1
    finite = [member for member, value in values.items() if np.isfinite(value)]
    return sorted(finite, key=lambda member: (sign * values[member], member))[:count]
