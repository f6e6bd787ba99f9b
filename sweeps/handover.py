"""Chunks that are trained, on their way to the disk; those that others go on from, a few at a time."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sweeps import checkpoints, kept, store
from sweeps.durability import writing
from sweeps.planning import Chunk
from sweeps.training import Trained, checkpoint_name
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
    states = [trained.checkpoint for _, trained in done if trained.checkpoint is not None]
    if states:
        state = checkpoints.joined(states)
        with writing(str(directory / checkpoints.CHECKPOINTS)):
            checkpoints.save(directory, f"{done[0][0].name}-{len(state.members)}", state)
    for chunk, trained in done:
        if keep_best and trained.carry is not None:
            leaves = checkpoints.to_host(trained.carry.state, len(chunk.members))
            kept.keep(directory, keep_best, study.mode, chunk.members, trained.final, leaves)
        store.commit(directory, chunk.name, trained.members, trained.metrics, trained.setting)
        if trained.checkpoint is None:  # otherwise the next round begins from it
            checkpoints.remove(directory, checkpoint_name(chunk))
