"""The picture of all effects: what is in it, and that verdicts are told apart without colours."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from sweeps.claims.effects import CONDITIONAL, FAILS, HOLDS, MORE, NO_MORE, OPEN, OTHER, SAME, Effect
from sweeps.claims.forest import FURTHEST, LOOKS, forest
from sweeps.claims.verdicts import Claim, Finding
from sweeps.statistics.intervals import Interval


def finding(text, verdict, *effects):
    return Finding(Claim(text, "Somebody, 2013"), verdict, "So much.", 1, effects)


def effect(mean, reach=0.2, margin=0.5, **words):
    return Effect(Interval(mean, mean - reach, mean + reach), margin, 16, **words)


FOUND = [
    (
        "one",
        [
            finding("A claim of $x_1$ that holds.", HOLDS, effect(1.0, claimed=MORE)),
            finding("A claim that nothing is gained.", FAILS, effect(9.0, claimed=NO_MORE)),
        ],
    ),
    (
        "two",
        [
            finding(
                "Many effects.",
                CONDITIONAL,
                *(effect(place - 4.0, claimed=SAME, label=f"number {place}") for place in range(9)),
            ),
            finding("Open.", OPEN, effect(0.5, 9, claimed=OTHER)),
            finding("Without effects.", OPEN),
            finding("Of one seed.", OPEN, Effect(Interval(1.0, np.nan, np.nan), 0.5, 1)),
        ],
    ),
]


def words(figure):
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("narrow", [False, True])
def test_every_claim_with_effects_has_its_bars(narrow, tmp_path):
    figure = forest(FOUND, narrow)
    assert isinstance(figure, Figure)
    said = words(figure)
    assert {"one", "two", r"A claim of \$x_1\$ that holds.", "Many effects.", "Open."} <= set(said)
    assert not {"Without effects.", "Of one seed."} & set(said)
    markers = [line.get_marker() for line in figure.axes[0].lines if line.get_marker() not in ("None", "")]
    # One each for the claims of one effect, two for the one of nine: the least and the most.
    assert markers == [LOOKS[verdict].marker for verdict in (HOLDS, FAILS, CONDITIONAL, CONDITIONAL, OPEN)]
    if not narrow:
        assert {"least of 9: number 0", "most of 9: number 8"} <= set(said)
    figure.savefig(tmp_path / "forest.svg")
    figure.savefig(tmp_path / "forest.png")
    assert "a verdict" not in str(figure.get_label()) and "Grey: too small" in str(figure.get_label())


def test_bars_are_in_multiples_of_the_margin_and_what_is_far_out_stays_inside():
    figure = forest([("one", [finding("Far.", HOLDS, effect(2.0), effect(1e6, margin=0.1))])])
    bars = [line.get_xdata() for line in figure.axes[0].lines if line.get_linewidth() == 1]
    assert np.asarray(bars[0]) == pytest.approx([3.6, 4.4]) and np.max(bars[1]) == FURTHEST


def test_verdicts_differ_in_marker_and_fill_not_in_colour_alone():
    assert len({(look.marker, look.face == "white") for look in LOOKS.values()}) == len(LOOKS) == 4


def test_no_effects_make_an_empty_picture():
    assert words(forest([("one", [finding("Nothing.", OPEN)])])) == []
