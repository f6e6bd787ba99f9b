"""Early stopping in the engine, against a plain loop over the curves of a run without a schedule."""

import json
import shutil

import numpy as np
import pytest

import sweeps
from sweeps.store import chunks as store
from tests.cases import cases
from tests.sweeps import faulty, plain

OPTIONS = {"members_per_chunk": 4, "progress": False}
# Some learn fast and then stall, some slowly, and a third of the members diverge.
SPACE = {"alpha": sweeps.linspace(0, 0.6, 5), "learning_rate": [0.3, 0.01, 1e25], "seed": range(2)}


def study(**changes):
    return plain.study(**({"space": SPACE, "steps": 30, "evaluate_every": 3} | changes))


def curves_of(results, metric):
    """Per member its values by step, from the table of metrics."""
    found = {}
    for row in results.metrics.to_pylist():
        found.setdefault(row["member"], {})[row["step"]] = row[metric]
    return found


def plain_stops(results, metric, mode, patience, min_delta=0.0, per="configuration", select="last"):
    """When each member stops: a loop as anyone would write it around their own training."""
    curves, stops = curves_of(results, metric), {}
    rows = {row["member"]: row for row in results.members.to_pylist()}
    units = {}
    for member, row in rows.items():
        key = member if per == "member" else tuple(row[name] for name in ("alpha", "learning_rate"))
        units.setdefault(key, []).append(member)
    steps = sorted({step for curve in curves.values() for step in curve})
    for members in units.values():
        for place, step in enumerate(steps[:-1]):
            alive = [m for m in members if rows[m]["diverged_at"] is None or rows[m]["diverged_at"] > step]
            if place < patience or not alive:
                continue
            best, since = None, 0
            for at in range(place + 1):
                values = []
                for member in alive:
                    own = [curves[member][each] for each in steps[: at + 1]]
                    better = max if mode == "max" else min
                    values.append(better(own) if select == "best" else own[-1])
                value = float(np.mean(np.asarray(values, np.float64)))
                gain = None if best is None else value - best if mode == "max" else best - value
                if gain is None or gain > min_delta:
                    best, since = value, 0
                else:
                    since += 1
            if since >= patience:
                stops |= dict.fromkeys(alive, step)
                break
    return stops


def stops_of(results):
    rows = results.members.to_pylist()
    return {row["member"]: row["stopped_at"] for row in rows if row["status"] == "stopped"}


@pytest.fixture(scope="module")
def full():
    return sweeps.run(study(), **OPTIONS)


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 3},
        {"patience": 2, "per": "member"},
        *(
            pytest.param(other, marks=pytest.mark.durable)
            for other in (
                {"patience": 1},
                {"patience": 2, "min_delta": 0.02},
                {"patience": 2, "min_delta": 0.005, "metric": "test/loss"},
                {"patience": 2, "select": "best"},
            )
        ),
    ],
    ids=str,
)
def test_the_stops_are_those_of_a_plain_loop(full, options):
    metric, select = options.get("metric", "test/accuracy"), options.get("select", "last")
    settings = {name: value for name, value in options.items() if name not in ("metric", "select")}
    mode = "max" if metric == "test/accuracy" else "min"
    expected = plain_stops(full, metric, mode, select=select, **settings)
    assert 4 <= len(expected) and 2 <= len(set(expected.values()))  # something is compared
    schedule = sweeps.early_stopping(**settings)
    found = sweeps.run(study(metric=metric, select=select), schedule=schedule, **OPTIONS)
    assert stops_of(found) == expected
    # Up to its stop a member has the numbers that it has in the full run, and none after.
    curves, everything = curves_of(found, metric), curves_of(full, metric)
    for member, curve in curves.items():
        wanted = {step: v for step, v in everything[member].items() if step <= expected.get(member, 30)}
        assert str(curve) == str(wanted), member  # as text, so that NaN is equal to itself
    ids = found.members["member"].to_pylist()
    assert found.members["diverged_at"].equals(full.members["diverged_at"])
    # What stopped is scored by its last evaluation, or its best; what came to its end likewise.
    better = max if mode == "max" else min
    for member, score, status in zip(ids, found.final(), found.members["status"].to_pylist(), strict=True):
        if status == "diverged":
            assert np.isnan(score)
        else:
            steps = sorted(curves[member])
            own = [curves[member][step] for step in steps]
            assert score == (own[-1] if select == "last" else better(own)), member


