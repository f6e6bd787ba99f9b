"""What the report says where members learned from one another."""

import dataclasses

import numpy as np
import pytest

from sweeps.cli.summary import print_summary
from sweeps.report.curves import learning_curves
from sweeps.report.marginals import draws, seed_columns
from sweeps.report.page import document
from sweeps.report.sentence import answer
from tests.sweeps.four_members import four

HALF = 12.7062047 * 1.5  # t(0.975, 1) times the standard error of the means 1.5 and 4.5


def test_the_answer_counts_lineages():
    results = four([1, 3, 2, 6])
    said = answer(results, results.configurations())
    assert said == [
        "rate = 0.1 is best at the end of its schedule (3 ± 19 loss).",
        "Members copied from one another, or begun with the same seed, are one lineage.",
        "± is the 95 % interval of the mean over 2 lineages.",
        "Two lineages are unreliable: the interval may be far off; take five or more.",
    ]


def test_curves_and_bands_are_over_lineages():
    results = four([1, 3, 2, 6])
    curve = learning_curves(results, results.configurations(), ["loss"])["metrics"]["loss"]
    assert curve["mean"] == [[3]] and curve["high"] == [[pytest.approx(3 + HALF, rel=1e-4)]]
    assert np.isnan(seed_columns(np.full((1, 2), np.nan), np.arange(2))).all()
    # Members 0 and 1 began at a rate of 0.1, 2 and 3 at 0.2; all descend from the first two.
    assert draws(results, results.configurations()).tolist() == [0, 0, 0, 0]


def test_the_page_and_the_summary_show_the_schedule(capsys):
    results = four([1, 3, 2, 6])
    results = dataclasses.replace(results, manifest={**results.manifest, "fields": ["rate"]})
    page = document(results)
    assert "The schedule that was found" in page and "descend from 2 of those that began" in page
    assert "How much each field explains" not in page
    print_summary(results)
    said = capsys.readouterr().out
    assert "over 2 lineages" in said and "Its schedule: from step 0 on rate = 0.1" in said
