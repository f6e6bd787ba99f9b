import threading

import jax
import jax.numpy as jnp
import pytest

from sweeps.host import stopwatch
from sweeps.host.stopwatch import Stopwatch

COMPILE, TRACE = "/jax/core/compile/backend_compile_duration", "/jax/core/compile/jaxpr_trace_duration"


@pytest.fixture
def passes(monkeypatch):
    """A clock that goes on when it is told to, and what is said of the time since then."""
    now = [100.0]
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: now[0])

    def pass_(seconds, *events):
        now[0] += seconds
        for event, duration in events:
            jax.monitoring.record_event_duration_secs(event, duration)

    return pass_


def test_laps_add_up_without_what_is_compiled_in_them(passes):
    watch = Stopwatch(3.0)
    with watch.running():
        passes(2.0)
    assert (watch.seconds, watch.lap) == (5.0, 2.0)
    passes(7.0, (COMPILE, 7.0))  # between laps
    with watch.running():
        passes(1.0)
        passes(4.0, (COMPILE, 4.0))
        passes(0.5, ("/jax/something/else", 0.5))
    assert (watch.seconds, watch.lap) == (6.5, 5.5)


def test_what_is_compiled_inside_of_something_else_counts_once(passes):
    watch = Stopwatch()
    with watch.running():
        passes(1.0)
        passes(2.0, (TRACE, 2.0))  # of an inner function
        passes(3.0, (TRACE, 5.5))  # of the outer one, which began half a second before
        passes(4.0, (COMPILE, 4.0))
        passes(0.25)
    assert watch.seconds == 0.75 and watch.lap == 10.25


def test_a_lap_that_raises_does_not_count_and_neither_does_another_thread(passes):
    watch = Stopwatch()
    with pytest.raises(RuntimeError, match="lost"), watch.running():
        passes(2.0)
        raise RuntimeError("lost")
    with watch.running():
        other = threading.Thread(target=passes, args=(1.5, (COMPILE, 1.5)))
        other.start()
        other.join()
    assert watch.seconds == watch.lap == 1.5


def test_jax_says_when_it_compiles():
    def long(x):
        for number in range(200):
            x = jnp.sin(x) + number
        return x

    watch = Stopwatch()
    with watch.running():
        jax.block_until_ready(jax.jit(long)(jnp.ones(3)))
    assert 0 < watch.seconds < 0.5 * watch.lap