def test_what_was_stopped_is_ranked_by_its_score(full):
    """Configurations against NumPy: means over seeds of the scores at the stops, diverged ones last."""
    found = sweeps.run(study(), schedule="early_stopping(patience=2)", **OPTIONS)
    assert "stopped" in found.members["status"].to_pylist()
    means = {}
    for row, score in zip(found.members.to_pylist(), found.final(), strict=True):
        means.setdefault((row["alpha"], row["learning_rate"]), []).append(score)
    means = {key: float(np.mean(values)) for key, values in means.items()}
    best = found.best()
    assert best.mean == max(value for value in means.values() if value == value)
    assert means[tuple(best.config.values())] == best.mean
    rows = found.configurations()
    finite = [row.interval.mean for row in rows if not row.diverged]
    assert finite == sorted(finite, reverse=True) and len(finite) == 10
    assert all(row.config["learning_rate"] == 1e25 for row in rows[10:])
    assert not any(row.unfinished for row in rows)


def test_survivors_fill_programs_again(tmp_path):
    sweeps.run(study(), schedule="early_stopping(patience=2)", out=tmp_path / "run", **OPTIONS)
    sizes = {}
    for folder in store.committed(tmp_path / "run"):
        start = store.interval(folder).start
        sizes.setdefault(start, []).append(len(store.read_chunk(folder)[0]))
    assert len(sizes) > 3
    for found in sizes.values():  # of one static group: full chunks, but for the last
        assert sorted(found, reverse=True)[:-1] == [4] * (len(found) - 1)
    assert sum(sizes[max(sizes)]) < 20


def test_a_member_that_fails_and_one_that_is_tried_again(tmp_path):
    fault = tmp_path / "fault"
    options = {"schedule": "early_stopping(patience=2)", "members_per_chunk": 6, "progress": False}
    whole = sweeps.run(faulty.study(tmp_path / "none"), **options)
    fault.touch()
    found = sweeps.run(faulty.study(fault), out=tmp_path / "run", **options)
    status = dict(zip(found.members["member"].to_pylist(), found.members["status"].to_pylist(), strict=True))
    failed = [member for member, each in status.items() if each == "failed"]
    assert len(failed) == 4
    healthy = stops_of(whole)
    assert stops_of(found) == {m: at for m, at in healthy.items() if m not in failed} != {}
    fault.unlink()
    again = sweeps.resume(tmp_path / "run", faulty.study(fault), progress=False)
    assert stops_of(again) == healthy
    assert again.members.drop_columns(["group"]).equals(whole.members.drop_columns(["group"]))


@pytest.mark.parametrize("spans", cases([3, 23], [23], "durable"))
@pytest.mark.parametrize("search", cases(["grid", "tpe"], ["tpe"], "durable"))
def test_a_run_that_was_stopped_goes_on_with_the_same_decisions(tmp_path, interrupted, spans, search):
    options = {"schedule": "early_stopping(patience=2)", **OPTIONS}
    asked = study()
    if search == "tpe":
        pytest.importorskip("optuna")
        asked = study(space={"alpha": sweeps.uniform(0, 0.6), "seed": range(2)})
        options |= {"search": sweeps.tpe(points_per_batch=4), "samples": 8}
    expected = sweeps.run(asked, **options)
    interrupted(spans, lambda: sweeps.run(asked, out=tmp_path / "run", **options))
    results = sweeps.resume(tmp_path / "run", asked, progress=False)
    assert results.members.equals(expected.members) and stops_of(results)
    assert str(results.metrics.to_pylist()) == str(expected.metrics.to_pylist())  # NaN among them


