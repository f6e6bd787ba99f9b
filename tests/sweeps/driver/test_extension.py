"""A run that is given more members: what was there stays, and the rest is what a run of all of them has."""

import csv
import dataclasses
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sweeps
from sweeps.cli.main import main
from sweeps.driver import in_memory
from sweeps.errors import StudyError
from sweeps.executors import inline
from sweeps.members.extension import arranged
from sweeps.members.population import config_of, populate
from sweeps.report.standing import ranked
from sweeps.store.status import status
from tests.cases import cases
from tests.sweeps import nested, plain
from tests.sweeps.killed import extended_until

ROOT = Path(plain.__file__).parents[2]
OPTIONS: dict[str, Any] = {"members_per_chunk": 4, "progress": False}
ALPHAS = [0.0, 0.1, 0.3]
TWO, FOUR = ({"alpha": ALPHAS, "seed": range(count)} for count in (2, 4))
WITH_A_DIVERGED = {"alpha": [0.0, 0.3], "learning_rate": [0.05, 1e25], "seed": range(2)}


def rows(results):
    """What each configuration, seed and fold came to, whatever the ids of its members."""
    fields = [name for name in results.members.column_names if name not in ("member", "group")]
    found, evaluations = {}, {}
    for row in results.metrics.to_pylist():
        evaluations.setdefault(row.pop("member"), []).append(str(row))  # as text, NaN is equal to itself
    for row in results.members.to_pylist():
        found[str([(name, row[name]) for name in fields])] = evaluations.get(row["member"])
    assert len(found) == len(results.members)
    return found


def files(directory):
    """What is committed, byte for byte."""
    return {
        path.relative_to(directory): path.read_bytes()
        for path in sorted((directory / "chunks").rglob("*"))
        if path.is_file()
    }


def assert_extended(directory, before, results, whole):
    """What was there is there, first and unchanged, and with the rest it is what the whole run is."""
    assert rows(results) == rows(whole)
    after = files(directory)
    assert {name: after[name] for name in before} == before
    assert results.members["member"].to_pylist() == list(range(len(whole.members)))


@pytest.fixture
def run_of(tmp_path):
    """Starts a run in a new folder; returns it, and what is committed there."""

    def start(study, **options):
        sweeps.run(study, out=tmp_path / "run", **(OPTIONS | options))
        return tmp_path / "run", files(tmp_path / "run")

    return start


CASES = {
    "seeds": (plain.study(space=TWO), FOUR),
    "seeds before the first": (
        plain.study(space={"alpha": ALPHAS, "seed": [5, 7]}),
        {"seed": [1, 5, 6, 7]},
    ),
    "the first seeds": (plain.study(space={"alpha": ALPHAS}), {"seed": range(3)}),
    "levels between those there are": (plain.study(space=TWO), {"alpha": [0.0, 0.05, 0.1, 0.2, 0.3]}),
    "static levels": (
        plain.study(space={"width": [8], "alpha": [0.0, 0.3], "seed": range(2)}),
        {"width": [4, 8, 16], "seed": range(3)},
    ),
    "a diverged member": (plain.study(space=WITH_A_DIVERGED), {"seed": range(3), "alpha": [0.3, 0.1, 0.0]}),
    "some combinations": (
        plain.study(space=TWO, where=lambda point: point["alpha"] < 0.2),
        {"alpha": [*ALPHAS, 0.15], "seed": range(3)},
    ),
    "folds": (
        plain.study(
            space=TWO | {"fold": sweeps.folds(2)},
            trial=plain.shuffled._replace(batch_size=8),
            metric="validation/loss",
            mode="min",
        ),
        {"seed": range(3)},
    ),
    "classes": (
        nested.study(space={"optimizer": [nested.Sign], "leak.alpha": [0.0, 0.2], "seed": range(2)}),
        {"optimizer": [nested.Sgd, nested.Sign], "seed": range(3)},
    ),
}


