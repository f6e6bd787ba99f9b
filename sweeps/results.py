"""Tables over a run: members, metrics, and what they say of each configuration."""

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweeps import kept, labelled, store
from sweeps.population import with_values
from sweeps.proposals import all_members
from sweeps.ranking import Configuration as Configuration
from sweeps.ranking import rank
from sweeps.request import request_again
from sweeps.selection import matching
from sweeps.space import StudyError
from sweeps.trial import Study, unknown

SAID = ("study", "metric", "mode", "steps", "root_seed", "fingerprint")  # of the manifest, in labelled arrays


class Best(NamedTuple):
    """The best configuration over its seeds.

    Attributes:
        config: the swept fields' values.
        metric: the metric's name.
        mean: its mean over the seeds at the last step.
        low: the lower bound of the mean's 95 % interval, NaN for one seed.
        high: the upper bound.
        seeds: how many seeds.
        confirmed: whether the figures come from seeds that did not choose the configuration; where
            not, they are selected on these seeds, so optimistic.
    """

    config: dict[str, Any]
    metric: str
    mean: float
    low: float
    high: float
    seeds: int
    confirmed: bool


@dataclasses.dataclass(frozen=True)
class Results:
    """What a sweep found.

    Attributes:
        manifest: what the run was.
        directory: where it is kept; None if only in memory.
        tables: the rows of members and metrics; None reads them from the directory when they are asked for.
        confirmation: the winner and the baseline on fresh seeds; None if they were not run.
    """

    manifest: Mapping[str, Any]
    directory: Path | None = None
    tables: tuple[pa.Table, pa.Table] | None = None
    confirmation: "Results | None" = None

    @functools.cached_property
    def members(self) -> pa.Table:
        """One row per member: id, seed, group, status, where it diverged, its configuration."""
        return self._table("members", 0)

    @functools.cached_property
    def metrics(self) -> pa.Table:
        """One row per member and evaluation, a column per metric."""
        return self._table("metrics", 1)

    @property
    def swept(self) -> tuple[str, ...]:
        """The fields that vary, in the order of the space."""
        return tuple(self.manifest["swept"])

    def final(self, metric: str | None = None) -> np.ndarray:
        """The metric of every member at the last step, NaN where it diverged or did not get there.

        Args:
            metric: a metric's name; None takes the study's.

        Raises:
            StudyError: no evaluation reported that metric.
        """
        metric = self.check_metric(metric)
        last = self.metrics.filter(pc.field("step") == self.manifest["steps"])
        values = np.full(len(self.members), np.nan)
        rows = np.searchsorted(self.members["member"].to_numpy(), last["member"].to_numpy())
        values[rows] = last[metric].to_numpy(zero_copy_only=False)
        done = self.members["status"].to_numpy() == "done"
        return np.where(done & np.isfinite(values), values, np.nan)

    @property
    def metric_names(self) -> list[str]:
        """The metrics that evaluations reported."""
        return [name for name in self.metrics.column_names if name not in ("member", "step")]

    def check_metric(self, metric: str | None) -> str:
        """The metric, or the study's if it is None; a StudyError names those there are if it is unknown."""
        metric = metric or str(self.manifest["metric"])
        if metric not in self.metric_names:
            raise StudyError(f"`a metric of the run` must hold, but got {unknown(metric, self.metric_names)}")
        return metric

    def configurations(self) -> list[Configuration]:
        """Every configuration with its statistics over seeds, best first; diverged ones last."""
        metric, mode = self.check_metric(None), self.manifest["mode"]
        finals = {name: self.final(name) for name in self.metric_names}
        return rank(self.members, self.swept, metric, finals, mode)

    def best(self) -> Best:
        """The configuration with the best mean of the final metric over its seeds.

        Where it was run again on fresh seeds, the figures are those of the fresh seeds alone.
        """
        return self.top(1)[0]

    def top(self, k: int) -> list[Best]:
        """The `k` best configurations, the best first; all there are if they are fewer.

        Args:
            k: how many, a whole number ≥ 1.

        Raises:
            StudyError: `k` is less than 1.
        """
        if k < 1:
            raise StudyError(f"`1 <= k` must hold in top, but got k={k}")
        fresh = self.confirmation.configurations() if self.confirmation else []
        found = []
        for row in self.configurations()[:k]:
            again = [other for other in fresh if other.config == row.config]
            figures = again[0] if again else row
            found.append(
                Best(
                    row.config,
                    self.manifest["metric"],
                    *figures.interval,
                    len(figures.members),
                    confirmed=bool(again),
                )
            )
        return found

    def filter(self, **conditions: Any) -> "Results":
        """The results of some members only: `results.filter(alpha=0.1, seed=range(4), status="done")`.

        Args:
            **conditions: a column of `members` to the value, or to the values, that it may have. A member is
                kept if it meets all of them. Floats match to a relative 1e-9; None matches what is not set.

        Returns:
            Results of the same run with fewer rows, in memory.

        Raises:
            StudyError: there is no such column, a value is not of its type, or no member is left.
        """
        members = self.members.filter(pa.array(matching(self.members, conditions)))
        there = np.isin(self.metrics["member"].to_numpy(), members["member"].to_numpy())
        return dataclasses.replace(self, tables=(members, self.metrics.filter(pa.array(there))))

    def to_xarray(self) -> Any:
        """The metrics as labelled arrays, an `xarray.Dataset`.

        The dimensions are the swept fields, `seed` and `step` where every combination of levels and seeds is
        there once, diverged and stopped members included. Where a field was sampled, or combinations are
        missing or doubled, they are `member` and `step`, with the fields and `seed` as coordinates along
        `member`. A metric is NaN where a member was not evaluated; `status`, `diverged_at`, `stopped_at` and
        `group` have no `step`. A metric that has the name of a column of `members` is called `metric/NAME`.

        Raises:
            StudyError: xarray is not installed, or a field is named `step`.
        """
        return labelled.dataset(
            self.members,
            self.metrics,
            self.swept,
            crossed=self.manifest.get("samples") is None,  # what is sampled has no levels
            attributes={name: self.manifest[name] for name in SAID if name in self.manifest},
        )

    def to_pandas(self) -> Any:
        """One `pandas.DataFrame` with a row per member and evaluation, the member's columns in each.

        A member without an evaluation has one row, in which `step` and the metrics are not set. A metric that
        has the name of a column of `members` is called `metric/NAME`.

        Raises:
            StudyError: pandas is not installed, or a field is named `step`.
        """
        _check_installed("pandas")
        return labelled.joined(self.members, self.metrics).to_pandas()

    def to_polars(self) -> Any:
        """The same rows as `to_pandas`, as a `polars.DataFrame`.

        Raises:
            StudyError: Polars is not installed, or a field is named `step`.
        """
        return _check_installed("polars").from_arrow(labelled.joined(self.members, self.metrics))

    def model(self, study: Study, member: int | None = None) -> Any:
        """A member whose final state was kept (`keep_best`), loaded into the user's model.

        Args:
            study: the study that was run.
            member: the member's id; None takes the best.

        Returns:
            What `supervised`'s `model` makes, with the trained variables and in evaluation mode: an
            `nnx.Module`, or a bound Linen module. For a trial without `model`, the state.

        Raises:
            StudyError: nothing was kept of that member, or the study is not the one that was run.
        """
        if self.directory is None:
            raise StudyError(
                "`a run that was kept on the disk` must hold, but got one in memory; give it `out`"
            )
        wanted = request_again(self.manifest, study)
        population = all_members(study, wanted.sampling, wanted.population, self.directory)
        if member is None:
            best = kept.kept_members(self.directory, self.manifest["mode"])
            member = best[0] if best else 0
        # Population-based training may have changed its hyperparameters; the table has the last.
        row = self.members.filter(pc.field("member") == member).to_pylist()
        traced = [name for name in population.columns if population.columns[name].dtype.kind in "fi"]
        changed = {name: row[0][name] for name in traced} if row else {}
        return kept.load_kept(self.directory, study, with_values(population, {member: changed}), member)

    def report(self, path: str | Path) -> Path:
        """Writes the report: one HTML file that opens without a network and can be mailed.

        Args:
            path: the file; one of that name is replaced.

        Returns:
            The file, there whole or not at all.

        Raises:
            StudyError: Plotly is not installed, or the file cannot be written.
        """
        return _drawing("page").write(self, path)

    def figure(self, field: str, metric: str | None = None) -> Any:
        """A figure for a paper: the metric at the last step against one swept field.

        A dot per member, mean and 95 % interval; what the band is over stands under the axis.

        Args:
            field: a swept field.
            metric: a metric's name; None takes the study's.

        Returns:
            A `matplotlib.figure.Figure`; `savefig` writes it as PDF, PNG or SVG.

        Raises:
            StudyError: matplotlib is not installed, the field was not swept, or the metric is unknown.
        """
        _check_installed("matplotlib")
        return _drawing("figures").metric_against_field(self, field, metric)

    def _table(self, kind: str, place: int) -> pa.Table:
        if self.tables is not None:
            return self.tables[place]
        assert self.directory is not None  # without tables there is a directory
        table = store.read(self.directory, kind)
        if table is None:
            raise StudyError(f"`at least one finished chunk` must hold, but got none in {self.directory}")
        return table


def load(directory: str | Path) -> Results:
    """The results of a run directory, finished or not.

    Args:
        directory: the run directory.

    Raises:
        StudyError: it is not a run directory, or nothing was finished in it.
    """
    found = Results(store.read_manifest(directory), Path(directory))
    if not store.committed(directory):
        raise StudyError(f"`at least one finished chunk` must hold, but got none in {directory}")
    fresh = Path(directory) / store.CONFIRMATION
    if (fresh / store.MANIFEST).exists() and store.committed(fresh):
        return dataclasses.replace(found, confirmation=load(fresh))
    return found


def _drawing(name: str) -> Any:
    # What draws results is made of them, and of packages that nobody waits for who does not draw.
    return importlib.import_module(f"sweeps.report.{name}")


def _check_installed(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise StudyError(
            f"`{package} is installed` must hold, but it is not: pip install {package}"
        ) from error
