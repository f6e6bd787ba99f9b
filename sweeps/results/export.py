"""A run's results as files for other programs: CSV and netCDF."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from sweeps.errors import StudyError, imported, unknown
from sweeps.results.lineage import is_evolved
from sweeps.results.optuna_export import show
from sweeps.results.results import Results


def write(results: Results, to: str, out: str | Path) -> list[Path]:
    """Writes results for other programs to read; files of the same names are replaced.

    `csv` writes `members.csv` and `metrics.csv`, the two tables as they are, and `lineage.csv` of a run of
    population-based training; an empty cell is a value that is not set, and text that begins as a
    spreadsheet's formula does, with `=`, `+`, `-` or `@`, has a `'` before it, in the header too. `netcdf`
    writes `results.nc`, the arrays of `Results.to_xarray`. netCDF forbids `/` in names, so `test/accuracy` is
    `test.accuracy` there, and every metric carries its own name as the attribute `metric`:
    `data.rename({name: array.attrs["metric"] for name, array in data.items() if "metric" in array.attrs})`
    undoes it. `optuna` writes `optuna.db`, an Optuna study with a trial per finished member:
    `optuna-dashboard sqlite:///optuna.db` shows it.

    Args:
        results: a run, or what a filter left of it.
        to: `csv`, `netcdf` or `optuna`.
        out: a folder, which is made where it does not exist.

    Returns:
        The files. Each is there whole or not at all.

    Raises:
        StudyError: the format is unknown, what it needs is not installed, or the folder cannot be written.
    """
    if to not in FORMATS:
        raise StudyError(unknown("Unknown format", to, FORMATS))
    writers = FORMATS[to](results)
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
        return _write_all(Path(out), writers)
    except OSError as error:
        raise StudyError(
            f"`out can be written` must hold, but got {out}: {error.strerror or error}"
        ) from error


def _csv(results: Results) -> dict[str, Callable[[Path], Any]]:
    tables: dict[str, pa.Table] = {"members.csv": results.members, "metrics.csv": results.metrics}
    if is_evolved(results.manifest):
        tables["lineage.csv"] = results.lineage
    return {
        name: lambda path, table=table: csv.write_csv(_no_formulas(table), path)
        for name, table in tables.items()
    }


def _no_formulas(table: pa.Table) -> pa.Table:
    """The table with text that a spreadsheet would compute marked as text, the names of columns too."""
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if pa.types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        if any(
            of(column.type) for of in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        ):
            column = pa.array(list(map(_marked, column.to_pylist())), column.type)
        table = table.set_column(place, _marked(field.name), column)
    return table


def _marked(word: str | None) -> str | None:
    return f"'{word}" if word and word[0] in "=+-@\t\r" else word


def _netcdf(results: Results) -> dict[str, Callable[[Path], Any]]:
    try:
        import h5netcdf as h5netcdf
        import h5py as h5py
    except ImportError as error:
        raise StudyError(
            "`h5netcdf and h5py are installed` must hold for netcdf, but got neither or one: "
            "pip install 'lrelu-jax[sweeps]'"
        ) from error
    data = results.to_xarray()
    renamed: dict[str, str] = {}
    for name in data.data_vars:
        if "step" in data[name].dims:
            data[name].attrs["metric"] = name
            plain = name.replace("/", ".")
            while plain != name and (plain in data.variables or plain in renamed.values()):
                plain += "_"
            renamed[name] = plain
    data = data.rename(renamed)
    return {"results.nc": lambda path: data.to_netcdf(path, engine="h5netcdf")}


def _optuna(results: Results) -> dict[str, Callable[[Path], Any]]:
    sqlalchemy = imported("sqlalchemy", "'lrelu-jax[optuna]'", " for optuna")

    def write(path: Path) -> None:
        url = sqlalchemy.URL.create("sqlite", database=str(path))  # a path may hold what parts a URL
        show(results.members, results.metrics, results.manifest, url.render_as_string())

    return {"optuna.db": write}


FORMATS: dict[str, Callable[[Results], dict[str, Callable[[Path], Any]]]] = {
    "csv": _csv,
    "netcdf": _netcdf,
    "optuna": _optuna,
}


def _write_all(directory: Path, writers: dict[str, Callable[[Path], Any]]) -> list[Path]:
    """Writes all files beside their places, then renames them: none is replaced before all are written."""
    # A new folder, since a database that a killed export left, or its journal, would be added to.
    with tempfile.TemporaryDirectory(prefix=".export-", suffix=".tmp", dir=directory) as folder:
        temporary = {directory / name: Path(folder) / name for name in writers}
        for writer, path in zip(writers.values(), temporary.values(), strict=True):
            writer(path)
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
        for place, path in temporary.items():
            path.replace(place)
    return list(temporary)
