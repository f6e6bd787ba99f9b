"""Tables over a run: members, metrics, and what they say of each configuration."""

import dataclasses
import functools
import importlib
import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.errors import StudyError, imported, resume_line, unknown
from sweeps.results import labelled, pareto, scoring
from sweeps.results.filtering import matching
from sweeps.results.kept import load_kept
from sweeps.results.lineage import first_seeds, followers, is_evolved, with_last_values
from sweeps.results.pareto import Compared
from sweeps.results.ranking import Best as Best
from sweeps.results.ranking import Configuration as Configuration
from sweeps.results.ranking import overlap_of, rank
from sweeps.store import chunks as store
from sweeps.store import derived, durations, failures
from sweeps.store.lineage import lineage, traced_back
from sweeps.store.lock import holder
from sweeps.store.statuses import Status
from sweeps.trial import Study

# Of the manifest, in labelled arrays.
SAID = ("study", "metric", "mode", "select", "steps", "root_seed", "fingerprint")


@dataclasses.dataclass(frozen=True)
class Results:
    """What a sweep found.

    Attributes:
        manifest: what the run was.
        directory: where it is kept; None if only in memory.
        tables: the rows of members and metrics; None reads them from the directory when they are asked for.
        confirmation: the winner and the baseline on fresh seeds; None if they were not run.
        failures: why members failed, by their ids; None reads that from the directory too.
        kept_lineage: the lineage of a run that was in memory; None finds it in the directory.
        kept_seconds: the seconds of a run that was in memory, by member; None finds them in the directory.
    """

    manifest: Mapping[str, Any]
    directory: Path | None = None
    tables: tuple[pa.Table, pa.Table] | None = None
    confirmation: "Results | None" = None
    failures: Mapping[int, str] | None = None
    kept_lineage: pa.Table | None = None
    kept_seconds: Mapping[int, float] | None = None

    def __repr__(self) -> str:
        where, run = f"in {self.directory}" if self.directory else "in memory", self.manifest
        goal = f"{run['mode']} {run['metric']}"
        goal += ", best of its evaluations" if run.get("select") == "best" else ""
        return f"Results({run['study']}: {run['members']} members; {goal}; {where})"

    def _repr_html_(self) -> str:
        return _drawing("notebook").results_html(self)

    @functools.cached_property
    def members(self) -> pa.Table:
        """One row per member: id, seed, group, status, where it diverged, its configuration."""
        return self._table("members", 0)

    @functools.cached_property
    def metrics(self) -> pa.Table:
        """One row per member and evaluation, a column per metric."""
        return self._table("metrics", 1)

    @functools.cached_property
    def errors(self) -> dict[int, str]:
        """Why members failed, by their ids."""
        if self.failures is not None or self.directory is None:
            return dict(self.failures or {})
        return failures.errors(self.directory)

    @functools.cached_property
    def lineage(self) -> pa.Table:
        """The hyperparameters of members by step, and their ancestors: what population-based training did.

        A row per member at step 0, and at every step from which on it went on from another's state or with
        other values: `member`, `step`, `source` (whose state it took then; itself where it kept its own),
        `ancestor` (whose state at step 0 this one descends from), `ancestor_seed`, and the swept fields. All
        members of the run are in it, whatever `filter` left.
        """
        if self.kept_lineage is not None:
            return self.kept_lineage
        if self.directory is None:
            return traced_back({0: self.members}, {}, self.swept)
        return lineage(self.directory, self.swept, self.members)

    @functools.cached_property
    def first_seeds(self) -> np.ndarray:
        """Per member the seed that its state descends from: its own, but in population-based training."""
        if not is_evolved(self.manifest):
            return self.members["seed"].to_numpy()
        return first_seeds(self.lineage, self.members["member"].to_numpy())

    @property
    def folds(self) -> int:
        """Into how many folds the training data was cut; 0 into none."""
        return self.manifest.get("folds", 0)

    @property
    def overlap(self) -> float:
        """How many examples a fold holds out for each that it trains on; 0 without folds."""
        return overlap_of(self.folds)

    @property
    def draws(self) -> np.ndarray:
        """Per member what intervals are over: the fold that it holds out, or without folds its first seed."""
        return self.members["fold"].to_numpy() if self.folds else self.first_seeds

    @property
    def swept(self) -> tuple[str, ...]:
        """The fields that vary, in the order of the space."""
        return tuple(self.manifest["swept"])

    @property
    def scored(self) -> tuple[Status, ...]:
        """What members are that have a score: done, or stopped by early stopping."""
        return scoring.scored(self.manifest)

    @functools.cached_property
    def scored_rows(self) -> np.ndarray:
        """Per member the row of `metrics` that it is scored by; -1 where it has no score."""
        if self.manifest.get("select") == "best":
            self.check_metric(None)
        return scoring.scored_rows(self.members, self.metrics, self.manifest)

    def final(self, metric: str | None = None) -> np.ndarray:
        """The metric of every member at the evaluation that it is scored by, NaN where there is none.

        That is its last, at the last step or where early stopping stopped it, or, with `select="best"`, the
        one at which the study's metric was best. A member that diverged has none.

        Args:
            metric: a metric's name; None takes the study's.

        Raises:
            StudyError: no evaluation reported that metric.
        """
        metric = self.check_metric(metric)
        rows, column = self.scored_rows, self.metrics[metric].to_numpy(zero_copy_only=False)
        values = np.full(len(rows), np.nan)
        values[rows >= 0] = column[rows[rows >= 0]]
        return np.where(np.isfinite(values), values, np.nan)

    def seconds(self) -> np.ndarray:
        """How long it took to train and evaluate each member, in seconds; NaN where that was not recorded.

        Members of a chunk are trained side by side on the devices of one process, and each has an equal share
        of the seconds that the chunk took. Compiling does not count, nor what was lost when a run was killed.
        A member that failed has none, and neither have members that earlier versions trained.

        Returns:
            One number per row of `members`.
        """
        ids = self.members["member"].to_numpy()
        if self.kept_seconds is None and self.directory is not None:
            return durations.member_seconds(self.directory, ids)
        kept = self.kept_seconds or {}
        return np.asarray([kept.get(member, np.nan) for member in ids.tolist()], np.float64)

    @property
    def metric_names(self) -> list[str]:
        """The metrics that evaluations reported."""
        return [name for name in self.metrics.column_names if name not in ("member", "step")]

    def check_metric(self, metric: str | None) -> str:
        """The metric, or the study's if it is None; a StudyError names those there are if it is unknown."""
        metric = metric or str(self.manifest["metric"])
        if metric not in self.metric_names:
            raise StudyError(unknown("The run has no metric", metric, self.metric_names))
        return metric

    def configurations(self) -> list[Configuration]:
        """Every configuration with its statistics over seeds, best first; those with diverged members last.

        Of population-based training, members are one configuration if they end with the same values.
        """
        metric, mode = self.check_metric(None), self.manifest["mode"]
        finals = {name: self.final(name) for name in self.metric_names}
        members, replayed, apart = self.members, self.manifest.get("replayed"), None
        if replayed is not None:  # a constant of the schedule's last values is another thing
            members, apart = with_last_values(members, replayed), followers(members, replayed)
        return rank(
            members, self.swept, metric, finals, mode, self.first_seeds, apart, self.scored, self.folds
        )

    @functools.cached_property
    def fresh(self) -> list[Configuration]:
        """The configurations that were trained again on fresh seeds, the winner and the baseline; or none."""
        again = self.confirmation
        if again is None or (is_evolved(self.manifest) and "replayed" not in again.manifest):
            return []  # earlier versions trained the last values as constants, which nothing had found
        return again.configurations()

    def on_fresh_seeds(self, row: Configuration) -> Configuration | None:
        """A configuration's figures on fresh seeds; None if it was not trained on them.

        Args:
            row: one of `configurations`.
        """
        schedule = self.confirmation is not None and "replayed" in self.confirmation.manifest
        same = [other for other in self.fresh if other.config == row.config]
        return next((other for other in same if not schedule or 0 in other.members), None)

    def best(self) -> Best:
        """The configuration with the best mean of the final metric over its seeds.

        With `select="best"` the metric of each member is the best of its evaluations, so optimistic. Where
        it was run again on fresh seeds, the figures are those of the fresh seeds alone. Of
        population-based training, `config` has the last values of a schedule, which `lineage` has.
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
        found = []
        for row in self.configurations()[:k]:
            again = self.on_fresh_seeds(row)
            shown, metric = again or row, self.manifest["metric"]
            found.append(
                Best(row.config, metric, *shown.interval, shown.seeds, again is not None, shown.folds)
            )
        return found

    def pareto(self, objectives: Mapping[str, str]) -> list[Compared]:
        """Which configurations no other one beats: `pareto({"test/accuracy": "max", "test/loss": "min"})`.

        One dominates another if, over the seeds that both have, its mean is worse in no metric, and in at
        least one the 95 % Student interval of the paired differences lies wholly on its side. What dominates
        has the better means (Pareto's order), but not every better mean dominates: what the seeds cannot tell
        apart is all on the front, with one seed everything. Each interval is of one comparison, not corrected
        for their number. A configuration with a member that has no finite value is not on the front and
        dominates none.

        Args:
            objectives: two metrics or more, each with `max` or `min`.

        Returns:
            For every configuration `(config, members, intervals, lost, front, dominated_by)`, those on the
            front first, otherwise in the order of the ranking.

        Raises:
            StudyError: a metric or a direction is unknown, or there is only one.
        """
        wanted = pareto.checked(objectives, self.metric_names)
        finals = {metric: self.final(metric) for metric in wanted}
        ids = self.members["member"].to_numpy()
        found = pareto.compare(self.configurations(), ids, self.draws, finals, wanted, self.overlap)
        return sorted(found, key=lambda each: not each.front)

    def filter(self, **conditions: Any) -> "Results":
        """The results of some members only: `results.filter(alpha=0.1, seed=range(4), status="done")`.

        Args:
            **conditions: a column of `members` to the value, or to the values, that it may have. A member is
                kept if it meets all of them. Floats match to a relative 1e-9; None matches what is not set;
                a tuple is one value where a member has it.

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

        The dimensions are the swept fields, `seed`, `fold` (where there are folds) and `step` where every
        combination of levels, seeds and folds is there once, diverged and stopped members included. Where a
        field was sampled, or combinations are missing or doubled, they are `member` and `step`, with the
        fields, `seed` and `fold` as coordinates along `member`. A metric is NaN where a member was not
        evaluated; `status`, `diverged_at`, `stopped_at` and `group` have no `step`. A metric that has the
        name of a column of `members` is called `metric/NAME`.

        Raises:
            StudyError: xarray is not installed, or a field is named `step`.
        """
        return labelled.dataset(
            self.members,
            self.metrics,
            self.swept,
            crossed=self.manifest.get("samples") is None,  # what is sampled has no levels
            repeated=("seed", "fold") if self.folds else ("seed",),
            attributes={name: self.manifest[name] for name in SAID if name in self.manifest},
        )

    def to_pandas(self) -> Any:
        """One `pandas.DataFrame` with a row per member and evaluation, the member's columns in each.

        A member without an evaluation has one row, in which `step` and the metrics are not set. A metric that
        has the name of a column of `members` is called `metric/NAME`.

        Raises:
            StudyError: pandas is not installed, or a field is named `step`.
        """
        imported("pandas", "pandas")
        return labelled.joined(self.members, self.metrics).to_pandas()

    def to_polars(self) -> Any:
        """The same rows as `to_pandas`, as a `polars.DataFrame`.

        Raises:
            StudyError: Polars is not installed, or a field is named `step`.
        """
        return imported("polars", "polars").from_arrow(labelled.joined(self.members, self.metrics))

    def model(self, study: Study, member: int | None = None) -> Any:
        """A member whose final state was kept (`keep_best`, `keep_states`), loaded into the user's model.

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
        return load_kept(self.directory, self.manifest, study, self.members, self.final(), member)

    def report(self, path: str | Path, *, pareto: Mapping[str, str] | None = None) -> Path:
        """Writes the report: one HTML file that opens without a network and can be mailed.

        Args:
            path: the file; one of that name is replaced.
            pareto: metrics with `max` or `min`, whose Pareto front is to be a part of it.

        Returns:
            The file, there whole or not at all.

        Raises:
            StudyError: the file cannot be written, or a metric is unknown.
        """
        return _drawing("page").write(self, path, pareto)

    def figure(self, field: str, metric: str | None = None) -> Any:
        """A figure for a paper: the metric at the last step against one swept field.

        A dot per member, mean and 95 % interval; its label says what the band is over.

        Args:
            field: a swept field.
            metric: a metric's name; None takes the study's.

        Returns:
            A `matplotlib.figure.Figure`; `savefig` writes it as PDF, PNG or SVG.

        Raises:
            StudyError: matplotlib is not installed, the field was not swept, or the metric is unknown.
        """
        imported("matplotlib", "matplotlib")
        return _drawing("figures").metric_against_field(self, field, metric)

    @functools.cached_property
    def _held(self) -> derived.Held:
        assert self.directory is not None  # without tables there is a directory
        return derived.held(self.directory)

    def _table(self, kind: str, place: int) -> pa.Table:
        if self.tables is not None:
            return self.tables[place]
        assert self.directory is not None  # without tables there is a directory
        table = derived.read(self.directory, kind, self.manifest["members"], tables=self._held)
        if table is None:
            raise StudyError(_nothing_finished(self.directory))
        return table


def load(directory: str | Path) -> Results:
    """The results of a run directory, finished or not.

    Args:
        directory: its path.

    Raises:
        StudyError: it is not a run directory, or nothing was finished in it.
    """
    found = Results(store.read_manifest(directory), Path(directory))
    if not store.committed(directory):
        raise StudyError(_nothing_finished(directory))
    fresh = Path(directory) / store.CONFIRMATION
    if store.has_manifest(fresh) and store.committed(fresh):
        try:
            return dataclasses.replace(found, confirmation=load(fresh))
        except StudyError as error:
            warnings.warn(f"the confirmation is left out: {error}", stacklevel=2)
    return found


def _nothing_finished(directory: str | Path) -> str:
    if (running := holder(Path(directory))) is not None:
        who = f"process {running['pid']} on {running['host']}"
        shown = shlex.join(["sweeps", "status", str(directory)])
        return f"Nothing is finished in {directory} yet; {who} is at it, and `{shown}` says how far it is."
    return f"Nothing is finished in {directory} yet. `{resume_line(directory)}` goes on with the run."


def _drawing(name: str) -> Any:
    # What draws results is made of them, and of packages that whoever does not draw need not wait for.
    return importlib.import_module(f"sweeps.report.{name}")
