"""Which worker has which chunk, and since when it has given no sign of life."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sweeps.planning import Chunk


class Hand(NamedTuple):
    """A worker of the crew.

    Attributes:
        name: what it is called in the run directory.
        actor: Ray's handle of it.
    """

    name: str
    actor: Any


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
        self.sign, self.seen = (0, 0.0), time.monotonic()  # the last sign of life, and when it was new

    def silent(self, record: Mapping[str, Any] | None) -> float:
        """For how many seconds the worker has given no new sign of life.

        Args:
            record: what it says of itself.
        """
        sign = (record["step"], 0.0) if record and record.get("chunk") == self.task.chunk.name else self.sign
        if sign != self.sign:
            self.sign, self.seen = sign, time.monotonic()
        return time.monotonic() - self.seen
