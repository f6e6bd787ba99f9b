"""What a person sees while a sweep runs: one live line in a terminal or a notebook, plain lines elsewhere."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.text import Text

from sweeps.errors import printable
from sweeps.host.forecast import Forecast
from sweeps.host.leads import Lead, Leads
from sweeps.host.numbers import clock, short

SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_UPDATES = 10.0, 0.25
BAR, NOTEBOOK = 20, 110  # columns


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
        self.weights: Mapping[int, float] = {}  # what a step costs by static group, 1 on average
        self.work, self.worked = float(member_steps), 0.0  # member-steps with their weights: all, and done
        self.trained = self.done = self.diverged = self.stopped = self.failed = self.workers = 0
        self.running: dict[str, Running] = {}
        self.phase = "planning"  # what is done before, or instead of, training
        self.best: Lead | None = None
        self.leads = Leads()
        self.forecast = Forecast()
        self.console = console or Console(stderr=True)
        self.live = shown and self.console.is_terminal
        self.notebook = shown and self.console.is_jupyter
        self.plain = shown and not self.live and not self.notebook
        self.last_line = time.monotonic()
        self.cell: Any = None  # the notebook's output that the line is in
        self.bar = Live(self, console=self.console, refresh_per_second=4) if self.live else None

    def __enter__(self) -> "Display":
        if self.bar is not None:
            self.bar.start(refresh=True)
        if self.notebook:  # rich's own line there needs ipywidgets, and is lost when the notebook is saved
            from IPython.display import display

            self.cell = display(self.line(NOTEBOOK), display_id=True)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()
        if self.cell is not None:
            self._update(at_once=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield self.line(options.max_width, options.ascii_only)

    def doing(self, phase: str) -> None:
        """Says what is done before training, such as `timing 16 members at once`.

        Args:
            phase: in words.
        """
        self.phase = phase
        self._update(at_once=True)  # what takes long may follow

    def compiling(self, program: int, of: int) -> None:
        """Says that a program is being compiled, until its chunk is seen to go on.

        Args:
            program: which, from 1 on.
            of: how many there are.
        """
        self.forecast.compile(program, of)
        self.doing(f"compiling {program} of {of}" if of > 1 else "compiling")

    def compiled(self) -> None:
        """Says that a program is compiled, where no chunk goes on with it."""
        self._progress()
        self._update()

    def chunk(self, name: str, now: Running) -> None:
        """Says how far a running chunk is.

        Args:
            name: the chunk's name.
            now: how far it is.
        """
        self.running[name] = now
        if now.steps:
            self._progress()
        self._update()

    def lead(self, found: Lead | None, mode: str) -> None:
        """Says what the best configuration of a chunk is; that of the last step and most seeds counts.

        Args:
            found: the configuration; None if there is none.
            mode: `max` or `min`.
        """
        if found is not None:
            self.leads.add(found, mode)
            self.best = self.leads.best

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
        self.worked += self._weight(name) * members * steps
        self.diverged += diverged
        self.done += (members - diverged) * last
        self._progress()
        self._update()

    def leave(self, name: str, failed: int = 0, steps: int = 0) -> None:
        """Says that a chunk is no longer being trained and is not done.

        Args:
            name: the chunk's name.
            failed: how many members are given up with it.
            steps: how many steps each of these is not going to be trained.
        """
        self.running.pop(name, None)
        self.failed += failed
        self.member_steps = max(1, self.member_steps - failed * steps)
        self.work -= self._weight(name) * failed * steps
        self._progress()
        self._update()

    def expect(self, member_steps: int) -> None:
        """Says that there is more to be trained than was said, or less.

        Args:
            member_steps: how many steps more.
        """
        self.member_steps = max(1, self.member_steps + member_steps)
        self.work += member_steps

    def stop(self, members: int) -> None:
        """Says that members were stopped.

        Args:
            members: how many.
        """
        self.stopped += members
        self._update()

    def go_on(self, groups: Sequence[int]) -> None:
        """Says who is trained from now on: what is left are their steps, and cost what theirs do.

        Args:
            groups: the static group of each.
        """
        if groups:
            each = sum(self.weights.get(group, 1.0) for group in groups) / len(groups)
            self.work = self._work_done() + each * (self.member_steps - self._completed())

    def staff(self, workers: int) -> None:
        """Says how many workers there are.

        Args:
            workers: how many.
        """
        self.workers = workers
        self._update()

    def resume(self, members: int, member_steps: Mapping[int, int], diverged: int) -> None:
        """Says what was done before.

        Args:
            members: how many members came to their last step.
            member_steps: how many steps were trained, by static group.
            diverged: how many members diverged.
        """
        self.done += members
        self.diverged += diverged
        self.trained += sum(member_steps.values())
        work = sum(self.weights.get(group, 1.0) * steps for group, steps in member_steps.items())
        self.worked += work
        self.forecast.correct(work)
        self._update()

    def note(self, line: str) -> None:
        """Prints one line above the bar."""
        if self.live or self.plain or self.notebook:
            self.console.print(printable(line), highlight=False, markup=False, soft_wrap=not self.live)

    def figures(self) -> dict[str, Any]:
        """What others are told of how far the run is, as JSON."""
        rate, left = self._rate(), self._left()
        return {
            "time": round(time.time(), 1),
            "trained": self._completed(),
            "of": self.member_steps,
            "rate": None if rate is None else float(f"{rate:.4g}"),
            "left": None if left is None else round(left, 1),
            "phase": self.phase,
            "best": None if self.best is None else list(self.best[:4]),
        }

    def line(self, width: int, ascii_only: bool = False) -> Text:
        """The live line: bar, percent, time left and best so far, then what else there is room for.

        Args:
            width: columns there are; what does not fit is said shorter or left out, the last first, and
                nothing is cut.
            ascii_only: whether the terminal knows no other characters.
        """
        filled = round(BAR * self._share())
        dash, rest = ("#", "-") if ascii_only else ("━", "━")
        text, room = Text(no_wrap=True), width - BAR
        text.append(dash * filled, "green").append(rest * (BAR - filled), "bright_black")
        for first, pieces in (
            (True, (f"{int(100 * self._share()):3d} %",)),
            (True, (f"eta {clock(self._left())}",)),
            (True, (f"best {self.best.value:.4g}" if self.best else "best –",)),
            (False, (self.phase,)),
            (False, (self.best.config if self.best else "",)),
            (False, (self._said(), self._said(alone=True))),
            (False, () if self.phase else (self._where(), self._speed())),
        ):
            fits = next((piece for piece in pieces if piece and cell_len(piece) + 2 <= room), "")
            if fits:
                text.append("  " + fits, "bold" if first else "")
                room -= cell_len(fits) + 2
            elif first:
                break
        return text

    def _update(self, at_once: bool = False) -> None:
        moment = time.monotonic()
        if self.cell is not None and (at_once or moment - self.last_line >= SECONDS_BETWEEN_UPDATES):
            self.last_line = moment
            self.cell.update(self.line(NOTEBOOK))
        if self.plain and moment - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = moment
            best = f", best {self.best.value:.4g} ({self.best.config})" if self.best else ""
            left = clock(self._left())
            said = [self._said(), self._where(), f"{int(100 * self._share())} %", f"eta {left}{best}"]
            self.console.print(
                ", ".join(filter(None, said)),
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def _progress(self) -> None:
        self.phase = ""
        self.forecast.progress(self._work_done())

    def _share(self) -> float:
        return min(1.0, self._completed() / self.member_steps)

    def _weight(self, chunk: str) -> float:
        """What a step of a chunk's members costs; its name begins with its group."""
        group = chunk.partition("-")[0]
        return self.weights.get(int(group), 1.0) if self.weights else 1.0

    def _work_done(self) -> float:
        flight = (self._weight(name) * now.members * now.steps for name, now in self.running.items())
        return self.worked + sum(flight)

    def _left(self) -> float | None:
        """Seconds; a schedule may keep members that cost more than the mean, or less."""
        done, steps = self._work_done(), self.member_steps - self._completed()
        least = steps * min(self.weights.values(), default=1.0)
        return self.forecast.left(done + max(self.work - done, least) if steps > 0 else done)

    def _rate(self) -> float | None:
        """Member-steps per second."""
        rate, done = self.forecast.rate, self._work_done()
        return None if rate is None or not done else rate * self._completed() / done

    def _completed(self) -> int:
        return self.trained + sum(chunk.members * chunk.steps for chunk in self.running.values())

    def _said(self, alone: bool = False) -> str:
        if alone:
            return f"{self.done}/{self.members} members"
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
        """Step, loss and speed, or what is done instead."""
        if self.phase:
            return self.phase
        steps = sorted({chunk.step for chunk in self.running.values()})
        said = [f"step {steps[0]}{f'–{steps[-1]}' if len(steps) > 1 else ''}"] if steps else []
        losses = [(chunk.loss, chunk.members) for chunk in self.running.values() if math.isfinite(chunk.loss)]
        if losses:
            mean = sum(loss * count for loss, count in losses) / sum(count for _, count in losses)
            said.append(f"loss {mean:.3g}")
        return ", ".join(filter(None, [*said, self._speed()]))

    def _speed(self) -> str:
        rate = self._rate()
        return "" if rate is None else f"{short(rate)} member-steps/s"