@pytest.mark.parametrize("case", cases(CASES, ("seeds", "static levels", "a diverged member"), "durable"))
def test_an_extension_is_the_run_of_all_its_members(run_of, case):
    study, more = CASES[case]
    larger = dataclasses.replace(study, space={**study.space, **more})
    whole = sweeps.run(larger, **OPTIONS)
    directory, before = run_of(study)
    results = sweeps.extend(directory, study, space=more, progress=False)
    assert_extended(directory, before, results, whole)
    # Whoever has the study as it was, or as it is, goes on with the run as it is, and trains nothing.
    after = files(directory)
    for known in (study, larger):
        assert rows(sweeps.resume(directory, known, progress=False)) == rows(results)
        assert files(directory) == after and not (directory / "damaged").exists()
    for member in (0, len(results.members) - 1):
        found = sweeps.replay(directory, member, study, progress=False)
        assert found.same and found.differences == []
    assert sweeps.load(directory).best() == results.best()
    seeds = results.filter(**{name: row for name, row in results.best().config.items()}).members["seed"]
    assert set(seeds.to_pylist()) == set(more.get("seed", range(2)))


@pytest.mark.parametrize("search", ["grid", "random", "sobol"])
def test_more_samples_go_on_in_their_sequence(run_of, search):
    space = {
        "alpha": sweeps.uniform(0, 0.4),
        "learning_rate": sweeps.log_uniform(0.01, 0.2),
        "seed": range(2),
    }
    study = plain.study(space=space)
    whole = sweeps.run(study, search=search, samples=7, **OPTIONS)
    directory, before = run_of(study, search=search, samples=3)
    results = sweeps.extend(directory, study, samples=7, progress=False)
    assert_extended(directory, before, results, whole)
    assert results.members.equals(whole.members)
    # Then more seeds, of all seven.
    before = files(directory)
    wider = plain.study(space=space | {"seed": range(3)})
    whole = sweeps.run(wider, search=search, samples=7, **OPTIONS)
    results = sweeps.extend(directory, study, space={"seed": range(3)}, progress=False)
    assert_extended(directory, before, results, whole)
    assert [part["samples"] for part in results.manifest["earlier"]] == [3, 7]
    assert [part["members"] for part in results.manifest["earlier"]] == [6, 14]


def test_a_search_that_learns_goes_on_from_what_it_knows(run_of):
    pytest.importorskip("optuna")
    study = plain.study(space={"alpha": sweeps.uniform(0, 0.4), "seed": range(2)})
    tpe = sweeps.tpe(points_per_batch=4)
    whole = sweeps.run(study, search=tpe, samples=8, **OPTIONS)
    directory, before = run_of(study, search=tpe, samples=4)
    results = sweeps.extend(directory, study, samples=8, progress=False)
    assert_extended(directory, before, results, whole)
    assert results.members.equals(whole.members)
    # A batch that was cut short stays as short as it was.
    sweeps.extend(directory, study, samples=9, progress=False)
    before = files(directory)
    results = sweeps.extend(directory, study, samples=14, progress=False)
    assert len(results.members) == 28 and before.items() <= files(directory).items()
    assert sweeps.resume(directory, study, progress=False).members.equals(results.members)
    assert sweeps.replay(directory, 27, study, progress=False).same
    with pytest.raises(StudyError, match="`samples` must be what grows with search='tpe', but got seed"):
        sweeps.extend(directory, study, space={"seed": range(3)}, progress=False)


def test_draws_that_agree_are_members_each(run_of):
    study = plain.study(space={"width": sweeps.int_uniform(1, 3), "seed": range(2)})
    directory, before = run_of(study, samples=4)
    results = sweeps.extend(directory, study, samples=8, space={"seed": range(3)}, progress=False)
    assert len(results.members) == 24 and before.items() <= files(directory).items()
    whole = sweeps.run(plain.study(space={"width": sweeps.int_uniform(1, 3), "seed": range(3)}), samples=8,
                       **OPTIONS)  # fmt: skip
    pairs = [
        sorted(zip(*(each.members[name].to_pylist() for name in ("width", "seed")), strict=True))
        for each in (results, whole)
    ]
    assert pairs[0] == pairs[1]


