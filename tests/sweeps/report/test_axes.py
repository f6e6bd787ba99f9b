"""How fields are laid along axes, and what is said of them."""

import math

import numpy as np
import pytest

from sweeps.report.axes import axis_of, varying
from sweeps.report.page import document
from sweeps.report.sentence import question
from tests.sweeps.synthetic_runs import run_of

NESTED = {"net": ["Plain", "Deep"], "net.depth": [None, 2, 8], "net.norm": [None, "layer"]}


def nested(**changes):
    space = {"net": "grid(Plain, Deep)", "net.depth": "grid(2, 8)", "net.norm": "grid('layer')"}
    return run_of(space, 3, levels=NESTED | changes)


def test_a_field_that_a_member_has_not_is_no_level():
    results = nested()
    depth = axis_of(results, "net.depth")
    assert depth.numeric and depth.labels == ["2", "8"] and set(depth.cells.tolist()) == {-1, 0, 1}
    assert axis_of(results, "net.norm").labels == ["layer"]
    text = document(results)
    assert " at None" not in text and "members in which it is not set are left out" in text


def test_none_is_a_level_where_it_was_listed():
    results = run_of({"decay": "grid(None, 0.1)"}, 3, levels={"decay": [None, 0.1]})
    assert axis_of(results, "decay").labels == ["0.1", "None"]


def test_a_field_of_one_value_has_no_figure_and_is_not_asked_for():
    results = nested()
    assert varying(results) == ["net", "net.depth"]
    assert question(results).startswith("Which net and net.depth give")
    assert '"against-1"' in document(results) and '"against-2"' not in document(results)
    alone = run_of({"alpha": "grid(0.1)"}, 3, levels={"alpha": [0.1]})
    assert varying(alone) == ["alpha"]


@pytest.mark.parametrize(("draws", "bins"), [(13, 4), (30, 5), (60, 8), (1000, 16)])
def test_the_fewer_draws_the_wider_the_bins(draws, bins):
    drawn = np.linspace(0.0, 1.0, draws).tolist()
    axis = axis_of(run_of({"alpha": "uniform(0.0, 1.0)"}, 1, levels={"alpha": drawn}), "alpha")
    assert axis.binned and len(axis.labels) == bins
    assert np.bincount(axis.cells, minlength=bins).min() >= math.floor(draws / bins) - 1


def test_values_that_were_multiplied_up_and_down_are_one_level():
    values = [0.1756, 0.1756 * 0.8 * 1.25 * (1 + 1e-12), 0.2195]
    results = run_of({"alpha": "uniform(0.0, 1.0)"}, 1, levels={"alpha": values}, schedule="pbt()")
    axis = axis_of(results, "alpha")
    assert axis.labels == ["0.1756", "0.2195"] and axis.cells.tolist() == [0, 0, 1]
    assert len(axis_of(run_of({"alpha": "x"}, 1, levels={"alpha": values}), "alpha").labels) == 3
