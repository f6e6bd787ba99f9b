"""A member whose final state was kept, loaded into the user's model."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweeps.errors import StudyError, resume_line
from sweeps.members.population import Population, config_of, with_values
from sweeps.members.request import request_again
from sweeps.members.sampling import all_members
from sweeps.models.annealing import annealed
from sweeps.store import checkpoints
from sweeps.store.arrays import from_host
from sweeps.store.best_states import KEPT, best, damage, kept_members, kept_states, load
from sweeps.store.checksums import READING_ERRORS
from sweeps.trial import Study


def load_kept(
    directory: Path,
    manifest: Mapping[str, Any],
    study: Study,
    members: pa.Table,
    finals: np.ndarray,
    member: int | None,
) -> Any:
    """A member that was kept: the user's model with its final variables, or the final state.

    Args:
        directory: the run directory.
        manifest: what the run was.
        study: the study that was run.
        members: the rows of its members.
        finals: what each of them scored.
        member: the id; None takes the best.

    Raises:
        StudyError: that member was not kept, or the study is not the one that was run.
    """
    request = request_again(manifest, study)
    population = all_members(request.study, request.sampling, request.population, directory)
    if member is None:
        values = dict(zip(members["member"].to_pylist(), finals.tolist(), strict=True))
        known = kept_members(directory, manifest["mode"]) or best(values, 1, manifest["mode"])
        member = known[0] if known else 0
    # Population-based training may have changed its hyperparameters; the table has the last.
    row = members.filter(pc.field("member") == member).to_pylist()
    traced = [field.name for field in population.fields if field.traced and field.name in population.swept]
    changed = {name: row[0][name] for name in traced} if row else {}
    step = (row[0]["stopped_at"] if row else None) or request.study.steps
    return _loaded(directory, request.study, with_values(population, {member: changed}), member, step)


def _loaded(directory: Path, study: Study, population: Population, member: int, step: int) -> Any:
    config = annealed(config_of(population, member), step, study.steps)
    like = jax.eval_shape(lambda key: study.trial.init(config, key), jax.random.key(0))
    leaves = _leaves(directory, member, study.steps)[: len(jax.tree.leaves(like))]
    state = jax.tree.map(jnp.asarray, from_host(leaves, like))
    return state if study.trial.model is None else study.trial.model(config, state)


def _leaves(directory: Path, member: int, steps: int) -> list[np.ndarray]:
    """The arrays of the state that a member ended in: of one of the best, or where all are kept."""
    folder = directory / KEPT / str(member)
    if folder.exists():
        why = damage(folder)
        if why is not None:
            raise StudyError(
                f"`a state that can be read` must hold, but {folder} is damaged: {why}; "
                f"`{resume_line(directory)}` trains member {member} again"
            )
        return load(folder)
    with contextlib.suppress(*READING_ERRORS):
        found = checkpoints.at_rung(directory, np.asarray([member]), steps)
        if found is not None:
            return [
                np.asarray(leaf[0]) for leaf in found.leaves
            ]  # of what a chunk carries; the state comes first
    kept = sorted(kept_states(directory))
    how = f"there are {kept}" if kept else "none was kept; run with keep_best=3 (--keep-best 3)"
    raise StudyError(f"`a member whose state was kept` must hold, but got {member}; {how}")
