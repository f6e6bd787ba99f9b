"""All effects in one picture: each with its interval, in multiples of the least that matters."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sweeps.claims.effects import CONDITIONAL, FAILS, HOLDS, MORE, NO_MORE, OPEN, OTHER, SAME, Effect, Verdict
from sweeps.claims.verdicts import Finding
from sweeps.report.drawing import BLUE, GREY, ORANGE, VERMILION, canvas, caption, literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


class Look(NamedTuple):
    """How a verdict is drawn: told apart by the marker alone, where there are no colours."""

    color: str
    marker: str
    face: str


LOOKS: dict[Verdict, Look] = {
    HOLDS: Look(BLUE, "o", BLUE),
    CONDITIONAL: Look(ORANGE, "D", ORANGE),
    FAILS: Look(VERMILION, "X", VERMILION),
    OPEN: Look("#555555", "o", "white"),
}
MOST = 4  # effects of a claim that are all drawn; of more, the least and the most
FURTHEST = 1000.0  # multiples of the margin, beyond which an arrow stands for the rest
LINE, BAR, GAP, HEADING = 0.135, 0.15, 0.1, 0.3  # inches
BESIDE = 0.61  # of the width, where claims stand beside their effects
TEXT = "Each bar is the 95 % interval of a difference, widened for the comparisons it is read with, in " \
    "multiples of the smallest difference that matters; its thick part is that of two one-sided tests. " \
    "Pale green: where the claim says that the difference lies. Grey: too small to matter. Linear between " \
    "-2 and 2, logarithmic beyond. Of more than four effects the least and the most are shown."  # fmt: skip


class Row(NamedTuple):
    """A claim in the picture.

    Attributes:
        heading: the study, above its first claim; empty for the others.
        finding: what was found.
        lines: the claim, in lines.
        shown: its effects that are drawn, with their labels.
        top: where it begins, in inches from the top.
    """

    heading: str
    finding: Finding
    lines: list[str]
    shown: list[tuple[str, Effect]]
    top: float


def forest(found: Sequence[tuple[str, Sequence[Finding]]], narrow: bool = False) -> "Figure":
    """Draws the effects of all claims below one another.

    Args:
        found: a study's name with its findings; findings without effects that have a margin are left out.
        narrow: whether the claims stand above their effects, for a telephone, and not beside them.

    Example:
        >>> from sweeps.claims.verdicts import Claim
        >>> from sweeps.statistics.intervals import Interval
        >>> effect = Effect(Interval(0.1, -0.1, 0.3), 0.5, 16, claimed=NO_MORE)
        >>> finding = Finding(Claim("A is no better.", "B"), effect.verdict, "+0.1.", 1, (effect,))
        >>> len(forest([("study", [finding])]).axes)
        1
    """
    width = 3.9 if narrow else 9.0
    rows, height = _rows(found, narrow)
    top, bottom = (0.55 if narrow else 0.35), 0.55
    figure, (axes,) = canvas(1, (width, height + top + bottom))
    figure.set_layout_engine("none")
    left, right = (0.03, 0.97) if narrow else (BESIDE, 0.985)
    axes.set_position((left, bottom / figure.get_figheight(), right - left, height / figure.get_figheight()))
    axes.set(ylim=(height, 0), xlabel="multiples of the smallest difference that matters")
    axes.set_xscale("symlog", linthresh=2, linscale=1.2)
    ticks = [-100, -10, -2, -1, 0, 1, 2, 10, 100]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7)
    axes.set_xticks([], minor=True)
    axes.xaxis.label.set_fontsize(7.5)
    axes.set_xlim(-FURTHEST, FURTHEST)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.axvspan(-1, 1, color=GREY, alpha=0.18, linewidth=0)
    axes.axvline(0, color="#444444", linewidth=0.8)
    for row in rows:
        _draw(axes, row, narrow)
    handles = [_key(verdict) for verdict in LOOKS]
    columns = 2 if narrow else 4
    figure.legend(handles=handles, loc="upper left", ncols=columns, frameon=False, fontsize=7.5)
    caption(figure, TEXT)
    return figure


def _rows(found: Sequence[tuple[str, Sequence[Finding]]], narrow: bool) -> tuple[list[Row], float]:
    """The claims with their places, and how high they are together."""
    rows, top = [], 0.0
    for name, findings in found:
        heading = name
        for finding in findings:
            shown = _shown([effect for effect in finding.effects if effect.margin > 0 and effect.bounded])
            if not shown:
                continue
            lines = textwrap.wrap(finding.claim.text, 58 if narrow else 56)
            top += HEADING * bool(heading)
            rows.append(Row(heading, finding, lines, shown, top))
            bars = len(shown) * (BAR + LINE * (narrow and len(shown) > 1))
            top += GAP + (len(lines) * LINE + bars if narrow else max(len(lines) * LINE, bars))
            heading = ""
    return rows, max(top, 0.5)


def _shown(effects: list[Effect]) -> list[tuple[str, Effect]]:
    if len(effects) <= MOST:
        return [(effect.label, effect) for effect in effects]
    ordered = sorted(effects, key=lambda effect: effect.interval.mean / effect.margin)
    ends = (("least", ordered[0]), ("most", ordered[-1]))
    return [(f"{word} of {len(effects)}: {effect.label}", effect) for word, effect in ends]


def _draw(axes: Any, row: Row, narrow: bool) -> None:
    """The claim's words, and a bar for each of its effects, with its label."""
    beside = {"transform": axes.get_yaxis_transform(), "va": "center", "clip_on": False}
    # Above bars, words have lines behind them.
    beside |= {"bbox": {"color": "white", "pad": 0.5, "linewidth": 0}} if narrow else {}
    start = 0.0 if narrow else -(BESIDE - 0.01) / (0.985 - BESIDE)
    if row.heading:
        axes.text(start, row.top - HEADING / 2, row.heading, fontsize=8, fontweight="bold", **beside)
        axes.axhline(row.top - HEADING / 2, color="#dddddd", linewidth=0.8, zorder=0)
    for place, line in enumerate(row.lines):
        at = row.top + GAP / 2 + LINE * (place + 0.5)
        axes.text(start, at, literal(line), fontsize=7.5 if not narrow else 7, **beside)
    at = row.top + GAP / 2 + (len(row.lines) * LINE if narrow else 0)
    for label, effect in row.shown:
        short = {
            "s": literal(textwrap.shorten(label, 60, placeholder=" …")),
            "fontsize": 6,
            "color": "#555555",
        }
        if not narrow:
            axes.text(-0.02, at + BAR / 2, ha="right", **short, **beside)
        elif len(row.shown) > 1:
            axes.text(start, at + LINE / 2, **short, **beside)
            at += LINE
        _claimed(axes, effect, at + BAR / 2)
        _bar(axes, effect, at + BAR / 2, LOOKS[row.finding.verdict])
        at += BAR


