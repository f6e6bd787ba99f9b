"""Comparisons of runs against SciPy on the tables themselves."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

import sweeps
from sweeps.cli import comparison as command
from sweeps.cli.main import main
from sweeps.errors import StudyError
from sweeps.report import comparison as page
from sweeps.results.comparison import compare
from tests.sweeps import plain
from tests.sweeps.synthetic_runs import run_of

LEVELS = {"alpha": [0.0, 0.1, 0.3], "learning_rate": [1e-3, 1e-2]}
SPACE = {"alpha": "grid(0, 0.1, 0.3)", "learning_rate": "grid(0.001, 0.01)"}


def whole(**changes):
    return run_of(SPACE, **{"levels": LEVELS, **changes})


def finals(results):
    """The last accuracy by slope, rate and seed, from the tables alone."""
    members, last = results.members.to_pandas(), results.metrics.to_pandas()
    last = last[last.step == 100].set_index("member")["test/accuracy"]
    keys = zip(
        members.alpha, members.learning_rate, members.seed, members.member, members.status, strict=True
    )
    return {key[:3]: last.get(key[3], np.nan) if key[4] == "done" else np.nan for key in keys}


def moved(results, by, seed=0):
    """The same run with every metric moved, and noise on it."""
    metrics = results.metrics.to_pandas()
    noise = np.random.default_rng(seed).normal(by, 0.01, len(metrics))
    metrics["test/accuracy"] += noise
    return sweeps.Results(results.manifest, None, (results.members, pa.Table.from_pandas(metrics)))


def test_each_configuration_is_compared_at_the_seeds_that_both_have():
    first = whole(diverged=(3,))
    second = moved(whole(), 0.02).filter(seed=range(1, 8))
    found, one, other = compare(first, second), finals(first), finals(second)
    assert found.common == ("alpha", "learning_rate") and found.lost == 1 and len(found.differences) == 6
    p_values = []
    for each in found.differences:
        place = each.config["alpha"], each.config["learning_rate"]
        pairs = np.array([(one[*place, seed], other[*place, seed]) for seed in range(1, 8)])
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        expected = scipy.stats.ttest_rel(pairs[:, 1], pairs[:, 0])
        assert each.p == pytest.approx(expected.pvalue) and each.seeds == len(pairs)
        assert each.interval[1:] == pytest.approx(tuple(expected.confidence_interval()))
        assert each.better == np.mean(pairs[:, 1] > pairs[:, 0])
        p_values.append(expected.pvalue)
    # Holm's step down, by its definition.
    order, told = np.argsort(p_values), set()
    for place, at in enumerate(order):
        if p_values[at] > 0.05 / (6 - place):
            break
        told.add(at)
    assert {place for place, each in enumerate(found.differences) if each.told} == told
    rows = [[other[key] - one[key] for key in one if key[2] == seed and key in other] for seed in range(1, 8)]
    means = [np.nanmean(row) for row in rows]
    assert found.mean.interval.mean == pytest.approx(np.mean(means)) and found.mean.seeds == 7


def test_two_values_of_a_field_are_compared_over_all_else():
    results = whole()
    found = compare(results.filter(alpha=0.0), results.filter(alpha=0.3))
    assert found.common == ("learning_rate",) and [each.seeds for each in found.differences] == [8, 8]
    assert (found.first, found.second) == ({"alpha": 0.0}, {"alpha": 0.3})
    back = compare(results.filter(alpha=0.3), results.filter(alpha=0.0))
    assert back.mean.interval.mean == pytest.approx(-found.mean.interval.mean)


def test_what_cannot_be_compared_is_said():
    results = whole()
    with pytest.raises(StudyError, match="`both vary the same fields` must hold.*got alpha in one of them"):
        compare(results, results.filter(alpha=0.1))
    with pytest.raises(StudyError, match="a configuration and a seed that both trained .* got none among 6"):
        compare(results.filter(seed=range(4)), results.filter(seed=range(4, 8)))
    with pytest.raises(StudyError, match="The run has no metric"):
        compare(results, results, "test/f1")
    nothing = whole(diverged=range(48))
    with pytest.raises(StudyError, match="trained to the end in both|both trained to the end"):
        compare(results, nothing)


def test_another_metric_has_a_direction_of_its_own():
    results = whole(extra=("test/loss", "test/dead_units"))
    metrics = results.metrics.to_pandas()
    for name in ("test/loss", "test/dead_units"):
        metrics[name] = 1 - metrics["test/accuracy"]
    same = sweeps.Results(results.manifest, None, (results.members, pa.Table.from_pandas(metrics)))
    sides = same.filter(alpha=0.3), same.filter(alpha=0.1)
    accuracy, loss, dead = (compare(*sides, name) for name in (None, "test/loss", "test/dead_units"))
    assert (accuracy.mode, loss.mode, dead.mode) == ("max", "min", None)
    assert accuracy.mean.better == loss.mean.better > 0.5 and np.isnan(dead.mean.better)
    assert "higher than that of old, which is better: by" in page.answer(accuracy, "old", "new")[0]
    assert "lower than that of old, which is better: by" in page.answer(loss, "old", "new")[0]
    assert "lower than that of old: by" in page.answer(dead, "old", "new")[0]
    # A study that is about a metric knows better than its name.
    about = sweeps.Results({**results.manifest, "metric": "test/loss", "mode": "max"}, None, sides[1].tables)
    assert compare(sides[0], about, "test/loss").mode == "max"


def test_what_has_no_pairs_is_no_comparison():
    first = whole(diverged=range(40))  # of six configurations one is left
    second = moved(whole(), 0.007, seed=3)
    found = compare(first, second)
    assert [each.seeds for each in found.differences] == [0, 0, 0, 0, 0, 8]
    one, other = finals(first), finals(second)
    before, after = ([values[0.3, 1e-2, seed] for seed in range(8)] for values in (one, other))
    p = scipy.stats.ttest_rel(before, after)
    assert 0.05 / 6 < p.pvalue < 0.05  # told by itself, and not if it were one of six
    assert found.differences[-1].p == pytest.approx(p.pvalue) and found.differences[-1].told
    said = " ".join(page.answer(found, "old", "new"))
    assert "over 1 configuration and 8 seeds that both have" in said and "corrected for" not in said
    assert "40 pairs of members are left out" in said
    assert "tell a difference of" in said
    assert "tell a difference of" not in " ".join(page.answer(compare(first, first), "old", "new"))


def test_the_best_of_evaluations_is_said_to_be_that():
    last, best = whole(), whole(select="best")
    assert "optimistic" not in " ".join(page.answer(compare(last, last), "old", "new"))
    said = " ".join(page.answer(compare(best, best), "old", "new"))
    assert "Each member is taken at the best of its evaluations, so optimistic." in said
    mixed = (
        "Each member of new is taken at the best of its evaluations, so optimistic, each of old at the last"
    )
    assert mixed in " ".join(page.answer(compare(last, best), "old", "new"))
    assert mixed in " ".join(page.answer(compare(best, last), "new", "old"))


def test_other_numbers_of_steps_are_said():
    short, long = whole(), whole(steps=2000)
    assert "trains for" not in " ".join(page.answer(compare(short, short), "old", "new"))
    said = page.answer(compare(short, long), "old", "new")
    assert "old trains for 100 steps, new for 2,000." in said


def test_what_is_said_and_drawn(tmp_path):
    first, second = whole(), moved(whole(), 0.05)
    found = compare(first, second)
    said = page.answer(found, "old", "new")
    assert said[0].startswith("Test accuracy of new is higher than that of old, which is better: by 0.0")
    assert "over 6 configurations and 8 seeds that both have" in said[0]
    same = page.answer(compare(first, first), "old", "new")
    assert "cannot be told apart" in same[0]
    few = page.answer(compare(first.filter(seed=[0, 1]), second), "old", "<new>")
    assert any("2 seeds make an interval that is not to be relied on" in sentence for sentence in few)
    text = page.write(found, "old", "<new>", tmp_path / "page.html").read_text()
    assert "old and &lt;new&gt; compared" in text and "<new>" not in text and "data:image/png" in text
    with pytest.raises(StudyError, match="cannot be written|must be writable|written"):
        page.write(found, "old", "new", tmp_path / "none" / "page.html")
    for folder in (tmp_path, Path(".")):
        with pytest.raises(StudyError, match=r"a file's name` must hold.*compared\.html would do"):
            page.write(found, "old", "new", folder)


def test_a_share_is_compared_in_points():
    first, second = whole(), moved(whole(), -0.05)
    found = compare(first, second)
    assert found.extent == (second.final().min(), first.final().max())
    said = page.answer(found, "old", "new")
    points = f"{abs(100 * found.mean.interval.mean):.1f} ("
    assert f"which is worse: by {points}" in said[0] and ") points, over 6" in said[0]
    assert " points in nine of ten cases" in " ".join(said)
    headings, rows = page.headings(found), page.rows(found)
    column = headings.index("difference, points")
    shown = [float(row[column].replace("−", "-")) for row in rows]
    assert shown == pytest.approx([100 * each.interval.mean for each in found.differences], abs=0.5)


def test_the_command_compares_directories_and_values(tmp_path, capsys, monkeypatch):
    study = plain.study()
    field = next(iter(name for name in study.space if name != "seed"))
    for name in ("a", "b"):
        sweeps.run(study, out=tmp_path / name, progress=False)
    assert (
        main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "page.html")]) == 0
    )
    said = capsys.readouterr().out
    assert "cannot be told apart" in said and (tmp_path / "page.html").exists()
    levels = sorted(set(sweeps.load(tmp_path / "a").members[field].to_pylist()))
    words = [f"{field}={levels[0]}", f"{field}={levels[-1]}"]
    assert main(["compare", str(tmp_path / "a"), *words]) == 0
    assert f"{field} = {levels[-1]}" in capsys.readouterr().out
    for wrong, message in (
        ([words[0]], "Compare two runs, or two values of a field: sweeps compare"),
        ([str(tmp_path / "none")], "is no run directory: there is no manifest.json in it"),
        ([words[0], f"{field}=linspace(0, 1, 3)"], "one value, such as alpha=0.1, instead of"),
    ):
        assert main(["compare", str(tmp_path / "a"), *wrong]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr(command, "load", lambda _: whole(levels={"kind": ["(1, 2)", "a b", "1e-3"]}))
    for first, second in (("(1, 2)", "a b"), ("a b", "1e-3")):
        assert main(["compare", "run", f"kind={first}", f"kind={second}"]) == 0
        assert f"of kind = {first}" in capsys.readouterr().out
    monkeypatch.undo()
    (tmp_path / "a").rename(tmp_path / "a b")
    assert main(["compare", str(tmp_path / "a b"), words[0]]) == 2
    assert f"sweeps compare '{tmp_path}/a b' DIR, or" in capsys.readouterr().err
