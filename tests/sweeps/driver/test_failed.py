"""A failure is one member's: what raises ends its members as `failed`, and changes no bit of others."""

import collections
import dataclasses
import os
import signal
import sys

import jax
import numpy as np
import pyarrow as pa
import pytest

import sweeps
from sweeps.cli.main import main
from sweeps.driver import in_memory
from sweeps.errors import StudyError
from sweeps.executors import inline
from sweeps.executors.processes import Processes
from sweeps.host.progress import Display
from sweeps.store import chunks as store
from sweeps.store.status import status
from tests.cases import cases
from tests.sweeps import faulty

OPTIONS = {"members_per_chunk": 8, "progress": False}
ERROR = "RuntimeError: alpha is <too large>"
SCHEDULES = {
    "halving": "halving(eta=2, min_steps=4)",
    "hyperband": "hyperband(eta=2, min_steps=4)",
    "pbt": "pbt(every=4)",
    "early stopping": "early_stopping(patience=2)",
}
WIDE = {"alpha": sweeps.linspace(0, 0.5, 4), "learning_rate": (0.1, 1e30), "seed": range(2)}
NARROW = OPTIONS | {"members_per_chunk": 4}  # four chunks of those 16


@pytest.fixture
def fault(tmp_path):
    """While this file is there, members of a large alpha raise."""
    path = tmp_path / "fault"
    path.touch()
    return path


class Fault:
    """A fault of members with a large alpha, which raise when they are trained past a step."""

    def __init__(self):
        self.after, self.there = 0, True

    def mend(self):
        self.there = False


@pytest.fixture
def raising(monkeypatch):
    """The fault, in this process; its programs are cached, which those with a callback are not."""
    fault, train = Fault(), inline.train

    def faulty_train(prepared, population, chunk, *arguments, **keywords):
        alphas = population.columns["alpha"][chunk.members]
        if fault.there and chunk.stop > fault.after and (alphas > 0.4).any():
            raise RuntimeError("alpha is <too large>\nby far")
        return train(prepared, population, chunk, *arguments, **keywords)

    for module in (inline, in_memory):
        monkeypatch.setattr(module, "train", faulty_train)
    return fault


def counted(results):
    return collections.Counter(results.members["status"].to_pylist())


def equal(one, other):
    """Whether two runs have the same tables, bit for bit; columns may come in another order."""
    tables = [(found.members, found.metrics) for found in (one, other)]
    return all(first.equals(second.select(first.column_names)) for first, second in zip(*tables, strict=True))


def of(table: pa.Table, members) -> pa.Table:
    return table.filter(pa.array(np.isin(table["member"].to_numpy(), members)))


def assert_failed_alone(found, whole):
    """Members with a large alpha failed; all the others are those of a run without the fault."""
    rows = found.members.to_pylist()
    assert [row["member"] for row in rows] == list(range(len(whole.members)))
    failed = [row["member"] for row in rows if row["alpha"] > 0.4]
    assert {row["status"] for row in rows if row["member"] in failed} == {"failed"}
    assert sorted(found.errors) == failed and set(found.errors.values()) == {ERROR}
    others = [row["member"] for row in rows if row["member"] not in failed]
    assert of(found.members, others).equals(of(whole.members, others))
    assert of(found.metrics, others).equals(of(whole.metrics, others))
    assert not set(failed) & set(found.metrics["member"].to_pylist())
    ranked = found.configurations()
    assert all(row.failed == len(row.members) for row in ranked if row.config["alpha"] > 0.4)
    assert np.isnan(found.final()[failed]).all() and found.best().config["alpha"] <= 0.4


@pytest.mark.parametrize("out", [None, "run"])
def test_members_that_raise_fail_alone_and_are_tried_again(fault, tmp_path, out, capsys):
    study = faulty.study(fault)
    options = OPTIONS | {"progress": True, "out": out and tmp_path / out}
    found = sweeps.run(study, **options)
    said = capsys.readouterr().err
    assert "4 of 24 members failed; " in said and ERROR in said
    fault.unlink()
    whole = sweeps.run(study, **OPTIONS)
    assert counted(whole) == {"done": 12, "diverged": 12}
    assert_failed_alone(found, whole)
    if out:
        assert f"`sweeps status {tmp_path / out}` says why" in said
        assert dict(status(tmp_path / out))["failed"] == f"4 members (20, 21, 22, 23): {ERROR}"
        fault.touch()
        again = sweeps.resume(tmp_path / out, study, progress=False)
        assert equal(again, found)
        fault.unlink()
        assert equal(sweeps.resume(tmp_path / out, study, progress=False), whole)
        assert "failed" not in dict(status(tmp_path / out))


