"""A run that ends when its time is up: what it keeps, what it says, and that it goes on."""

import collections
import time

import jax
import jax.numpy as jnp
import pytest

import sweeps
from sweeps.cli.main import main
from sweeps.driver.session import unreached
from sweeps.errors import StudyError
from sweeps.host.progress import Display
from sweeps.host.signals import Signals
from tests.sweeps import faulty, plain

OPTIONS = {"members_per_chunk": 4, "progress": False}
SPACE = {"alpha": sweeps.linspace(0, 0.4, 6), "learning_rate": [0.05, 1e25], "seed": range(2)}
SAMPLED = {"alpha": sweeps.uniform(0, 0.5), "seed": range(2)}


def study(**changes):
    return plain.study(**({"space": SPACE, "steps": 24, "evaluate_every": 4} | changes))


def text(table):
    return str(table.to_pylist())  # in which NaN is equal to itself


@pytest.fixture
def up_after(monkeypatch):
    """Has the time of the next runs be up after so many spans, whatever the clock says."""
    limited, limit, shown, chunk = [], Signals.limit, [], Display.chunk

    def counted(*arguments):
        chunk(*arguments)
        shown.append(arguments)
        if limited and len(shown) == limited[-1][1] and limited[-1][0].deadline < float("inf"):
            limited[-1][0].deadline = 0.0

    def start(spans):
        def kept(signals, minutes):
            limit(signals, minutes)
            if minutes is not None:
                shown.clear()
                limited.append((signals, spans))

        monkeypatch.setattr(Signals, "limit", kept)

    monkeypatch.setattr(Display, "chunk", counted)
    return start


CASES = {
    "grid": {},
    "halving": {"schedule": "halving(min_steps=4)"},
    "early stopping": {"schedule": "early_stopping(patience=2)"},
    "pbt": {"schedule": "pbt(every=8)"},
}


@pytest.mark.parametrize(
    "name, spans", [("grid", 1), ("grid", 20), ("halving", 9), ("early stopping", 20), ("pbt", 20)]
)
def test_what_is_finished_is_there_and_resume_goes_on(tmp_path, up_after, name, spans):
    space = SPACE if name != "pbt" else SPACE | {"learning_rate": [0.05, 0.01]}
    asked, options = study(space=space), {**CASES[name], **OPTIONS}
    whole = sweeps.run(asked, **options)
    up_after(spans)
    found = sweeps.run(asked, out=tmp_path / "run", max_minutes=60, **options)
    assert len(found.members) == 24 and found.directory == tmp_path / "run"
    status = collections.Counter(found.members["status"].to_pylist())
    waiting = status["pending"] + status["running"]
    assert 0 < waiting <= 24 and unreached(found) == f"{waiting} of 24 members are not finished"
    assert name != "grid" or (waiting == 24) == (spans == 1)
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    # A member that has ended has the numbers of the whole run.
    ended = [row for row in found.members.to_pylist() if row["status"] in ("done", "diverged")]
    assert not {str(row) for row in ended} - {str(row) for row in whole.members.to_pylist()}
    report = found.report(tmp_path / "report.html").read_text()
    assert f"{waiting} of 24 members are not trained yet" in report
    again = sweeps.resume(tmp_path / "run", asked, progress=False)
    assert text(again.members) == text(whole.members) and text(again.metrics) == text(whole.metrics)
    assert unreached(again) is None


@pytest.mark.durable
def test_a_resume_may_end_again(tmp_path, up_after):
    asked = study()
    whole = sweeps.run(asked, **OPTIONS)
    up_after(3)
    left = []
    found = sweeps.run(asked, out=tmp_path / "run", max_minutes=60, **OPTIONS)
    for _ in range(60):
        if unreached(found) is None:
            break
        left.append(unreached(found))
        found = sweeps.resume(tmp_path / "run", asked, max_minutes=60, progress=False)
    assert 3 < len(left) and text(found.metrics) == text(whole.metrics)


def test_a_search_that_has_not_asked_for_all_its_points(tmp_path, up_after):
    pytest.importorskip("optuna")
    asked, options = (
        study(space=SAMPLED),
        {"search": sweeps.tpe(points_per_batch=4), "samples": 12, **OPTIONS},
    )
    whole = sweeps.run(asked, **options)
    up_after(17)
    found = sweeps.run(asked, out=tmp_path / "run", max_minutes=60, **options)
    status = collections.Counter(found.members["status"].to_pylist())
    assert (
        len(found.members) == 16
        and unreached(found) == f"{24 - status['done']} of 24 members are not finished"
    )
    assert (
        f"{24 - status['done']} of 24 members are not trained yet"
        in found.report(tmp_path / "r.html").read_text()
    )
    again = sweeps.resume(tmp_path / "run", asked, progress=False)
    assert text(again.members) == text(whole.members) and text(again.metrics) == text(whole.metrics)


@pytest.mark.parametrize("schedule", [None, "halving(min_steps=4)"])
def test_a_run_in_memory_has_what_is_finished(up_after, schedule):
    whole = sweeps.run(study(), schedule=schedule, **OPTIONS)
    for spans in (1, 20 if schedule is None else 9):
        up_after(spans)
        found = sweeps.run(study(), schedule=schedule, max_minutes=60, **OPTIONS)
        assert found.directory is None and len(found.members) == 24 and unreached(found)
        rows = {str(row) for row in whole.metrics.to_pylist()}
        assert {str(row) for row in found.metrics.to_pylist()} < rows
        assert bool(len(found.metrics)) == (spans > 1)
        assert len(found.configurations()) == 12


