import dataclasses
import importlib.metadata
import json
import os
import resource
import signal
from typing import Any

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

import sweeps
from sweeps.driver import rounds
from sweeps.errors import StudyError
from sweeps.host.progress import Display
from sweeps.host.signals import listening
from sweeps.store import checkpoints, checksums, derived
from sweeps.store import chunks as store
from sweeps.store.status import status
from tests.cases import cases
from tests.sweeps import plain

CHUNKS = {"members_per_chunk": 4, "progress": False}


@pytest.fixture(scope="module")
def whole():
    """The tables of a run that nothing interrupted."""
    return sweeps.run(study_of(), **CHUNKS)


def study_of(**changes):
    """Batches in an order of their own in each epoch, so that going on is going on in the right one."""
    return plain.study(**({"trial": plain.shuffled} | changes))


INHERITED = signal.getsignal(signal.SIGINT)  # a shell's background job ignores it


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """Starts a run that gets a signal after some spans; returns its directory."""

    def start(study, spans, number=signal.SIGINT, **options):
        shown, chunk = [], Display.chunk

        def counted(*arguments):
            chunk(*arguments)
            shown.append(arguments)
            if len(shown) == spans:
                os.kill(os.getpid(), number)

        kind, said = (
            (KeyboardInterrupt, "Ctrl-C") if number == signal.SIGINT else (SystemExit, f"^{128 + number}$")
        )
        with monkeypatch.context() as patched:
            patched.setattr(Display, "chunk", counted)
            with pytest.raises(kind, match=said):
                sweeps.run(study, out=tmp_path / "run", **(CHUNKS | options))
        return tmp_path / "run"

    return start


def assert_whole(results, whole):
    assert results.members.equals(whole.members) and results.metrics.equals(whole.metrics)
    directory = results.directory
    assert pq.read_table(directory / "metrics.parquet").equals(whole.metrics)
    assert pq.read_table(directory / "members.parquet").equals(whole.members)
    assert not (directory / "checkpoints").exists() and not (directory / "lock").exists()


@pytest.fixture
def terminal():
    """A closed terminal is heard, though `nohup` may have started these tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("spans", cases([1, 2, 7, 14], [7, 14], "durable"))
def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(interrupted, whole, spans, number, terminal):
    directory = interrupted(study_of(), spans, number)
    assert not (directory / "lock").exists()
    (record,) = checkpoints.newest(directory).values()
    finished = len(store.committed(directory))
    assert record["step"] > 0 and (finished == 0 or spans > 10)
    assert sum("pending" in row for _, row in status(directory)) == 1
    assert signal.getsignal(signal.SIGINT) is INHERITED
    assert_whole(sweeps.resume(directory, study_of(), progress=False), whole)
    # Once more changes nothing.
    assert_whole(sweeps.resume(directory, study_of(), progress=False), whole)


class Dying:
    """What is told of Ctrl-C in its destructor, where Python drops every exception."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the handler runs between two of these
            pass


