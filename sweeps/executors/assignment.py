"""Which worker has which chunk, when it last gave a sign of life, and what is left of one that failed."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sweeps.engine.chunks import Chunk, halved
from sweeps.engine.failure import Failure


class Hand(NamedTuple):
    """A worker of the crew.

    Attributes:
        name: what it is called in the run directory.
        worker: what stands for it, as the pool has it.
        since: when it was given what it does, by the clock of `time.monotonic`.
    """

    name: str
    worker: Any
    since: float = 0.0


class Task(NamedTuple):
    """A chunk, and how often it has been tried.

    Attributes:
        chunk: the chunk.
        attempts: how often it was tried before.
    """

    chunk: Chunk
    attempts: int = 0


def again(task: Task, why: Failure, devices: int, attempts: int) -> list[Task]:
    """What is left to try of a task that has failed; nothing if its members are to be given up.

    Where memory is short, the program becomes half as wide. Otherwise the chunk is tried as it is, and then
    in halves, until the member that fails is alone.

    Args:
        task: the task.
        why: why it failed this time.
        devices: how many devices share a chunk.
        attempts: how often a chunk is tried as it is.
    """
    tried = task.attempts + 1
    if why.memory and (parts := halved(task.chunk, devices, narrower=True)):
        return [Task(part, tried) for part in parts]
    if tried < attempts:
        return [Task(task.chunk, tried)]
    return [] if why.group else [Task(part, attempts - 1) for part in halved(task.chunk, devices)]


class Assignment:
    """A task that a worker has.

    Args:
        hand: the worker.
        task: the task.
    """

    def __init__(self, hand: Hand, task: Task):
        self.hand, self.task = hand, task
        self.sign: Any = None  # the last sign of life: the step, and whether it is being evaluated
        self.seen = time.monotonic()  # when that was new

    def silent(self, record: Mapping[str, Any] | None) -> float:
        """For how many seconds the worker has given no new sign of life.

        Args:
            record: what it says of itself.
        """
        if record and record["chunk"] == self.task.chunk.name:
            sign = record["step"], record.get("evaluating", False)
            if sign != self.sign:
                self.sign, self.seen = sign, time.monotonic()
        return time.monotonic() - self.seen
