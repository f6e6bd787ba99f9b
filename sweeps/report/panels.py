"""The parts of the page about the metric: what is drawn in each, and the words around it."""

import math
from typing import Any, NamedTuple

import numpy as np

from sweeps.report.axes import Axis, axis_of, varying
from sweeps.report.bounds import bounds_of
from sweeps.report.columns import Columns
from sweeps.report.importance import MOST_BINS, SMALLEST, Share, explained, quantile_cells
from sweeps.report.marginals import Marginal, differences_along, draws, marginal
from sweeps.report.markup import choice, escape, figure, section
from sweeps.report.wording import compact, count, figures, is_share, listing, number, scored_at, title
from sweeps.results.lineage import is_evolved
from sweeps.results.results import Configuration, Results
from sweeps.store.statuses import LOST, Status

MOST_LINES = 2000  # as in assets/parallel.js
MOST_AXES = 8  # parallel coordinates with more than these cannot be read


class Study(NamedTuple):
    """What the parts of the page are made of.

    Attributes:
        results: the run.
        rows: its configurations, the best first.
        axes: its swept fields, without those of one value.
        finals: the metrics at the last step, the study's first.
        seeds: per member the seed that its state descends from, or with folds the one that it holds out.
        places: per member which independently drawn configuration it is of, or descends from.
        columns: what the page holds of the members.
    """

    results: Results
    rows: list[Configuration]
    axes: list[Axis]
    finals: dict[str, np.ndarray]
    seeds: np.ndarray
    places: np.ndarray
    columns: Columns

    @property
    def fields(self) -> list[str]:
        """The names of its axes."""
        return [axis.field for axis in self.axes]

    @property
    def metric(self) -> str:
        """The study's metric."""
        return str(self.results.manifest["metric"])

    @property
    def scored(self) -> bool:
        """Whether any member has a finite final metric."""
        return self.metric in self.finals and bool(np.isfinite(self.finals[self.metric]).any())

    @property
    def alone(self) -> bool:
        """Whether one of several configurations alone has a final value: there is nothing to compare."""
        return len(self.rows) > 1 and sum(row.seeds > 0 for row in self.rows) == 1

    @property
    def ended(self) -> bool:
        """Whether any member has come to its end."""
        status = self.results.members["status"].to_pylist()
        ended = (*self.results.scored, *LOST)
        return self.metric in self.finals and any(each in ended for each in status)

    def along(self, axis: Axis, metric: str) -> Marginal:
        """A metric along a field, with intervals that do not leave what the metric can be."""
        found = marginal(axis, self.finals[metric], self.seeds, self.places, self.results.overlap)
        low, high = np.clip([found.low, found.high], *bounds_of(metric, self.finals[metric]))
        return found._replace(low=low, high=high)


class Part(NamedTuple):
    """A part of the page: its HTML, and what its figures are drawn from."""

    name: str
    heading: str
    html: str
    data: dict[str, Any]


def gather(results: Results, columns_of: Any) -> Study:
    """Everything that the parts are made of, computed once.

    Args:
        results: a run.
        columns_of: makes the columns of the results, axes and finals.
    """
    rows = results.configurations()
    metric = str(results.manifest["metric"])
    names = [name for name in results.metric_names if name != metric]
    if metric in results.metric_names:
        names = [metric, *names]
    finals = {name: results.final(name) for name in names}
    axes = [axis_of(results, field) for field in varying(results)]
    columns = columns_of(results, axes, finals)
    return Study(results, rows, axes, finals, results.draws, draws(results, rows), columns)


