"""How fast steps are seen to be, and how many of them make a span."""

from collections.abc import Iterable

from sweeps.engine.chunks import Chunk

SPAN_SECONDS = 2.0  # signals, progress and divergence are dealt with at least this often


class Pace:
    """How many steps make a span, by the time that each program's steps were seen to take.

    Attributes:
        groups: those that are going to be trained, as far as they are known.
    """

    def __init__(self, groups: Iterable[int] = ()):
        self.groups = set(groups)
        # By program, which the chunks of a group that are as wide share; None after the span that compiles.
        self.seconds_per_step: dict[tuple[int, int], float | None] = {}
        self.evaluation = float("inf")  # seconds of the longest evaluation that was seen

    def programs(self, chunk: Chunk) -> tuple[bool, int, int]:
        """Whether a chunk's program is new, how many groups' programs there are with it, and how many in all.

        Args:
            chunk: what is about to be trained.
        """
        new = (chunk.group, chunk.width) not in self.seconds_per_step
        seen = {chunk.group, *(group for group, _ in self.seconds_per_step)}
        return new, len(seen), len(seen | self.groups)

    def span(self, chunk: Chunk, steps: int) -> int:
        """How many steps to take next: one until it is known how long that takes.

        Args:
            chunk: what is trained.
            steps: the most.
        """
        seconds = self.seconds_per_step.get((chunk.group, chunk.width))
        return 1 if seconds is None else max(1, min(steps, int(SPAN_SECONDS / max(seconds, 1e-9))))

    def saw(self, chunk: Chunk, steps: int, seconds: float) -> None:
        """Takes a measurement; the first of a program is of the compiler, and only counts as such.

        Args:
            chunk: what was trained.
            steps: how many steps.
            seconds: how long they took.
        """
        program = chunk.group, chunk.width
        self.seconds_per_step[program] = seconds / steps if program in self.seconds_per_step else None

    def evaluated(self, seconds: float) -> None:
        """Takes how long an evaluation took."""
        self.evaluation = seconds if self.evaluation == float("inf") else max(self.evaluation, seconds)

    def evaluates_long(self) -> bool:
        """Whether an evaluation may take so long that others are told of it."""
        return self.evaluation > SPAN_SECONDS
