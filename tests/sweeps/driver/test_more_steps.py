"""A run that is given more steps: what was there stays, and the rest is what a run of all the steps has."""

import dataclasses
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import sweeps
from sweeps.cli.main import main
from sweeps.driver import in_memory
from sweeps.executors import inline
from sweeps.report.live import Live
from sweeps.results.storage import connected
from sweeps.store import checkpoints
from sweeps.store.status import status
from tests.cases import cases
from tests.sweeps import nested, plain
from tests.sweeps.killed import extended_until

ROOT = Path(plain.__file__).parents[2]
OPTIONS: dict[str, Any] = {"members_per_chunk": 4, "progress": False}
KEPT: dict[str, Any] = OPTIONS | {"keep_states": True}
SPACE = {"alpha": [0.0, 0.1, 0.3], "seed": range(2)}
MORE = {"alpha": [0.0, 0.1, 0.3], "seed": range(3)}
WITH_A_DIVERGED = {"alpha": [0.0, 0.3], "learning_rate": [0.05, 3.0, 1e25], "seed": range(2)}
FEW, MANY = 12, 24


def longer(study, steps=MANY):
    """The study of all the steps, evaluated where one is that was given more."""
    return dataclasses.replace(study, steps=steps, earlier_steps=(study.steps,))


def files(directory):
    """What is committed, byte for byte."""
    return {
        path.relative_to(directory): path.read_bytes()
        for path in sorted((directory / "chunks").rglob("*"))
        if path.is_file()
    }


def states(directory, steps=MANY):
    """The arrays that the members ended in that are done."""
    table = sweeps.load(directory).members
    done = table["member"].to_numpy()[np.asarray(table["status"].to_pylist()) == "done"]
    found = checkpoints.at_rung(directory, done, steps)
    assert found is not None and len(done)
    return [leaf.tobytes() for leaf in found.leaves]


def same(results, whole):
    """Whether all rows agree, NaN included, which is equal to itself as text alone."""
    pairs = [(each.members.to_pylist(), each.metrics.to_pylist()) for each in (results, whole)]
    return str(pairs[0]) == str(pairs[1])


@pytest.fixture
def run_of(tmp_path):
    """Starts a run in a new folder; returns it, and what is committed there."""

    def start(study, **options):
        sweeps.run(study, out=tmp_path / "run", **(KEPT | options))
        return tmp_path / "run", files(tmp_path / "run")

    return start


@pytest.fixture
def said(monkeypatch):
    """The notes of runs to come."""
    lines = []
    monkeypatch.setattr("sweeps.host.progress.Display.note", lambda display, line: lines.append(line))
    return lines


CASES = {
    "members": plain.study(space=SPACE),
    "batches": plain.study(space=SPACE, trial=plain.shuffled),
    "evaluations": plain.study(space=SPACE, evaluate_every=5),
    "the best": plain.study(space=SPACE, select="best"),
    "a diverged member": plain.study(space=WITH_A_DIVERGED),
    "static levels": plain.study(space={"width": [8, 4], "alpha": [0.0, 0.3], "seed": range(2)}),
    "some combinations": plain.study(space=SPACE, where=lambda point: point["alpha"] < 0.2),
    "folds": plain.study(
        space=SPACE | {"fold": sweeps.folds(2)},
        trial=plain.shuffled._replace(batch_size=8),
        metric="validation/loss",
        mode="min",
    ),
    "classes": nested.study(space={"optimizer": [nested.Sgd, nested.Sign], "seed": range(2)}, steps=FEW),
}


@pytest.mark.parametrize(
    "case", cases(CASES, ("members", "the best", "a diverged member", "static levels"), "durable")
)
def test_more_steps_are_the_run_of_all_steps(run_of, tmp_path, case):
    study = CASES[case]
    whole = sweeps.run(longer(study), out=tmp_path / "whole", **KEPT)
    directory, before = run_of(study)
    results = sweeps.extend(directory, study, steps=MANY, progress=False)
    assert same(results, whole) and states(directory) == states(tmp_path / "whole")
    after = files(directory)
    assert before.items() <= after.items() and len(before) < len(after)
    manifest = results.manifest
    assert manifest["steps"] == MANY and [part["steps"] for part in manifest["earlier"]] == [FEW]
    assert results.best() == whole.best() and sweeps.load(directory).best() == whole.best()
    # Whoever has the study as it was, or as it is, goes on with the run as it is, and trains nothing.
    for known in (study, dataclasses.replace(study, steps=MANY)):
        assert same(sweeps.resume(directory, known, progress=False), whole)
        assert files(directory) == after and not (directory / "damaged").exists()
        assert states(directory) == states(tmp_path / "whole")
    for member in (0, len(results.members) - 1):
        found = sweeps.replay(directory, member, study, progress=False)
        assert found.same and found.differences == []
        assert found.recorded["step"].to_pylist()[-1] in (MANY, *longer(study).evaluation_steps)


