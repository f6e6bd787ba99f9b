import csv
import dataclasses
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.results import export
from sweeps.results.storage import connected
from tests.sweeps.results.test_labelled import crossed, results_of


@dataclasses.dataclass(frozen=True)
class Config:
    x: float = 0.0
    power: int = 2


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    """Two powers x three values x two seeds of a function with some noise."""
    trial = sweeps.function(
        lambda config, key: {"test/value": config.x**config.power + 0.01 * jax.random.normal(key)},
        config=Config,
    )
    space = {"x": [0.5, 1.0, 2.0], "power": [1, 2], "seed": range(2)}
    out = tmp_path_factory.mktemp("runs") / "powers"
    sweeps.run(
        sweeps.Study(trial, steps=1, metric="test/value", mode="max", space=space), out=out, progress=False
    )
    return out


def test_csv_is_what_the_tables_say(run_directory, tmp_path):
    results = sweeps.load(run_directory)
    paths = export.write(results, "csv", tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["members.csv", "metrics.csv"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["members.csv", "metrics.csv"]
    for path, table in zip(paths, (results.members, results.metrics), strict=True):
        with open(path, newline="") as file:
            header, *rows = csv.reader(file)
        assert header == table.column_names and len(rows) == len(table)
        for name, column in zip(header, zip(*rows, strict=True), strict=True):
            expected = table[name]
            if expected.null_count:
                assert expected.null_count == len(table) and set(column) == {""}
            elif pa.types.is_string(expected.type):
                assert list(column) == expected.to_pylist()
            else:  # the shortest text that reads back as the same number
                assert np.array(column, dtype=expected.to_numpy().dtype).tolist() == expected.to_pylist()


FORMULAS = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]


@pytest.mark.parametrize("kind", ["text", "large text", "a dictionary"])
def test_no_cell_of_a_csv_file_is_a_formula(kind, tmp_path):
    words = [*FORMULAS, "plain", "", "a=b", None, "1-2", "größer"]
    kinds = {"text": pa.string(), "large text": pa.large_string()}
    column = pa.array(words, kinds.get(kind, pa.string()))
    members, metrics = crossed(name=column.dictionary_encode() if kind == "a dictionary" else column)
    numbers = pa.array([-1.0] * len(metrics))
    for name in FORMULAS:
        metrics = metrics.append_column(name, numbers)
    paths = export.write(results_of(members, metrics), "csv", tmp_path)
    (header, *rows), (names, *values) = (read_csv(path) for path in paths)
    assert [row[header.index("name")] for row in rows] == [*(f"'{word}" for word in FORMULAS), *(
        word or "" for word in words[len(FORMULAS) :]
    )]  # fmt: skip
    assert names[-len(FORMULAS) :] == [f"'{word}" for word in FORMULAS]
    assert {row[-1] for row in values} == {"-1"}  # a number is one


def read_csv(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_netcdf_reads_back_with_every_metric_under_its_own_name(run_directory, tmp_path):
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    expected = sweeps.load(run_directory).to_xarray()
    (path,) = export.write(sweeps.load(run_directory), "netcdf", tmp_path)
    assert path == tmp_path / "results.nc"
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert "test.value" in data and data.attrs["metric"] == "test/value"
        names = {name: array.attrs["metric"] for name, array in data.items() if "metric" in array.attrs}
        assert names == {"test.value": "test/value"}
        back = data.rename(names).load()
    assert back["test/value"].dims == ("x", "power", "seed", "step") and back.sizes["x"] == 3
    xarray.testing.assert_equal(back, expected)


def test_netcdf_holds_whatever_a_field_may_be(tmp_path):
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    columns = {
        "alpha": pa.array([None] * 6 + [0.5] * 6, pa.float64()),
        "width": [None, None, "small", "small", "large", "large"] * 2,
        "decay": [True, None] + [False] * 10,
        "bias": [True] * 12,
        "name": ["größer"] * 12,
        "status": ["done"] * 11 + ["diverged"],
        "diverged_at": pa.array([None] * 11 + [7], pa.int32()),
    }
    members, metrics = crossed(**columns)
    for name in ("test.loss", "test.loss_", "alpha", "a/b/c"):
        metrics = metrics.append_column(name, pa.array(range(24), pa.int64()))
    for results in (results_of(members, metrics), results_of(members, metrics, samples=6)):
        (path,) = export.write(results, "netcdf", tmp_path)
        with xarray.open_dataset(path, engine="h5netcdf") as data:
            names = {name: array.attrs["metric"] for name, array in data.items() if "metric" in array.attrs}
            assert names == {
                "test.loss__": "test/loss",
                "test.loss_": "test.loss_",
                "train.loss": "train/loss",
                "test.loss": "test.loss",
                "metric.alpha": "metric/alpha",
                "a.b.c": "a/b/c",
            }
            back = data.rename(names).load()
        xarray.testing.assert_equal(back, results.to_xarray())
        assert back.bias.values.tolist() is True and back.name.values == "größer"
        assert np.nanmax(back.diverged_at) == 7 and "diverged" in back.status.values


def test_files_are_replaced_whole_or_left_as_they_were(tmp_path, monkeypatch):
    results = results_of(*crossed())
    before = {path: path.read_bytes() for path in export.write(results, "csv", tmp_path)}
    write_csv, written = export.csv.write_csv, []

    def failing(table, path):
        write_csv(table, path)
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.csv, "write_csv", failing)
    with pytest.raises(
        StudyError, match="`out can be written` must hold, but got .*: No space left on device"
    ):
        export.write(results.filter(seed=3), "csv", tmp_path)
    assert len(written) == 2 and set(tmp_path.iterdir()) == set(before)
    assert {path: path.read_bytes() for path in before} == before
    monkeypatch.undo()
    export.write(results.filter(seed=3), "csv", tmp_path)
    assert len((tmp_path / "members.csv").read_text().splitlines()) == 7


KILLED = """
import os, signal, sys
import sweeps
from sweeps.results import export
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)  # all is written, nothing renamed
export.write(sweeps.load(sys.argv[1]), "optuna", sys.argv[2])
"""


@pytest.mark.durable
def test_a_killed_export_leaves_nothing_that_the_next_one_adds_to(run_directory, tmp_path):
    optuna = pytest.importorskip("optuna")
    out = tmp_path / "what? x=1#%41 {y}@:"
    done = subprocess.run([sys.executable, "-c", KILLED, run_directory, out], check=False)
    assert done.returncode == -signal.SIGKILL and len(list(out.iterdir())) == 1
    results = sweeps.load(run_directory).filter(seed=0)
    (path,) = export.write(results, "optuna", out)
    assert len(trials_of(optuna, path)) == len(results.members)


def test_an_optuna_export_to_a_path_with_what_parts_a_url(run_directory, tmp_path):
    optuna = pytest.importorskip("optuna")
    out = tmp_path / "what? x=1#%41 {y}@:"
    results = sweeps.load(run_directory)
    (path,) = export.write(results, "optuna", out)
    assert list(tmp_path.rglob("*.db")) == [path] and list(out.iterdir()) == [path]
    assert len(trials_of(optuna, path)) == len(results.members)


def trials_of(optuna, path):
    with connected(f"sqlite:///{shutil.copy(path, path.parents[1])}") as opened:
        (summary,) = optuna.get_all_study_summaries(opened)
        return optuna.load_study(study_name=summary.study_name, storage=opened).trials


def test_an_export_that_cannot_be_made(tmp_path, monkeypatch):
    results = results_of(*crossed())
    with pytest.raises(StudyError, match='Unknown format "netcfd". Did you mean "netcdf"'):
        export.write(results, "netcfd", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="`out can be written` must hold, but got .*file: File exists"):
        export.write(results, "csv", tmp_path / "file")
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(
        StudyError, match=r"`h5netcdf and h5py are installed`.*pip install 'lrelu-jax\[sweeps\]'"
    ):
        export.write(results, "netcdf", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_duckdb_reads_a_run_directory(run_directory):
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    for metrics in (f"'{run_directory}/metrics.parquet'", f"'{run_directory}/chunks/*/metrics.parquet'"):
        query = f"""
            select power, x, avg("test/value"), count(*)
            from '{run_directory}/members.parquet' join {metrics} using (member)
            where status = 'done' group by power, x order by power, x
        """
        rows = duckdb.sql(query).fetchall()
        assert [row[:2] for row in rows] == [(p, x) for p in (1, 2) for x in (0.5, 1.0, 2.0)]
        for power, x, average, seeds in rows:
            # The mean of two draws of noise of 0.01: within six of its standard errors.
            assert seeds == 2 and average == pytest.approx(x**power, abs=0.05)


def test_pandas_reads_a_run_directory(run_directory):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    members, metrics = (
        pandas.read_parquet(Path(run_directory, f"{kind}.parquet")) for kind in ("members", "metrics")
    )
    table = members.merge(metrics, on="member")
    assert len(table) == 12 and set(table["status"]) == {"done"}
    means = table.groupby(["power", "x"])["test/value"].mean()
    results = sweeps.load(run_directory)
    for row in results.configurations():
        # Both average the same two float32 numbers, here in float32 and there in float64.
        assert means[row.config["power"], row.config["x"]] == pytest.approx(row.interval.mean, rel=1e-6)