def test_a_population_in_parts_keeps_ids_and_groups():
    first = plain.study(space={"width": [8, 16], "alpha": [0.1], "seed": [3]})
    second = plain.study(space={"width": [4, 16, 8], "alpha": [0.0, 0.1], "seed": [1, 3]})
    parts = [populate(study, None, 0) for study in (first, second)]
    found = arranged(parts[1], parts[:1])
    configs = [(config_of(found, member), int(found.seeds[member])) for member in range(len(found))]
    assert configs[:2] == [(plain.Config(0.1, width=8), 3), (plain.Config(0.1, width=16), 3)]
    assert len(set(configs)) == len(configs) == 12
    assert found.groups[:2].tolist() == [0, 1] and found.statics[:2] == parts[0].statics
    for config, group in zip((config for config, _ in configs), found.groups, strict=True):
        assert found.statics[group]["width"] == config.width
    assert np.array_equal(arranged(parts[0], parts[:1]).seeds, parts[0].seeds)
    with pytest.raises(
        StudyError, match="among those that are asked for` must hold, but got 10 that are not"
    ):
        arranged(parts[0], parts[1:])


def test_readers_read_it(run_of, capsys):
    study = plain.study(space=WITH_A_DIVERGED)
    directory, _ = run_of(study, keep_best=2)
    results = sweeps.extend(directory, study, space={"seed": range(4)}, progress=False)
    finals = results.final()
    best = sorted(range(16), key=lambda member: (-finals[member] if finals[member] >= 0 else 1, member))[:2]
    assert sorted(int(path.name) for path in (directory / "kept").iterdir()) == sorted(best)
    inputs, targets = plain.data().evaluation
    for member in best:
        score = float(np.mean((results.model(study, member)(inputs) > 0.5) == targets))
        assert score == pytest.approx(finals[member], rel=1e-6)  # float32 means, in another order
    said = dict(status(directory))
    assert said["members"] == "8 done, 8 diverged" and "mean of 4 seeds" in said["best so far"]
    lead = ranked(sweeps.load(directory))[1]
    assert lead is not None and lead.seeds == 4 and lead.value == pytest.approx(results.best().mean)
    assert main(["report", str(directory)]) == 0 and main(["export", str(directory), "--to", "csv"]) == 0
    capsys.readouterr()
    with open(directory / "members.csv", newline="") as file:
        assert [int(row["seed"]) for row in csv.DictReader(file)] == [0, 1] * 4 + [2, 3] * 4
    assert results.to_xarray()["test/accuracy"].sizes["seed"] == 4


@pytest.mark.parametrize("spans", [1, 6, 12])
def test_an_extension_that_was_stopped_goes_on(run_of, interrupted, spans):
    study = plain.study(space=TWO, trial=plain.shuffled)
    whole = sweeps.run(plain.study(space=FOUR, trial=plain.shuffled), **OPTIONS)
    directory, before = run_of(study)
    interrupted(spans, lambda: sweeps.extend(directory, study, space=FOUR, progress=False))
    assert len(sweeps.load(directory).members) == 12
    assert sum("pending" in row for _, row in status(directory)) == 1
    assert_extended(directory, before, sweeps.resume(directory, study, progress=False), whole)
    assert not (directory / "checkpoints").exists() and not (directory / "lock").exists()


def test_a_search_that_was_stopped_in_an_extension_goes_on(run_of, interrupted):
    pytest.importorskip("optuna")
    study = plain.study(space={"alpha": sweeps.uniform(0, 0.4), "seed": range(2)})
    tpe = sweeps.tpe(points_per_batch=2)
    whole = sweeps.run(study, search=tpe, samples=8, **OPTIONS)
    directory, before = run_of(study, search=tpe, samples=2)
    interrupted(12, lambda: sweeps.extend(directory, study, samples=8, progress=False))
    assert 4 < sum(status == "done" for status in sweeps.load(directory).members["status"].to_pylist()) < 16
    results = sweeps.resume(directory, study, progress=False)
    assert_extended(directory, before, results, whole)
    assert results.members.equals(whole.members) and results.metrics.equals(whole.metrics)


