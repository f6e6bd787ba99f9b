"""What figures are drawn with: axes, captions, colours, bands over seeds and effects with their intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from sweeps.report.marginals import student_rows
from sweeps.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


# Okabe and Ito (2008): told apart with every common colour blindness; the orange is darker, for white.
BLUE, ORANGE, GREY, VERMILION = "#0072B2", "#8F6100", "#999999", "#D55E00"
GREEN, PURPLE, SKY = "#009E73", "#CC79A7", "#56B4E9"
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)


def canvas(
    panels: int = 1, size: tuple[float | int, float | int] | None = None
) -> tuple["Figure", list[Any]]:
    """A figure with some axes side by side.

    Args:
        panels: how many.
        size: width and height in inches; None takes what suits a page.
    """
    from sweeps.report.inline import InlineFigure  # not pyplot: nothing global, and no window system

    figure = InlineFigure(figsize=size or ((7, 4.5) if panels == 1 else (9.5, 4.5)), layout="constrained")
    found = list(np.ravel(figure.subplots(1, panels)))
    for axes in found:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure, found


def in_percent(axes: Any, decimals: int | None = None) -> None:
    """Labels a vertical axis of shares in per cent.

    Args:
        axes: matplotlib axes.
        decimals: how many digits follow the point; None takes as many as are needed.
    """
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals, " %"))


def caption(figure: "Figure", text: str) -> None:
    """Keeps what is drawn, and what the band is over, for the text beside it: papers have their own."""
    figure.set_label(text)


def saved(figure: "Figure", path: Path, **options: Any) -> Path:
    """Writes a figure, and its caption as a text file beside it.

    Args:
        figure: the figure.
        path: of the picture.
        **options: of `savefig`.

    Returns:
        The picture's path.
    """
    figure.savefig(path, **options)
    if text := str(figure.get_label()):
        path.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
    return path


def panels(number: int, text: str) -> tuple["Figure", list[Any]]:
    """A figure of panels side by side, with a caption for the text beside it.

    Args:
        number: how many panels.
        text: what dots, lines and bands are.
    """
    figure, axes = canvas(number, (1 + 4.2 * number, 4.4))
    caption(figure, text)
    return figure, axes


def literal(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def band(
    axes: Any,
    at: Shaped[np.ndarray, " rows"],
    table: Float[np.ndarray, "rows seeds"],
    color: str,
    label: str,
    marker: str = "",
) -> None:
    """Draws the mean over seeds as a line and its 95 % interval as a band.

    Args:
        axes: what to draw on.
        at: where each row lies.
        table: a column per seed.
        color: of both.
        label: for the legend.
        marker: at the means; empty for none.
    """
    mean, low, high = student_rows(table)
    axes.fill_between(at, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(at, mean, color=color, label=literal(label), marker=marker, markersize=4, linewidth=1.5)


def effects(
    axes: Any, labels: Sequence[str], intervals: Sequence[Interval], margin: float | int, unit: str
) -> None:
    """Draws effects below one another, each with its interval, against zero and the margin that matters.

    Args:
        axes: what to draw on.
        labels: of the effects, the first at the top.
        intervals: of the effects, in the unit.
        margin: the smallest effect that matters, drawn to both sides of zero; 0 draws none.
        unit: what the axis is labelled with.
    """
    at = np.arange(len(labels))[::-1]
    if margin:
        axes.axvspan(-margin, margin, color=GREY, alpha=0.18, linewidth=0, label="too small to matter")
    axes.axvline(0, color="#444444", linewidth=1)
    for place, interval in zip(at, intervals, strict=True):
        clear = interval.low > 0 or interval.high < 0
        axes.plot([interval.low, interval.high], [place, place], color=BLUE, linewidth=2)
        axes.plot(interval.mean, place, "o", color=BLUE, markerfacecolor=BLUE if clear else "white")
    axes.set_yticks(at, [literal(label) for label in labels])
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel(literal(unit))
    if margin:
        axes.legend(frameon=False, fontsize="x-small", loc="best")
