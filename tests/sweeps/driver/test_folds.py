"""Cross-validation across what else a run may do: schedules, searches, executors, failures, and going on."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

import sweeps
from sweeps.errors import StudyError
from sweeps.report.comparison import answer
from sweeps.results.comparison import compare
from sweeps.store import chunks as store
from tests.sweeps import plain

FOLDS = 3
SPACE = {"alpha": [0.0, 0.2], "seed": [0, 3], "fold": sweeps.folds(FOLDS)}  # twelve members
OPTIONS: dict[str, Any] = {"members_per_chunk": 4, "progress": False, "root_seed": 2}
ROOT = Path(plain.__file__).parents[2]


def study_of(**changes):
    """Fifty examples, batches of eight: four a fold and epoch."""
    trial = plain.shuffled._replace(batch_size=8)
    return plain.study(
        **({"trial": trial, "space": SPACE, "metric": "validation/loss", "mode": "min"} | changes)
    )


@pytest.fixture(scope="module")
def whole():
    return sweeps.run(study_of(), **OPTIONS)


def by_cell(results, *fields):
    """The metrics of every member by what it is."""
    rows, found = results.members.to_pylist(), {}
    for row in results.metrics.to_pylist():
        own = rows[row.pop("member")]
        found[*(own[name] for name in fields), own["seed"], own["fold"], row.pop("step")] = row
    return found


def test_a_member_is_itself_whoever_else_runs_and_however_chunks_are_padded(whole):
    everything = by_cell(whole, "alpha")
    # One seed and another order: ten members, the last two of which are in a chunk of four rows.
    space = {"fold": "folds(3)", "alpha": [0.3, 0.2, 0.1], "seed": [3]}
    fewer = by_cell(sweeps.run(study_of(space=space), **OPTIONS), "alpha")
    common = everything.keys() & fewer.keys()
    assert len(common) == FOLDS * 10
    assert {cell: everything[cell] for cell in common} == {cell: fewer[cell] for cell in common}


def test_tables_and_labelled_arrays_have_the_fold(whole):
    assert whole.members["fold"].to_pylist() == [0, 1, 2] * 4 and whole.swept == ("alpha",)
    data = whole.to_xarray()
    assert dict(data.sizes) == {"alpha": 2, "seed": 2, "fold": FOLDS, "step": 10}
    one = whole.filter(fold=1, seed=3)
    assert one.members["alpha"].to_pylist() == [0.0, 0.2]
    assert data["validation/loss"].sel(fold=1, seed=3).isel(step=-1).values.tolist() == one.final().tolist()


def test_the_best_is_that_over_seeds_and_folds_with_the_corrected_interval(whole):
    table = whole.final().reshape(2, 2, FOLDS).mean(axis=1)  # of each fold the mean over its seeds
    best = whole.best()
    own = table[table.mean(axis=1).argmin()]
    assert (best.folds, best.seeds, best.confirmed) == (FOLDS, 2, False)
    reach = stats.t.ppf(0.975, FOLDS - 1) * own.std(ddof=1) * np.sqrt(1 / FOLDS + 1 / (FOLDS - 1))
    assert best[2:5] == pytest.approx((own.mean(), own.mean() - reach, own.mean() + reach), rel=1e-9)


def test_two_configurations_are_compared_fold_by_fold(whole):
    found = compare(whole.filter(alpha=0.0), whole.filter(alpha=0.2))
    own, other = whole.final().reshape(2, 2, FOLDS).mean(axis=1)
    differences = other - own
    error = np.sqrt(1 / FOLDS + 1 / (FOLDS - 1)) * differences.std(ddof=1)
    assert (found.over, found.mean.seeds) == ("fold", FOLDS)
    assert found.mean.p == pytest.approx(2 * stats.t.sf(abs(differences.mean() / error), FOLDS - 1), rel=1e-9)
    reach = stats.t.ppf(0.975, FOLDS - 1) * error
    middle = differences.mean()
    assert found.mean.interval == pytest.approx((middle, middle - reach, middle + reach), rel=1e-9)
    assert f"over 1 configuration and {FOLDS} folds that both have" in answer(found, "first", "second")[0]
    elsewhere = sweeps.run(study_of(steps=2), members_per_chunk=4, progress=False, root_seed=3)
    uncut = sweeps.run(study_of(steps=2, space={"alpha": [0.0, 0.2]}, metric="test/loss"), **OPTIONS)
    for one, message in (
        (elsewhere, "3 folds and 3 folds, of other data or another root seed"),
        (uncut, "3 folds and none"),
    ):
        with pytest.raises(StudyError, match=f"both hold out the same folds.*{message}"):
            compare(whole, one, "test/loss")


def test_halving_stops_configurations_with_all_their_folds():
    space = {"alpha": sweeps.linspace(0, 0.5, 6), "fold": sweeps.folds(FOLDS)}
    study = study_of(space=space)
    full, thinned = (sweeps.run(study, schedule=schedule, **OPTIONS) for schedule in (None, "halving(eta=3)"))
    status = thinned.members["status"].to_numpy().reshape(6, FOLDS)
    went_on = np.flatnonzero(status[:, 0] == "done")
    assert (status == status[:, :1]).all() and len(went_on) == 2
    first = min(step for step in thinned.members["stopped_at"].to_pylist() if step is not None)
    means = full.to_xarray()["validation/loss"].sel(step=first, seed=0).mean("fold").values
    assert set(np.argsort(means)[:2]) == set(went_on)
    cells, whole = by_cell(thinned, "alpha"), by_cell(full, "alpha")
    assert all(cells[cell] == whole[cell] for cell in cells)


def test_a_search_learns_from_means_over_folds_and_all_its_batches_are_cut_alike():
    pytest.importorskip("optuna", reason="TPE needs Optuna")
    space = {"alpha": sweeps.uniform(0, 0.5), "fold": sweeps.folds(2)}
    search = sweeps.tpe(points_per_batch=3)
    found = sweeps.run(study_of(space=space, samples=6), search=search, **OPTIONS)
    alphas = found.members["alpha"].to_pylist()
    assert alphas[::2] == alphas[1::2] and found.members["fold"].to_pylist() == [0, 1] * 6
    again = sweeps.run(study_of(space={"alpha": alphas[::2], "fold": sweeps.folds(2)}), **OPTIONS)
    np.testing.assert_allclose(found.final(), again.final(), rtol=1e-5)


def test_folds_of_a_diverged_configuration_leave_the_others_as_they_are(whole):
    space = {"learning_rate": [0.05, 1e25], **SPACE}
    results = sweeps.run(study_of(space=space), **OPTIONS)
    status = results.members["status"].to_numpy().reshape(2, -1)
    assert (status[0] == "done").all() and (status[1] == "diverged").all()
    healthy, alone = by_cell(results.filter(learning_rate=0.05), "alpha"), by_cell(whole, "alpha")
    assert healthy == alone
    best, *_, last = results.configurations()
    assert best.config["learning_rate"] == 0.05 and (last.folds, last.seeds, last.diverged) == (0, 0, 6)


@pytest.mark.durable
def test_a_run_that_was_killed_goes_on_with_the_same_folds(tmp_path, whole):
    code = f"""