def test_planning_times_members_that_do_not_fail(fault, tmp_path):
    space = {"alpha": sweeps.linspace(0.3, 0.5, 5), "seed": range(4)}
    found = sweeps.run(faulty.study(fault, space=space), progress=False)
    assert counted(found) == {"done": 12, "failed": 8}


@pytest.mark.parametrize("out", [None, "run"])
def test_static_values_that_cannot_be_built_fail_alone(tmp_path, out):
    # Sixteen groups, of which the first eight are checked before anything is compiled.
    space = {"heads": range(1, 17), "learning_rate": (0.1, 1e30)}
    found = sweeps.run(faulty.study(space=space), **OPTIONS, out=out and tmp_path / out)
    rows = found.members.to_pylist()
    for row in rows:
        ended = "diverged" if row["learning_rate"] > 1 else "done"
        assert row["status"] == (ended if row["heads"] in (1, 2, 4, 8, 16) else "failed"), row
        if row["status"] == "failed":
            assert found.errors[row["member"]] == f"ValueError: 16 is not a multiple of {row['heads']}"
    assert [row["member"] for row in rows] == list(range(32)) and counted(found)["failed"] == 22
    assert {row.config["heads"] for row in found.configurations()[:5]} == {1, 2, 4, 8, 16}
    if out:
        loaded = sweeps.load(tmp_path / out)
        assert equal(loaded, found) and loaded.errors == found.errors
        assert "16 is not a multiple of 11" in found.report(tmp_path / "report.html").read_text()
        failed = rows[-2]["member"] if rows[-2]["status"] == "failed" else rows[-4]["member"]
        with pytest.raises(
            StudyError, match="`a member that was trained` must hold, but got .*not a multiple"
        ):
            sweeps.replay(tmp_path / out, failed, faulty.study(space=space), progress=False)


@pytest.mark.durable
def test_a_static_value_that_no_machine_has_room_for_fails_alone(tmp_path):
    def init(config, key):
        return jax.random.uniform(key, (config.heads, 8))

    def step(config, state, batch, key):
        return state / 2, {"train/loss": state.sum()}

    study = faulty.study(space={"heads": (2**42, 2**62, 2), "seed": range(2)})
    study = dataclasses.replace(study, trial=study.trial._replace(init=init, step=step))
    found = sweeps.run(study, out=tmp_path / "run", progress=False)
    assert counted(found) == {"done": 2, "failed": 4}
    assert found.members["status"].to_pylist() == ["failed"] * 4 + ["done"] * 2
    assert "`one member fits into the device's memory` must hold" in found.errors[0]
    assert "Error: " in found.errors[2]  # whatever JAX or XLA says of so many
    assert counted(sweeps.resume(tmp_path / "run", study, progress=False)) == {"done": 2, "failed": 4}
    # A width that is given is not measured, but tried and halved.
    assert counted(sweeps.run(study, progress=False, members_per_chunk=2)) == {"done": 2, "failed": 4}
    study = dataclasses.replace(study, space={"heads": (2**62,)})
    with pytest.raises(StudyError, match="`init, step and evaluate can be traced` must hold, but got "):
        sweeps.run(study, out=tmp_path / "none", progress=False)
    assert not (tmp_path / "none").exists()


