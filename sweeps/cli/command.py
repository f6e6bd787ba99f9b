"""Where the `sweeps` command begins: Ctrl-C is heard before anything that takes a second is imported."""

import _thread
import gc
import os
import signal
import threading
from types import FrameType

INTERRUPTED = 130


def command() -> int:
    """Runs the command with the process's own words.

    Returns:
        The exit status.
    """
    before = signal.signal(signal.SIGINT, _leave)
    from sweeps.cli.main import main

    signal.signal(signal.SIGINT, _raise if before is signal.default_int_handler else before)
    try:
        return main()
    except KeyboardInterrupt:  # in what is around the command itself
        return INTERRUPTED


def _leave(number: int, frame: FrameType | None) -> None:
    """Ends the process; an exception might be lost, or become another, in a module that is half imported."""
    os.write(2, b"sweeps: stopped\n")
    os._exit(INTERRUPTED)


def _raise(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt; a little later where the garbage collector calls JAX, which loses it."""
    code = None if frame is None else frame.f_code
    if any(getattr(callback, "__code__", None) is code for callback in gc.callbacks):
        threading.Timer(0.01, _thread.interrupt_main).start()
    else:
        raise KeyboardInterrupt
