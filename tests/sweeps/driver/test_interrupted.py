"""Ctrl-C where a person types into IPython: a run in memory keeps what is finished."""

import collections
import os
import signal

import numpy as np
import pytest

import sweeps
from sweeps.driver import loop
from sweeps.errors import StudyError
from sweeps.host.progress import Display
from sweeps.host.signals import Signals, in_ipython
from tests.sweeps import faulty, plain

OPTIONS = {"members_per_chunk": 4, "progress": False}
SPACE = {"alpha": sweeps.linspace(0, 0.4, 6), "learning_rate": [0.05, 1e25], "seed": range(2)}
SAMPLED = {"alpha": sweeps.uniform(0, 0.5), "seed": range(2)}


def study(**changes):
    return plain.study(**({"space": SPACE, "steps": 24, "evaluate_every": 4} | changes))


@pytest.fixture
def interrupt(monkeypatch):
    """Presses Ctrl-C, as often as is said, in the middle of a chunk when so many others are done."""
    monkeypatch.setattr(loop, "in_ipython", lambda: True)
    finish, chunk, done, wanted = Display.finish, Display.chunk, [], []

    def finished(*arguments):
        finish(*arguments)
        done.append(arguments)

    def shown(*arguments):
        chunk(*arguments)
        if wanted and len(done) == wanted[0][0]:
            for _ in range(wanted.pop()[1]):
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Display, "finish", finished)
    monkeypatch.setattr(Display, "chunk", shown)

    def after(chunks, times=1):
        done.clear()
        wanted[:] = [(chunks, times)]

    return after


def rows(table):
    return {str(row) for row in table.to_pylist()}  # in which NaN is equal to itself


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_finished_has_the_numbers_of_the_whole_run(interrupt, capsys, times):
    whole = sweeps.run(study(), **OPTIONS)
    interrupt(3, times)
    found = sweeps.run(study(), **OPTIONS)
    status = collections.Counter(found.members["status"].to_pylist())
    assert status == {"done": 6, "diverged": 6, "pending": 12}
    assert found.members["member"].to_pylist() == list(range(24))
    ended = found.members.filter(np.asarray(found.members["status"]) != "pending")
    assert rows(ended) < rows(whole.members) and rows(found.metrics) < rows(whole.metrics)
    assert found.members.select(["alpha", "seed"]).equals(whole.members.select(["alpha", "seed"]))
    assert capsys.readouterr().err == (
        "Ctrl-C: 12 of 24 members are not finished; the results are those of what is\n"
    )
    assert found.best().config["alpha"] in found.members["alpha"].to_pylist()
    assert "12 of 24 members are not trained yet" in found.report("report.html").read_text()
    # Nothing of it is left for the next run.
    assert rows(sweeps.run(study(), **OPTIONS).metrics) == rows(whole.metrics)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("options", "chunks"),
    [
        ({"schedule": "halving(min_steps=4)"}, 6),
        ({"schedule": "early_stopping(patience=2)"}, 8),
        ({"max_minutes": 60}, 3),
        ({"search": "tpe", "samples": 8}, 2),
    ],
    ids=str,
)
def test_rounds_and_batches_are_kept_too(interrupt, options, chunks):
    if options.get("search"):
        pytest.importorskip("optuna", reason="Optuna is missing: pip install optuna")
        options = options | {"search": sweeps.tpe(points_per_batch=4)}
    asked = study(space=SAMPLED if options.get("search") else SPACE)
    whole = sweeps.run(asked, **OPTIONS, **options)
    interrupt(chunks)
    found = sweeps.run(asked, **OPTIONS, **options)
    status = collections.Counter(found.members["status"].to_pylist())
    assert 0 < status["pending"] + status["running"] < len(found.members) and found.directory is None
    assert len(found.metrics) and rows(found.metrics) < rows(whole.metrics)


def test_members_that_failed_say_why_all_the_same(interrupt, tmp_path):
    fault = tmp_path / "fault"
    fault.touch()
    whole = sweeps.run(faulty.study(fault), **OPTIONS)
    interrupt(4)
    found = sweeps.run(faulty.study(fault), **OPTIONS)
    status = collections.Counter(found.members["status"].to_pylist())
    assert status["pending"] and status["failed"] == len(found.errors)
    assert found.errors.items() <= whole.errors.items()


@pytest.mark.parametrize("options", [{}, {"schedule": "halving(min_steps=4)"}], ids=str)
def test_where_nothing_is_finished_it_is_ctrl_c(interrupt, options):
    interrupt(0)
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        sweeps.run(study(), **OPTIONS, **options)


def test_in_the_confirmation_the_run_itself_is_kept(interrupt, capsys):
    asked = study(space={"alpha": [0.0, 0.3], "seed": range(2)})
    interrupt(1)
    found = sweeps.run(asked, confirm=4, **OPTIONS)
    assert found.confirmation is None and not found.best().confirmed
    assert set(found.members["status"].to_pylist()) == {"done"}
    assert "Ctrl-C: the winner and the baseline are not confirmed" in capsys.readouterr().err


def test_a_run_with_a_folder_is_stopped_as_ever(interrupt, tmp_path):
    interrupt(3)
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        sweeps.run(study(), out=tmp_path / "run", **OPTIONS)
    assert len(sweeps.resume(tmp_path / "run", study(), progress=False).members) == 24


def test_elsewhere_it_is_ctrl_c(interrupt, monkeypatch):
    monkeypatch.setattr(loop, "in_ipython", in_ipython)
    interrupt(3)
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        sweeps.run(study(), **OPTIONS)


def test_an_error_is_an_error():
    signals, said = Signals(), []
    signals.keeps = True
    with pytest.raises(StudyError, match="no such thing"), signals.ending(said.append):
        raise StudyError("no such thing")
    assert not said and not signals.stopped
