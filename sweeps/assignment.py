"""Which worker has which chunk, and since when it has given no sign of life."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sweeps.planning import Chunk


class Hand(NamedTuple):
    """A worker of the crew.

    Attributes:
        name: what it is called in the run directory.
        worker: what stands for it, as the pool has it.
    """

    name: str
    worker: Any


class Task(NamedTuple):
    """A chunk, and how often it has been tried.

    Attributes:
        chunk: the chunk.
        attempts: how often it was tried before.
    """

    chunk: Chunk
    attempts: int = 0


class Assignment:
    """A task that a worker has.

    Args:
        hand: the worker.
        task: the task.
    """

    def __init__(self, hand: Hand, task: Task):
        self.hand, self.task = hand, task
        self.step, self.seen = -1, time.monotonic()  # the last sign of life, and when it was new

    def silent(self, record: Mapping[str, Any] | None) -> float:
        """For how many seconds the worker has given no new sign of life.

        Args:
            record: what it says of itself.
        """
        step = record["step"] if record and record["chunk"] == self.task.chunk.name else self.step
        if step != self.step:
            self.step, self.seen = step, time.monotonic()
        return time.monotonic() - self.seen
