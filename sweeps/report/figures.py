"""Figures of a run for a paper, drawn with matplotlib."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from sweeps.errors import StudyError, unknown
from sweeps.report.axes import axis_of
from sweeps.report.bounds import bounds_of
from sweeps.report.drawing import BLUE, GREY, VERMILION, canvas, caption, in_percent, literal, saved
from sweeps.report.marginals import draws, marginal, seed_columns, student_rows
from sweeps.report.wording import count, is_share, scored_at, title
from sweeps.results.results import Configuration, Results
from sweeps.space.values import own_values
from sweeps.store.chunks import writing
from sweeps.store.statuses import Status

MOST_CURVES = 16
MOST_BANDS = 8  # of more configurations, bands would hide one another
MOST_NAMED = 2  # fields; the configurations of more are named below the figure
FORMATS = ("png", "pdf", "svg")


def metric_against_field(results: Results, field: str, metric: str | None = None) -> Figure:
    """The final metric against one swept field: a dot per member, mean and 95 % interval over seeds.

    Args:
        results: a run.
        field: a swept field.
        metric: a metric; None takes the study's.

    Raises:
        StudyError: the field was not swept, or the metric is unknown.
    """
    metric = results.check_metric(metric)
    values = results.final(metric)
    if field not in results.swept:
        raise StudyError(unknown("The run does not vary", field, results.swept))
    axis = axis_of(results, field)
    places = draws(results, results.configurations())
    found = marginal(axis, values, results.draws, places, results.overlap)
    low, high = np.clip([found.low, found.high], *bounds_of(metric, values))
    found = found._replace(low=low, high=high)
    figure, (axes,) = canvas()
    spread = 0.0 if axis.numeric else 0.15  # so that dots of one category do not hide each other
    at = axis.values + spread * np.random.default_rng(0).uniform(-1, 1, len(axis.values))
    axes.scatter(at, values, s=14, color=GREY, alpha=0.6, linewidths=0, label="one member")
    if axis.numeric and len(axis.centers) > 1:
        axes.fill_between(axis.centers, found.low, found.high, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(axis.centers, found.mean, color=BLUE, marker="o", markersize=4, label="mean")
    else:
        reach = np.nan_to_num([found.mean - found.low, found.high - found.mean])
        axes.errorbar(
            axis.centers, found.mean, reach, color=BLUE, fmt="D", markersize=5, capsize=4, label="mean"
        )
    if not axis.numeric:
        axes.set_xticks(axis.centers, [literal(label) for label in axis.labels])
    # Members that were stopped or not trained yet have no value either, but are not lost.
    status = results.members["status"].to_numpy(zero_copy_only=False)
    lost = np.isnan(values) & np.isin(status, (Status.DIVERGED, Status.FAILED, Status.DONE))
    if lost.any():
        kinds = {"no finite score" if each == Status.DONE else "diverged" for each in status[lost]}
        bottom = np.full(int(lost.sum()), 0.02)
        axes.scatter(
            at[lost],
            bottom,
            marker="x",
            color=VERMILION,
            label=" or ".join(sorted(kinds)),
            transform=axes.get_xaxis_transform(),
        )
    if axis.log:
        axes.set_xscale("log")
    if is_share(metric, values):
        in_percent(axes)
    axes.set(xlabel=literal(field), ylabel=literal(title(metric)))
    axes.legend(frameon=False, fontsize="small")
    steps = count(results.manifest["steps"], "step")
    after = f"After {steps}, a member {scored_at(results.manifest)}"
    caption(figure, f"{after}. Dots: members. Line and band: {found.band}.")
    return figure


def learning_curves(results: Results, metric: str | None = None) -> Figure:
    """The metric against training steps, a line per configuration: mean and 95 % interval over seeds.

    At most 16 configurations are drawn, spread evenly from the best to the worst.

    Args:
        results: a run.
        metric: a metric; None takes the study's.
    """
    metric = results.check_metric(metric)
    rows = results.configurations()
    every = len(rows)
    if every > MOST_CURVES:
        rows = [rows[place] for place in np.linspace(0, every - 1, MOST_CURVES).round().astype(int)]
    rows = sorted(
        rows, key=lambda row: [(value is not None, str(type(value)), value) for value in row.config.values()]
    )
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(rows)))
    ids, member = results.members["member"].to_numpy(), results.metrics["member"].to_numpy()
    step = results.metrics["step"].to_numpy()
    value = results.metrics[metric].to_numpy(zero_copy_only=False)
    figure, (axes,) = canvas()
    bounds = bounds_of(metric, value)
    for row, color in zip(rows, colors, strict=True):
        own = np.isin(member, row.members)
        steps, at = np.unique(step[own], return_inverse=True)
        if not len(steps):
            continue  # not trained yet
        table = np.full((len(steps), len(row.members)), np.nan)
        table[at, np.searchsorted(row.members, member[own])] = value[own]
        columns = seed_columns(table, results.draws[np.isin(ids, row.members)])
        mean, low, high = student_rows(columns, results.overlap)
        axes.plot(steps, mean, color=color, linewidth=1.4, label=_label(row))
        if len(rows) <= MOST_BANDS:
            axes.fill_between(steps, *np.clip([low, high], *bounds), color=color, alpha=0.15, linewidth=0)
    if is_share(metric, value):
        in_percent(axes)
    axes.set(xlabel="Training steps", ylabel=literal(title(metric)))
    most = max(len(np.unique(results.draws[np.isin(ids, row.members)])) for row in rows)
    over = count(most, "fold" if results.folds else "seed")
    drawn = (
        "" if len(rows) == every else f" {len(rows)} of {every:,} configurations, from the best to the worst."
    )
    what = "Lines and bands: mean and 95 % interval" if len(rows) <= MOST_BANDS else "Lines: mean"
    caption(figure, f"{what} over {over}.{drawn}")
    if results.swept and axes.lines:
        _key(figure, axes, numbered=len(results.swept) > MOST_NAMED)
    return figure


def _key(figure: Figure, axes: Any, numbered: bool) -> None:
    """Which line is which: in the figure, or as numbers at the lines' ends and a key below it."""
    lines = [line for line in axes.lines if np.isfinite(np.asarray(line.get_ydata(), float)).any()]
    if not numbered:
        axes.legend(frameon=False, fontsize="x-small", ncols=1 + (len(lines) > 8))
        return
    low, high = axes.get_ylim()
    drawn = [np.asarray(line.get_ydata(), float) for line in lines]
    ends = [each[np.isfinite(each)][-1] for each in drawn]
    at, gap = np.asarray(ends, dtype=float), 0.035 * (high - low)
    order = np.argsort(at, kind="stable")
    for below, place in zip(order[:-1], order[1:], strict=True):  # no number lies on another
        at[place] = max(at[place], at[below] + gap)
    for place, line in enumerate(lines, 1):
        axes.annotate(
            str(place),
            (1.01, at[place - 1]),
            xycoords=("axes fraction", "data"),
            fontsize="x-small",
            color=line.get_color(),
            va="center",
            annotation_clip=False,
        )
        line.set_label(f"{place}  {line.get_label()}")
    columns = 2 if max(len(str(line.get_label())) for line in lines) < 60 else 1
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + 0.18 * len(lines) / columns)
    figure.legend(handles=lines, loc="outside lower left", frameon=False, fontsize="x-small", ncols=columns)


