"""What a run asks of those who have workers: Ray, or this host."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


class Died(Exception):
    """A worker is gone: it was killed, or ran out of memory, or its machine is lost.

    Args:
        said: how it ended, in one line.
        memory: whether it is known that its machine ran out of memory.
    """

    def __init__(self, said: str, memory: bool = False):
        super().__init__(said)
        self.memory = memory


class Failed(Exception):
    """What a worker was asked for raised an exception; the message is what that said, in one line."""


@runtime_checkable
class Pool(Protocol):
    """Where workers come from, and how they are called."""

    def room(self) -> int:
        """How many workers there may be now, those that run among them."""
        ...

    def neighbours(self) -> int:
        """How many of them share the memory of one host."""
        ...

    def wants(self) -> str:
        """What a worker needs, and how a person sees whether it is there."""
        ...

    def hire(self, name: str) -> Any:
        """Asks for one more worker.

        Args:
            name: what it is called in the run directory.
        """
        ...

    def share(self, value: Any) -> Any:
        """What stands for a value in the arguments of `call`, so that it travels to each worker once.

        Args:
            value: what several calls need.
        """
        ...

    def call(self, worker: Any, method: str, *arguments: Any) -> Any:
        """Has a worker do something, and returns what stands for the answer.

        Args:
            worker: one that `hire` returned, which does nothing else now.
            method: which of `Worker`'s methods.
            *arguments: what to call it with.
        """
        ...

    def ready(self, calls: Sequence[Any], seconds: float | int) -> list[Any]:
        """Waits until there is an answer to some calls, and returns these.

        Args:
            calls: at least one.
            seconds: how long to wait at most.
        """
        ...

    def answer(self, call: Any) -> Any:
        """Waits for the answer to a call.

        Args:
            call: what `call` returned.

        Raises:
            Died: the worker is gone.
            Failed: it raised an exception.
        """
        ...

    def dismiss(self, worker: Any) -> None:
        """Ends a worker at once, whatever it does.

        Args:
            worker: one that `hire` returned.
        """
        ...

    def disband(self, workers: Sequence[Any]) -> None:
        """Ends workers; those that train may keep what they have first.

        Args:
            workers: all that there are.
        """
        ...
