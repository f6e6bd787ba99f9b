"""What the page shows of training and of schedules, against plain NumPy on the Parquet files of real runs."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

import sweeps
from sweeps.report.marginals import differences_along, seed_columns
from sweeps.report.page import document
from tests.sweeps import plain
from tests.sweeps.synthetic_runs import run_of

SPACE = {"alpha": sweeps.uniform(0.0, 0.6), "learning_rate": sweeps.log_uniform(1e-3, 1.0), "seed": range(2)}


def run(tmp_path, **options):
    """A run in a folder, the data of its page, and its two tables as Parquet has them."""
    study = plain.study(space=SPACE, steps=9, evaluate_every=1)
    results = sweeps.run(study, out=tmp_path / "run", samples=9, progress=False, **options)
    text = document(results)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    tables = [
        pq.read_table(tmp_path / "run" / f"{name}.parquet").to_pydict() for name in ("members", "metrics")
    ]
    return text, json.loads(found[1]), *tables


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    return run(tmp_path_factory.mktemp("halved"), search="sobol", schedule="halving")


def scores(metrics):
    """The metric by member and step."""
    return dict(
        zip(zip(metrics["member"], metrics["step"], strict=True), metrics["test/accuracy"], strict=True)
    )


def test_every_curve_goes_to_its_stop(halved):
    _, page, members, metrics = halved
    known, steps = scores(metrics), page["trajectories"]["steps"]
    assert steps == sorted(set(metrics["step"]))
    for member, status, stop, curve in zip(
        members["member"],
        members["status"],
        members["stopped_at"],
        page["trajectories"]["values"],
        strict=True,
    ):
        assert steps[len(curve) - 1] == (stop if status == "stopped" else 9)
        expected = [known.get((member, step)) for step in steps[: len(curve)]]
        assert curve == pytest.approx(expected, rel=1e-4)
    assert {"stopped", "done"} == set(members["status"])


def test_the_best_so_far_is_the_best_mean_over_seeds(halved):
    _, page, members, metrics = halved
    known, points = scores(metrics), {}
    for member, *values in zip(
        *(members[name] for name in ("member", "alpha", "learning_rate")), strict=True
    ):
        points.setdefault(tuple(values), []).append(member)
    last = {member: max(step for own, step in known if own == member) for member in members["member"]}
    best, expected = -np.inf, []
    for step in sorted(set(metrics["step"])):
        means = [
            np.mean([known[member, step] for member in own])
            for own in points.values()
            if (own[0], step) in known
        ]
        best = max(best, *means)
        expected.append((sum(min(step, last[member]) for member in members["member"]), best))
    assert page["history"]["costs"] == [cost for cost, _ in expected]
    assert page["history"]["best"] == pytest.approx([value for _, value in expected], rel=1e-5)


def test_batches_of_a_search_are_trained_one_after_the_other(tmp_path):
    _, page, members, metrics = run(tmp_path, search=sweeps.tpe(points_per_batch=3))
    costs = page["history"]["costs"]
    assert costs[-1] == 9 * len(members["member"]) == 162 and costs[8] == 9 * 6
    first = [value for (member, _), value in scores(metrics).items() if member < 6]
    assert page["history"]["best"][8] <= max(first) and page["history"]["best"] == sorted(
        page["history"]["best"]
    )


def test_the_lineage_on_the_page_is_the_runs(tmp_path):
    text, page, members, _ = run(tmp_path, search="random", schedule=sweeps.pbt(every=3))
    results = sweeps.load(tmp_path / "run")
    assert page["lineage"]["source"] == results.lineage["source"].to_pylist()
    assert any(
        own != its for own, its in zip(page["lineage"]["member"], page["lineage"]["source"], strict=True)
    )
    begun = [at for at, step in enumerate(page["lineage"]["step"]) if step == 0]
    assert len(begun) == len(members["member"])
    rate = page["lineage"]["fields"].index("learning_rate")
    last = {member: at for at, member in enumerate(page["lineage"]["member"])}
    ends = [page["lineage"]["values"][rate][last[member]] for member in members["member"]]
    assert ends == pytest.approx(members["learning_rate"], rel=1e-5)
    assert page["lineage"]["best"]["step"][0] == 0 and 'id="lineage"' in text


def test_differences_are_paired_by_seed():
    results = run_of({"alpha": "grid(0.0, 0.1, 0.3)"}, 6, levels={"alpha": [0.0, 0.1, 0.3]})
    from sweeps.report.axes import axis_of

    axis, values = axis_of(results, "alpha"), results.final()
    found = differences_along(axis, values, results.members["seed"].to_numpy(), "max")
    table = values.reshape(3, 6)
    best = int(np.argmax(table.mean(axis=1)))
    assert found is not None and found.mean == pytest.approx((table - table[best]).mean(axis=1))
    assert found.low[best] == found.high[best] == 0
    assert seed_columns(values[None], np.arange(18)).shape == (1, 18)


def test_a_run_of_which_one_member_is_left_says_so_in_a_sentence(halved):
    levels = {"alpha": [0.0, 0.1, 0.3], "width": [1, 2]}
    space = {"alpha": "grid(0.0, 0.1, 0.3)", "width": "grid(1, 2)"}
    text = document(run_of(space, 1, levels=levels, stopped=dict.fromkeys(range(1, 6), 10)))
    assert text.count("Nothing to compare: one of 6 configurations has a final value.") == 3
    assert 'id="heat"' not in text and 'id="stops"' in text and 'id="scores"' in text
