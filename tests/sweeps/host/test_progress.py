"""What a person sees of a run, at every width and into a pipe."""

import io
import re

import pytest
from rich.console import Console

from sweeps.host import progress
from sweeps.host.leads import Lead
from sweeps.host.numbers import clock, short
from sweeps.host.progress import Display, Running

LONG = "alpha=0.1, learning_rate=0.001, activation=leaky_relu, width=128, depth=3"


def in_the_middle(**more):
    display = Display(256, 256 * 500, shown=False, **more)
    display.forecast.clock = (now := iter([0.0, *[100.0] * 99])).__next__
    display.chunk("0-0-0-500", Running(64, 10, 10, 0.25))
    display.chunk("0-0-0-500", Running(64, 100, 100, 0.25))
    display.lead(Lead(100, 8, 0.97222, 5, LONG), "max")
    display.staff(2)
    assert next(now) == 100.0
    return display


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_bar_percent_time_and_best_are_whole_at_every_width(width):
    line = in_the_middle().line(width).plain
    assert len(line) <= width
    assert line.startswith("━" * 20 + "    5 %  eta 35:") and "  best 0.9722" in line
    # What there is room for is whole, too.
    rest = line.partition("best 0.9722")[2]
    assert ("8 seeds" not in rest) and (LONG in rest) == (width >= 150)
    assert ("0/256 members, 64 running on 2 workers" in rest) == (width in (100, 200))
    assert all(piece in line for piece in ("━" * 20, "5 %", "eta", "best")) and "…" not in line


def test_the_first_pieces_go_last_where_there_is_no_room():
    display = in_the_middle()
    assert "best" not in display.line(45).plain and "eta" in display.line(45).plain
    assert "eta" not in display.line(30).plain and "5 %" in display.line(30).plain


def test_a_terminal_without_other_characters_gets_a_bar_all_the_same():
    line = in_the_middle().line(80, ascii_only=True).plain
    assert line.startswith("#" + "-" * 19 + "    5 %")


def test_time_left_goes_by_what_each_group_costs_and_the_rate_by_steps():
    display = Display(30, 30 * 100, shown=False)
    display.weights = {0: 0.1, 1: 1.0, 2: 1.9}
    clock = [0.0]
    display.forecast.clock = lambda: clock[0]
    display.chunk("0-0-0-100", Running(10, 1, 1, 0.5))
    clock[0] = 9.9  # ten members, of which a step costs 0.1: a second costs ten
    display.finish("0-0-0-100", 10, 100, 0)
    figures = display.figures()
    assert figures["left"] == pytest.approx(290, rel=0.01)
    assert (figures["trained"], figures["of"]) == (1000, 3000)
    assert figures["rate"] == pytest.approx(100, rel=0.02)
    clock[0] = 60.0
    display.chunk("1-10-0-100", Running(10, 50, 50, 0.5))
    assert display.figures()["left"] == pytest.approx(240, rel=0.01)
    display.leave("1-10-0-100", failed=10, steps=100)
    assert display.work == pytest.approx(2000)


@pytest.mark.parametrize("kept", [0, 2])
def test_time_left_ends_with_the_run_whichever_group_a_schedule_keeps(kept):
    display = Display(30, 30 * 10 + 10 * 90, shown=False)  # a third goes on after 10 steps
    display.weights = {0: 0.1, 1: 1.0, 2: 1.9}
    clock = [0.0]
    display.forecast.clock = lambda: clock[0]
    for group in range(3):
        name = f"{group}-{10 * group}-0-10"
        display.chunk(name, Running(10, 1, 1, 0.5))
        clock[0] += 10 * display.weights[group]
        display.finish(name, 10, 10, 0, last=False)
    for step in range(1, 91):
        clock[0] += display.weights[kept]
        display.chunk(f"{kept}-{10 * kept}-10-100", Running(10, step, 10 + step, 0.5))
        left = display.figures()["left"]
        assert (left == 0) == (step == 90), (step, left)


@pytest.mark.parametrize("kept", [0, 2])
def test_time_left_is_that_of_those_who_go_on(kept):
    display = Display(30, 30 * 10 + 10 * 90, shown=False)
    display.weights = {0: 0.1, 1: 1.0, 2: 1.9}
    clock = [0.0]
    display.forecast.clock = lambda: clock[0]
    display.forecast.first = 0.0  # of the clock
    for group in range(3):
        clock[0] += 10 * display.weights[group]
        display.finish(f"{group}-{10 * group}-0-10", 10, 10, 0, last=False)
    display.go_on([kept] * 10)
    # A member-step of weight one takes a tenth of a second.
    assert display.figures()["left"] == pytest.approx(90 * display.weights[kept], rel=0.02)


def test_what_was_trained_before_counts_with_its_cost():
    display = Display(30, 30 * 100, shown=False)
    display.weights = {0: 0.1, 1: 1.0, 2: 1.9}
    clock = [0.0]
    display.forecast.clock = lambda: clock[0]
    display.resume(10, {0: 1000}, 0)
    display.chunk("1-10-0-100", Running(10, 1, 1, 0.5))
    clock[0] = 99.0
    display.finish("1-10-0-100", 10, 100, 0)
    assert display.figures()["left"] == pytest.approx(190, rel=0.01)