def save_figures(
    results: Results, directory: str | Path, formats: Sequence[str] = ("png",), dpi: int = 150
) -> list[Path]:
    """Draws the study's metric against every swept field, and the learning curves; captions are texts beside.

    Args:
        results: a run.
        directory: the folder that the files go to.
        formats: of `png`, `pdf` and `svg`.
        dpi: dots per inch of a PNG.

    Returns:
        The files.

    Raises:
        StudyError: a format is unknown, or a file cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise StudyError(unknown("Unknown format", name, FORMATS))
    metric = _file_name(results.manifest["metric"])
    drawn: dict[str, Any] = {}
    for field in results.swept:
        name = f"{metric}-against-{_file_name(field)}"
        # Where a name is cut to ASCII two fields may share one.
        drawn[f"{name}-{len(drawn)}" if name in drawn else name] = metric_against_field(results, field)
    drawn["learning-curves"] = learning_curves(results)
    paths = []
    # Type 42 is TrueType, which journals ask for; without a date, the same figure is the same file.
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "sweeps"}), writing("the figures"):
        for name, figure in drawn.items():
            figure.draw_without_rendering()
            figure.set_layout_engine(
                "none"
            )  # laid out once: every format is the same whatever came before it
            for kind in formats:
                path = Path(directory) / f"{name}.{kind}"
                dated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
                paths.append(saved(figure, path, dpi=dpi, metadata=dated))
    return paths


def _file_name(text: str) -> str:
    encoding = sys.getfilesystemencoding()  # ASCII with LC_ALL=C, which has no ö
    text = text.encode(encoding, "replace").decode(encoding)
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "unnamed"


def _label(row: Configuration) -> str:
    return ", ".join(
        f"{literal(name)}={value:.3g}" if isinstance(value, float) else literal(f"{name}={value}")
        for name, value in own_values(row.config).items()
    )
