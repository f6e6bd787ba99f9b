"""Runs over nested configurations of two optimisers, beside the same in a flat configuration."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.results import export
from sweeps.results.storage import connected
from tests.cases import cases
from tests.sweeps import plain
from tests.sweeps.nested import FLAT_NAMES, Flat, Sgd, Sign, flat_trial, study, trial

OPTIONS = {"members_per_chunk": 4, "progress": False}
SAMPLED = {
    "optimizer": "choice(Sgd, Sign)",
    "optimizer.momentum": "uniform(0, 0.9)",
    "optimizer.learning_rate": "log_uniform(1e-3, 0.1)",
    "leak.alpha": "uniform(0, 0.3)",
    "seed": range(2),
}


@pytest.fixture(scope="module")
def found():
    return sweeps.run(study(), **OPTIONS)


def in_flat_names(row):
    """The swept values of a member under the flat configuration's names, those that it has not left out."""
    return {
        FLAT_NAMES[name]: value for name, value in row.items() if name in FLAT_NAMES and value is not None
    }


def flat_study(rows, **changes):
    """The same points in the flat configuration, a study for each class, since a grid would cross them."""
    values = [in_flat_names(row) for row in rows]
    space = {name: sorted({row[name] for row in values}) for name in values[0]}
    return study(trial=flat_trial, space=space | {"seed": range(2)}, **changes)


@pytest.mark.parametrize("name", ["Sgd", "Sign"])
def test_members_have_the_bits_of_those_of_a_flat_study(name, found):
    own = found.filter(optimizer=name)
    flat = sweeps.run(flat_study(own.members.to_pylist()), **OPTIONS)
    swept = [mine for mine in found.swept if mine in FLAT_NAMES and own.members[mine].null_count == 0]
    twins = flat.members.select([FLAT_NAMES[mine] for mine in swept] + ["seed"]).to_pylist()
    assert len(twins) == len(own.members)
    for row in own.members.to_pylist():
        twin = twins.index({FLAT_NAMES[mine]: row[mine] for mine in swept} | {"seed": row["seed"]})
        assert metrics_of(own, row["member"]) == metrics_of(flat, twin)


def metrics_of(results, member):
    rows = results.metrics.filter(pc.field("member") == member)
    return rows.drop_columns("member").to_pylist()


@pytest.mark.parametrize("name", ["Sgd", "Sign"])
def test_members_are_those_of_a_plain_loop(name, found):
    row = found.filter(optimizer=name).members.to_pylist()[-1]
    flat = Flat(
        **{FLAT_NAMES[key]: value for key, value in row.items() if key in FLAT_NAMES and value is not None}
    )
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), 0), row["seed"])
    state, data = trial.init(flat, key), plain.data()
    for _ in range(12):
        state, _ = flat_trial.step(flat, state, data.train, key)
    expected = trial.evaluate(flat, state, data.evaluation)
    last = metrics_of(found, row["member"])[-1]
    np.testing.assert_allclose(last["test/loss"], expected["test/loss"], rtol=1e-5)


def test_tables_say_what_members_have(found):
    members = found.members
    chosen = np.asarray(members["optimizer"].to_pylist())
    assert (np.asarray(members["optimizer.momentum"].is_null()) == (chosen == "Sign")).all()
    assert (np.asarray(members["optimizer.power"].is_null()) == (chosen == "Sgd")).all()
    assert set(members["leak.squared"].to_pylist()) == {False}
    best = found.best().config
    assert list(best) == list(found.swept) and (best["optimizer.momentum"] is None) == (
        best["optimizer"] == "Sign"
    )
    assert len(found.configurations()) == 16
    assert len(found.filter(optimizer=Sgd, **{"optimizer.momentum": 0.9}).members) == 8
    assert len(found.filter(**{"optimizer.momentum": None}).members) == 8
    data = found.to_xarray()
    assert data["test/loss"].dims == ("member", "step")  # which is no product of levels
    assert np.isnan(data["optimizer.momentum"].values).sum() == 8
    assert found.filter(optimizer="Sgd").to_xarray()["test/loss"].dims[:2] == ("leak.alpha", "optimizer")


def test_a_nested_configuration_without_a_choice_is_a_product():
    space = {"leak": {"alpha": [0.0, 0.1], "squared": [False, True]}, "seed": range(2)}
    data = sweeps.run(study(space=space), **OPTIONS).to_xarray()
    assert data["test/loss"].dims == ("leak.alpha", "leak.squared", "seed", "step")


def test_reports_figures_and_exports_are_written(found, tmp_path):
    found.report(tmp_path / "report.html")
    assert "optimizer.momentum" in (tmp_path / "report.html").read_text()
    for field in found.swept:
        assert found.figure(field).axes[0].get_xlabel()
    csv, netcdf = export.write(found, "csv", tmp_path)[0], export.write(found, "netcdf", tmp_path)
    assert "optimizer.momentum" in csv.read_text() and netcdf
    optuna = pytest.importorskip("optuna")
    export.write(found, "optuna", tmp_path)
    with connected(f"sqlite:///{tmp_path}/optuna.db") as storage:
        trials = optuna.load_study(study_name=None, storage=storage).trials
    assert len(trials) == 32
    assert all(("optimizer.momentum" in one.params) == (one.params["optimizer"] == "Sgd") for one in trials)