def test_what_is_done_before_training_is_named():
    display = Display(8, 800, shown=False)
    assert "planning" in display.line(80).plain
    display.doing("timing 16 members at once")
    assert "eta –  best –  timing 16 members at once" in display.line(80).plain
    display.compiling(2, 4)
    assert "compiling 2 of 4" in display.line(80).plain
    display.compiling(1, 1)
    assert "compiling  " in display.line(80).plain and display.figures()["phase"] == "compiling"
    display.chunk("a", Running(8, 1, 1, float("nan")))
    assert "compiling" not in display.line(80).plain


def test_the_best_is_that_of_the_last_step_and_of_most_seeds():
    display = Display(8, 800, shown=False)
    display.lead(None, "min")
    assert display.best is None
    for found, mode, wins in (
        (Lead(10, 2, 0.5, 0, "a"), "min", True),
        (Lead(10, 2, 0.6, 2, "b"), "min", False),
        (Lead(10, 2, 0.4, 4, "c"), "min", True),
        (Lead(10, 1, 0.1, 6, "d"), "min", False),  # of one seed
        (Lead(20, 1, 0.9, 6, "d"), "min", True),  # of a later step
        (Lead(20, 1, 0.95, 7, "e"), "max", True),
    ):
        display.lead(found, mode)
        assert (display.best == found) is wins
    assert display.figures()["best"] == [20, 1, 0.95, 7]


def test_seeds_in_several_chunks_are_one_mean():
    display = Display(24, 2400, shown=False)
    display.lead(Lead(50, 8, 0.9, 0, "a"), "max")
    display.lead(Lead(100, 8, 0.75, 0, "a"), "max")
    display.lead(Lead(50, 8, 0.99, 8, "a"), "max")  # behind the others
    assert display.best == Lead(100, 8, 0.75, 0, "a")
    display.lead(Lead(100, 8, 0.25, 8, "a"), "max")
    display.lead(Lead(100, 8, 0.25, 8, "a"), "max")  # its chunk was tried again
    assert display.best == Lead(100, 16, 0.5, 0, "a")
    display.lead(Lead(100, 8, 0.7, 16, "b"), "max")
    assert display.best == Lead(100, 16, 0.5, 0, "a")  # of more seeds
    display.lead(Lead(100, 8, 0.7, 24, "b"), "max")
    assert display.best is not None and (display.best.config, display.best.seeds) == ("b", 16)


def test_what_has_no_room_is_said_shorter():
    display = in_the_middle()
    assert display.line(80).plain.endswith("best 0.9722  0/256 members")
    assert display.line(200).plain.endswith("64 running on 2 workers  57.6 member-steps/s")


def test_a_pipe_gets_plain_lines(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    file = io.StringIO()
    with Display(8, 800, console=Console(file=file, width=80)) as display:
        display.doing("timing 8 members at once")
        display.lead(Lead(10, 2, 0.5, 0, LONG), "max")
        display.chunk("a", Running(8, 10, 10, 0.5))
        display.finish("a", 8, 100, 1)
    lines = file.getvalue().splitlines()
    assert lines[0] == "0/8 members, timing 8 members at once, 0 %, eta –"
    assert lines[1] == f"0/8 members, 8 running, step 10, loss 0.5, 10 %, eta –, best 0.5 ({LONG})"
    assert lines[-1].startswith("7/8 members, 1 diverged") and "100 %, eta 0:00" in lines[-1]


def test_a_live_line_is_redrawn_in_place():
    file = io.StringIO()
    with Display(8, 800, console=Console(file=file, width=80, force_terminal=True)) as display:
        display.chunk("a", Running(8, 50, 50, 0.5))
        display.note("a note")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    assert "a note" in plain and plain.count("\n") <= 3 and "━" * 20 + "   50 %" in plain


def test_a_notebook_gets_one_line_that_is_updated(monkeypatch):
    shown = pytest.importorskip("IPython.display", reason="IPython is missing: pip install ipykernel")
    lines, file = [], io.StringIO()

    class Handle:
        def update(self, line):
            lines.append(line.plain)

    def display(line, display_id=False):
        assert display_id is True and not lines
        lines.append(line.plain)
        return Handle()

    monkeypatch.setattr(shown, "display", display)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 1e9)
    with Display(8, 800, console=Console(file=file, force_jupyter=True)) as shows:
        shows.compiling(1, 1)
        for step in range(1, 101):
            shows.chunk("a", Running(8, step, step, 0.5))
        shows.finish("a", 8, 100, 0)
        monkeypatch.setattr(progress, "SECONDS_BETWEEN_UPDATES", 0.0)
        shows.lead(Lead(100, 2, 0.5, 0, "alpha=0.1"), "max")
        shows.staff(2)
    assert [line.split()[-2:] for line in lines[:2]] == [["0/8", "members"]] * 2
    assert "planning" in lines[0] and "compiling" in lines[1] and "\n" not in "".join(lines)
    assert len(lines) == 4 and "100 %" in lines[-1] and "best 0.5  alpha=0.1" in lines[-1]
    assert not file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "–"), (0.4, "0:00"), (59.6, "1:00"), (3599.7, "1:00:00"), (90000, "1 d 01:00")],
)
def test_times_are_as_on_a_clock(seconds, said):
    assert clock(seconds) == said


def test_large_numbers_are_short():
    assert [short(number) for number in (12.34, 1234, 4.56e6, 7.8e9)] == ["12.3", "1.23k", "4.56M", "7.8G"]


def test_what_is_to_be_trained_besides_counts():
    display = Display(4, 400, shown=False)
    display.finish("0-0-0-100", 2, 100, 1)
    display.expect(-100)
    assert display.figures()["of"] == 300 and display.figures()["trained"] == 200
    display.expect(100)
    assert display.figures()["of"] == 400
