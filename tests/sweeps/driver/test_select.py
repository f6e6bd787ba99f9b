"""Members scored by the best of their evaluations, against NumPy over the curves of one run."""

import dataclasses
import json

import numpy as np
import pytest

import sweeps
from sweeps.cli.main import main
from sweeps.errors import StudyError
from sweeps.store.best_states import kept_states
from sweeps.store.checksums import SEAL
from tests.sweeps import faulty, plain

OPTIONS = {"members_per_chunk": 4, "progress": False}
# At high rates accuracy goes up and down from batch to batch; at 1e25 members diverge.
SPACE = {"alpha": sweeps.linspace(0, 0.6, 4), "learning_rate": [1.0, 0.6, 1e25], "seed": range(2)}


def study(**changes):
    usual = {"trial": plain.shuffled, "space": SPACE, "steps": 20, "evaluate_every": 2, "select": "best"}
    return plain.study(**(usual | changes))


@pytest.fixture(scope="module")
def last():
    return sweeps.run(study(select="last"), **OPTIONS)


@pytest.fixture(scope="module")
def best():
    return sweeps.run(study(), **OPTIONS)


def best_of(results, metric="test/accuracy", mode="max", until=np.inf):
    """Per member its best value and the first step it had it at; nothing for one that diverged."""
    diverged = {row["member"] for row in results.members.to_pylist() if row["status"] == "diverged"}
    found = {}
    for row in results.metrics.to_pylist():
        member, value = row["member"], row[metric]
        if member in diverged or row["step"] > until or not np.isfinite(value):
            continue
        if member not in found or (value > found[member][0] if mode == "max" else value < found[member][0]):
            found[member] = value, row["step"]
    return found


def test_the_training_is_the_same(best, last):
    assert best.members.equals(last.members) and str(best.metrics.to_pylist()) == str(
        last.metrics.to_pylist()
    )
    assert best.manifest["select"] == "best" and last.manifest["select"] == "last"


@pytest.mark.parametrize("metric", ["test/accuracy", "test/loss"])
def test_a_member_is_scored_by_its_best_evaluation(last, metric):
    mode = "max" if metric == "test/accuracy" else "min"
    results = dataclasses.replace(
        last, manifest={**last.manifest, "select": "best", "metric": metric, "mode": mode}
    )
    expected = best_of(last, metric, mode)
    assert len({step for _, step in expected.values()}) > 1
    rows = {(row["member"], row["step"]): row for row in last.metrics.to_pylist()}
    ids = last.members["member"].to_pylist()
    for name in last.metric_names:  # the other metrics are those of the same evaluation
        for member, value in zip(ids, results.final(name), strict=True):
            if member in expected:
                assert value == rows[member, expected[member][1]][name], (member, name)
            else:
                assert np.isnan(value)
    means = {}
    for row in last.members.to_pylist():
        if row["member"] in expected:
            key = row["alpha"], row["learning_rate"]
            means.setdefault(key, []).append(expected[row["member"]][0])
    means = {key: float(np.mean(values)) for key, values in means.items()}
    order = (max if mode == "max" else min)(means.values())
    assert results.best().mean == order == means[tuple(results.best().config.values())]
    ranked = [row for row in results.configurations() if not row.diverged]
    assert [row.interval.mean for row in ranked] == sorted(means.values(), reverse=mode == "max")
    assert len(ranked) == 8 and all(row.diverged == 2 for row in results.configurations()[8:])


