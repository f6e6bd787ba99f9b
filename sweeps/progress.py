"""What a person sees while a sweep runs: one live line in a terminal, plain lines elsewhere."""

import math
import time
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


class Running(NamedTuple):
    """A chunk that is being trained.

    Attributes:
        members: how many members it has.
        steps: how many steps of its interval are done.
        step: the step that its members are at.
        loss: its mean training loss, NaN if there is none yet.
    """

    members: int
    steps: int
    step: int
    loss: float


class Display:
    """The progress of a sweep, counted in member-steps.

    Args:
        members: how many members there are.
        member_steps: how many steps they are trained, all together.
        shown: False keeps silent.
        console: where to write; standard error by default.
    """

    def __init__(
        self, members: int, member_steps: int, *, shown: bool = True, console: Console | None = None
    ):
        self.members, self.member_steps = members, max(member_steps, 1)
        self.trained = self.before = self.done = self.diverged = self.stopped = self.failed = self.workers = 0
        self.running: dict[str, Running] = {}
        self.console = console or Console(stderr=True)
        self.live = shown and self.console.is_terminal
        self.plain = shown and not self.live
        self.began = self.last_line = time.monotonic()
        self.first: float | None = None  # when training began
        self.bar = Progress(
            TextColumn("{task.fields[said]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[where]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.task = self.bar.add_task("", total=self.member_steps, said=self._said(), where="planning")

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def chunk(self, name: str, now: Running) -> None:
        """Says how far a running chunk is.

        Args:
            name: the chunk's name.
            now: how far it is.
        """
        self.first = self.first or time.monotonic()
        self.running[name] = now
        self._update()
        moment = time.monotonic()
        if self.plain and moment - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = moment
            share = self._completed() / self.member_steps
            here = self._completed() - self.before  # what an earlier process did took none of this one's time
            left = (moment - self.began) * (self.member_steps - self._completed()) / max(here, 1)
            self.console.print(
                f"{self._said()}, {self._where()}, {100 * share:.0f} %, eta "
                + (f"{left:.0f} s" if share >= 0.01 else "–"),
                highlight=False,
                soft_wrap=True,
            )

    def finish(self, name: str, members: int, steps: int, diverged: int, last: bool = True) -> None:
        """Says that a chunk is done.

        Args:
            name: the chunk's name.
            members: how many members it has.
            steps: how many steps its interval has.
            diverged: how many of them diverged.
            last: whether its interval is the last.
        """
        self.running.pop(name, None)
        self.trained += members * steps
        self.diverged += diverged
        self.done += (members - diverged) * last
        self._update()

    def leave(self, name: str, failed: int = 0) -> None:
        """Says that a chunk is no longer being trained and is not done.

        Args:
            name: the chunk's name.
            failed: how many members are given up with it.
        """
        self.running.pop(name, None)
        self.failed += failed
        self._update()

    def stop(self, members: int) -> None:
        """Says that members were stopped.

        Args:
            members: how many.
        """
        self.stopped += members
        self._update()

    def staff(self, workers: int) -> None:
        """Says how many workers there are.

        Args:
            workers: how many.
        """
        self.workers = workers
        self._update()

    def resume(self, members: int, member_steps: int, diverged: int) -> None:
        """Says what was done before.

        Args:
            members: how many members came to their last step.
            member_steps: how many steps were trained.
            diverged: how many members diverged.
        """
        self.done += members
        self.diverged += diverged
        self.trained += member_steps
        self.before += member_steps
        self._update()

    def note(self, line: str) -> None:
        """Prints one line above the bar."""
        if self.live or self.plain:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _update(self) -> None:
        self.bar.update(self.task, completed=self._completed(), said=self._said(), where=self._where())

    def _completed(self) -> int:
        return self.trained + sum(chunk.members * chunk.steps for chunk in self.running.values())

    def _said(self) -> str:
        counts = {
            "running": sum(chunk.members for chunk in self.running.values()),
            "stopped": self.stopped,
            "diverged": self.diverged,
            "failed": self.failed,
        }
        others = "".join(f", {count} {name}" for name, count in counts.items() if count)
        on = f" on {self.workers} worker{'s' * (self.workers > 1)}" if self.workers else ""
        return f"{self.done}/{self.members} members{others}{on}"

    def _where(self) -> str:
        """Step, loss and speed."""
        if self.first is None:
            return "planning"
        steps = sorted({chunk.step for chunk in self.running.values()})
        said = f"step {steps[0]}{f'–{steps[-1]}' if len(steps) > 1 else ''}" if steps else "step –"
        losses = [(chunk.loss, chunk.members) for chunk in self.running.values() if math.isfinite(chunk.loss)]
        if losses:
            said += f", loss {sum(loss * count for loss, count in losses) / sum(n for _, n in losses):.3g}"
        rate = (self._completed() - self.before) / max(time.monotonic() - self.first, 1e-9)
        return f"{said}, {_short(rate)} member-steps/s" if time.monotonic() - self.first > 1 else said


def _short(number: float) -> str:
    """Three figures: 12.3k, 4.56M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
