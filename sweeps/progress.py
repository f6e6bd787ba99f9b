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
        member_steps: how many steps they are trained, all together.
        shown: False keeps silent.
        console: where to write; standard error by default.
    """

    def __init__(
        self, members: int, member_steps: int, *, shown: bool = True, console: Console | None = None
    ):
        self.members, self.member_steps = members, max(member_steps, 1)
        self.trained = self.before = self.done = self.diverged = self.stopped = 0
        self.console = console or Console(stderr=True)
        self.live = shown and self.console.is_terminal
        self.plain = shown and not self.live
        self.began = self.last_line = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.fields[said]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  step {task.fields[step]}  loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.task = self.bar.add_task("", total=self.member_steps, said=self._said(0), step="–", loss="–")

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def chunk(self, members: int, steps: int, step: int, loss: float) -> None:
        """Says how far the running chunk is.

        Args:
            members: how many members it has.
            steps: how many steps of its interval are done.
            step: the step that its members are at.
            loss: its mean training loss, NaN if there is none yet.
        """
        completed = self.trained + members * steps
        shown = f"{loss:.3g}" if loss == loss else "–"
        said = self._said(members)
        self.bar.update(self.task, completed=completed, said=said, step=step, loss=shown)
        now = time.monotonic()
        if self.plain and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            share = completed / self.member_steps
            here = completed - self.before  # what an earlier process did took none of this one's time
            eta = (now - self.began) * (self.member_steps - completed) / max(here, 1)
            self.console.print(
                f"{said}, step {step}, loss {shown}, {100 * share:.0f} %, eta "
                + (f"{eta:.0f} s" if share >= 0.01 else "–"),
                highlight=False,
            )

    def finish(self, members: int, steps: int, diverged: int, last: bool = True) -> None:
        """Says that a chunk is done.

        Args:
            members: how many members it has.
            steps: how many steps its interval has.
            diverged: how many of them diverged.
            last: whether its interval is the last.
        """
        self.trained += members * steps
        self.diverged += diverged
        self.done += (members - diverged) * last
        self.bar.update(self.task, completed=self.trained, said=self._said(0))

    def stop(self, members: int) -> None:
        """Says that members were stopped.

        Args:
            members: how many.
        """
        self.stopped += members
        self.bar.update(self.task, said=self._said(0))

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
        self.bar.update(self.task, completed=self.trained, said=self._said(0))

    def note(self, line: str) -> None:
        """Prints one line above the bar."""
        if self.live or self.plain:
            self.console.print(line, highlight=False, markup=False)

    def _said(self, running: int) -> str:
        counts = {"running": running, "stopped": self.stopped, "diverged": self.diverged}
        others = "".join(f", {count} {name}" for name, count in counts.items() if count)
        return f"{self.done}/{self.members} members{others}"
