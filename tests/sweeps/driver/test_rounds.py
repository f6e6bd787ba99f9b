"""Searches and schedules in the engine: survivors, compaction, batches, and going on after a stop."""

import collections
import dataclasses
import functools
import os

import numpy as np
import pytest

import sweeps
from sweeps.engine import program
from sweeps.errors import StudyError
from sweeps.store import chunks as store
from tests.cases import cases
from tests.sweeps import plain

OPTIONS = {"members_per_chunk": 4, "progress": False}
HALVING = "halving(min_steps=4)"
SPACE = {"alpha": sweeps.linspace(0, 0.4, 8), "learning_rate": [0.05, 1e25], "seed": range(2)}


def thinned(**changes):
    """16 configurations of 2 seeds, half of which diverge; rungs at 4 and 12 of 36 steps."""
    return plain.study(**({"space": SPACE, "steps": 36, "evaluate_every": 4} | changes))


@pytest.fixture(scope="module")
def full():
    return sweeps.run(thinned(), **OPTIONS)


@pytest.fixture(scope="module")
def halved():
    return sweeps.run(thinned(), schedule=HALVING, **OPTIONS)


@pytest.fixture
def stopped_after(tmp_path, interrupted):
    """Starts a run that gets Ctrl-C after some spans; returns its directory."""

    def start(study, spans, **options):
        interrupted(spans, lambda: sweeps.run(study, out=tmp_path / "run", **OPTIONS, **options))
        return tmp_path / "run"

    return start


def values(results, metric):
    columns = [results.metrics[name].to_pylist() for name in ("member", "step", metric)]
    return {(member, step): value for member, step, value in zip(*columns, strict=True)}


def test_survivors_of_halving_are_the_best_and_have_the_numbers_of_the_full_sweep(full, halved):
    status = halved.members["status"].to_pylist()
    assert collections.Counter(status) == {"done": 4, "stopped": 12, "diverged": 16}
    stopped = collections.Counter(halved.members["stopped_at"].to_pylist())
    assert stopped == {None: 20, 4: 4, 12: 8}  # 16 configurations, 6, 2; the diverging ones go first
    everything = values(full, "test/loss")
    for (member, step), value in values(halved, "test/loss").items():
        if value == value:
            assert everything[member, step] == value, (member, step)
    # At each rung the two seeds of the best third go on, by their mean.
    table, scores = halved.members, values(full, "test/accuracy")
    for rung, left in ((4, range(32)), (12, None)):
        left = np.asarray(
            [
                row["member"]
                for row in table.to_pylist()
                if row["stopped_at"] is None or row["stopped_at"] >= rung
            ]
            if left is None
            else left
        )
        went_on = [row["member"] for row in table.to_pylist() if row["status"] == "done"]
        worst = min(np.mean([scores[member, rung] for member in (pair, pair + 1)]) for pair in went_on[::2])
        ended = [row["member"] for row in table.to_pylist() if row["stopped_at"] == rung]
        assert all(
            np.mean([scores[member, rung] for member in (pair, pair + 1)]) <= worst for pair in ended[::2]
        )


def test_the_decisions_and_states_are_kept_and_then_removed(tmp_path):
    results = sweeps.run(thinned(), schedule=HALVING, out=tmp_path / "run", keep_best=1, **OPTIONS)
    steps = {tuple(store.interval(folder)) for folder in store.committed(tmp_path / "run")}
    assert steps == {(0, 4), (4, 12), (12, 36)}
    assert sorted(path.name for path in (tmp_path / "run" / "rungs").iterdir()) == ["0-12.json", "0-4.json"]
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert results.manifest["schedule"] == HALVING and len(results.members) == 32
    model = results.model(thinned())
    inputs, targets = plain.data().evaluation
    score = np.mean((model(inputs) > 0.5) == targets)
    assert score == pytest.approx(np.nanmax(results.final()), rel=1e-6)  # a float32 mean of zeros and ones
    rows = results.metrics.to_pylist()
    for row in results.members.to_pylist():
        last = max(each["step"] for each in rows if each["member"] == row["member"])
        assert last == {"done": 36, "stopped": row["stopped_at"]}.get(row["status"], last)


MILD = thinned(space=SPACE | {"learning_rate": [0.05, 0.01]})


@functools.cache
def uninterrupted(schedule):
    return sweeps.run(MILD, schedule=schedule, **OPTIONS)