@pytest.mark.parametrize("spans", [1, 12])
def test_a_stopped_run_is_extended(tmp_path, interrupted, spans):
    study = plain.study(space=TWO, trial=plain.shuffled)
    whole = sweeps.run(plain.study(space=FOUR, trial=plain.shuffled), **OPTIONS)
    directory = tmp_path / "run"
    interrupted(spans, lambda: sweeps.run(study, out=directory, **OPTIONS))
    before = files(directory)
    interrupted(3, lambda: sweeps.extend(directory, study, space=FOUR, progress=False))
    more = {"alpha": [*ALPHAS, 0.5]}
    sweeps.extend(directory, study, space=more, progress=False)  # before the first was finished
    results = sweeps.load(directory)
    assert len(results.members) == 16 and set(results.members["status"].to_pylist()) == {"done"}
    assert_extended(directory, before, results.filter(alpha=ALPHAS), whole)


@pytest.mark.durable
def test_an_extension_that_was_killed_goes_on(run_of, tmp_path):
    study = plain.study(space=TWO)
    whole = sweeps.run(plain.study(space=FOUR), **OPTIONS)
    directory, before = run_of(study)

    copy, done = extended_until(0, directory, tmp_path, TWO, f"space={FOUR}")
    assert done.returncode == 0, done.stderr
    expected = sweeps.load(copy)
    assert_extended(copy, before, expected, whole)
    moments = int(done.stdout)
    for moment in (2, moments // 3, 2 * moments // 3, moments - 2):
        copy, done = extended_until(moment, directory, tmp_path, TWO, f"space={FOUR}")
        assert done.returncode == -signal.SIGKILL, done.stderr
        results = sweeps.resume(copy, study, progress=False)
        if "earlier" not in results.manifest:  # killed before it was written down: the run is as it was
            results = sweeps.extend(copy, study, space=FOUR, progress=False)
        assert results.members.equals(expected.members) and results.metrics.equals(expected.metrics)
        assert_extended(copy, before, results, whole)


def test_members_that_fail_are_alone(run_of, monkeypatch):
    train, there = inline.train, [True]

    def faulty(prepared, population, chunk, *arguments, **keywords):
        if there[0] and (population.columns["alpha"][chunk.members] == 0.3).any():
            raise RuntimeError("alpha is too large")
        return train(prepared, population, chunk, *arguments, **keywords)

    for module in (inline, in_memory):
        monkeypatch.setattr(module, "train", faulty)
    study = plain.study(space=TWO)
    directory, before = run_of(study)
    results = sweeps.extend(directory, study, space=FOUR, progress=False)
    assert sorted(results.errors) == [4, 5, 10, 11]  # two that had failed, and two that are new
    sound = {
        name: content for name, content in before.items() if not str(name.parent.name).startswith("0-4-")
    }
    assert sound and sound.items() <= files(directory).items()
    there[0] = False
    whole = sweeps.run(plain.study(space=FOUR), **OPTIONS)
    assert rows(sweeps.resume(directory, study, progress=False)) == rows(whole)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
@pytest.mark.durable
@pytest.mark.xdist_group("processes")
def test_processes_extend_it(run_of):
    study = plain.study(space=TWO)
    # Both in chunks of three: six members in chunks of at most four are that anyway.
    options = OPTIONS | {"members_per_chunk": 3, "executor": "processes"}
    directory, before = run_of(study, **options)
    results = sweeps.extend(directory, study, space=FOUR, progress=False, executor="processes")
    whole = sweeps.run(plain.study(space=FOUR), out=directory.parent / "whole", **options)
    assert_extended(directory, before, results, whole)


def test_the_command_extends_and_resumes(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("from tests.sweeps import plain\nstudy = plain.study()\n")
    out = tmp_path / "run"
    words = ["run", f"{tmp_path / 'mine.py'}:study", "seed=range(2)", "--out", str(out), "--quiet"]
    assert main([*words, "--members-per-chunk", "4"]) == 0
    assert main(["extend", str(out), "seed=range(4)", "--quiet"]) == 0
    assert len(sweeps.load(out).members) == 12
    assert main(["resume", str(out), "--quiet"]) == 0 and main(["replay", str(out), "11"]) == 0
    assert main(["extend", str(out), "seed=range(2)", "--quiet"]) == 2
    assert main(["extend", str(out), "--steps", "50"]) == 2
    said = capsys.readouterr()
    assert "replay" not in said.err and said.err.count("sweeps extend: `") == 2
    assert sweeps.load(out).members.num_rows == 12