def against_fields(study: Study) -> Part | None:
    """The metric against each swept field."""
    if all(len(axis.labels) == 1 for axis in study.axes) or not study.ended:
        return None
    heading = f"{title(study.metric)} against {listing(study.fields)}"
    if study.alone:
        return _sentence("against", heading, study)
    drawn, data = [], []
    unscored = [] if Status.STOPPED in study.results.scored else [Status.STOPPED]
    status = study.results.members["status"].to_numpy(zero_copy_only=False)
    stopped = int(np.isin(status, unscored).sum())
    ended = np.isin(status, [*study.results.scored, *LOST])
    lost = bool((ended & ~np.isfinite(study.finals[study.metric])).any())
    at = scored_at(study.results.manifest)
    for place, axis in enumerate(study.axes):
        found = study.along(axis, study.metric)
        finals, mode = study.finals[study.metric], study.results.manifest["mode"]
        apart = differences_along(axis, finals, study.seeds, mode, study.results.overlap)
        data.append(means(found) | ({"apart": means(apart), "to": apart.band} if apart else {}))
        unset = int((axis.cells < 0).sum())
        caption = _ends(study, axis, found)
        caption += f"A dot is one member {at}; line and band: {found.band}. "
        if lost:
            caption += "A mark at the lower edge is a member that diverged or has no finite value. "
        if stopped:
            caption += (
                f"{count(stopped, 'member')} that were stopped early have no value and are not in the means, "
            )
            caption += "which are too good where many were stopped. "
        caption += f"{count(unset, 'member')} in which it is not set are left out." if unset else ""
        label = f"{study.metric} against {axis.field}, a dot per member, with means and intervals"
        drawn.append(figure(f"against-{place}", label, caption.strip(), _shown(study, place, bool(apart))))
    body = f'<div class="grid">{"".join(drawn)}</div>'
    return Part("against", heading, section("against", heading, body), {"against": data})


def _ends(study: Study, axis: Axis, found: Marginal) -> str:
    """Where the mean is highest and lowest, in words."""
    if np.isfinite(found.mean).sum() < 2:
        return ""
    percent = is_share(study.metric, study.finals[study.metric])
    highest, lowest = (
        (figures(found.mean[at], math.nan, math.nan, percent=percent), _rounded(axis, at))
        for at in (int(np.nanargmax(found.mean)), int(np.nanargmin(found.mean)))
    )
    if highest[0] == lowest[0]:
        return f"Mean {highest[0]} throughout. "
    return f"Mean highest {highest[0]} at {highest[1]}, lowest {lowest[0]} at {lowest[1]}. "


def _rounded(axis: Axis, cell: int) -> str:
    """What a cell is called in a sentence."""
    return number(float(axis.centers[cell])) if axis.numeric and not axis.binned else axis.labels[cell]


def _shown(study: Study, place: int, apart: bool) -> str:
    """What the figure of a field can show beside its values: a second field as colour, differences."""
    others = [axis.field for at, axis in enumerate(study.axes) if at != place]
    controls = choice(f"color-{place}", "Colour", ["none", *others]) if others else ""
    if apart:
        controls += f'<label><input type="checkbox" id="apart-{place}"> differences to the best</label>'
    return f'<div class="controls">{controls}</div>' if controls else ""


def _sentence(name: str, heading: str, study: Study) -> Part:
    """A part that has nothing to draw."""
    said = f"Nothing to compare: one of {count(len(study.rows), 'configuration')} has a final value."
    if Status.STOPPED in study.results.members["status"].to_pylist():
        said += " Every member's last score is under Early stopping."
    return Part(name, heading, section(name, heading, f"<p>{escape(said)}</p>"), {})


def heatmap(study: Study) -> Part | None:
    """Two fields at a time."""
    if len(study.axes) < 2 or not study.ended:
        return None
    if study.alone:
        return _sentence("heatmap", "Heat map", study)
    fields = study.fields
    controls = (
        f'<div class="controls">{choice("heat-x", "Across", fields)}'
        f"{choice('heat-y', 'Up', fields, 1)}{choice('heat-value', 'Shown', list(study.finals))}</div>"
    )
    shown, total = len(study.columns.rows), len(study.results.members)
    caption = (
        "The mean over the members in each cell that have a finite value. A large cross: every member in it "
        "diverged or has none; a small one: some did. An empty cell has no member that came to its end. "
    )
    caption += f"From {shown:,} of {total:,} members." if shown < total else ""
    label = f"heat map of {study.metric} over two of {listing(fields)}"
    body = figure("heat", label, caption.strip(), controls, 440)
    return Part("heatmap", "Heat map", section("heatmap", "Heat map", body), {})