@pytest.mark.parametrize("moment", ["before", "after", "in a destructor"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_after_the_last_commit_is_not_swallowed(tmp_path, whole, monkeypatch, moment):
    derive, sent = rounds.derive, []

    def interrupted(directory, *arguments):
        sent.append(len(store.committed(directory)))
        if moment == "before":
            os.kill(os.getpid(), signal.SIGINT)
        derive(directory, *arguments)
        Dying() if moment == "in a destructor" else os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(rounds, "derive", interrupted)
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            sweeps.run(study_of(), out=tmp_path / "run", **CHUNKS)
    assert sent == [3] and signal.getsignal(signal.SIGINT) is INHERITED
    assert_whole(sweeps.resume(tmp_path / "run", study_of(), progress=False), whole)


def test_the_tables_are_extended_while_a_run_goes_on(tmp_path, whole, monkeypatch):
    derive, seen = rounds.derive, []

    def at_the_end(directory, *arguments):
        seen.append(derived.held(directory))
        derive(directory, *arguments)

    monkeypatch.setattr(derived, "CHUNKS_BETWEEN", 1)
    monkeypatch.setattr(derived, "SECONDS_BETWEEN", 0)
    monkeypatch.setattr(rounds, "derive", at_the_end)
    assert_whole(sweeps.run(study_of(), out=tmp_path / "run", **CHUNKS), whole)
    assert seen == [(True, [])]  # which a run that is killed leaves


def test_a_terminal_that_is_ignored_stays_ignored(terminal):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` has it
    with listening():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_run_killed_before_it_was_planned_goes_on(tmp_path, whole, monkeypatch):
    def killed(*arguments, **keywords):
        raise SystemError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("sweeps.executors.inline.prepare", killed)
        with pytest.raises(SystemError, match="killed"):
            sweeps.run(study_of(), out=tmp_path / "run", **CHUNKS)
    assert store.read_manifest(tmp_path / "run")["plan"] is None
    assert_whole(sweeps.resume(tmp_path / "run", study_of(), progress=False), whole)


def test_what_does_not_fit_leaves_no_folder(tmp_path, monkeypatch):
    def refused(*arguments, **keywords):
        raise StudyError("`one member fits` must hold")

    monkeypatch.setattr("sweeps.executors.inline.prepare", refused)
    with pytest.raises(StudyError, match="one member fits"):
        sweeps.run(study_of(), out=tmp_path / "run", **CHUNKS)
    assert not (tmp_path / "run").exists()


def test_damaged_chunks_and_checkpoints_are_trained_again(interrupted, whole, capsys):
    directory = interrupted(study_of(), 14)
    (chunk,), (checkpoint,) = store.committed(directory), checkpoints.newest(directory)
    (chunk / "members.parquet").write_bytes((chunk / "members.parquet").read_bytes()[:50])
    for path in (checkpoint / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged: members.parquet is not what was written"):
        assert store.read(directory, "members") is None
    results = sweeps.resume(directory, study_of())
    assert_whole(results, whole)
    said = capsys.readouterr().err
    assert f"chunks/{chunk.name} is damaged (members.parquet is not what was written): it is set" in said
    assert "checkpoints/0-4-0-12-4/" in said and "is damaged (state/" in said


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path, whole, monkeypatch):
    commits, publish = [], store.publish
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(folder, write, **options):
        commits.append(folder)
        if len(commits) == 3:  # the run directory, one chunk, and this one
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        publish(folder, write, **options)

    with monkeypatch.context() as patched:
        patched.setattr(store, "publish", limited)
        try:
            with pytest.raises(StudyError, match="can be written` must hold, but got .*File too large"):
                sweeps.run(study_of(), out=tmp_path / "run", **CHUNKS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(store.committed(tmp_path / "run")) == 1 and not list((tmp_path / "run").rglob("*.tmp"))
    assert_whole(sweeps.resume(tmp_path / "run", study_of(), progress=False), whole)


def test_a_folder_that_may_not_be_written_is_said(tmp_path, interrupted):
    with pytest.raises(StudyError, match="`out can be written` must hold, but got /proc"):
        sweeps.run(study_of(), out="/proc/sweeps", **CHUNKS)
    if os.geteuid() == 0:
        pytest.skip("the rest needs a user who may not write everywhere; this is root")
    directory = interrupted(study_of(), 1)
    directory.chmod(0o500)
    with pytest.raises(StudyError, match="can be written` must hold, but got: Permission denied"):
        sweeps.resume(directory, study_of(), progress=False)


def test_other_devices_finish_what_was_begun(interrupted, whole, capsys):
    directory = interrupted(study_of(), 4)
    results = sweeps.resume(directory, study_of(), devices=jax.devices()[:1])
    said = capsys.readouterr().err
    assert "another numerical setting (devices: 2, now 1)" in said and "to float32 rounding" in said
    assert "going on from the checkpoint" in said
    assert results.members.equals(whole.members)
    early = whole.metrics["step"].to_numpy() <= 10
    for name in ("train/loss", "test/loss"):
        one, other = (found.metrics[name].to_numpy()[early] for found in (results, whole))
        np.testing.assert_allclose(one, other, rtol=1e-5)  # guarantee 1: across settings, for ten steps
    settings = [store.read_setting(folder) for folder in store.committed(directory)]
    assert {setting["devices"] for setting in settings} == {1}
    (step, before), *_ = [*settings[0]["until_step"].items()]
    assert before["devices"] == 2 and int(step) > 0


def faster(config, state, batch, key):
    return plain.step(
        dataclasses.replace(config, learning_rate=config.learning_rate * 1.5), state, batch, key
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 13}, "the study is the one that the run began with.*steps: 12, now 13"),
        (
            {"space": {"alpha": [0.0, 0.1, 0.4], "seed": range(3)}},
            r"space.alpha: grid\(0.0, 0.1, 0.3\), now grid",
        ),
        ({"space": {"alpha": [0.0, 0.1, 0.3], "seed": range(4)}}, "members: 9, now 12"),
        ({"metric": "test/loss"}, "metric: test/accuracy, now test/loss"),
        (
            {"trial": plain.shuffled._replace(data=plain.data(60))},
            "the data is what it was.*got other arrays",
        ),
        (
            {"trial": plain.shuffled._replace(step=faster)},
            "the study's code is what it was.*the optimiser.*has changed",
        ),
    ],
)
def test_a_changed_study_is_refused_with_the_difference(interrupted, changes, message):
    directory = interrupted(study_of(), 1)
    with pytest.raises(StudyError, match=rf"{message}.*new run"):
        sweeps.resume(directory, study_of(**changes), progress=False)
    assert len(checkpoints.newest(directory)) == 1


def test_other_seeds_are_refused(interrupted):
    directory = interrupted(study_of(), 1)
    with pytest.raises(StudyError, match="root_seed: 0, now 5"):
        sweeps.resume(directory, study_of(), root_seed=5, progress=False)
    with pytest.raises(StudyError, match="is for fields that are drawn"):
        sweeps.resume(directory, study_of(), samples=5, progress=False)