def test_an_evaluation_on_the_way_changes_nothing_after_it(run_of, tmp_path):
    """The end that the run had is no evaluation of the run of all the steps."""
    study = plain.study(space=SPACE, trial=plain.shuffled, steps=10, evaluate_every=8)
    whole = sweeps.run(dataclasses.replace(study, steps=24), out=tmp_path / "whole", **KEPT)
    directory, _ = run_of(study)
    results = sweeps.extend(directory, study, steps=24, progress=False)
    evaluated = np.unique(results.metrics["step"].to_numpy()).tolist()
    assert evaluated == [8, 10, 16, 24] and longer(study).evaluation_steps == (8, 10, 16, 24)
    for name in ("test/accuracy", "test/loss", "train/loss"):
        assert results.final(name).tobytes() == whole.final(name).tobytes()
    assert states(directory) == states(tmp_path / "whole")
    # Ten evaluations of the first steps, and those of the ten of all steps that come after.
    steps = plain.study(steps=20, earlier_steps=(10,)).evaluation_steps
    assert steps == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20)


def test_states_are_those_of_a_loop_by_hand(run_of):
    """Gradient descent in float64, from the state that the documented keys make."""
    study = plain.study(space=SPACE)
    directory, _ = run_of(study)
    results = sweeps.extend(directory, study, steps=MANY, progress=False)
    inputs, targets = (np.asarray(array, np.float64) for array in plain.data().train)
    root = jax.random.key(0, impl="threefry2x32")
    for row in results.members.to_pylist():
        key = jax.random.fold_in(jax.random.fold_in(root, 0), row["seed"])
        first = plain.init(plain.Config(), key)
        weight, bias = np.asarray(first["weight"], np.float64), float(first["bias"])
        for _ in range(MANY):
            error = inputs @ weight + bias - targets
            error = np.where(error > 0, error, (1 - row["alpha"]) * error)
            weight, bias = weight - 0.05 * error @ inputs / len(error), bias - 0.05 * error.mean()
        found = results.model(study, row["member"]).args[0]
        np.testing.assert_allclose(np.append(found["weight"], found["bias"]), [*weight, bias], atol=1e-5)


@pytest.mark.durable
def test_it_is_extended_again_with_seeds_and_with_steps(run_of, tmp_path):
    study = plain.study(space=SPACE, evaluate_every=4)
    directory, before = run_of(study, members_per_chunk=3)
    both = sweeps.extend(directory, study, space=MORE, steps=16, progress=False)
    assert set(both.members["status"].to_pylist()) == {"done"} and before.items() <= files(directory).items()
    before = files(directory)
    results = sweeps.extend(directory, study, steps=MANY, progress=False)
    assert before.items() <= files(directory).items()
    wider = plain.study(space=MORE, evaluate_every=4, steps=MANY)
    whole = sweeps.run(wider, members_per_chunk=3, progress=False)
    for row in results.configurations():
        (other,) = [each for each in whole.configurations() if each.config == row.config]
        assert sorted(row.values) == sorted(other.values) and row.seeds == 3
    history = [(part["members"], part["steps"]) for part in results.manifest["earlier"]]
    assert history == [(6, FEW), (9, 16)] and results.manifest["steps"] == MANY
    for known in (study, dataclasses.replace(study, steps=16), wider):
        assert same(sweeps.resume(directory, known, progress=False), results)
    assert sweeps.replay(directory, 8, wider, progress=False).same
    # More seeds of what has come to the end by way of others go the same way.
    four = MORE | {"seed": range(4)}
    more = sweeps.extend(directory, wider, space=four, progress=False)
    assert len(more.members) == 12 and set(more.members["status"].to_pylist()) == {"done"}
    assert [part["steps"] for part in more.manifest["earlier"]] == [FEW, 16, MANY]
    assert sweeps.replay(directory, 11, wider, progress=False).same


