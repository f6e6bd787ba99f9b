import json
import math
import os

import numpy as np
import pyarrow as pa
import pytest

from sweeps.errors import StudyError
from sweeps.results.results import Results, load
from sweeps.store.lock import locked

MANIFEST = {"swept": ["alpha"], "metric": "test/accuracy", "mode": "max", "steps": 10}


def results_of(scores, status=None, **manifest):
    """Two alphas, a score per seed and alpha; the steps 5 and 10."""
    alphas, seeds = np.asarray(scores).shape
    members = pa.table(
        {
            "member": range(alphas * seeds),
            "seed": list(range(seeds)) * alphas,
            "status": status or ["done"] * (alphas * seeds),
            "alpha": np.repeat(np.arange(alphas) / 10, seeds),
        }
    )
    metrics = pa.table(
        {
            "member": np.repeat(np.arange(alphas * seeds), 2),
            "step": [5, 10] * (alphas * seeds),
            "test/accuracy": np.stack([np.zeros(alphas * seeds), np.ravel(scores)], axis=1).ravel(),
        }
    )
    return Results(MANIFEST | manifest, tables=(members, metrics))


def test_best_is_the_best_mean_over_seeds_with_its_interval():
    best = results_of([[0.1, 0.2, 0.3], [0.5, 0.6, 0.7]]).best()
    assert best.config == {"alpha": 0.1} and best.metric == "test/accuracy" and best.seeds == 3
    # t(0.975, 2) * 0.1 / sqrt(3) = 0.248414 around 0.6.
    assert best[2:5] == pytest.approx((0.6, 0.6 - 0.2484138, 0.6 + 0.2484138))
    assert best.confirmed is False
    assert results_of([[0.1, 0.2], [0.5, 0.6]], mode="min").best().config == {"alpha": 0.0}


def test_one_seed_has_no_interval():
    best = results_of([[0.1], [0.5]]).best()
    assert best.mean == 0.5 and math.isnan(best.low) and math.isnan(best.high)


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("worst", [np.inf, -np.inf, np.nan])
def test_a_member_without_a_finite_metric_ranks_last(mode, worst):
    rows = results_of([[0.1, worst], [0.5, 0.6], [worst, worst]], mode=mode).configurations()
    assert [row.config["alpha"] for row in rows] == [0.1, 0.0, 0.2]
    assert [row.diverged for row in rows] == [0, 1, 2]
    assert rows[1].interval.mean == 0.1 and math.isnan(rows[2].interval.mean)
    assert [row.tied for row in rows] == [True, False, False]


def test_the_seeds_of_the_best_are_those_that_its_mean_is_over():
    best = results_of([[0.1, math.nan, 0.3]]).best()
    # t(0.975, 1) = 12.7062, the standard error 0.1.
    assert (
        best.seeds == 2 and best.mean == pytest.approx(0.2) and best.high == pytest.approx(0.2 + 1.27062047)
    )
    alone = results_of([[0.1, math.nan]]).best()
    assert alone.seeds == 1 and math.isnan(alone.high)
    assert results_of([[math.nan, math.nan]]).best().seeds == 0


@pytest.mark.parametrize("mode", ["max", "min"])
def test_what_diverged_ranks_after_what_was_stopped(mode):
    values = [[math.nan] * 3, [math.nan] * 3, [0.5, 0.5, math.nan], [0.4, 0.4, math.nan], [0.3] * 3]
    status = ["diverged"] * 3 + ["stopped"] * 3 + ["done", "done", "diverged"] + ["done", "done", "stopped"]
    rows = results_of(values, [*status, *["done"] * 3], mode=mode).configurations()
    assert [row.config["alpha"] for row in rows] == [0.4, 0.3, 0.2, 0.1, 0.0]
    assert [row.seeds for row in rows] == [3, 2, 2, 0, 0]


def test_members_that_are_not_done_have_no_final_metric():
    results = results_of([[0.1, 0.2], [0.5, 0.6]], status=["done", "diverged", "done", "pending"])
    assert results.final().tolist() == pytest.approx([0.1, math.nan, 0.5, math.nan], nan_ok=True)


def test_the_k_best_configurations():
    results = results_of([[0.1, 0.2], [0.5, 0.6], [0.3, 0.4]])
    assert [best.config["alpha"] for best in results.top(2)] == [0.1, 0.2]
    assert [best.mean for best in results.top(9)] == pytest.approx([0.55, 0.35, 0.15])
    assert results.top(1) == [results.best()]
    with pytest.raises(StudyError, match="1 <= k` must hold in top, but got k=0"):
        results.top(0)


def test_a_value_that_is_not_finite_is_no_divergence():
    nan = float("nan")
    scores = [[nan, nan, nan, nan], [nan, nan, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4]]
    status = ["done", "diverged", "failed", "done", *["done"] * 8]
    rows = {row.config["alpha"]: row for row in results_of(scores, status).configurations()}
    counts = [(rows[alpha].diverged, rows[alpha].failed, rows[alpha].unscored) for alpha in (0.0, 0.1, 0.2)]
    assert counts == [(4, 1, 2), (2, 0, 2), (0, 0, 0)]


def test_configurations_are_compared_at_common_seeds_and_named_by_their_ids():
    scores = [[0.0] * 4, [0.5, 0.6, 0.7, 0.8], [0.3, 0.4, 0.5, 0.601]]
    results = results_of(scores, ["done"] * 8 + ["diverged"] + ["done"] * 3)
    assert [row.tied for row in results.configurations()] == [True, False, False]
    # Without the diverged member, seeds 1 to 3 are compared: a difference of 0.2 at each, all but constant.
    best, second = results.filter(status="done", alpha=[0.1, 0.2], seed=range(4)).configurations()
    assert best.members == [4, 5, 6, 7] and second.members == [9, 10, 11]
    assert second.diverged == 0 and second.tied is False
    # At no common seed nothing can be told apart.
    one_each = results.filter(member=[4, 9, 11]).configurations()
    assert [row.members for row in one_each] == [[9, 11], [4]] and all(row.tied for row in one_each)


def test_an_unknown_metric_is_named_with_the_nearest():
    with pytest.raises(
        StudyError, match='The run has no metric "test/acuracy". Did you mean "test/accuracy"'
    ):
        results_of([[0.1]]).final("test/acuracy")


def test_a_run_without_a_result_is_gone_on_with_by_whoever_is_at_it(tmp_path):
    (tmp_path / "a run").mkdir()
    (tmp_path / "a run" / "manifest.json").write_text(json.dumps({"format_version": 1} | MANIFEST))
    with pytest.raises(StudyError, match="finished in .* yet. `sweeps resume .*a run'` goes on with the run"):
        load(tmp_path / "a run")
    with locked(tmp_path / "a run"):
        at_it = (
            rf"finished in .* yet; process {os.getpid()} on .* is at it, and `sweeps status '.*a run'` says"
        )
        with pytest.raises(StudyError, match=at_it):
            load(tmp_path / "a run")


def test_loading_what_is_not_a_run(tmp_path):
    with pytest.raises(StudyError, match="is no run directory: there is no manifest.json in it"):
        load(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StudyError, match="readable manifest.*cannot be read"):
        load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format_version": 99}')
    with pytest.raises(StudyError, match="format_version <= 1.*99; update lrelu-jax"):
        load(tmp_path)