import os, signal, sweeps
from sweeps.host.progress import Display
from tests.sweeps.driver.test_folds import OPTIONS, study_of
spans, shown = [], Display.chunk
def chunk(*arguments):
    spans.append(1)
    if len(spans) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    shown(*arguments)
Display.chunk = chunk
sweeps.run(study_of(), out={str(tmp_path / "run")!r}, checkpoint_minutes=1e-6, **OPTIONS)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": str(jax.device_count())}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(store.committed(tmp_path / "run")) < 3
    results = sweeps.resume(tmp_path / "run", study_of(), progress=False)
    assert results.members.equals(whole.members) and results.metrics.equals(whole.metrics)
    found = sweeps.replay(tmp_path / "run", 7, study_of(), progress=False)
    assert found.same and found.replayed["validation/loss"].to_pylist()[-1] == whole.final()[7]


def test_other_folds_are_refused_when_a_run_goes_on(tmp_path):
    groups = np.arange(50) % 10
    first = study_of(space={"fold": sweeps.folds(2, groups=groups)}, steps=2)
    sweeps.run(first, out=tmp_path / "run", **OPTIONS)
    sweeps.resume(tmp_path / "run", first, progress=False)
    for other in (sweeps.folds(2), sweeps.folds(2, groups=groups[::-1]), sweeps.folds(5, groups=groups)):
        with pytest.raises(StudyError, match=r"space.fold: folds\(2, groups=.*, now folds"):
            sweeps.resume(tmp_path / "run", study_of(space={"fold": other}, steps=2), progress=False)


@pytest.mark.durable
def test_the_winner_is_confirmed_on_fresh_seeds_of_the_same_folds(tmp_path):
    results = sweeps.run(study_of(), out=tmp_path / "run", confirm=2, **OPTIONS)
    fresh = results.confirmation
    assert fresh is not None and fresh.members["seed"].to_pylist() == [4, 4, 4, 5, 5, 5] * 2
    assert fresh.members["fold"].to_pylist() == [0, 1, 2] * 4
    best = results.best()
    assert best.confirmed and (best.folds, best.seeds) == (FOLDS, 2)
    space = {"alpha": [best.config["alpha"], 0.1], "seed": [4, 5], "fold": sweeps.folds(FOLDS)}
    direct = sweeps.run(study_of(space=space), **OPTIONS)
    assert best.mean == pytest.approx(direct.final()[:6].mean(), rel=1e-6)
    assert f"{FOLDS} folds of 2 seeds" in (page := results.report(tmp_path / "report.html").read_text())
    assert "of fresh seeds over the same folds" in page and "corrected for what folds share" in page


@pytest.mark.durable
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
@pytest.mark.xdist_group("processes")
def test_workers_cut_the_data_alike(tmp_path, whole):
    results = sweeps.run(study_of(), out=tmp_path / "run", executor="processes", **OPTIONS)
    assert results.members.equals(whole.members)
    for name in ("train/loss", "validation/loss", "test/loss"):
        np.testing.assert_allclose(results.metrics[name], whole.metrics[name], rtol=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
@pytest.mark.durable
@pytest.mark.xdist_group("processes")
def test_workers_take_steps_of_all_that_a_fold_leaves(tmp_path):
    study = study_of(trial=plain.trial, steps=5)
    here = sweeps.run(study, **OPTIONS)
    there = sweeps.run(study, out=tmp_path / "run", executor="processes", **OPTIONS)
    assert len(here.final()) == len(there.members) > 0
    np.testing.assert_allclose(there.final(), here.final(), rtol=1e-5)