@pytest.mark.parametrize("spans", [1, 4, 9])
def test_more_steps_that_were_stopped_go_on(run_of, tmp_path, interrupted, spans):
    study = plain.study(space=SPACE, trial=plain.shuffled)
    whole = sweeps.run(longer(study), out=tmp_path / "whole", **KEPT)
    directory, before = run_of(study, keep_best=2)
    interrupted(spans, lambda: sweeps.extend(directory, study, steps=MANY, progress=False))
    stopped = sweeps.load(directory)
    waiting = [place for place, each in enumerate(stopped.members["status"].to_pylist()) if each != "done"]
    assert waiting and {stopped.members["status"][place].as_py() for place in waiting} == {"running"}
    # What has come to the earlier end alone has no score that others are compared with.
    assert np.isnan(stopped.final()[waiting]).all()
    rows = dict(status(directory))
    assert f"{len(waiting)} between rounds" in rows["members"] and "to go on" in rows
    with pytest.raises(sweeps.StudyError, match="a member whose state was kept"):
        stopped.model(study, waiting[0])
    assert sweeps.replay(directory, waiting[0], study, progress=False).same
    results = sweeps.resume(directory, study, progress=False)
    assert same(results, whole) and states(directory) == states(tmp_path / "whole")
    assert before.items() <= files(directory).items()
    assert {path.name for path in (directory / "kept").iterdir()} == {
        str(member) for member in np.argsort(-whole.final(), kind="stable")[:2]
    }


@pytest.mark.parametrize("spans", [1, 8])
def test_a_stopped_run_is_given_more_steps(tmp_path, interrupted, spans):
    study = plain.study(space=SPACE, trial=plain.shuffled)
    whole = sweeps.run(longer(study), **OPTIONS)
    directory = tmp_path / "run"
    interrupted(spans, lambda: sweeps.run(study, out=directory, **KEPT))
    before = files(directory)
    assert same(sweeps.extend(directory, study, steps=MANY, progress=False), whole)
    assert before.items() <= files(directory).items()