@pytest.mark.parametrize("schedule", cases([HALVING, "hyperband", "pbt(every=12)"], [HALVING], "durable"))
@pytest.mark.parametrize("spans", cases([3, 21], [21], "durable"))
def test_a_schedule_that_was_stopped_goes_on_with_the_same_decisions(stopped_after, schedule, spans):
    directory, expected = stopped_after(MILD, spans, schedule=schedule), uninterrupted(schedule)
    results = sweeps.resume(directory, MILD, progress=False)
    assert results.members.equals(expected.members) and results.metrics.equals(expected.metrics)


def test_compaction_compiles_one_more_program_per_width(monkeypatch):
    widths, place = [], program.place_members

    def placed(mesh, columns, seeds, *rest):
        widths.append(len(seeds))
        return place(mesh, columns, seeds, *rest)

    monkeypatch.setattr(program, "place_members", placed)
    sweeps.run(MILD, schedule=HALVING, members_per_chunk=8, progress=False)
    # 32 members in chunks of 8; 12 in two chunks of 8, so that nothing is compiled; 4 in the half of it.
    # Where no test has done so before, one more is lowered, to count its arithmetic.
    assert [width for width in widths if width != 8] == [4]
    assert widths.count(8) - (4 + 2) in (0, 1)


def test_training_in_populations_copies_states_and_changes_only_traced_fields(tmp_path):
    space = {"learning_rate": sweeps.log_uniform(1e-5, 0.3), "width": [4, 8], "seed": range(2)}
    study = thinned(space=space)
    results = sweeps.run(
        study, samples=6, schedule="pbt(every=12)", out=tmp_path / "run", keep_best=1, **OPTIONS
    )
    assert set(results.members["status"].to_pylist()) == {"done"}
    begun = sweeps.run(study, samples=6, **OPTIONS)
    rates = [found.members["learning_rate"].to_numpy() for found in (begun, results)]
    changed = rates[0] != rates[1]
    assert 0 < changed.sum() < len(changed) and (rates[1] >= 1e-5).all() and (rates[1] <= 0.3).all()
    assert begun.members["width"].equals(results.members["width"])
    assert np.nanmean(results.final("test/loss")) < np.nanmean(begun.final("test/loss"))
    assert results.model(study) is not None
    with pytest.raises(StudyError, match="a member that was trained by itself.*population-based"):
        sweeps.replay(tmp_path / "run", 0, study, progress=False)


def test_a_stopped_member_is_replayed_through_its_rounds(tmp_path):
    study = thinned()
    results = sweeps.run(study, schedule=HALVING, out=tmp_path / "run", **OPTIONS)
    for status in ("done", "stopped", "diverged"):
        member = results.members["status"].to_pylist().index(status)
        found = sweeps.replay(tmp_path / "run", member, study, progress=False)
        assert found.same and found.differences == [], status


SAMPLED = {"alpha": sweeps.uniform(0, 0.5), "learning_rate": sweeps.log_uniform(1e-3, 1), "seed": range(2)}


@pytest.mark.parametrize("search", ["random", "sobol"])
def test_points_of_a_search_are_its_members(search):
    results = sweeps.run(plain.study(space=SAMPLED), search=search, samples=6, **OPTIONS)
    assert len(results.members) == 12 and results.manifest["search"] == search
    alphas = results.members["alpha"].to_numpy()
    assert (alphas[::2] == alphas[1::2]).all() and len(set(alphas)) == 6
    assert results.members["seed"].to_pylist() == [0, 1] * 6
    if search == "random":  # the same draws as a grid's sampled fields
        grid = sweeps.run(plain.study(space=SAMPLED), samples=6, **OPTIONS)
        assert grid.members["alpha"].equals(results.members["alpha"])


def test_an_adaptive_search_learns_in_batches_and_goes_on_where_it_was(stopped_after, tmp_path):
    pytest.importorskip("optuna")
    study = plain.study(space=SAMPLED)
    options = {"search": sweeps.tpe(points_per_batch=4), "samples": 12}
    expected = sweeps.run(study, **options, **OPTIONS)
    assert len(expected.members) == 24 and len(set(expected.members["alpha"].to_pylist())) == 12
    for spans in (2, 30, 50):
        directory = stopped_after(study, spans, **options)
        results = sweeps.resume(directory, study, progress=False)
        assert results.members.equals(expected.members) and results.metrics.equals(expected.metrics)
        os.rename(directory, tmp_path / f"run-{spans}")
    found = sweeps.replay(tmp_path / "run-2", 23, study, progress=False)  # of the last batch
    assert found.same
    knowing = sweeps.tpe(points_per_batch=4, warm_start=tmp_path / "run-2")
    warm = sweeps.run(study, search=knowing, samples=4, **OPTIONS)
    cold = sweeps.run(study, search=sweeps.tpe(points_per_batch=4), samples=4, **OPTIONS)
    assert warm.members["alpha"].to_pylist() != cold.members["alpha"].to_pylist()
    assert len(warm.manifest["history"]["points"]) == 12


