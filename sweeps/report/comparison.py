"""Two runs compared, in words and as a page that opens without a network."""

import base64
import io
import math
from pathlib import Path

import numpy as np

from sweeps.report.drawing import canvas, effects
from sweeps.report.markup import escape, section, table
from sweeps.report.page import ASSETS, named
from sweeps.report.wording import cells, count, difference, in_words, is_share, point, scored_at, title
from sweeps.results.comparison import Comparison, Difference
from sweeps.statistics.intervals import Interval
from sweeps.store.durable import replace_text, writing

MOST_DRAWN, DPI = 40, 120


def answer(found: Comparison, first: str, second: str) -> list[str]:
    """What a comparison found, a sentence each.

    Args:
        found: the comparison.
        first: what the first is called.
        second: what the second is called.
    """
    found, unit = _in_points(found)
    mean, told = found.mean, sum(each.told for each in found.differences)
    amount, tested = (sum(each.seeds >= least for each in found.differences) for least in (1, 2))
    over = f"over {count(amount, 'configuration')} and {count(mean.seeds, found.over)} that both have"
    if mean.told:
        direction = "higher" if mean.interval.mean > 0 else "lower"
        good = (mean.interval.mean > 0) == (found.mode == "max")
        which = "" if found.mode is None else f", which is {'better' if good else 'worse'}"
        lead = f"{title(found.metric)} of {second} is {direction} than that of {first}{which}: "
        lead += f"by {_size(mean)}{unit}, {over}."
    else:
        lead = f"{title(found.metric)} of {first} and of {second} cannot be told apart {over}: "
        lead += f"{difference(*mean.interval)}{unit}."
    said = [lead, *_selected(found, first, second)]
    if found.steps[0] != found.steps[1]:
        said.append(f"{first} trains for {count(found.steps[0], 'step')}, {second} for {found.steps[1]:,}.")
    if mean.seeds < 4:
        said.append(f"{count(mean.seeds, found.over)} make an interval that is not to be relied on.")
    if mean.smallest > 0:  # of which there is none where all seeds agree
        said.append(
            f"So many {found.over}s tell a difference of {mean.smallest:.2g}{unit} in nine of ten cases."
        )
    if tested > 1:
        differ = "configurations differs by itself" if told == 1 else "configurations differ by themselves"
        said.append(f"{told} of {tested} {differ}, corrected for {tested} comparisons.")
    if found.lost:
        said.append(f"{count(found.lost, 'pair')} of members are left out: one of them has no final value.")
    return said


def _selected(found: Comparison, first: str, second: str) -> list[str]:
    """Which evaluations are compared, where they are not the last."""
    if found.select == ("best", "best"):
        return [f"Each member is taken {scored_at({'select': 'best'})}."]
    if "best" not in found.select:
        return []
    best, last = (first, second) if found.select[0] == "best" else (second, first)
    return [
        f"Each member of {best} is taken {scored_at({'select': 'best'})}, each of {last} at the last: a "
        "difference may be that alone."
    ]


def headings(found: Comparison) -> list[str]:
    """What stands over the columns of `rows`.

    Args:
        found: the comparison.
    """
    _, unit = _in_points(found)
    points = unit.replace(" ", ", ")
    return [*found.common, f"difference{points}", "95 % interval", f"{found.over}s", "detectable", ""]


def rows(found: Comparison) -> list[list[str]]:
    """A row per configuration: its fields, the difference, its interval, seeds, and what would be told.

    Args:
        found: the comparison.
    """
    found, _ = _in_points(found)
    return [[*cells(each.config), *_cells(each, found.over)] for each in found.differences]


def write(found: Comparison, first: str, second: str, path: Path) -> Path:
    """Writes the page; a file of that name is replaced.

    Args:
        found: the comparison.
        first: what the first is called.
        second: what the second is called.
        path: the file.

    Raises:
        StudyError: it cannot be written.
    """
    path, sentences = named(path, "a comparison", "compared.html"), answer(found, first, second)
    heading = f"{first} and {second} compared"
    style = (ASSETS / "page.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    picture = (
        f'<figure><img alt="{escape(sentences[0])}" src="data:image/png;base64,{_drawn(found)}"></figure>'
    )
    note = (
        f"{second} less {first}, at {found.over}s that both have. Intervals are each configuration's own; "
        "* marks those that differ with Holm's correction for all that can be tested. Detectable is the "
        f"smallest difference that so many {found.over}s tell in nine of ten cases."
    )
    body = f'<p class="note">{escape(note)}</p>{table(headings(found), rows(found))}'
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(heading)}</title>\n<style>\n{style}\n</style>\n</head>\n<body>\n<header>\n"
        f'<h1>{escape(heading)}</h1>\n<p class="answer">{escape(sentences[0])}</p>\n'
        f'<p class="grounds">{escape(" ".join(sentences[1:]))}</p>\n</header>\n<main>\n{picture}\n'
        f"{section('differences', 'Every configuration', body)}\n</main>\n"
        "<footer><p>This file is complete: it opens without a network.</p></footer>\n</body>\n</html>\n"
    )
    with writing(str(path)):
        replace_text(path, text)
    return path


def _in_points(found: Comparison) -> tuple[Comparison, str]:
    """The comparison in points where its metric is in percent, and the unit behind its numbers."""
    if not is_share(found.metric, np.asarray(found.extent)):
        return found, ""

    def scaled(each: Difference) -> Difference:
        ends = Interval(*(100 * end for end in each.interval))
        return each._replace(interval=ends, smallest=100 * each.smallest)

    rows = [scaled(each) for each in found.differences]
    return found._replace(differences=rows, mean=scaled(found.mean)), " points"


def _drawn(found: Comparison) -> str:
    """The differences with their intervals, the mean at the top, as PNG in base64."""
    found, unit = _in_points(found)
    axis = f"difference of {in_words(found.metric)}{unit.replace(' ', ', ')}"
    shown = [found.mean, *found.differences[:MOST_DRAWN]] if len(found.differences) > 1 else [found.mean]
    shown = [each for each in shown if math.isfinite(each.interval.low)]
    figure, (axes,) = canvas(1, (7.0, 1.2 + 0.3 * max(1, len(shown))))
    labels = [point(each.config) if each.config else "mean of all" for each in shown]
    effects(axes, labels, [each.interval for each in shown], 0, axis)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _cells(each: Difference, over: str) -> list[str]:
    interval = each.interval
    if not each.seeds:
        return ["–", "–", "0", "–", f"no common {over}"]
    mean, _, between = difference(*interval).partition(" (")
    smallest = "–" if math.isnan(each.smallest) else f"{each.smallest:.2g}"
    return [mean, between.rstrip(")") or "–", str(each.seeds), smallest, "*" if each.told else ""]


def _size(each: Difference) -> str:
    """How large a difference is, whichever way it goes."""
    mean, low, high = each.interval
    said = difference(mean, low, high) if mean > 0 else difference(-mean, -high, -low)
    return said.replace("+", "")