@pytest.mark.durable
def test_more_steps_that_were_killed_go_on(run_of, tmp_path):
    study = plain.study(space=SPACE)
    whole = sweeps.run(longer(study), out=tmp_path / "whole", **KEPT)
    directory, before = run_of(study, keep_best=1)

    copy, done = extended_until(0, directory, tmp_path, SPACE, f"steps={MANY}")
    assert done.returncode == 0, done.stderr
    assert same(sweeps.load(copy), whole)
    moments = int(done.stdout)
    for moment in (moments // 4, moments // 2, moments - 2):
        copy, done = extended_until(moment, directory, tmp_path, SPACE, f"steps={MANY}")
        assert done.returncode == -signal.SIGKILL, done.stderr
        results = sweeps.resume(copy, study, progress=False)
        if "earlier" not in results.manifest:  # killed before it was written down: the run is as it was
            results = sweeps.extend(copy, study, steps=MANY, progress=False)
        assert same(results, whole) and states(copy) == states(tmp_path / "whole")
        assert before.items() <= files(copy).items()


def test_a_member_that_fails_is_alone_and_is_tried_again(run_of, monkeypatch):
    train, at = inline.train, [0]

    def faulty(prepared, population, chunk, *arguments, **keywords):
        if chunk.start == at[0] and (population.columns["alpha"][chunk.members] == 0.3).any():
            raise RuntimeError("alpha is too large")
        return train(prepared, population, chunk, *arguments, **keywords)

    for module in (inline, in_memory):
        monkeypatch.setattr(module, "train", faulty)
    study = plain.study(space=SPACE)
    whole = plain.study(space=SPACE, steps=MANY, earlier_steps=(FEW,))
    directory, _ = run_of(study)
    assert sorted(sweeps.load(directory).errors) == [4, 5]
    at[0] = FEW  # they get through what they had failed in, and fail later
    results = sweeps.extend(directory, study, steps=MANY, progress=False)
    assert sorted(results.errors) == [4, 5]
    assert results.members["status"].to_pylist() == ["done"] * 4 + ["failed"] * 2
    before = files(directory)
    at[0] = -1
    results = sweeps.resume(directory, study, progress=False)
    assert same(results, sweeps.run(whole, **OPTIONS))
    sound = {name: text for name, text in before.items() if name.parent.name.startswith(("0-0-", "0-4-0-"))}
    assert sound and sound.items() <= files(directory).items()


@pytest.mark.durable
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
@pytest.mark.xdist_group("processes")
def test_processes_give_more_steps(run_of, tmp_path):
    study = plain.study(space=WITH_A_DIVERGED)
    options: dict[str, Any] = {"executor": "processes"}
    directory, before = run_of(study, **options)
    results = sweeps.extend(directory, study, steps=MANY, progress=False, **options)
    whole = sweeps.run(longer(study), out=tmp_path / "whole", **KEPT, **options)
    assert same(results, whole) and states(directory) == states(tmp_path / "whole")
    assert before.items() <= files(directory).items()
    # Once more, with the states gone.
    shutil.rmtree(directory / "checkpoints")
    results = sweeps.extend(directory, study, steps=30, progress=False, **options)
    ends = plain.study(space=WITH_A_DIVERGED, steps=30, earlier_steps=(FEW, MANY))
    assert same(results, sweeps.run(ends, out=tmp_path / "all", **OPTIONS, **options))


def test_without_states_the_cost_is_said_and_asked_for(run_of, said):
    study = plain.study(space=WITH_A_DIVERGED, trial=plain.shuffled)
    directory, before = run_of(study, keep_states=False)
    assert not (directory / "checkpoints").exists()
    with pytest.raises(sweeps.StudyError, match=r"8 members without .* costs 96 member-steps.*--again"):
        sweeps.extend(directory, study, steps=MANY, progress=False)
    assert files(directory) == before and "earlier" not in sweeps.load(directory).manifest
    results = sweeps.extend(directory, study, steps=MANY, again=True, progress=False)
    assert [line for line in said if "again" in line] == [
        "states of 8 members at step 12 are not kept: they are trained again from step 0, and what was found "
        "until then stays"
    ]
    assert same(results, sweeps.run(longer(study), **OPTIONS))
    assert before.items() <= files(directory).items() and not (directory / "checkpoints").exists()
    assert sweeps.replay(directory, 0, study, progress=False).same
    # Once more, for the last time.
    options = {"steps": 30, "again": True, "keep_states": True}
    results = sweeps.extend(directory, study, progress=False, **options)
    ends = dataclasses.replace(study, steps=30, earlier_steps=(FEW, MANY))
    assert same(results, sweeps.run(ends, **OPTIONS)) and results.manifest["keep_states"]
    lines = len(said)
    results = sweeps.extend(directory, study, steps=33, progress=False)
    assert len(said) == lines and results.manifest["steps"] == 33


@pytest.mark.parametrize("spans", [1, 3, 5, 9])
def test_training_again_goes_on_where_it_was_stopped(run_of, interrupted, said, spans):
    study = plain.study(space=SPACE, trial=plain.shuffled)
    whole = sweeps.run(longer(study), **OPTIONS)
    directory, before = run_of(study, keep_states=False)

    def extend():
        sweeps.extend(directory, study, steps=MANY, again=True, progress=False)

    interrupted(spans, extend)
    flight = [record["step"] for record in checkpoints.newest(directory).values()]
    assert flight
    results = sweeps.resume(directory, study, progress=False)
    assert same(results, whole) and before.items() <= files(directory).items()
    assert [line for line in said if "going on from the checkpoint" in line] == [
        f"going on from the checkpoint at step {step}" for step in flight
    ]


@pytest.mark.parametrize("loss", ["damaged", "removed"])
def test_a_lost_state_is_made_again(run_of, tmp_path, said, loss):
    study = plain.study(space={"width": [8, 4], "alpha": [0.0, 0.3], "seed": range(2)})
    whole = sweeps.run(longer(study), out=tmp_path / "whole", **KEPT)
    directory, before = run_of(study)
    first, _ = sorted((directory / "checkpoints").iterdir())
    if loss == "removed":
        shutil.rmtree(first)
    else:
        (state,) = first.glob("*/state")
        largest = max(
            (path for path in state.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
        )
        largest.write_bytes(b"\0" * largest.stat().st_size)
    results = sweeps.extend(directory, study, steps=MANY, progress=False)
    assert sum("states of 4 members at step 12 are not kept" in line for line in said) == 1
    assert same(results, whole) and states(directory) == states(tmp_path / "whole")
    assert before.items() <= files(directory).items()


def test_only_states_of_the_last_step_stay(run_of):
    study = plain.study(space=SPACE)
    directory, _ = run_of(study)
    rows = dict(status(directory))
    assert (
        rows["states kept"] == "6 members in 2 chunks at step 12"
        or rows["states kept"] == "6 members at step 12"
    )
    sweeps.extend(directory, study, steps=MANY, progress=False)
    assert {record["step"] for record in checkpoints.newest(directory).values()} == {MANY}
    assert sum(len(record["members"]) for record in checkpoints.newest(directory).values()) == 6


def test_a_model_of_every_member(run_of):
    study = plain.study(space=SPACE)
    directory, _ = run_of(study)
    results = sweeps.extend(directory, study, steps=MANY, progress=False)
    inputs, targets = plain.data().evaluation
    for member in range(6):
        score = float(np.mean((results.model(study, member)(inputs) > 0.5) == targets))
        assert score == pytest.approx(results.final()[member], rel=1e-6)  # float32 means, in another order
    best = results.model(study)
    assert np.mean((best(inputs) > 0.5) == targets) == pytest.approx(np.nanmax(results.final()), rel=1e-6)


def test_states_that_are_kept_with_a_schedule(tmp_path):
    study = plain.study(space=SPACE)
    results = sweeps.run(study, out=tmp_path / "run", schedule="halving(eta=2, min_steps=4)", **KEPT)
    (record,) = checkpoints.newest(tmp_path / "run").values()
    done = [row["member"] for row in results.members.to_pylist() if row["status"] == "done"]
    assert record["members"] == done and record["step"] == FEW
    assert results.model(study, done[0]) is not None


def test_readers_read_it_while_it_is_stopped_and_when_it_is_done(run_of, interrupted):
    study = plain.study(space=WITH_A_DIVERGED, trial=plain.shuffled)
    directory, _ = run_of(study)
    seen = Live(directory)
    assert json.loads(seen.state(0))["counts"] == {"done": 8, "diverged": 4}
    interrupted(4, lambda: sweeps.extend(directory, study, steps=MANY, progress=False))
    for watch in (seen, Live(directory)):
        watch.next = watch.again = 0.0  # without the rest between two looks
        now = json.loads(watch.state(0))
        assert now["counts"] == {"diverged": 4, "between rounds": 8} and not now["damaged"]
        assert "24 training steps" in now["size"] and "goes on" in now["heading"]
    stopped = sweeps.load(directory)
    assert stopped.report(directory / "report.html").stat().st_size and stopped.lineage.num_rows == 12
    assert not [label for label, _ in status(directory) if label == "damaged"]
    results = sweeps.resume(directory, study, progress=False)
    assert json.loads(Live(directory).state(0))["counts"] == {"done": 8, "diverged": 4}
    last = results.metrics.filter(results.metrics["member"].to_numpy() == 0)["step"].to_pylist()
    assert last == list(longer(study).evaluation_steps)
    assert results.to_xarray().sizes["step"] == len(last)
    assert "after 24 steps" in results.report(directory / "report.html").read_text()


def test_a_storage_has_the_scores_of_all_steps_as_another_study(run_of, tmp_path):
    optuna = pytest.importorskip("optuna")
    study, storage = plain.study(space=SPACE, select="best"), f"sqlite:///{tmp_path}/optuna.db"
    directory, _ = run_of(study, storage=storage)
    results = sweeps.extend(directory, study, steps=MANY, progress=False, storage=storage)
    with connected(storage) as opened:
        assert optuna.get_all_study_names(opened) == ["study", "study, 24 steps"]
        trials = optuna.load_study(study_name="study, 24 steps", storage=opened).trials
    assert sorted(trial.value for trial in trials) == sorted(results.final().tolist())
    assert all(len(trial.intermediate_values) == len(longer(study).evaluation_steps) for trial in trials)


class Loader:
    """Batches that hold their number, from the first at each reading."""

    def __iter__(self):
        return (np.full(2, number, np.float32) for number in range(5))


def test_a_stream_goes_on_at_its_batch(run_of):
    trial = plain.trial._replace(
        data=sweeps.Data(Loader(), None),
        init=lambda config, key: {"sum": jax.numpy.float32(0)},
        step=lambda config, state, batch, key: ({"sum": 2 * state["sum"] + batch[0]}, {"batch": batch[0]}),
        evaluate=lambda config, state, data: {"test/loss": state["sum"] + config.alpha},
    )
    study = plain.study(
        space={"alpha": [0.1, 0.2]}, trial=trial, metric="test/loss", steps=7, evaluate_every=1
    )
    directory, _ = run_of(study)
    results = sweeps.extend(directory, study, steps=13, progress=False)
    seen = results.metrics.filter(results.metrics["member"].to_numpy() == 1)["batch"].to_pylist()
    assert seen == [step % 5 for step in range(13)]
    once = dataclasses.replace(study, trial=trial._replace(data=sweeps.Data(iter(Loader()), None)))
    with pytest.raises(
        sweeps.StudyError, match="train can be read again for more steps` must hold, but got a"
    ):
        sweeps.extend(directory, once, steps=20, progress=False)


def test_the_command_gives_more_steps(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("from tests.sweeps import plain\nstudy = plain.study()\n")
    (tmp_path / "mine.toml").write_text(f'study = "{tmp_path / "mine.py"}:study"\nkeep_states = true\n')
    kept, other = str(tmp_path / "kept"), str(tmp_path / "other")
    words = ["seed=range(2)", "--members-per-chunk", "4", "--quiet", "--out"]
    assert main(["run", str(tmp_path / "mine.toml"), *words, kept]) == 0
    assert main(["extend", kept, "--steps", "24", "--quiet"]) == 0
    assert main(["resume", kept, "--quiet"]) == 0 and main(["replay", kept, "5", "--quiet"]) == 0
    assert main(["status", kept]) == 0
    assert "6 members x 24 steps" in capsys.readouterr().out
    assert "--steps 24" in (tmp_path / "kept" / "report.html").read_text()
    assert main(["run", f"{tmp_path / 'mine.py'}:study", *words, other]) == 0
    assert main(["extend", other, "--steps", "24", "--quiet"]) == 2
    assert "(--again) does so" in capsys.readouterr().err
    assert main(["extend", other, "--steps", "24", "--again", "--quiet"]) == 0
    found, again = sweeps.load(kept), sweeps.load(other)
    assert same(found, again) and set(found.members["status"].to_pylist()) == {"done"}
    (tmp_path / "wrong.toml").write_text('study = "digits-mlp"\nkeep_states = 1\n')
    assert main(["run", str(tmp_path / "wrong.toml")]) == 2
    assert "keep_states is true or false" in capsys.readouterr().err


def test_new_members_that_are_stopped_on_the_way_are_replayed(run_of, interrupted):
    study = plain.study(space=SPACE, trial=plain.shuffled)
    directory, _ = run_of(study)
    interrupted(24, lambda: sweeps.extend(directory, study, space=MORE, steps=MANY, progress=False))
    table = sweeps.load(directory).members
    running = [row["member"] for row in table.to_pylist() if row["status"] == "running"]
    assert running and min(running) >= 6  # old members come first
    assert sweeps.replay(directory, running[0], study, progress=False).same
    results = sweeps.resume(directory, study, progress=False)
    assert set(results.members["status"].to_pylist()) == {"done"} and len(results.members) == 9


def test_a_chunk_of_the_first_steps_that_is_damaged_is_made_again(run_of, tmp_path):
    study = plain.study(space=SPACE)
    whole = sweeps.run(longer(study), out=tmp_path / "whole", **KEPT)
    directory, before = run_of(study)
    first = directory / "chunks" / "0-0-0-12"
    (first / "members.parquet").write_bytes(b"nothing")
    results = sweeps.extend(directory, study, steps=MANY, progress=False)
    assert same(results, whole) and states(directory) == states(tmp_path / "whole")
    (first / "metrics.parquet").write_bytes(b"nothing")
    assert same(sweeps.resume(directory, study, progress=False), whole)
    assert (directory / "damaged" / "chunks" / "0-0-0-12-1").exists() and len(before) < len(files(directory))


@pytest.mark.parametrize("spans", [3, 7])
def test_states_are_kept_of_a_run_that_was_stopped(tmp_path, interrupted, spans):
    study = plain.study(space=WITH_A_DIVERGED, trial=plain.shuffled)
    whole = sweeps.run(study, out=tmp_path / "whole", **KEPT)
    directory = tmp_path / "run"
    interrupted(spans, lambda: sweeps.run(study, out=directory, **KEPT))
    assert same(sweeps.resume(directory, study, progress=False), whole)
    assert states(directory, FEW) == states(tmp_path / "whole", FEW)
    assert sum(len(record["members"]) for record in checkpoints.newest(directory).values()) == 12
