"""The Pareto front over seeds, against every pair compared with SciPy."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import sweeps
from sweeps.cli.main import main
from sweeps.errors import StudyError
from sweeps.results.results import Results
from tests.sweeps import plain

GOALS = {"test/accuracy": "max", "test/dead": "min"}


def results_of(table, status=None, seeds=None):
    """A run of configurations x seeds, whose metrics at the last step are those of a table each."""
    shape = next(iter(table.values())).shape
    count = shape[0] * shape[1]
    columns = {
        "member": pa.array(range(count), pa.int64()),
        "seed": pa.array(np.tile(np.arange(shape[1]), shape[0]) if seeds is None else seeds, pa.uint32()),
        "status": pa.array(["done"] * count if status is None else status),
        "alpha": pa.array(np.repeat(np.arange(float(shape[0])), shape[1])),
    }
    metrics = {name: pa.array(values.reshape(-1)) for name, values in table.items()}
    steps = {"member": columns["member"], "step": pa.array([9] * count)}
    manifest = {
        "swept": ["alpha"], "metric": next(iter(table)), "mode": "max", "steps": 9, "schedule": None,
        "study": "made", "members": count,
    }  # fmt: skip
    return Results(manifest, tables=(pa.table(columns), pa.table(steps | metrics)))


def dominates(one, other, goals):
    """Whether one configuration dominates another: pair by pair, with SciPy's interval of a mean."""
    clear = False
    for (values, others), mode in zip(zip(one, other, strict=True), goals.values(), strict=True):
        both = ~np.isnan(values) & ~np.isnan(others)
        difference = (values - others)[both] * (1 if mode == "max" else -1)
        if len(difference) < 2 or difference.mean() < 0:
            return False
        interval = stats.ttest_1samp(difference, 0.0).confidence_interval(0.95)
        clear |= bool(interval.low > 0)
    return clear


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("goals", [GOALS, {"test/accuracy": "max", "test/dead": "max", "test/loss": "min"}])
def test_the_front_is_that_of_every_pair(seed, goals):
    random = np.random.default_rng(seed)
    common = random.normal(size=(1, 5))  # what members owe to their seed
    table = {
        name: random.normal(size=(14, 1)) + common + 0.4 * random.normal(size=(14, 5))
        for name in ("test/accuracy", "test/dead", "test/loss")
    }
    found = results_of(table).pareto(goals)
    rows = [[table[name][place] for name in goals] for place in range(14)]
    beaten = {
        float(place)
        for place, other in itertools.product(range(14), repeat=2)
        if place != other and dominates(rows[other], rows[place], goals)
    }
    assert {each.config["alpha"] for each in found if not each.front} == beaten
    assert 0 < len(beaten) < 14
    assert [each.front for each in found] == sorted([each.front for each in found], reverse=True)
    for each in found:
        place = int(each.config["alpha"])
        if not each.front:
            assert each.dominated_by is not None
            assert dominates(rows[int(each.dominated_by["alpha"])], rows[place], goals)
        for name, interval in each.intervals.items():
            wanted = stats.ttest_1samp(table[name][place], 0.0).confidence_interval(0.95)
            assert interval == pytest.approx((table[name][place].mean(), wanted.low, wanted.high))
    # Whatever no other has better means than, in Pareto's sense, is on the front.
    signs = [1 if mode == "max" else -1 for mode in goals.values()]
    means = np.asarray([[sign * row.mean() for sign, row in zip(signs, own, strict=True)] for own in rows])
    for place in range(14):
        others = np.delete(means, place, axis=0)
        if not ((others >= means[place]).all(axis=1) & (others > means[place]).any(axis=1)).any():
            assert float(place) not in beaten


def test_a_better_mean_alone_beats_nothing():
    noise = np.asarray([-1.0, 1.0, 0.5])
    table = {"a": np.stack([noise, 0.1 + noise[::-1]]), "b": np.zeros((2, 3))}
    assert all(each.front for each in results_of(table).pareto({"a": "max", "b": "min"}))
    paired = {"a": np.stack([noise, 0.1 + noise]), "b": np.zeros((2, 3))}
    first, second = results_of(paired).pareto({"a": "max", "b": "min"})
    assert first.front and first.config == {"alpha": 1.0}
    assert not second.front and second.dominated_by == {"alpha": 1.0}
    # As clear, but worse in the other: both are on the front.
    traded = paired | {"b": np.asarray([[0.0] * 3, [1.0, 0.0, 0.0]])}
    assert all(each.front for each in results_of(traded).pareto({"a": "max", "b": "min"}))


