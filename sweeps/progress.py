"""What a person sees while a sweep runs: one live line in a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


class Display:
    """The progress of a sweep, counted in member-steps.

    Args:
        members: how many members there are.
        steps: how many steps each is trained.
        shown: False keeps silent.
        console: where to write; standard error by default.
    """

    def __init__(self, members: int, steps: int, *, shown: bool = True, console: Console | None = None):
        self.members, self.steps = members, steps
        self.finished = self.diverged = self.before = 0
        self.console = console or Console(stderr=True)
        self.live = shown and self.console.is_terminal
        self.plain = shown and not self.live
        self.began = self.last_line = time.monotonic()
        self.bar = Progress(
            TextColumn("[bold]{task.fields[done]}[/]/{task.fields[members]} members"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  step {task.fields[step]}  loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.task = self.bar.add_task("", total=members * steps, done=0, members=members, step="–", loss="–")

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def chunk(self, members: int, step: int, loss: float) -> None:
        """Says how far the running chunk is.

        Args:
            members: how many members it has.
            step: how many of its steps are done.
            loss: its mean training loss, NaN if there is none yet.
        """
        completed = self.finished * self.steps + members * step
        shown = f"{loss:.3g}" if loss == loss else "–"
        self.bar.update(
            self.task, completed=completed, done=self.finished, step=f"{step}/{self.steps}", loss=shown
        )
        now = time.monotonic()
        if self.plain and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            share = completed / (self.members * self.steps)
            here = completed - self.before  # what an earlier process did took none of this one's time
            eta = (now - self.began) * (self.members * self.steps - completed) / max(here, 1)
            self.console.print(
                f"{self.finished}/{self.members} members, step {step}/{self.steps}, loss {shown}, "
                f"{100 * share:.0f} %, eta " + (f"{eta:.0f} s" if share >= 0.01 else "–"),
                highlight=False,
            )

    def finish(self, members: int, diverged: int) -> None:
        """Says that a chunk is done.

        Args:
            members: how many members it has.
            diverged: how many of them diverged.
        """
        self.finished += members
        self.diverged += diverged
        self.bar.update(self.task, completed=self.finished * self.steps, done=self.finished)

    def resume(self, members: int) -> None:
        """Says that so many members were done before.

        Args:
            members: how many.
        """
        self.before = members * self.steps
        self.finish(members, 0)

    def note(self, line: str) -> None:
        """Prints one line above the bar."""
        if self.live or self.plain:
            self.console.print(line, highlight=False)