def test_a_warm_start_reads_the_metric_of_the_present_study(tmp_path):
    pytest.importorskip("optuna")
    earlier = sweeps.run(plain.study(space=SAMPLED), samples=3, out=tmp_path / "run", **OPTIONS)
    study = plain.study(space=SAMPLED, metric="test/loss")
    options = {"search": sweeps.tpe(warm_start=tmp_path / "run"), "samples": 2}
    history = sweeps.run(study, **options, **OPTIONS).manifest["history"]
    losses = earlier.final("test/loss").reshape(3, 2).mean(axis=1)
    assert history["scores"] == pytest.approx(losses.tolist())
    assert [point["alpha"] for point in history["points"]] == earlier.members["alpha"].to_pylist()[::2]

    def renamed(*rest):
        return {"test/error": study.trial.evaluate(*rest)["test/loss"]}

    other = plain.study(space=SAMPLED, metric="test/error", trial=study.trial._replace(evaluate=renamed))
    with pytest.raises(
        StudyError, match="the earlier run reports test/error` must hold, but got test/accuracy, test/loss"
    ):
        sweeps.run(other, **options, **OPTIONS)


def test_a_warm_start_reads_the_mode_of_the_present_study(tmp_path):
    pytest.importorskip("optuna")
    config = dataclasses.make_dataclass("Config", [("x", float, 0.5)], frozen=True)
    trial = sweeps.function(lambda config, key: {"value": config.x}, config=config)

    def found(mode, **options):
        space = {"x": sweeps.uniform(0.0, 1.0)}
        study = sweeps.Study(trial, steps=1, metric="value", mode=mode, space=space)
        return sweeps.run(study, **options, **OPTIONS).members["x"].to_numpy()

    found("max", search="random", samples=24, out=tmp_path / "run")
    options = {"search": sweeps.tpe(points_per_batch=8, warm_start=tmp_path / "run"), "samples": 8}
    assert np.median(found("min", **options)) < 0.3 < 0.7 < np.median(found("max", **options))


def test_a_search_and_a_schedule_together():
    pytest.importorskip("optuna")
    options = {"search": sweeps.tpe(points_per_batch=6), "samples": 12}
    results = sweeps.run(thinned(space=SAMPLED), **options, schedule="halving(min_steps=12)", **OPTIONS)
    status = collections.Counter(results.members["status"].to_pylist())
    assert len(results.members) == 24 and status["done"] == 8 and status["stopped"] == 16


def test_a_search_of_levels_takes_as_many_points_as_their_grid_unless_told():
    study = thinned(space={"alpha": sweeps.linspace(0, 0.4, 3), "learning_rate": [0.05, 0.1]}, steps=2)
    assert len(sweeps.run(study, search="random", **OPTIONS).members) == 6
    assert len(sweeps.run(study, search="random", samples=2, **OPTIONS).members) == 2
    three = dataclasses.replace(study, samples=3)
    assert len(sweeps.run(three, search="random", **OPTIONS).members) == 3
    assert len(sweeps.run(three, search="random", samples=2, **OPTIONS).members) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": "tpee"}, 'Unknown search "tpee". Did you mean "tpe"'),
        ({"search": "sobol"}, "`samples` must be given to the search sobol.*--samples 64"),
        ({"search": "sobol", "samples": 0}, "1 <= samples"),
        ({"samples": 4, "schedule": "halvign"}, 'Unknown schedule "halvign". Did you mean "halving"'),
        ({"samples": 4, "schedule": "halving(eta=1)"}, "eta"),
        ({"samples": 4, "schedule": "halving(min_steps=50)"}, "min_steps"),
        ({"samples": 2, "schedule": "halving"}, "eta"),
    ],
)
def test_what_a_search_or_schedule_cannot_do_is_said(options, message):
    with pytest.raises(StudyError, match=message):
        sweeps.run(thinned(space=SAMPLED), **options, **OPTIONS)


def test_training_in_populations_needs_a_traced_field():
    static = thinned(space={"width": [4, 8, 16], "seed": range(2)})
    with pytest.raises(StudyError, match="traced"):
        sweeps.run(static, schedule="pbt", **OPTIONS)
