"""What a run says while it goes, wherever it is trained: its phases, its best so far, how much is done."""

import re

import pytest

import sweeps
from sweeps.host.progress import Display
from sweeps.store.lock import Lock
from sweeps.store.status import status
from tests.sweeps import plain

SPACE = {"width": [4, 8], "learning_rate": [0.05, 0.01, 1e30], "seed": range(2)}


@pytest.fixture
def shown(monkeypatch):
    """The displays of runs, their phases, and what locks have said."""
    displays, phases, said = [], [], []
    doing, leave, say = Display.doing, Display.__exit__, Lock.say

    def noted(display, phase):
        phases.append(phase)
        doing(display, phase)

    def left(display, *error):
        displays.append(display)
        leave(display, *error)

    def told(lock, progress):
        said.append(progress)
        say(lock, progress)

    monkeypatch.setattr(Display, "doing", noted)
    monkeypatch.setattr(Display, "__exit__", left)
    monkeypatch.setattr(Lock, "say", told)
    return displays, phases, said


def check_end(display, results):
    best = results.best()
    assert display.best.value == pytest.approx(best.mean) and display.best.seeds == best.seeds
    assert display.best.step == results.manifest["steps"]
    assert f"learning_rate={best.config['learning_rate']:.4g}" in display.best.config
    assert display.line(80).plain.startswith("━" * 20 + "  100 %  eta 0:00  best ")


@pytest.mark.parametrize("out", [None, "run"])
def test_phases_and_the_best_of_a_run_in_this_process(shown, tmp_path, out):
    displays, phases, said = shown
    place = None if out is None else tmp_path / out
    results = sweeps.run(plain.study(space=SPACE), out=place, members_per_chunk=4, progress=False)
    assert phases == ["compiling 1 of 2"] * 2 + ["compiling 2 of 2"] * 2  # what trains, and what evaluates
    assert results.members["status"].to_pylist().count("diverged") == 4
    check_end(displays[0], results)
    assert displays[0].member_steps == 12 * 12 == displays[0].figures()["trained"]
    if place is not None:
        assert {each.get("phase") for each in said} >= {"", "compiling 1 of 2", "compiling 2 of 2"}
        assert [each["trained"] for each in said if "trained" in each] == sorted(
            each["trained"] for each in said if "trained" in each
        )


def test_planning_says_what_it_times(shown, tmp_path):
    _, phases, said = shown
    study = plain.study(space={"learning_rate": [0.05, 0.01, 0.03], "seed": range(2)}, steps=13)
    sweeps.run(study, out=tmp_path / "run", progress=False, devices=None)
    timed = [phase for phase in phases if re.fullmatch(r"timing \d+ members at once", phase)]
    known = [each["phase"] for each in said if each.get("phase", "").endswith("members at once")]
    assert timed == known  # none, where an earlier run has measured it
    assert "compiling" in phases


def test_a_schedule_counts_what_it_spares_and_ends_with_its_best(shown):
    displays, _, _ = shown
    results = sweeps.run(
        plain.study(space=SPACE),
        schedule=sweeps.halving(eta=2, min_steps=3),
        members_per_chunk=4,
        progress=False,
    )
    check_end(displays[0], results)
    assert displays[0].stopped + displays[0].done + displays[0].diverged == 12


@pytest.mark.durable
def test_processes_say_the_same(shown, tmp_path):
    displays, phases, said = shown
    results = sweeps.run(
        plain.study(space=SPACE),
        out=tmp_path / "run",
        members_per_chunk=4,
        progress=False,
        executor="processes",
    )
    check_end(displays[0], results)
    assert any(phase.startswith("measuring on ") for phase in phases)
    assert any(phase.startswith("starting ") for phase in phases)
    assert any(each.get("phase", "").startswith("measuring on ") for each in said)


def test_a_run_that_goes_on_begins_with_the_best_it_had(shown, tmp_path, monkeypatch):
    displays, _, _ = shown
    study, chunks, chunk = plain.study(space=SPACE), [], Display.chunk

    def interrupted(display, name, now):
        chunk(display, name, now)
        chunks.append(name)
        if len(set(chunks)) == 3:
            raise KeyboardInterrupt("third chunk")

    with monkeypatch.context() as patched:
        patched.setattr(Display, "chunk", interrupted)
        with pytest.raises(KeyboardInterrupt, match="third chunk"):
            sweeps.run(study, out=tmp_path / "run", members_per_chunk=4, progress=False)
    before, said = displays[-1].best, dict(status(tmp_path / "run"))
    assert (
        f"{before.value:.4g} at step 12, mean of {before.seeds} seeds: {before.config}" in said["best so far"]
    )
    assert "time left" not in said and said["to go on"].startswith("sweeps resume")
    first = []
    with monkeypatch.context() as patched:
        patched.setattr(
            Display, "chunk", lambda display, *more: (first.append(display.best), chunk(display, *more))
        )
        results = sweeps.resume(tmp_path / "run", study, progress=False)
    assert first[0] == before
    check_end(displays[-1], results)
