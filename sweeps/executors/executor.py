"""What a run asks of whatever trains it: a plan, and then its chunks, round after round."""

from collections.abc import Callable, Mapping
from typing import Protocol

from sweeps.engine.chunks import Chunk
from sweeps.engine.plan import Plan
from sweeps.members.population import Population

Finished = Callable[[Chunk], None]
Trainer = Callable[[Population, list[Chunk], Mapping[int, int], Finished], None]  # `Executor.train`


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
