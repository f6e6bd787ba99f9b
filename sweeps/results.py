"""Tables over a run: members, metrics, and what they say of each configuration."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweeps import kept, statistics, store
from sweeps.request import request
from sweeps.space import StudyError
from sweeps.trial import Study, unknown


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


class Configuration(NamedTuple):
    """One configuration and its members.

    Attributes:
        config: the swept fields' values.
        members: the ids, one per seed.
        values: the final metric per member, NaN where it is missing or the member diverged.
        interval: mean and 95 % interval over the finite values.
        means: the mean over the seeds of every metric at the last step.
        diverged: how many members have no finite value.
        tied: whether it cannot be told from the best.
    """

    config: dict[str, Any]
    members: list[int]
    values: np.ndarray
    interval: statistics.Interval
    means: dict[str, float]
    diverged: int
    tied: bool


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
        values = self.final()
        places: dict[tuple, list[int]] = {}
        for member, point in enumerate(
            zip(*self._columns(), strict=True) if self.swept else [()] * len(values)
        ):
            places.setdefault(point, []).append(member)
        finals = {name: self.final(name) for name in self.metric_names}
        sign = -1 if self.manifest["mode"] == "max" else 1
        found = []
        for point, members in places.items():
            own = values[members]
            finite = own[np.isfinite(own)]
            means = {name: _mean(column[members]) for name, column in finals.items()}
            found.append(
                Configuration(
                    config=dict(zip(self.swept, point, strict=True)),
                    members=members,
                    values=own,
                    interval=statistics.student_interval(finite),
                    means=means,
                    diverged=len(own) - len(finite),
                    tied=False,
                )
            )
        found.sort(key=lambda row: (row.diverged, np.nan_to_num(sign * row.interval.mean, nan=np.inf)))
        seeds = max(len(row.values) for row in found)
        table = [np.pad(row.values, (0, seeds - len(row.values)), constant_values=np.nan) for row in found]
        tied = statistics.tied_with_best(np.stack(table), best=0)
        return [row._replace(tied=bool(mark)) for row, mark in zip(found, tied, strict=True)]

    def best(self) -> Best:
        """The configuration with the best mean of the final metric over its seeds.

        Where it was run again on fresh seeds, the figures are those of the fresh seeds alone.
        """
        row, metric = self.configurations()[0], self.manifest["metric"]
        fresh = self.confirmation.configurations() if self.confirmation else []
        for other in fresh:
            if other.config == row.config:
                return Best(row.config, metric, *other.interval, len(other.members), confirmed=True)
        return Best(row.config, metric, *row.interval, len(row.members), confirmed=False)

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
        wanted = request(dict(self.manifest), study, self.manifest["samples"], self.manifest["root_seed"])
        if member is None:
            best = kept.kept_members(self.directory, self.manifest["mode"])
            member = best[0] if best else 0
        return kept.load_kept(self.directory, study, wanted.population, member)

    def _table(self, kind: str, place: int) -> pa.Table:
        if self.tables is not None:
            return self.tables[place]
        assert self.directory is not None  # without tables there is a directory
        table = store.read(self.directory, kind)
        if table is None:
            raise StudyError(f"`at least one finished chunk` must hold, but got none in {self.directory}")
        return table

    def _columns(self) -> list[list[Any]]:
        return [self.members[name].to_pylist() for name in self.swept]


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


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
