"""Figures of a run for a paper, drawn with matplotlib."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from sweeps.report.axes import axis_of
from sweeps.report.drawing import BLUE, GREY, VERMILION, canvas, caption, in_percent, literal
from sweeps.report.marginals import marginal, places, student_rows
from sweeps.report.wording import count, is_share
from sweeps.results import Configuration, Results
from sweeps.space import StudyError
from sweeps.store import writing
from sweeps.trial import unknown

MOST_CURVES = 16
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
        raise StudyError(
            f"`a swept field` must hold, but got {unknown(field, results.swept)}"
            if results.swept
            else f"`a swept field` must hold, but got {field!r}; no field was swept"
        )
    axis = axis_of(results, field)
    configurations = places(results, results.configurations())
    found = marginal(axis, values, results.members["seed"].to_numpy(), configurations)
    figure, (axes,) = canvas()
    spread = 0.0 if axis.numeric else 0.15  # so that dots of one category do not hide each other
    at = axis.values + spread * np.random.default_rng(0).uniform(-1, 1, len(axis.values))
    axes.scatter(at, values, s=14, color=GREY, alpha=0.6, linewidths=0, label="one member")
    if axis.numeric and len(axis.centers) > 1:
        axes.fill_between(axis.centers, found.low, found.high, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(axis.centers, found.mean, color=BLUE, marker="o", markersize=4, label="mean")
    else:
        reach = np.nan_to_num(found.high - found.mean)
        axes.errorbar(
            axis.centers, found.mean, reach, color=BLUE, fmt="D", markersize=5, capsize=4, label="mean"
        )
    if not axis.numeric:
        axes.set_xticks(axis.centers, [literal(label) for label in axis.labels])
    # Members that were stopped or not trained yet have no value either, but have not diverged.
    status = results.members["status"].to_numpy(zero_copy_only=False)
    diverged = np.isnan(values) & np.isin(status, ("diverged", "failed", "done"))
    if diverged.any():
        bottom = np.full(int(diverged.sum()), 0.02)
        axes.scatter(
            at[diverged],
            bottom,
            marker="x",
            color=VERMILION,
            label="diverged",
            transform=axes.get_xaxis_transform(),
        )
    if axis.log:
        axes.set_xscale("log")
    if is_share(metric, values):
        in_percent(axes)
    axes.set(xlabel=literal(field), ylabel=literal(metric))
    axes.legend(frameon=False, fontsize="small")
    steps = count(results.manifest["steps"], "step")
    caption(figure, f"After {steps}. Dots: members. Line and band: {found.band}.")
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
    member = results.metrics["member"].to_numpy()
    step = results.metrics["step"].to_numpy()
    value = results.metrics[metric].to_numpy(zero_copy_only=False)
    figure, (axes,) = canvas()
    for row, color in zip(rows, colors, strict=True):
        own = np.isin(member, row.members)
        steps, at = np.unique(step[own], return_inverse=True)
        if not len(steps):
            continue  # not trained yet
        table = np.full((len(steps), len(row.members)), np.nan)
        table[at, np.searchsorted(row.members, member[own])] = value[own]
        mean, low, high = student_rows(table)
        axes.plot(steps, mean, color=color, linewidth=1.4, label=_label(row))
        axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
    if is_share(metric, value):
        in_percent(axes)
    axes.set(xlabel="training steps", ylabel=literal(metric))
    seeds = count(max(len(row.members) for row in rows), "seed")
    drawn = (
        "" if len(rows) == every else f" {len(rows)} of {every:,} configurations, from the best to the worst."
    )
    caption(figure, f"Lines and bands: mean and 95 % interval over {seeds}.{drawn}")
    if results.swept and axes.lines:
        axes.legend(frameon=False, fontsize="x-small", ncols=1 + (len(rows) > 8))
    return figure


def save_figures(
    results: Results, directory: str | Path, formats: Sequence[str] = ("png",), dpi: int = 150
) -> list[Path]:
    """Draws the study's metric against every swept field, and the learning curves.

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
            raise StudyError(
                f"`a format of {', '.join(FORMATS)}` must hold, but got {unknown(name, FORMATS)}"
            )
    metric = _file_name(results.manifest["metric"])
    drawn: dict[str, Any] = {}
    for field in results.swept:
        drawn[f"{metric}-against-{_file_name(field)}"] = metric_against_field(results, field)
    drawn["learning-curves"] = learning_curves(results)
    paths = []
    # Type 42 is TrueType, which journals ask for; without a date, the same figure is the same file.
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "sweeps"}), writing("the figures"):
        for name, figure in drawn.items():
            for kind in formats:
                path = Path(directory) / f"{name}.{kind}"
                dated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
                figure.savefig(path, dpi=dpi, metadata=dated)
                paths.append(path)
    return paths


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "unnamed"


def _label(row: Configuration) -> str:
    return ", ".join(
        f"{literal(name)}={value:.3g}" if isinstance(value, float) else literal(f"{name}={value}")
        for name, value in row.config.items()
    )
