"""Ctrl-C and SIGTERM while a run is under way: at once between chunks, after the span inside one."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TERMINATED = 128 + signal.SIGTERM
GRACE_SECONDS = 9.0  # after SIGTERM; clusters kill what is still there ten seconds later, or thirty


class Signals:
    """What arrived while it was held back.

    Attributes:
        received: the signal, or None.
        depth: how many blocks hold signals back.
        timer: what ends the process if SIGTERM is not obeyed in time.
    """

    def __init__(self):
        self.received: int | None = None
        self.depth = 0
        self.timer: threading.Timer | None = None

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

    def deliver(self) -> None:
        """Raises what was held back.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            SystemExit: SIGTERM, with status 143.
        """
        received, self.received = self.received, None
        if received == signal.SIGTERM:
            raise SystemExit(TERMINATED)
        if received is not None:
            raise KeyboardInterrupt("Ctrl-C")

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Python's handler: delivers at once, unless signals are held back."""
        again = self.received is not None
        self.received = number
        if not self.depth or (again and number == signal.SIGINT):
            self.deliver()

    def watch(self, reader: int) -> None:
        """Sees SIGTERM also while the main thread is inside the compiler, where no handler runs.

        Whatever is on the disk when the time is up is whole, so the process may end anywhere.

        Args:
            reader: where Python writes the numbers of signals.
        """
        with open(reader, "rb", buffering=0) as numbers:
            while received := numbers.read(1):
                if received[0] == signal.SIGTERM and self.timer is None:
                    self.timer = threading.Timer(GRACE_SECONDS, os._exit, (TERMINATED,))
                    self.timer.daemon = True
                    self.timer.start()


@contextlib.contextmanager
def listening() -> Iterator[Signals]:
    """Takes Ctrl-C and SIGTERM over while a run lasts; outside of the main thread, leaves them alone."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.signal(number, signals.handle) for number in SIGNALS}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=signals.watch, args=(reader,), daemon=True, name="sweeps-signals").start()
    try:
        yield signals
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writer)  # which ends the watching thread
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if signals.timer is not None:
            signals.timer.cancel()
