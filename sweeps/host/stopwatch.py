"""How long computing takes, without what is compiled meanwhile."""

import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax

COMPILING = "/jax/core/compile/"  # how JAX's events of tracing, lowering and compiling begin


class Stopwatch:
    """Adds up how long this thread computes.

    Args:
        seconds: what it begins with.

    Attributes:
        seconds: of all laps, without what was compiled meanwhile.
        lap: seconds of the last lap, compiling included.
    """

    def __init__(self, seconds: float = 0.0):
        self.seconds, self.lap = seconds, 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Times what is inside, which waits for the devices before it ends; what raises does not count."""
        compiled = _compiled()
        compiled.taken()  # what was compiled before
        began = time.monotonic()
        yield
        self.lap = time.monotonic() - began
        self.seconds += max(0.0, self.lap - compiled.taken())


class _Compiled(threading.local):
    """When this thread has compiled, since that was asked last."""

    def __init__(self):
        self.spans: list[tuple[float, float]] = []

    def saw(self, event: str, duration_secs: float, **details: Any) -> None:
        """Takes an event of JAX's; to be registered as a listener."""
        if event.startswith(COMPILING):
            now = time.monotonic()
            self.spans.append((now - duration_secs, now))

    def taken(self) -> float:
        """How many seconds; what is part of something else, as an inner function's trace is, counts once."""
        spans, self.spans = self.spans, []
        total, until = 0.0, float("-inf")
        for start, stop in sorted(spans):
            total += max(0.0, stop - max(start, until))
            until = max(until, stop)
        return total


@functools.cache
def _compiled() -> _Compiled:
    """What listens to JAX: one for the process, since JAX keeps a listener for good."""
    found = _Compiled()
    jax.monitoring.register_event_duration_secs_listener(found.saw)
    return found