@pytest.mark.parametrize("search", cases(["grid", "random", "sobol", "tpe"], ["grid", "tpe"], "durable"))
def test_every_search_runs_them_and_a_member_replays(search, tmp_path):
    own = study(space=SAMPLED, samples=6)
    given = sweeps.tpe(points_per_batch=4) if search == "tpe" else search
    found = sweeps.run(own, out=tmp_path / "run", search=given, confirm=1, keep_best=1, **OPTIONS)
    chosen = found.members["optimizer"].to_pylist()
    assert {*chosen} == {"Sgd", "Sign"} and len(chosen) == 12
    assert [value is None for value in found.members["optimizer.momentum"].to_pylist()] == [
        name == "Sign" for name in chosen
    ]
    for name in ("Sgd", "Sign"):
        assert sweeps.replay(tmp_path / "run", chosen.index(name), own, progress=False).same
    again = sweeps.resume(tmp_path / "run", own, progress=False)
    assert again.members.equals(found.members) and again.confirmation is not None
    assert again.model(own)["params"]["bias"].shape == ()


@pytest.fixture
def stopped_after(tmp_path, interrupted):
    """Starts a run that gets Ctrl-C after some spans; returns its directory."""

    def start(study, spans, **options):
        interrupted(spans, lambda: sweeps.run(study, out=tmp_path / "run", **OPTIONS, **options))
        return tmp_path / "run"

    return start


@pytest.mark.parametrize("spans", cases([1, 4, 7], [4], "durable"))
def test_halving_tpe_and_a_stop_end_with_the_same_tables(spans, stopped_after, tmp_path):
    own = study(space=SAMPLED, samples=12, evaluate_every=2)
    options: dict[str, Any] = {"search": sweeps.tpe(points_per_batch=6), "schedule": "halving(min_steps=4)"}
    whole = sweeps.run(own, out=tmp_path / "whole", **OPTIONS, **options)
    directory = stopped_after(own, spans, **options)
    resumed = sweeps.resume(directory, own, progress=False)
    assert resumed.members.equals(whole.members) and resumed.metrics.equals(whole.metrics)
    assert {*whole.members["status"].to_pylist()} == {"done", "stopped"}


def test_population_based_training_changes_what_a_member_has(tmp_path):
    space = {**SAMPLED, "optimizer": ["Sgd", "Sign"], "seed": [0]}
    own = study(space=space, samples=8)
    found = sweeps.run(own, out=tmp_path / "run", schedule=sweeps.pbt(every=4), keep_best=1, **OPTIONS)
    values = found.members.select(["optimizer", "optimizer.momentum"]).to_pylist()
    assert all((row["optimizer.momentum"] is None) == (row["optimizer"] == "Sign") for row in values)
    assert len(found.lineage) > len(found.members)
    assert found.model(own) is not None


def failing_init(config, key):
    if isinstance(config.optimizer, Sign):
        raise ValueError("no signs here")
    return trial.init(config, key)


def test_a_class_whose_init_raises_ends_its_members_alone(tmp_path):
    own = study(trial=trial._replace(init=failing_init))
    found = sweeps.run(own, out=tmp_path / "run", **OPTIONS)
    status = dict(zip(found.members["member"].to_pylist(), found.members["status"].to_pylist(), strict=True))
    signs = found.filter(optimizer="Sign").members["member"].to_pylist()
    assert {status[member] for member in signs} == {"failed"} and "no signs here" in found.errors[signs[0]]
    assert {status[member] for member in status if member not in signs} == {"done"}
    assert found.best().config["optimizer"] == "Sgd"


def test_nothing_is_trained_or_written_where_no_member_has_a_field(tmp_path):
    own = study(space={"optimizer": [Sign], "optimizer.momentum": [0.9]})
    for search in ("grid", "random", "tpe"):
        with pytest.raises(StudyError, match="some member has optimizer.momentum"):
            sweeps.run(own, out=tmp_path / "run", samples=2 if search != "grid" else None, search=search)
    assert not (tmp_path / "run").exists()


def test_a_model_that_asks_for_a_value_has_it_static_class_by_class(tmp_path):
    def step(config, state, batch, key):
        float(config.optimizer.learning_rate)
        return trial.step(config, state, batch, key)

    own = study(trial=trial._replace(step=step), space={"optimizer": [Sgd, Sign], "leak.alpha": [0.0, 0.1]})
    found = sweeps.run(own, out=tmp_path / "run", **OPTIONS)
    same = sweeps.run(dataclasses.replace(own, trial=trial), **OPTIONS)
    assert found.members.select(["optimizer.learning_rate"]).equals(
        same.members.select(["optimizer.learning_rate"])
    )
    np.testing.assert_allclose(found.final(), same.final(), rtol=1e-6)
    assert pq.read_table(tmp_path / "run" / "members.parquet")["optimizer.learning_rate"].null_count == 0