def parallel(study: Study) -> Part | None:
    """All fields and metrics at once, to be filtered."""
    if len(study.axes) < 2 or not study.scored:
        return None
    if study.alone:
        return _sentence("parallel-part", "Parallel coordinates", study)
    names = [*study.fields, *[name for name in study.finals if name != study.metric]]
    names = [*names[: MOST_AXES - 1], study.metric]
    caption = (
        "A line is one member, darker where the metric is better (paler in the dark theme: the stronger the "
        "line, the better). Drag on an axis to filter; the table of members below then shows "
        "those members only. By keyboard, write the range, such as 0.1..0.3, into the filter boxes of that "
        "table. Members without a final value have no line. "
    )
    if int(np.isfinite(study.finals[study.metric]).sum()) > MOST_LINES:
        caption += (
            f"{MOST_LINES:,} lines are drawn: the best members, and others spread evenly over the ranking; "
        )
        caption += "a range that is chosen holds for all members. "
    left_out = len(study.axes) + len(study.finals) - len(names)
    caption += f"{left_out} further fields and metrics are in the table only." if left_out > 0 else ""
    label = f"parallel coordinates of {listing(names)}"
    body = '<p class="note" id="brushed" role="status">No range is chosen.</p>'
    body += figure("parallel", label, caption.strip(), "", 420)
    heading = "Parallel coordinates"
    return Part("parallel-part", heading, section("parallel-part", heading, body), {"parallel": names})


def importances(study: Study) -> Part | None:
    """How much each field explains."""
    if len(study.axes) < 2 or not study.scored:
        return None
    heading = "How much each field explains"
    if is_evolved(study.results.manifest):
        return (
            None  # the fields changed while training, and members with a common ancestor are not independent
        )
    shares, method = _shares(study)
    if not shares:
        body = f"<p>{method}</p>"
        return Part("importance-part", heading, section("importance-part", heading, body), {})
    label = "share of the variance explained: " + ", ".join(
        f"{share.field} {_percent(share)}" for share in shares
    )
    height, most = 110 + 34 * len(shares), shares[0]
    said = f"{most.field} explains most: {_percent(most)}. {method}"
    body = figure("importance", label, said, "", height)
    data = {"importance": [share._asdict() for share in shares], "importance_height": height}
    return Part("importance-part", heading, section("importance-part", heading, body), data)


def _percent(share: Share) -> str:
    """A share with its interval."""
    return f"{100 * share.share:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f} %)"


def means(found: Marginal) -> dict[str, Any]:
    """Means and bounds for the page's script."""
    return {"mean": compact(found.mean), "low": compact(found.low), "high": compact(found.high)}


def _shares(study: Study) -> tuple[list[Share], str]:
    """The share of each field, the largest first, and how it was computed."""
    units = np.asarray([row.interval.mean for row in study.rows])
    finite = np.isfinite(units)
    first = np.searchsorted(
        study.results.members["member"].to_numpy(), [row.members[0] for row in study.rows]
    )
    cells = [axis.values[first][finite] for axis in study.axes]
    found = []
    for axis, own in zip(study.axes, cells, strict=True):
        share = explained(quantile_cells(own), units[finite])
        found += [Share(axis.field, *share)] if share else []
    found.sort(key=lambda share: -share.share)
    lost = int((~finite).sum())
    method = (
        f"The share of the variance of {count(int(finite.sum()), 'configuration mean')} that each "
        f"field explains by itself, in at most {MOST_BINS} bins (one-way analysis of "
        f"variance, epsilon squared); the bar is its 95 % bootstrap interval over configurations. "
        f"What no field explains is interaction between fields, and noise. "
        f"A small share is no proof that a field does not matter: it may matter only "
        f"together with another, or outside the range that was swept."
    )
    if lost:
        method += f" {lost:,} without a finite value are left out."
    if not found:
        return [], (
            f"Not computed: it takes at least {SMALLEST} configurations with finite values that differ, "
            f"and levels with at least two of them on average."
        )
    return found, method


def percent_names(study: Study) -> list[str]:
    """The metrics that read best in percent."""
    return [name for name, values in study.finals.items() if is_share(name, values)]
