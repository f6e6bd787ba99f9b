"""Chunks that are trained, on their way to the disk; those that others go on from, a few at a time."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sweeps.engine.chunks import Chunk
from sweeps.engine.failure import Failure
from sweeps.engine.resumption import checkpoint_name
from sweeps.engine.rows import failed_rows
from sweeps.engine.training import Trained
from sweeps.members.population import Population, config_of
from sweeps.models.annealing import annealed
from sweeps.store import best_states, checkpoints
from sweeps.store import chunks as store
from sweeps.store.arrays import to_host
from sweeps.store.durable import writing
from sweeps.store.scores import judged_by, scores, so_far
from sweeps.store.statuses import Status
from sweeps.trial import Study

HELD_SECONDS, HELD_BYTES = 5.0, 2**24


class Handover:
    """Commits chunks, those before the last round a few at a time, since their states go with them.

    A checkpoint takes tens of milliseconds however small it is, longer than a chunk of a first round may.
    A process that is killed loses what was held: a few seconds of training.

    Args:
        study: the study.
        directory: the run directory.
        keep_best: how many of the best members' final states are kept.
        finished: called with every chunk that is committed.
    """

    def __init__(self, study: Study, directory: Path, keep_best: int, finished: Callable[[Chunk], None]):
        self.study, self.directory, self.keep_best, self.finished = study, directory, keep_best, finished
        self.held: list[tuple[Chunk, Trained]] = []
        self.since = time.monotonic()

    def add(self, chunk: Chunk, trained: Trained) -> None:
        """Takes a chunk, and commits what is held if it is time to.

        Args:
            chunk: the chunk.
            trained: what it has found.

        Raises:
            StudyError: it cannot be written.
        """
        if self.held:
            other, before = self.held[-1]
            if (other.group, before.setting) != (chunk.group, trained.setting):
                self.flush()
        self.held.append((chunk, trained))
        states = [each.checkpoint for _, each in self.held if each.checkpoint is not None]
        size = sum(leaf.nbytes for state in states for leaf in state.leaves)
        waited = time.monotonic() - self.since
        if trained.checkpoint is None or size >= HELD_BYTES or waited >= HELD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Commits what is held.

        Raises:
            StudyError: it cannot be written.
        """
        held, self.held = self.held, []
        if held:
            commit(self.study, self.directory, self.keep_best, held)
        for chunk, _ in held:
            self.finished(chunk)
        self.since = time.monotonic()


def commit(study: Study, directory: Path, keep_best: int, done: Sequence[tuple[Chunk, Trained]]) -> None:
    """Keeps what chunks have found, and the states that the next round begins from or that the best end in.

    Args:
        study: the study.
        directory: the run directory.
        keep_best: how many of the best members' final states are kept.
        done: chunks of one interval, group and setting, and what they have found.

    Raises:
        StudyError: it cannot be written.
    """
    states, kept = [trained.checkpoint for _, trained in done if trained.checkpoint is not None], ""
    if states:
        state = checkpoints.joined(states)
        kept = f"{done[0][0].name}-{len(state.members)}"
        with writing(str(directory / checkpoints.CHECKPOINTS)):
            checkpoints.save(directory, kept, state)
    for chunk, trained in done:
        if keep_best and trained.carry is not None:
            leaves = to_host(trained.carry.state, len(chunk.members))
            final = _final(study, directory, chunk, trained)
            best_states.keep(directory, keep_best, study.mode, chunk.members, final, leaves)
        rows = trained.members, trained.metrics
        store.commit(directory, chunk.name, *rows, trained.setting, trained.seconds)
        if checkpoint_name(chunk) != kept:  # from which the next round begins, or which stays
            checkpoints.remove(directory, checkpoint_name(chunk))


def keep_stopped(
    study: Study, population: Population, directory: Path, keep_best: int, members: np.ndarray, step: int
) -> None:
    """Keeps the states of those members, stopped after a step, that are among the best.

    Args:
        study: the study.
        population: all members.
        directory: the run directory.
        keep_best: how many of the best members' final states are kept.
        members: the ids of those that were stopped.
        step: the step, whose states are kept in checkpoints yet.

    Raises:
        StudyError: it cannot be written.
    """
    values = dict(zip(members.tolist(), scores(directory, members, judged_by(study), step), strict=True))
    kept = best_states.kept_states(directory)
    chosen = np.intersect1d(best_states.best(kept | values, keep_best, study.mode), members)
    chosen = np.setdiff1d(chosen, list(kept)).astype(np.int64)
    for group in np.unique(population.groups[chosen]):
        own = chosen[population.groups[chosen] == group]
        found = checkpoints.at_rung(directory, own, step)
        if found is not None:  # otherwise `resume` finds that they are gone
            config = annealed(config_of(population, int(own[0])), 0, study.steps)
            state = jax.eval_shape(partial(study.trial.init, config), jax.random.key(0))
            leaves = found.leaves[: len(jax.tree.leaves(state))]  # the first of what a chunk carries
            final = np.asarray([values[member] for member in own.tolist()])
            best_states.keep(directory, keep_best, study.mode, own, final, leaves)
    best_states.prune(directory, keep_best, study.mode)


def _final(study: Study, directory: Path, chunk: Chunk, trained: Trained) -> np.ndarray:
    """The score of every member of a chunk, by the evaluations of its earlier rounds too."""
    if study.select == "last" or not chunk.start:
        return trained.final
    before = scores(directory, chunk.members, judged_by(study), chunk.start)
    diverged = np.asarray(trained.members["status"].to_pylist()) == Status.DIVERGED
    return np.where(diverged, np.nan, so_far(np.stack([before, trained.final]), study.mode)[-1])


def give_up(
    directory: Path, population: Population, chunk: Chunk, metric: str, setting: dict[str, Any], why: Failure
) -> None:
    """Keeps that the members of a chunk failed, and why.

    Args:
        directory: the run directory.
        population: all members.
        chunk: the chunk.
        metric: the study's metric.
        setting: the numerical setting that it was tried in.
        why: why it failed.

    Raises:
        StudyError: it cannot be written.
    """
    members, metrics = failed_rows(population, chunk.members, metric)
    said = {"error": why.error, "details": why.details}
    store.commit(directory, chunk.name, members, metrics, setting | said)