def test_one_seed_tells_nothing_apart():
    table = {"a": np.arange(4.0)[:, None], "b": np.zeros((4, 1))}
    found = results_of(table).pareto({"a": "max", "b": "min"})
    assert all(each.front for each in found) and np.isnan(found[0].intervals["a"].low)


def test_what_diverged_or_failed_is_not_on_the_front_and_beats_nothing():
    table = {"a": np.asarray([[9.0, 9.0, 9.0], [1.0, 1.1, 1.2], [0.5, 0.6, 0.7]]), "b": np.zeros((3, 3))}
    for lost in ("diverged", "failed", "stopped", "pending"):
        status = [lost, *["done"] * 8]
        found = {
            each.config["alpha"]: each for each in results_of(table, status).pareto({"a": "max", "b": "min"})
        }
        assert [found[key].front for key in (0.0, 1.0, 2.0)] == [False, True, False]
        assert found[0.0].lost == 1 and found[2.0].dominated_by == {"alpha": 1.0}
    unknown = table | {"b": np.asarray([[0.0, np.nan, 0.0], [0.0] * 3, [0.0] * 3])}  # of one metric alone
    assert [each.lost for each in results_of(unknown).pareto({"a": "max", "b": "min"})] == [0, 1, 0]


def test_only_common_seeds_are_compared():
    seeds = [0, 1, 2, 2, 3, 4]  # the two configurations share seed 2
    table = {"a": np.asarray([[9.0, 9.1, 9.2], [1.0, 1.1, 1.2]]), "b": np.zeros((2, 3))}
    assert all(each.front for each in results_of(table, seeds=seeds).pareto({"a": "max", "b": "min"}))


@pytest.mark.parametrize(
    "objectives, message",
    [
        ({"a": "max"}, "`two metrics or more, each with max or min` must hold for a Pareto front"),
        ({"a": "max", "bb": "min"}, 'The run has no metric "bb". Did you mean "b"'),
        (
            {"a": "max", "b": "mix"},
            'Unknown direction of b: "mix". Did you mean "m',
        ),
    ],
)
def test_wrong_objectives_are_refused(objectives, message):
    with pytest.raises(StudyError, match=message):
        results_of({"a": np.zeros((2, 2)), "b": np.zeros((2, 2))}).pareto(objectives)


def test_the_report_has_the_front_where_it_is_asked_for(tmp_path, capsys):
    space = {"alpha": [0.0, 0.1, 0.3], "learning_rate": [0.05, 1e25], "seed": range(3)}
    found = sweeps.run(plain.study(space=space), out=tmp_path / "run", progress=False)
    assert "Pareto" not in found.report(tmp_path / "without.html").read_text().partition("<script>")[0]
    goals = {"test/accuracy": "max", "test/loss": "min"}
    text = found.report(tmp_path / "with.html", pareto=goals).read_text().partition("<script>")[0]
    front = [each for each in found.pareto(goals) if each.front]
    assert 1 <= len(front) <= 3 and all(each.config["learning_rate"] == 0.05 for each in front)
    assert (
        f"{len(front)} of 6 configurations are beaten by no other in high test/accuracy and low test/loss"
        in text
    )
    assert "3 configurations with a member that has no finite value cannot be among them" in text
    out = tmp_path / "by-command.html"
    options = ["report", str(tmp_path / "run"), "--out", str(out), "--pareto"]
    assert main([*options, "test/accuracy:max, test/loss:min"]) == 0
    assert f"{len(front)} of 6 configurations are beaten by no other" in out.read_text()
    capsys.readouterr()
    wrong = {
        "test/accuracy": "two metrics or more",
        "test/accuracy:max,loss:min": "The run has no metric",
        "test/accuracy,test/loss:min": "Unknown direction of test/accuracy",
    }
    for word, said in wrong.items():
        assert main([*options, word]) == 2
        assert said in capsys.readouterr().err
