"""How long a run still takes, against runs whose length is known."""

import pytest

from sweeps.host.forecast import Forecast


class Clock:
    """Seconds that go on when they are told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def played(forecast, clock, groups, steps, seconds, compiling, evaluating=0.0, every=20):
    """Plays a run, a chunk per group, and yields the seconds it took and what was said to be left."""
    total, done = groups * steps, 0
    for group in range(groups):
        forecast.compile(group + 1, groups)
        clock.now += compiling
        for step in range(1, steps + 1):
            clock.now += seconds
            done += 1
            if step % every == 0:
                clock.now += evaluating
            forecast.progress(done)
            yield clock.now, forecast.left(total)


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("compiling", [0.0, 5.0])
@pytest.mark.parametrize("evaluating", [0.0, 1.0])
def test_what_is_left_is_within_30_percent_after_a_tenth(groups, compiling, evaluating):
    clock = Clock()
    seen = list(played(Forecast(clock), clock, groups, 400, 0.1, compiling, evaluating))
    end = seen[-1][0]
    for now, left in seen[len(seen) // 10 :]:
        assert left == pytest.approx(end - now, rel=0.3, abs=2 * evaluating), now - 100
    assert seen[-1][1] == 0


def test_nothing_is_said_before_anything_is_known():
    clock = Clock()
    forecast = Forecast(clock)
    assert forecast.rate is None and forecast.left(100) is None
    forecast.compile(1, 1)
    clock.now += 30
    forecast.progress(1)
    assert forecast.left(100) is None  # one step, which the compiler was part of
    clock.now += 1
    forecast.progress(11)
    assert forecast.rate == 10 and forecast.left(100) == pytest.approx(8.9)


def test_what_was_done_before_took_none_of_this_time():
    clock = Clock()
    forecast = Forecast(clock)
    forecast.correct(500)
    forecast.progress(510)
    clock.now += 2
    forecast.progress(530)
    assert forecast.rate == 10 and forecast.left(1000) == 47
    forecast.correct(-100)  # what is trained again
    assert forecast.rate == 10 and forecast.left(1000) == 57


def test_no_time_is_left_that_is_less_than_nothing():
    clock = Clock()
    forecast = Forecast(clock)
    forecast.progress(100)
    clock.now += 10
    forecast.progress(60)  # a chunk whose worker died begins again
    assert forecast.rate is None and forecast.left(1000) is None
    clock.now += 10
    forecast.progress(120)
    assert forecast.rate == 1 and forecast.left(1000) == 880