def test_a_group_that_can_be_built_again_is_trained_when_the_run_goes_on(tmp_path):
    space = {"heads": (3, 4, 8), "seed": range(2)}
    study = faulty.study(space=space)
    sweeps.run(study, **OPTIONS, out=tmp_path / "run")

    def init(config, key):
        return faulty.init(dataclasses.replace(config, heads=4), key)

    study = dataclasses.replace(study, trial=study.trial._replace(init=init))
    whole = sweeps.run(study, **OPTIONS)
    assert counted(whole) == {"done": 6}
    assert equal(sweeps.resume(tmp_path / "run", study, progress=False), whole)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"heads": (3, 5, 6, 7, 9, 10, 11, 12, 13)}, "16 is not a multiple of 3.*in each of 9 static groups"),
        (
            {"heads": (3,)},
            r"`init, step and evaluate can be traced` must hold, but got ValueError: 16 is not",
        ),
    ],
)
def test_a_study_of_which_nothing_can_be_built_is_refused(tmp_path, space, message):
    with pytest.raises(StudyError, match=message):
        sweeps.run(faulty.study(space=space), out=tmp_path / "run", **OPTIONS)
    with pytest.raises(StudyError, match=message):
        sweeps.run(faulty.study(space=space), **OPTIONS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("out", [None, "run"])
def test_a_run_of_which_no_member_can_be_trained_says_so(fault, tmp_path, out):
    study = faulty.study(fault, space={"alpha": (0.45, 0.5), "seed": range(2)})
    message = f"All 4 members failed, the first with: {ERROR}"
    with pytest.raises(StudyError, match=message + (".*sweeps resume" if out else "$")):
        sweeps.run(study, **OPTIONS, out=out and tmp_path / out)
    if out:
        with pytest.raises(StudyError, match=message):
            sweeps.resume(tmp_path / out, study, progress=False)
        assert "4 failed" in dict(status(tmp_path / out))["members"]
        assert (tmp_path / out).is_dir() and sweeps.load(tmp_path / out).final().shape == (4,)
        fault.unlink()
        assert counted(sweeps.resume(tmp_path / out, study, progress=False)) == {"done": 4}


# Hyperband is brackets of halving.
DEFAULT = [None, *(name for name in SCHEDULES if name != "hyperband")]


@pytest.mark.parametrize(
    "after", [pytest.param(0, marks=pytest.mark.durable, id="early"), pytest.param(6, id="late")]
)
@pytest.mark.parametrize("name", cases(SCHEDULES, DEFAULT, "durable"))
def test_schedules_rank_what_failed_last_and_decide_anew_when_it_can_be_trained(
    raising, tmp_path, name, after
):
    study, raising.after = faulty.study(space=WIDE), after
    options = {"schedule": SCHEDULES[name], "keep_best": 3, **NARROW}
    found = sweeps.run(study, out=tmp_path / "run", **options)
    rows = found.members.to_pylist()
    assert [row["member"] for row in rows] == list(range(16))
    failed = [row["member"] for row in rows if row["status"] == "failed"]
    assert failed == sorted(found.errors)
    if not after:
        assert failed == [row["member"] for row in rows if row["alpha"] > 0.4] or name == "pbt"
    assert found.best().config["alpha"] <= 0.4 or name == "pbt"
    assert equal(sweeps.resume(tmp_path / "run", study, progress=False), found)
    raising.mend()
    whole = sweeps.run(study, out=tmp_path / "whole", **options)
    assert equal(sweeps.resume(tmp_path / "run", study, progress=False), whole)
    for folder in ("kept", "rungs"):
        one, other = (sorted(os.listdir(tmp_path / run / folder)) for run in ("run", "whole"))
        assert one == other
    assert failed or after  # late ones are stopped before they fail, where that is so
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("schedule", [None, "halving(eta=2, min_steps=6)"])
def test_a_search_that_learns_is_told_of_failures_and_asks_anew_when_they_are_gone(
    raising, tmp_path, schedule
):
    pytest.importorskip("optuna")
    space = {
        "alpha": sweeps.uniform(0, 0.6),
        "learning_rate": sweeps.log_uniform(1e-3, 0.3),
        "seed": range(2),
    }
    study = faulty.study(space=space)
    options = {"search": sweeps.tpe(points_per_batch=4), "samples": 8, "schedule": schedule, **OPTIONS}
    found = sweeps.run(study, out=tmp_path / "run", **options)
    assert counted(found)["failed"] and len(found.members) == 16
    assert found.best().config["alpha"] <= 0.4
    assert equal(sweeps.resume(tmp_path / "run", study, progress=False), found)
    assert equal(found, sweeps.run(study, **options))
    raising.mend()
    whole = sweeps.run(study, **options)
    assert not counted(whole)["failed"]
    assert equal(sweeps.resume(tmp_path / "run", study, progress=False), whole)


@pytest.mark.parametrize(
    "gone", [pytest.param(False, marks=pytest.mark.durable, id="there"), pytest.param(True, id="gone")]
)
@pytest.mark.parametrize("name", cases([None, *SCHEDULES], DEFAULT, "durable"))
def test_a_run_with_failures_that_was_stopped_goes_on(raising, tmp_path, monkeypatch, name, gone):
    study = faulty.study(space=WIDE)
    options = {"schedule": name and SCHEDULES[name], **NARROW}
    expected = sweeps.run(study, **options)
    whole = None
    shown, chunk = [], Display.chunk

    def interrupted(*arguments):
        chunk(*arguments)
        shown.append(arguments)
        if len(shown) % spans == 0:
            os.kill(os.getpid(), signal.SIGINT)

    spans = 9
    with monkeypatch.context() as patched:
        patched.setattr(Display, "chunk", interrupted)
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            sweeps.run(study, out=tmp_path / "run", **options)
        if gone:
            raising.mend()
            whole = sweeps.run(study, **options) if (spans := 10**9) else None
            spans = 4
            with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):  # also while it is decided anew
                sweeps.resume(tmp_path / "run", study, progress=False)
    assert equal(sweeps.resume(tmp_path / "run", study, progress=False), whole or expected)


