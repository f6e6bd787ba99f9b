"""What a run asks of whatever trains it: a plan, and then its chunks, round after round."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from sweeps.engine.chunks import Chunk
from sweeps.engine.plan import Examined, Plan
from sweeps.host.progress import Display
from sweeps.host.signals import Signals
from sweeps.members.population import Population
from sweeps.members.request import Request
from sweeps.store.lock import Lock

Finished = Callable[[Chunk], None]
Trainer = Callable[[Population, list[Chunk], Mapping[int, int], Finished], None]  # `Executor.train`


class Work(NamedTuple):
    """What a run hands to whatever trains it.

    Attributes:
        examined: the study.
        request: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
        signals: what is held back while a span runs, and says that the run's time is over.
    """

    examined: Examined
    request: Request
    lock: Lock
    display: Display
    signals: Signals


class Executor(Protocol):
    """This process, workers, or whichever of them is faster."""

    def plan(self, members_per_chunk: int | None, began: Plan | None) -> Plan:
        """Measures and cuts.

        Args:
            members_per_chunk: how many members run at once; None measures and chooses.
            began: how the run began, if it goes on.
        """
        ...

    def train(
        self, population: Population, chunks: list[Chunk], sources: Mapping[int, int], finished: Finished
    ) -> None:
        """Trains chunks; returns when every one is committed or given up.

        Args:
            population: all members so far.
            chunks: the chunks.
            sources: members that go on from another's state, and whose.
            finished: called with every chunk that is committed.
        """
        ...