def test_a_directory_of_a_later_version_or_with_a_damaged_manifest_is_named(tmp_path):
    directory = store.create(tmp_path / "run", {})
    for content, message in (
        ('{"format_version": 99}', "format_version <= 1.*99"),
        ("{", "readable manifest"),
    ):
        for name in ("manifest.json", ".manifest.json"):
            (directory / name).write_text(content)
        with pytest.raises(StudyError, match=message):
            sweeps.resume(directory, study_of(), progress=False)
        with pytest.raises(StudyError, match=message):
            status(directory)


def test_a_clock_that_goes_backwards_changes_nothing(interrupted, whole, monkeypatch):
    clock = iter(range(2_000_000_000, 0, -3600))
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    directory = interrupted(study_of(), 4, checkpoint_minutes=1e-6)
    assert_whole(sweeps.resume(directory, study_of(), progress=False), whole)


def test_streams_go_on_where_they_were(interrupted):
    inputs, targets = plain.data().train

    class Batches:
        def __iter__(self):
            return ((inputs[at : at + 16], targets[at : at + 16]) for at in (0, 16, 32))

    trial = plain.trial._replace(data=plain.data()._replace(train=Batches()))
    study = study_of(trial=trial, space={"alpha": [0.0, 0.3]})
    expected = sweeps.run(study, **CHUNKS)
    assert_whole(sweeps.resume(interrupted(study, 7), study, progress=False), expected)


def test_the_best_states_are_kept_and_load_into_the_model(tmp_path, interrupted, whole):
    study = study_of()
    directory = interrupted(study, 14, keep_best=2)
    results = sweeps.resume(directory, study, progress=False)
    assert_whole(results, whole)
    final = whole.final()
    best = sorted(range(9), key=lambda member: (-final[member], member))[:2]
    assert sorted(int(path.name) for path in (directory / "kept").iterdir()) == sorted(best)
    inputs, targets = plain.data().evaluation
    for member in (None, *best):
        model = results.model(study, member)
        score = float(np.mean((model(inputs) > 0.5) == targets))
        # float32 means of twenty zeros and ones, in another order
        assert score == pytest.approx(final[best[0] if member is None else member], rel=1e-6)
    other = next(member for member in range(9) if member not in best)
    with pytest.raises(
        StudyError, match=rf"a member whose state was kept` must hold, but got {other}; there are"
    ):
        results.model(study, other)
    with pytest.raises(StudyError, match="steps: 12, now 13"):
        results.model(study_of(steps=13))
    with pytest.raises(StudyError, match="kept on the disk` must hold, but got one in memory"):
        whole.model(study)


@pytest.mark.durable
def test_the_winner_is_confirmed_on_fresh_seeds(tmp_path, monkeypatch):
    study = study_of(space={"alpha": [0.0, 0.3], "learning_rate": [0.05, 1e25], "seed": range(2)})
    results = sweeps.run(study, out=tmp_path / "run", confirm=3, **CHUNKS)
    best, fresh = results.best(), results.confirmation
    assert fresh is not None
    rows = fresh.configurations()
    assert best.confirmed and best.seeds == 3 and best.config["learning_rate"] == 0.05
    assert fresh.members["seed"].to_pylist() == [2, 3, 4, 2, 3, 4]
    assert {row.config["alpha"] for row in rows} == {best.config["alpha"], 0.1}  # 0.1 is the default
    again = sweeps.resume(tmp_path / "run", study, progress=False)
    assert again.best() == best and again.confirmation is not None
    assert again.confirmation.metrics.equals(fresh.metrics)
    memory = sweeps.run(study, confirm=3, **CHUNKS)
    assert memory.best() == best
    assert dataclasses.replace(results, confirmation=None).best().confirmed is False


def test_replay_gives_every_bit_again(interrupted, whole):
    study = study_of(space={"learning_rate": [0.05, 1e25], "seed": range(2)})
    directory = interrupted(study, 3)
    with pytest.raises(StudyError, match="a member that is finished` must hold, but got 1.*sweeps resume"):
        sweeps.replay(directory, 1, study, progress=False)
    sweeps.resume(directory, study, progress=False)
    for member in (1, 2):
        found = sweeps.replay(directory, member, study, progress=False)
        assert found.same and found.differences == []
        assert found.recorded.to_pandas().equals(found.replayed.to_pandas())  # which has NaN equal to itself
    wrong: Any
    for wrong in ("0", 1.0, -1, True):
        with pytest.raises(StudyError, match="0 <= member` must hold and be a whole number"):
            sweeps.replay(directory, wrong, study, progress=False)
    with pytest.raises(StudyError, match="0 <= member < 4` must hold, but got 4"):
        sweeps.replay(directory, 4, study, progress=False)
    (folder,) = store.committed(directory)
    rows = pq.read_table(folder / "metrics.parquet")
    pq.write_table(rows.slice(0, len(rows) - 1), folder / "metrics.parquet")  # the last row of member 3
    (folder / "setting.json").write_text(json.dumps(store.read_setting(folder) | {"jaxlib": "0.0.1"}))
    checksums.write(folder)
    last = sweeps.replay(directory, 3, study, progress=False)
    assert not last.same and len(last.recorded) == len(last.replayed) - 1
    assert last.differences == [f"jaxlib: 0.0.1, now {importlib.metadata.version('jaxlib')}"]
