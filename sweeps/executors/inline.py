"""Chunks trained in this process, one after the other."""

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from sweeps.engine.chunks import SECONDS_ON_DISK, Chunk, halved
from sweeps.engine.commit import Handover, give_up
from sweeps.engine.failure import CALLBACK, Failure, diagnose, settle
from sweeps.engine.plan import Plan, Prepared, prepare
from sweeps.engine.training import Pace, Place, Trained, train
from sweeps.executors.assignment import Task, again
from sweeps.executors.executor import Finished, Work
from sweeps.host.progress import Display
from sweeps.host.signals import Signals
from sweeps.members.population import Population
from sweeps.store.checkpoints import Writer

ATTEMPTS = 2  # of a chunk as it is, before it is tried in halves
MOST_SAID = 10  # members that are given up, one by one; the count goes on


class Alone:
    """This process, an `Executor` that trains chunks on its own devices, one after the other.

    Args:
        work: the run.
        devices: the devices; None takes all, or as many as the run began with.
    """

    def __init__(self, work: Work, devices: Sequence[Any] | None):
        self.work, self.devices, self.pace = work, devices, Pace()
        directory, request = work.lock.path.parent, work.request
        writer = Writer(directory, 60 * request.checkpoint_minutes)
        self.place = Place(directory, writer, work.lock, request.keep_states)

    def plan(self, members_per_chunk: int | None, began: Plan | None) -> Plan:
        """Measures and cuts."""
        examined, request, _, display, _ = self.work

        def say(phase: str) -> None:
            display.doing(phase)
            self.place.record.say(display.figures())

        self.prepared = prepare(
            examined, request.sampling.root_seed, self.devices, members_per_chunk, began=began,
            chunk_seconds=SECONDS_ON_DISK * request.commits, say=say,
        )  # fmt: skip
        plan = self.prepared.plan
        if began is None and plan.devices < len(self.devices or jax.devices()):
            display.note(f"{plan.devices} of the devices are used: there are no more members in a group")
        return plan

    def train(
        self, population: Population, chunks: list[Chunk], sources: Mapping[int, int], finished: Finished
    ) -> None:
        """Trains chunks; returns when every one is committed or given up."""
        _, request, _, display, signals = self.work
        prepared, place, study = self.prepared, self.place, request.study

        def train_one(chunk: Chunk) -> Trained:
            return train(prepared, population, chunk, self.pace, display, signals, place, sources)

        def leave(chunk: Chunk, why: Failure) -> None:
            give_up(place.directory, population, chunk, study.metric, prepared.plan.setting, why)

        self.pace.groups.update(chunk.group for chunk in chunks)
        handover = Handover(study, place.directory, request.keep_best, finished)
        try:
            train_all(prepared, population, chunks, train_one, handover.add, leave, display, signals)
        finally:  # also after Ctrl-C
            with signals.held():
                handover.flush()


def train_all(
    prepared: Prepared,
    population: Population,
    chunks: list[Chunk],
    train_one: Callable[[Chunk], Trained],
    finish: Callable[[Chunk, Trained], None],
    leave: Callable[[Chunk, Failure], None],
    display: Display,
    signals: Signals,
) -> None:
    """Trains every chunk; of one that fails, those members are left that fail alone.

    Where one does not fit the memory, those that are as wide are halved with it.

    Args:
        prepared: the plan.
        population: all members so far.
        chunks: the chunks.
        train_one: trains one.
        finish: called with each, and what came of it.
        leave: called with those that are given up, and why.
        display: what a person sees.
        signals: what is held back while a chunk is trained.

    Raises:
        StudyError: something that no member is to blame for.
    """
    waiting, devices = collections.deque(map(Task, chunks)), prepared.bench.mesh.size
    while waiting:
        task = waiting.popleft()
        chunk = task.chunk
        with signals.held():
            try:
                trained = train_one(chunk)
            except Exception as error:  # whatever the user's own functions raise
                why = diagnose(error, prepared.bench.study, population, chunk.group)
                if why.fatal:
                    raise
                parts = again(task, why, devices, ATTEMPTS)
                say_failure(display, task, why, parts)
                if not parts:
                    leave(chunk, why)
                    if CALLBACK.search(str(error)):
                        settle(prepared.bench.mesh.devices.flat)
                elif parts[0].chunk.width < chunk.width:
                    waiting = _narrowed(waiting, chunk.width, devices)
                waiting.extendleft(reversed(parts))
                continue
            finish(chunk, trained)


def _narrowed(waiting: collections.deque[Task], width: int, devices: int) -> collections.deque[Task]:
    """The tasks with those in halves that are as wide as one that did not fit the memory."""
    parts = [
        [task._replace(chunk=half) for half in halved(task.chunk, devices, narrower=True)]
        if task.chunk.width >= width
        else [task]
        for task in waiting
    ]
    return collections.deque(task for part in parts for task in part)


def say_failure(display: Display, task: Task, why: Failure, parts: list[Task]) -> None:
    """Says that a chunk failed, and what follows.

    Args:
        display: what a person sees.
        task: the chunk.
        why: why it failed.
        parts: what is tried again; nothing if it is given up.
    """
    chunk, before = task.chunk, display.failed
    gone = 0 if parts else len(chunk.members)
    display.leave(chunk.name, failed=gone, steps=chunk.steps)
    if not parts:
        if before < MOST_SAID:
            display.note(f"chunk {chunk.name} is given up with its {len(chunk.members)} members: {why.error}")
    elif (width := parts[0].chunk.width) < chunk.width:
        display.note(f"out of memory with {chunk.width} members at once; going on with {width}")
    elif len(parts) == 1:
        display.note(f"chunk {chunk.name} is tried again, attempt {task.attempts + 2}: {why.error}")
