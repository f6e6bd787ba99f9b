"""Colours, and what figures for a paper hold."""

import re
from pathlib import Path

import numpy as np
import pytest

from sweeps.report import drawing, page
from sweeps.report.figures import learning_curves, save_figures
from tests.sweeps.synthetic_runs import run_of

ASSETS = Path(page.__file__).parent / "assets"


def luminance(color):
    """Of the web's guidelines (WCAG 2.1)."""
    channels = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("name", "ground"), [("ON_LIGHT", "#ffffff"), ("ON_DARK", "#161616")])
def test_series_are_told_from_the_ground(name, ground):
    text = (ASSETS / "drawing.js").read_text()
    found = re.search(rf"const {name} = \[(.*)\];", text)
    assert found
    colors = re.findall(r"#[0-9a-f]{6}", found[1])
    assert len(colors) == 8 and min(contrast(color, ground) for color in colors) >= 4.5


def test_colors_of_the_page_are_told_from_the_ground():
    themes = re.findall(r"--ground: (#\w{6});(.*?)\}", (ASSETS / "page.css").read_text(), re.DOTALL)
    assert len(themes) == 3
    for ground, rest in themes:
        named = dict(re.findall(r"--(\w+): (#\w{6})", rest))
        for name in ("text", "soft", "link", "blue", "orange", "vermilion", "grey"):
            assert contrast(named[name], ground) >= 4.5, (name, ground)


def test_a_page_of_16_members_is_small():
    results = run_of({"alpha": "grid(0.0, 0.1)"}, 8, levels={"alpha": [0.0, 0.1]})
    assert len(page.document(results).encode()) < 150_000


def test_lines_of_many_fields_are_numbered_with_a_key_below(tmp_path):
    names = ("alpha", "learning_rate", "width", "depth", "norm")
    levels = {name: [0.1, 0.2] if place < 3 else [1] for place, name in enumerate(names)}
    results = run_of(dict.fromkeys(levels, "grid(0.1, 0.2)"), 3, levels=levels)
    figure = learning_curves(results)
    (axes,) = figure.axes
    assert [note.get_text() for note in axes.texts] == [str(number) for number in range(1, 9)]
    heights = sorted(getattr(note, "xy")[1] for note in axes.texts)  # noqa: B009
    low, high = axes.get_ylim()
    assert min(np.diff(heights)) > 0.03 * (high - low)
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key[0] == "1  alpha=0.1, learning_rate=0.1, width=0.1, depth=1, norm=1" and len(key) == 8
    assert axes.get_ylabel() == "Test accuracy" and axes.get_legend() is None
    paths = save_figures(results, tmp_path)
    assert (tmp_path / "learning-curves.txt").read_text() == (
        "Lines and bands: mean and 95 % interval over 3 seeds.\n"
    )
    assert len(list(tmp_path.glob("*.txt"))) == len(paths)


def test_bands_of_a_figure_stay_within_the_metric():
    results = run_of({"alpha": "grid(0.0, 0.1)"}, 2, levels={"alpha": [0.0, 0.1]})
    for figure in (learning_curves(results), results.figure("alpha")):
        (axes,) = figure.axes
        edges = [np.asarray(path.vertices)[:, 1] for band in axes.collections for path in band.get_paths()]
        assert max(each.max() for each in edges if len(each) < 60) <= 1.0


def test_orange_of_figures_is_told_from_white():
    assert contrast(drawing.ORANGE, "#ffffff") >= 4.5