def test_there_is_no_confirmation_without_time(tmp_path, up_after):
    asked = study(space={"alpha": [0.0, 0.3], "seed": range(2)})
    whole = sweeps.run(asked, confirm=2, **OPTIONS)
    for spans in (3, 12):  # in the run itself, and in its confirmation
        up_after(spans)
        out = tmp_path / f"run-{spans}"
        found = sweeps.run(asked, confirm=2, out=out, max_minutes=60, **OPTIONS)
        said = unreached(found)
        assert said is not None and ("not confirmed" in said) == (spans == 12)
        assert found.confirmation is None
        again = sweeps.resume(out, asked, progress=False)
        assert again.best() == whole.best() and again.best().confirmed and unreached(again) is None


def test_members_that_failed_are_finished(tmp_path, up_after):
    fault = tmp_path / "fault"
    fault.touch()
    up_after(12)
    found = sweeps.run(faulty.study(fault), out=tmp_path / "run", max_minutes=60, **OPTIONS)
    status = collections.Counter(found.members["status"].to_pylist())
    waiting = status["pending"] + status["running"]
    assert waiting and unreached(found) == f"{waiting} of 24 members are not finished"
    whole = sweeps.resume(tmp_path / "run", faulty.study(fault), progress=False)
    assert collections.Counter(whole.members["status"].to_pylist())["failed"] == 4


def slow(seconds):
    """A study whose steps take some time each."""

    def wait(bias):
        time.sleep(seconds)
        return bias

    def step(config, state, batch, key):
        bias = jnp.float32(state["bias"])  # what changes, so that it is called at each step
        bias = jax.pure_callback(wait, bias, bias, vmap_method="expand_dims")
        return plain.step(config, state | {"bias": bias}, batch, key)

    space = {"alpha": [0.0, 0.1], "seed": range(2)}
    return study(trial=plain.trial._replace(step=step), steps=1000, evaluate_every=500, space=space)


@pytest.mark.durable
def test_it_ends_within_a_span_of_the_limit(tmp_path):
    began = time.monotonic()
    found = sweeps.run(slow(0.2), out=tmp_path / "run", max_minutes=15 / 60, **OPTIONS)  # of 200 s and more
    assert 15 <= time.monotonic() - began < 100  # half of what it would take; a busy machine compiles slowly
    assert unreached(found) == "4 of 4 members are not finished"
    assert list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.durable
def test_workers_keep_what_they_have_and_end(tmp_path, up_after, monkeypatch):
    moments, deliver = [], Signals.deliver

    def delivered(signals):
        if signals.deadline == 0:
            moments.append(time.monotonic())
        deliver(signals)

    monkeypatch.setattr(Signals, "deliver", delivered)
    up_after(4)  # looks at workers that train
    asked = slow(0.2)
    found = sweeps.run(
        asked, out=tmp_path / "run", executor="processes", max_minutes=60, members_per_chunk=2, progress=False
    )
    assert len(moments) == 1 and time.monotonic() - moments[0] < 60
    assert unreached(found) == "4 of 4 members are not finished"
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    assert not list((tmp_path / "run" / "workers").glob("*"))  # none is left


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), True])
def test_minutes_that_are_none_are_refused(tmp_path, minutes):
    with pytest.raises(StudyError, match="`0 < max_minutes` must hold and be a finite number, but got"):
        sweeps.run(study(), out=tmp_path / "run", max_minutes=minutes)
    assert not (tmp_path / "run").exists()
    with pytest.raises(StudyError, match="`0 < max_minutes` must hold"):
        sweeps.resume(tmp_path / "run", study(), max_minutes=minutes)


STUDY = "from tests.sweeps import plain\nstudy = plain.study(steps=24, evaluate_every=4)\n"


def test_the_command_says_what_was_not_reached_last(tmp_path, up_after, capsys):
    word = tmp_path / "own.py"
    word.write_text(STUDY)
    out, quiet = tmp_path / "run", ["--members-per-chunk", "4", "--quiet"]
    for spans in (1, 9):
        up_after(spans)
        out = tmp_path / f"run-{spans}"
        assert main(["run", f"{word}:study", "--out", str(out), "--max-minutes", "5", *quiet]) == 0
        printed = capsys.readouterr().out
        assert "not finished" in printed.partition("written to")[0] and "stopped" not in printed
        *_, last, link = printed.strip().splitlines()
        assert (
            link.startswith("file:")
            and last.startswith("the time is up: ")
            and last.endswith(f"go on with: sweeps resume {out}")
        )
        assert "of 9 members are not finished" in last
    assert main(["resume", str(out), "--max-minutes", "5", "--quiet"]) in (0,)
    assert "the time is up" in capsys.readouterr().out
    assert main(["resume", str(out), "--quiet"]) == 0
    assert "the time is up" not in capsys.readouterr().out
    assert main(["run", f"{word}:study", "--out", str(tmp_path / "no"), "--max-minutes", "nan"]) == 2
    assert "`0 < max_minutes` must hold" in capsys.readouterr().err and not (tmp_path / "no").exists()