def _claimed(axes: Any, effect: Effect, at: float) -> None:
    """A pale stripe where the claim says that the effect lies."""
    far = FURTHEST
    spans = {MORE: [(0, far)], NO_MORE: [(-far, 1)], SAME: [(-1, 1)], OTHER: [(-far, -0.1), (0.1, far)]}
    for low, high in spans[effect.claimed]:
        axes.fill_between([low, high], at - BAR / 2, at + BAR / 2, color="#009E73", alpha=0.14, linewidth=0)


def _bar(axes: Any, effect: Effect, at: float, look: Look) -> None:
    mean, low, high = (np.clip(value / effect.margin, -FURTHEST, FURTHEST) for value in effect.interval)
    inner = np.clip(np.asarray(effect.equivalence.interval[1:]) / effect.margin, -FURTHEST, FURTHEST)
    axes.plot([low, high], [at, at], color=look.color, linewidth=1)
    axes.plot(inner, [at, at], color=look.color, linewidth=2.4, solid_capstyle="butt")
    axes.plot(mean, at, look.marker, **_marker(look))


def _key(verdict: Verdict) -> Any:
    from matplotlib.lines import Line2D

    look = LOOKS[verdict]
    return Line2D([], [], color=look.color, marker=look.marker, label=verdict, **_marker(look))


def _marker(look: Look) -> dict[str, Any]:
    edge = look.color if look.face == "white" else "white"
    return {
        "markersize": 7.5 if look.marker == "X" else 6,
        "markerfacecolor": look.face,
        "markeredgecolor": edge,
        "markeredgewidth": 1.1 if look.face == "white" else 0.6,
    }