def test_a_rung_ranks_by_the_best_so_far(best, last):
    found = sweeps.run(study(), schedule="halving(min_steps=6)", **OPTIONS)
    so_far = best_of(best, until=6)
    rows = found.members.to_pylist()
    points = {}
    for row in rows:
        if row["member"] in so_far:
            points.setdefault(row["member"] // 2, []).append(so_far[row["member"]][0])
    means = {point: np.mean(values) for point, values in points.items()}
    ranked = sorted(means, key=lambda point: (-means[point], point))  # the diverging ones come after
    goes_on = {member for point in ranked[:4] for member in (2 * point, 2 * point + 1)}  # ceil(12 / 3)
    assert {
        row["member"] for row in rows if row["stopped_at"] != 6 and row["status"] != "diverged"
    } == goes_on
    other = sweeps.run(study(select="last"), schedule="halving(min_steps=6)", **OPTIONS)
    assert other.members["stopped_at"].to_pylist() != found.members["stopped_at"].to_pylist()


def test_a_search_is_told_the_best(monkeypatch):
    pytest.importorskip("optuna")
    from sweeps.search.searches import Search

    told, tell = [], Search.tell
    monkeypatch.setattr(
        Search,
        "tell",
        lambda self, points, scores: (told.append(list(scores)), tell(self, points, scores))[1],
    )
    space = {"alpha": sweeps.uniform(0, 0.6), "learning_rate": [0.6, 1e25], "seed": range(2)}
    asked = study(space=space)
    found = sweeps.run(asked, search=sweeps.tpe(points_per_batch=3), samples=6, **OPTIONS)
    expected = best_of(found)
    means = [np.mean([expected.get(2 * point + seed, (np.nan,))[0] for seed in (0, 1)]) for point in range(3)]
    assert str(told[0]) == str([float(mean) for mean in means])


@pytest.mark.parametrize(
    "schedule, executor",
    [
        (None, None),
        ("halving(min_steps=6)", None),
        pytest.param("halving(min_steps=6)", "processes", marks=pytest.mark.durable),
    ],
)
def test_the_states_of_the_best_are_kept(tmp_path, schedule, executor):
    found = sweeps.run(
        study(), schedule=schedule, keep_best=3, out=tmp_path / "run", executor=executor, **OPTIONS
    )
    done = {row["member"] for row in found.members.to_pylist() if row["status"] == "done"}
    scores = {member: value for member, (value, _) in best_of(found).items() if member in done}
    expected = sorted(scores, key=lambda member: (-scores[member], member))[:3]
    assert kept_states(tmp_path / "run") == {member: scores[member] for member in expected}
    again = sweeps.resume(tmp_path / "run", study(), progress=False)  # finds that nothing is missing
    assert again.members.equals(found.members)


def test_members_that_failed_have_no_score(tmp_path):
    fault = tmp_path / "fault"
    fault.touch()
    found = sweeps.run(faulty.study(fault, select="best"), out=tmp_path / "run", **OPTIONS)
    failed = np.asarray(found.members["status"].to_pylist()) == "failed"
    assert failed.sum() == 4 and np.isnan(found.final()[failed]).all()
    assert found.configurations()[-1].failed == 2 and found.best().config["alpha"] <= 0.4


def test_the_manifest_says_it_and_without_it_the_last_is_meant(tmp_path):
    small = study(space={"alpha": [0.0, 0.3]})
    sweeps.run(small, out=tmp_path / "best", **OPTIONS)
    with pytest.raises(StudyError, match="select: best, now last"):
        sweeps.resume(tmp_path / "best", dataclasses.replace(small, select="last"), progress=False)
    earlier = dataclasses.replace(small, select="last")
    sweeps.run(earlier, out=tmp_path / "last", **OPTIONS)
    for name in ("manifest.json", ".manifest.json"):  # as an earlier version wrote it
        path = tmp_path / "last" / name
        record = json.loads(path.read_text())
        del record["select"], record[SEAL]
        path.write_text(json.dumps(record))
    assert sweeps.resume(tmp_path / "last", earlier, progress=False).manifest.get("select") is None
    with pytest.raises(StudyError, match="select: last, now best"):
        sweeps.resume(tmp_path / "last", small, progress=False)


def test_another_selection_is_refused():
    with pytest.raises(StudyError, match=r'Unknown select ".*"\. Did you mean "best"'):
        study(select="bets")


def test_it_is_said_wherever_a_score_is_shown(best, tmp_path, capsys):
    optimistic = "at the best of its evaluations, so optimistic"
    report = best.report(tmp_path / "report.html").read_text()
    assert f"Each member is taken {optimistic}." in report
    assert (
        f"Metrics are those of a member {optimistic}" in report
        and f"A dot is one member {optimistic}" in report
    )
    assert "at the last step" not in report.partition("<script>")[0]
    assert "best of its evaluations" in repr(best) and "best of its evaluations" in repr(study())
    assert optimistic in str(best.figure("alpha").get_label())
    (tmp_path / "own.py").write_text("from tests.sweeps import plain\nstudy = plain.study(steps=4)\n")
    (tmp_path / "own.toml").write_text(f'study = "{tmp_path}/own.py:study"\nselect = "best"\n')
    assert main(["run", str(tmp_path / "own.toml"), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert f"Each member is taken {optimistic}" in printed and "test/accuracy, best" in printed