def test_what_no_member_is_to_blame_for_stops_the_run(fault, tmp_path):
    class Batches:
        def __iter__(self):
            yield np.zeros(3, np.float32)
            if fault.exists():
                raise OSError("the share is gone")
            yield np.zeros(3, np.float32)

    space = {"alpha": (0.1, 0.2), "seed": range(2)}
    study = faulty.study(space=space)
    study = dataclasses.replace(study, trial=study.trial._replace(data=sweeps.Data(Batches(), None)))
    with pytest.raises(
        StudyError, match="`the batches can be read` must hold, but got OSError: the share is"
    ):
        sweeps.run(study, out=tmp_path / "run", **OPTIONS)
    assert not store.committed(tmp_path / "run")
    fault.unlink()
    assert counted(sweeps.resume(tmp_path / "run", study, progress=False)) == {"done": 4}


def test_a_terminal_that_is_gone_is_no_members_failure(tmp_path, monkeypatch):
    def gone(*arguments):
        raise BrokenPipeError("the terminal is gone")

    study = faulty.study(space={"alpha": (0.1, 0.2)})
    with monkeypatch.context() as patched:
        patched.setattr(Display, "chunk", gone)
        with pytest.raises(BrokenPipeError, match="the terminal is gone"):
            sweeps.run(study, out=tmp_path / "run", **OPTIONS)
    assert not store.committed(tmp_path / "run")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exit_of_the_users_own_stops_the_run(tmp_path, kind):
    study = faulty.study(space={"heads": [1, 2, 4, 8, 3, 5, 6, 7, 16]})

    def leaves(config, key):
        if config.heads == 16:  # not among the groups that are checked first
            raise kind("enough")
        return faulty.init(config, key)

    study = dataclasses.replace(study, trial=study.trial._replace(init=leaves))
    with pytest.raises(kind, match="enough"):
        sweeps.run(study, out=tmp_path / "run", **OPTIONS)


STUDY = """
from pathlib import Path
from tests.sweeps import faulty
study = faulty.study(Path({fault!r}), space={space!r})
"""


def test_the_command_says_what_cannot_be_built_and_what_failed(fault, tmp_path, capsys):
    word = tmp_path / "own.py"
    word.write_text(STUDY.format(fault=str(fault), space={"heads": [4, 12], "alpha": [0.1, 0.45]}))
    name = f"{word}:study"
    assert main(["plan", name]) == 0
    assert "heads=12: 2 members would fail: ValueError: 16 is not a multiple of 12" in capsys.readouterr().out
    quiet = ["--members-per-chunk", "2", "--quiet"]
    assert main(["run", name, "--out", str(tmp_path / "run"), *quiet]) == 0
    said = capsys.readouterr().out
    assert said.count("1 of 1 failed") == 3
    assert main(["status", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "1 done, 3 failed" in said and "16 is not a multiple of 12" in said and ERROR in said
    assert main(["export", str(tmp_path / "run"), "--to", "csv"]) == 0
    assert "failed" in (tmp_path / "run" / "members.csv").read_text()
    word.write_text(STUDY.format(fault=str(fault), space={"heads": [12]}))
    assert main(["run", name, "--out", str(tmp_path / "other"), *quiet]) == 2
    said = capsys.readouterr().err
    assert "16 is not a multiple of 12" in said and "Traceback" not in said
    assert not (tmp_path / "other").exists()


@pytest.mark.durable
@pytest.mark.xdist_group("processes")
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
def test_workers_find_the_member_that_fails_in_every_round(fault, tmp_path):
    space = {"alpha": (0.1, 0.5, 0.2, 0.3), "heads": (4, 5), "seed": range(2)}
    study = faulty.study(fault, space=space)
    options = {"schedule": SCHEDULES["halving"], "members_per_chunk": 4, "progress": False}
    found = sweeps.run(study, out=tmp_path / "run", executor=Processes(attempts=2), **options)
    for row in found.members.to_pylist():
        bad = "ValueError: 16 is not a multiple of 5" if row["heads"] == 5 else ERROR
        assert (row["status"] == "failed") == (row["heads"] == 5 or row["alpha"] > 0.4), row
        assert found.errors.get(row["member"], bad) == bad
    assert len(found.errors) == 10
    fault.unlink()
    whole = sweeps.run(study, out=tmp_path / "whole", executor=Processes(), **options)
    again = sweeps.resume(tmp_path / "run", study, executor=Processes(), progress=False)
    assert equal(again, whole)