@pytest.mark.durable
def test_workers_stop_the_same_members(tmp_path):
    pytest.importorskip("cloudpickle")
    options = {"schedule": "early_stopping(patience=2)", "executor": "processes"}
    found = sweeps.run(study(), out=tmp_path / "run", **options, **OPTIONS)
    # Workers have one device each, so another setting than this process: compared with their own full run.
    whole = sweeps.run(study(), out=tmp_path / "whole", executor="processes", **OPTIONS)
    assert stops_of(found) == plain_stops(whole, "test/accuracy", "max", 2) != {}
    assert found.best().mean >= np.nanmax(whole.final()) - 0.2


@pytest.mark.durable
def test_the_winner_is_confirmed_by_the_same_rule(tmp_path):
    asked = study(space={"alpha": [0.0, 0.3], "seed": range(3)})
    results = sweeps.run(
        asked, schedule="early_stopping(patience=2)", confirm=3, out=tmp_path / "run", **OPTIONS
    )
    again = results.confirmation
    assert again is not None
    assert again.manifest["schedule"] == "early_stopping(patience=2)"
    full = sweeps.run(
        plain.study(space={"alpha": [results.best().config["alpha"]], "seed": range(3, 6)},
                    steps=30, evaluate_every=3),
        **OPTIONS,
    )  # fmt: skip
    expected = plain_stops_of_one(full)
    rows = [row for row in again.members.to_pylist() if row["alpha"] == results.best().config["alpha"]]
    assert {row["seed"]: row["stopped_at"] for row in rows} == expected
    assert results.best().confirmed


def plain_stops_of_one(full):
    seeds = dict(zip(full.members["member"].to_pylist(), full.members["seed"].to_pylist(), strict=True))
    stops = plain_stops(full, "test/accuracy", "max", 2)
    return {seed: stops.get(member) for member, seed in seeds.items()}


def test_the_decisions_are_written_down_and_the_manifest_says_the_schedule(tmp_path):
    results = sweeps.run(study(), schedule=sweeps.early_stopping(2, 0.01), out=tmp_path / "run", **OPTIONS)
    assert results.manifest["schedule"] == "early_stopping(patience=2, min_delta=0.01)"
    written = {}
    for path in (tmp_path / "run" / "rungs").iterdir():
        record = json.loads(path.read_text())
        written |= dict.fromkeys(record["stopped"], record["step"])
    assert {member: written[member] for member in stops_of(results)} == stops_of(results)


def test_a_schedule_that_could_stop_nothing_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(sweeps.StudyError, match=r"`patience \+ 1 < evaluations` must hold in early_stopping"):
        sweeps.run(study(), schedule="early_stopping(patience=30)", out=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()


@pytest.mark.durable
def test_the_state_of_a_member_that_stopped_is_kept_and_made_again(tmp_path):
    """Of all states that were kept the accuracy is computed here, and is the score of its member."""
    options = {"schedule": "early_stopping(patience=2)", "keep_best": 3, **OPTIONS}
    asked, inputs, targets = study(), *plain.data().evaluation
    results = sweeps.run(asked, out=tmp_path / "run", **options)
    finals = dict(zip(results.members["member"].to_pylist(), results.final().tolist(), strict=True))
    best = sorted((m for m in finals if finals[m] == finals[m]), key=lambda m: (-finals[m], m))[:3]
    kept = tmp_path / "run" / "kept"
    assert sorted(int(path.name) for path in kept.iterdir()) == sorted(best)
    assert set(best) & set(stops_of(results))

    def accuracies():
        models = [results.model(asked, member) for member in best]
        return [float(np.mean((model(inputs) > 0.5) == targets)) for model in models]

    assert accuracies() == pytest.approx([finals[member] for member in best], rel=1e-6)  # float32 means
    gone = next(member for member in best if member in stops_of(results))
    shutil.rmtree(kept / str(gone))
    again = sweeps.resume(tmp_path / "run", asked, progress=False)
    assert again.members.equals(results.members) and stops_of(again) == stops_of(results)
    assert sorted(int(path.name) for path in kept.iterdir()) == sorted(best)
    assert accuracies() == pytest.approx([finals[member] for member in best], rel=1e-6)
