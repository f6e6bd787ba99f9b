"""How fast a run is, and how long it still takes, by what it has done so far."""

import time
from collections.abc import Callable

LEAST_SECONDS = 0.5  # of training, before anything is said of it


class Forecast:
    """What is left, with what compiling takes kept apart from what training takes.

    Steps are trained all through a run, but each program is compiled once: what compiling took says nothing
    of the steps that are left, only of the programs that are.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.first: float | None = None  # when progress was seen first; what was done before is not timed
        self.done = self.before = 0.0
        self.since: float | None = None  # when the compiler began, while it works
        self.program = self.programs = 0
        self.compiled: dict[int, float] = {}  # seconds, by program
        self.apart = 0.0  # those among them that came after progress was seen first

    def compile(self, program: int, of: int) -> None:
        """Says that a program is being compiled, until progress is seen.

        Args:
            program: which, from 1 on.
            of: how many there are.
        """
        self.program, self.programs, self.since = program, max(program, of), self.clock()

    def progress(self, done: float | int) -> None:
        """Says how much is done.

        Args:
            done: member-steps, each as much as its program's cost, those of earlier processes among them.
        """
        now, seconds = self.clock(), 0.0
        if self.since is not None:
            seconds, self.since = now - self.since, None
            self.compiled[self.program] = self.compiled.get(self.program, 0.0) + seconds
        if self.first is not None:
            self.apart += seconds
        elif done > self.before:
            self.first, self.before = now, done
        self.done = done

    def correct(self, member_steps: float | int) -> None:
        """Takes what was trained before, or is trained again, out of what is timed.

        Args:
            member_steps: how many; fewer than 0 if they are trained again.
        """
        self.before += member_steps
        self.done += member_steps

    @property
    def rate(self) -> float | None:
        """Member-steps per second of training; None until it can be told."""
        if self.first is None:
            return None
        now = self.clock()
        seconds = (self.since or now) - self.first - self.apart
        done = self.done - self.before  # less than nothing, where more is trained again than was since
        return done / seconds if seconds >= LEAST_SECONDS and done > 0 else None

    def left(self, total: float | int) -> float | None:
        """The seconds that are left; None until that can be told.

        Args:
            total: the member-steps of the whole run.
        """
        rate = self.rate
        if not rate:
            return 0.0 if self.done >= total else None
        seconds = max(0, total - self.done) / rate
        # What is compiled now is not known to take as long as it has, but where it is the only one.
        known = [took for program, took in self.compiled.items() if program < self.program]
        known = known or list(self.compiled.values())
        each = sum(known) / len(known) if known else 0.0
        if self.since is not None:
            took = self.compiled.get(self.program, 0.0) + self.clock() - self.since
            seconds += max(0.0, each - took)
        return seconds + (self.programs - self.program) * each
