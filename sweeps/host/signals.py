"""Ctrl-C, SIGTERM, a closed terminal, and the end of a run's time: between chunks, or after a span."""

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
SIGNALS = (signal.SIGINT, *ENDING)
GRACE_SECONDS = 9.0  # after SIGTERM; clusters kill what is still there ten seconds later, or thirty


class TimeUp(BaseException):
    """The time that a run was given is over; no error, so that nothing takes it for a member's failure."""


class Signals:
    """What arrived while it was held back.

    Attributes:
        received: the signal, or None.
        depth: how many blocks hold signals back.
        timer: what ends the process if SIGTERM is not obeyed in time.
        deadline: when the run's time is over, on the monotonic clock.
        over: whether that was delivered.
        keeps: whether Ctrl-C, too, ends the run with what is finished.
        stopped: whether it did.
    """

    def __init__(self):
        self.received: int | None = None
        self.depth = 0
        self.timer: threading.Timer | None = None
        self.deadline, self.over = math.inf, False
        self.keeps = self.stopped = False

    @property
    def due(self) -> bool:
        """Whether there is something to deliver."""
        return self.received is not None or time.monotonic() >= self.deadline

    def limit(self, minutes: float | int | None) -> None:
        """Has the time be over in so many minutes; None sets no limit."""
        self.deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds signals back until `deliver` is called or the block is left; a second Ctrl-C gets through."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
        if not self.depth:
            self.deliver()

    @contextlib.contextmanager
    def ending(self, say: Callable[[str], None]) -> Iterator[None]:
        """Leaves the block when the time is over, or at Ctrl-C where that keeps what is finished.

        Args:
            say: called with what happened, unless it was Ctrl-C.
        """
        try:
            yield
        except TimeUp:
            say("the time is up")
        except KeyboardInterrupt:
            if not self.keeps:
                raise
            self.limit(None)
            self.received, self.over, self.stopped = None, True, True

    def deliver(self) -> None:
        """Raises what was held back.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            SystemExit: SIGTERM, with status 143, or SIGHUP, with 129.
            TimeUp: the time is over.
        """
        received, self.received = self.received, None
        if received is not None:
            self._raise(received)
        if time.monotonic() >= self.deadline:
            self.deadline, self.over = math.inf, True  # what is cleaned up now is not stopped again
            raise TimeUp

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Python's handler: delivers at once, unless signals are held back."""
        again = self.received is not None
        # It stays received: what is raised inside a destructor or a weak reference's callback, Python drops.
        self.received = number
        if not self.depth or (again and number == signal.SIGINT):
            self._raise(number)

    def _raise(self, number: int) -> None:
        self.deadline = math.inf
        if number in ENDING:
            raise SystemExit(128 + number)
        raise KeyboardInterrupt("Ctrl-C")

    def watch(self, reader: int) -> None:
        """Sees SIGTERM also while the main thread is inside the compiler, where no handler runs.

        Whatever is on the disk when the time is up is whole, so the process may end anywhere.

        Args:
            reader: where Python writes the numbers of signals.
        """
        with open(reader, "rb", buffering=0) as numbers:
            while received := numbers.read(1):
                if received[0] in ENDING and self.timer is None:
                    self.timer = threading.Timer(GRACE_SECONDS, os._exit, (128 + received[0],))
                    self.timer.daemon = True
                    self.timer.start()


def in_ipython() -> bool:
    """Whether a person types into IPython, in a notebook or in a terminal."""
    module = sys.modules.get("IPython")
    return module is not None and module.get_ipython() is not None


@contextlib.contextmanager
def listening() -> Iterator[Signals]:
    """Takes Ctrl-C, SIGTERM and SIGHUP over while a run lasts; outside of the main thread, leaves them alone.

    A closed terminal that is ignored, as `nohup` has it, stays ignored.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    # A shell has its background jobs ignore Ctrl-C, and whoever sends them SIGINT all the same means it.
    ignored = [number for number in ENDING if signal.getsignal(number) is signal.SIG_IGN]
    heard = [number for number in SIGNALS if number not in ignored]
    before = {number: signal.signal(number, signals.handle) for number in heard}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=signals.watch, args=(reader,), daemon=True, name="sweeps-signals").start()
    try:
        yield signals
        signals.limit(None)
        signals.deliver()
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writer)  # which ends the watching thread
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if signals.timer is not None:
            signals.timer.cancel()
