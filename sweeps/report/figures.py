"""Figures of a run, drawn with matplotlib."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from sweeps import statistics
from sweeps.results import Configuration, Results
from sweeps.space import StudyError

# Okabe and Ito (2008): told apart with every common colour blindness.
BLUE, ORANGE, GREY, VERMILION = "#0072B2", "#E69F00", "#999999", "#D55E00"
MOST_CURVES = 16


def metric_against_field(results: Results, field: str, metric: str | None = None) -> Figure:
    """The final metric against one swept field: a dot per member, mean and 95 % interval over seeds.

    Args:
        results: a run.
        field: a numeric swept field.
        metric: a metric; None takes the study's.

    Raises:
        StudyError: the field was not swept or is not a number, or the metric is unknown.
    """
    metric = results.check_metric(metric)
    values = results.final(metric)
    if field not in results.swept:
        raise StudyError(
            f"`a swept field` must hold, but got {field!r}; there are {', '.join(results.swept) or 'none'}"
        )
    column = results.members[field].to_pylist()
    if not all(isinstance(value, float | int) for value in column):
        raise StudyError(f"`field {field} is numeric` must hold, but got {next(iter(set(column)))!r}")
    at = np.asarray(column, dtype=np.float64)
    figure, axes = _figure()
    levels = np.unique(at)
    intervals = [statistics.student_interval(_finite(values[at == level])) for level in levels]
    mean, low, high = (np.asarray(bounds) for bounds in zip(*intervals, strict=True))
    axes.scatter(at, values, s=14, color=GREY, alpha=0.6, linewidths=0, label="one member")
    axes.fill_between(
        levels, low, high, color=BLUE, alpha=0.2, linewidth=0, label="95 % interval of the mean"
    )
    axes.plot(levels, mean, color=BLUE, marker="o", markersize=4, label="mean over seeds")
    diverged = np.isnan(values)
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
    if _logarithmic(levels):
        axes.set_xscale("log")
    axes.set(xlabel=field, ylabel=metric, title=f"{metric} after {results.manifest['steps']} steps")
    axes.legend(frameon=False, fontsize="small")
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
    if len(rows) > MOST_CURVES:
        rows = [rows[place] for place in np.linspace(0, len(rows) - 1, MOST_CURVES).round().astype(int)]
    rows = sorted(rows, key=lambda row: [(value is not None, value) for value in row.config.values()])
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(rows)))
    member = results.metrics["member"].to_numpy()
    step = results.metrics["step"].to_numpy()
    value = results.metrics[metric].to_numpy(zero_copy_only=False)
    figure, axes = _figure()
    for row, color in zip(rows, colors, strict=True):
        own = np.isin(member, row.members)
        steps = np.unique(step[own])
        intervals = [statistics.student_interval(_finite(value[own & (step == at)])) for at in steps]
        mean, low, high = (np.asarray(bounds) for bounds in zip(*intervals, strict=True))
        axes.plot(steps, mean, color=color, linewidth=1.4, label=_label(row))
        axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
    axes.set(xlabel="training steps", ylabel=metric, title=f"{metric}: mean and 95 % interval over seeds")
    if results.swept:
        axes.legend(frameon=False, fontsize="x-small", ncols=1 + (len(rows) > 8))
    return figure


def save_figures(results: Results, directory: Path) -> list[Path]:
    """Draws the study's metric against every numeric swept field, and the learning curves, as PNG files.

    Args:
        results: a run.
        directory: where the files go.

    Returns:
        The files.
    """
    metric = results.manifest["metric"].replace("/", "-")
    drawn: dict[str, Any] = {}
    for field in results.swept:
        if all(isinstance(value, float | int) for value in results.members[field].to_pylist()):
            drawn[f"{metric}-against-{field}.png"] = metric_against_field(results, field)
    drawn["learning-curves.png"] = learning_curves(results)
    for name, figure in drawn.items():
        figure.savefig(directory / name, dpi=150)
    return [directory / name for name in drawn]


def _figure() -> tuple[Figure, Any]:
    # Figure, not pyplot: nothing global, and no window system is asked for.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _logarithmic(levels: np.ndarray) -> bool:
    return bool(len(levels) > 2 and levels[0] > 0 and levels[-1] / levels[0] >= 50)


def _label(row: Configuration) -> str:
    return ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in row.config.items()
    )
