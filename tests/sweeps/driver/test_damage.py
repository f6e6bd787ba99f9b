"""Run directories with damaged files: what can be read is, and `resume` makes the rest again, bit for bit.

The long ones, `pytest -m durable`, take about 4 minutes of one core.
"""

import shutil
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import sweeps
from sweeps.store.chunks import read_manifest
from sweeps.store.status import status
from tests.sweeps import damaged_runs
from tests.sweeps.damaged_runs import CASES, DAMAGES, Killed

# What `status` names; it does not read states, and nothing is lost with the lock or with derived tables.
SAID = (
    "members.parquet", "metrics.parquet", "setting.json", "checkpoint.json", "evaluations.parquet",
    "kept.json", "0-2.json", "0-4.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A kind of run to one that was killed, made once."""
    made: dict[str, Killed] = {}
    with pytest.MonkeyPatch.context() as patched:
        damaged_runs.remembering(patched)

        def make(name: str) -> Killed:
            if name not in made:
                made[name] = damaged_runs.killed(CASES[name], tmp_path_factory.mktemp("run"))
            return made[name]

        yield make


def assert_survives(killed: Killed, path: Path, damage: str, directory: Path) -> None:
    """Damages one file of a copy: it is named, the rest is read, and the run ends as if nothing had been."""
    shutil.copytree(killed.directory, directory)
    DAMAGES[damage](directory / path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        said = [row for label, row in status(directory) if label == "damaged"]
        results = sweeps.load(directory)
        assert results.best().seeds >= 0 and len(results.members) > 0 and len(results.lineage) > 0
        assert results.report(directory.parent / "report.html").exists()
        resumed = sweeps.resume(directory, killed.study, progress=False)
    assert_whole(resumed, killed)
    assert not [row for label, row in status(directory) if label == "damaged"]
    if path.name in SAID and len(path.parts) > 1 and path.parts[0] != "confirmation" and damage != "deleted":
        assert any(str(path.parent) in row for row in said)


def assert_whole(resumed: sweeps.Results, killed: Killed) -> None:
    directory, whole = resumed.directory, killed.whole
    assert directory is not None and whole.directory is not None
    assert resumed.members.equals(whole.members) and resumed.metrics.equals(whole.metrics)
    for name in ("members", "metrics"):
        assert pq.read_table(directory / f"{name}.parquet").equals(getattr(whole, name))
    if whole.confirmation is not None:
        assert resumed.confirmation is not None
        assert resumed.confirmation.metrics.equals(whole.confirmation.metrics)
    assert repr(resumed.best()) == repr(whole.best()) and resumed.lineage.equals(whole.lineage)  # NaN is NaN
    kept = [sorted(path.name for path in (each / "kept").glob("*")) for each in (directory, whole.directory)]
    assert kept[0] == kept[1]
    if kept[0]:
        assert resumed.model(killed.study) is not None
    assert read_manifest(directory) == read_manifest(whole.directory)
    assert not (directory / "checkpoints").exists() and not (directory / "lock").exists()


@pytest.mark.durable
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", CASES)
def test_whatever_is_damaged_the_run_goes_on(name, damage, run_of, tmp_path):
    killed, lost = run_of(name), {}
    for number, (kind, path) in enumerate(damaged_runs.files(killed.directory, CASES[name].kinds)):
        try:
            assert_survives(killed, path.relative_to(killed.directory), damage, tmp_path / str(number))
        except Exception as error:  # every damage is tried, whatever becomes of one
            lost[kind] = error
    assert not lost


@pytest.mark.durable
def test_how_many_damages_are_tried(run_of):
    tried = {
        name: [kind for kind, _ in damaged_runs.files(run_of(name).directory, case.kinds)]
        for name, case in CASES.items()
    }
    assert all(tried.values()) and "rungs/*" in tried["hyperband"]
    assert sum(map(len, tried.values())) * len(DAMAGES) >= 138


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("manifest.json", "cut"),
        ("chunks/*/metrics.parquet", "garbled"),
        ("chunks/*/setting.json", "a folder"),
        ("checkpoints/*/*/evaluations.parquet", "deleted"),
        ("checkpoints/*/*-evaluated/checkpoint.json", "other JSON"),
        ("checkpoints/*/*-evaluated/state/d/*", "garbled"),
        ("rungs/*", "empty"),
        ("members.parquet", "a folder"),
    ],
)
def test_a_damaged_file_is_named_and_what_it_held_is_made_again(kind, damage, run_of, tmp_path):
    killed = run_of("halving")
    path = dict(damaged_runs.files(killed.directory))[kind]
    assert_survives(killed, path.relative_to(killed.directory), damage, tmp_path / "run")


@pytest.mark.parametrize("damage", ["cut", "a folder"])
def test_damaged_seconds_cost_nothing_else(damage, run_of, tmp_path):
    killed = run_of("halving")
    path = dict(damaged_runs.files(killed.directory))["chunks/*/seconds.json"]
    assert_survives(killed, path.relative_to(killed.directory), damage, tmp_path / "run")
    assert not (tmp_path / "run" / "damaged").exists()


@pytest.mark.parametrize("damage", ["other JSON", "deleted"])
def test_a_damaged_state_of_the_best_is_trained_again(damage, run_of, tmp_path):
    killed = run_of("keep_best")
    path = dict(damaged_runs.files(killed.directory))["kept/*/kept.json"]
    assert_survives(killed, path.relative_to(killed.directory), damage, tmp_path / "run")


@pytest.mark.durable
def test_every_member_of_a_run_that_was_killed_has_a_row(run_of):
    killed = run_of("grid")
    results = sweeps.load(killed.directory)
    rows, whole = results.members, killed.whole.members
    assert rows["status"].to_pylist() == ["done"] * 8 + ["pending"] * 4
    assert rows.drop_columns("status").equals(whole.drop_columns("status"))
    assert results.to_xarray().sizes == killed.whole.to_xarray().sizes
    evolved = sweeps.load(run_of("pbt").directory)
    assert evolved.lineage["member"].unique().to_pylist() == list(range(8))
