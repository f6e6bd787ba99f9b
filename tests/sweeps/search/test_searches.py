import dataclasses
import itertools
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.members.population import populate
from sweeps.search import optuna_samplers, searches
from sweeps.space.domains import choice, grid, log_uniform, normal, uniform
from sweeps.trial import Field, fields


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.0
    rate: float = 0.1
    width: int = 8
    rule: str = "adam"


trial = sweeps.function(lambda config, key: {"value": config.alpha}, config=Config)
FIELDS = fields(Config)
WITH_TORCH = pytest.param("gp", marks=pytest.mark.skipif(not find_spec("torch"), reason="needs torch"))


def make(name, space, root_seed=0, mode="min"):
    return searches.make(name, space, FIELDS, root_seed=root_seed, mode=mode)


def columns_of(space, samples=None):
    study = sweeps.Study(trial, steps=1, metric="value", mode="max", space=space)
    return populate(study, samples, 3).columns


def test_a_grid_is_in_the_order_of_the_population():
    space = {"width": grid(16, 8), "alpha": grid(0, 0.1, 0.2), "rule": grid("sgd", "adam")}
    asked = make("grid", space)
    points = [*asked.ask(5), *asked.ask(7)]
    columns = columns_of(space)
    assert points == [
        dict(zip(columns, row, strict=True))
        for row in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]
    assert [tuple(point.values()) for point in points] == list(
        itertools.product((16, 8), (0.0, 0.1, 0.2), ("sgd", "adam"))
    )


def test_a_grid_says_how_many_it_holds():
    asked = make("grid", {"width": grid(16, 8), "alpha": grid(0, 0.1, 0.2)})
    with pytest.raises(StudyError, match=r"`at most 6 points` must hold for the grid 2 x 3, but got 7"):
        asked.ask(7)
    assert len(asked.ask(4)) == 4  # what was refused was not asked
    with pytest.raises(StudyError, match="but got 3 asked after 4"):
        asked.ask(3)


def test_a_grid_of_a_sampled_field_is_refused():
    with pytest.raises(StudyError, match=r"got rate=uniform\(0.0, 1.0\); search='random' draws it"):
        make("grid", {"width": grid(8), "rate": uniform(0, 1)})


def test_random_draws_are_those_of_a_population():
    space = {"rate": log_uniform(1e-4, 1), "rule": choice("sgd", "adam", "lion"), "alpha": normal(0, 1)}
    points = make("random", space, root_seed=3).ask(20)
    for name, column in columns_of(space, samples=20).items():
        assert [point[name] for point in points] == column.tolist()


def test_random_draws_of_a_field_do_not_depend_on_other_fields():
    one = make("random", {"rate": uniform(0, 1)}).ask(5)
    two = make("random", {"alpha": uniform(0, 1), "rate": uniform(0, 1)}).ask(5)
    assert [point["rate"] for point in one] == [point["rate"] for point in two]


def test_sobol_covers_more_evenly_than_chance():
    space = {"alpha": uniform(0, 1), "rate": uniform(0, 1)}
    points = make("sobol", space).ask(64)
    cells = {(int(point["alpha"] * 8), int(point["rate"] * 8)) for point in points}
    assert len(cells) == 64  # one point in every cell of 8 x 8: the (0, 6, 2)-net property


def test_unknown_names_are_told_the_nearest():
    with pytest.raises(StudyError, match=r'^Unknown search "sobel"\. Did you mean "sobol"\?$'):
        searches.check("sobel")
    with pytest.raises(StudyError, match='Did you mean "tpe"'):
        make("tpee", {"rate": uniform(0, 1)})


def test_nothing_to_search_is_refused():
    with pytest.raises(StudyError, match="`a field is swept` must hold for search='random'"):
        make("random", {})


def test_a_value_of_another_type_is_refused():
    with pytest.raises(StudyError, match="width takes a whole number, but got 'wide'"):
        make("random", {"width": grid("wide")})


@pytest.mark.parametrize(
    "package, name, line",
    [("optuna", "tpe", r"pip install 'lrelu-jax\[optuna\]'"), ("torch", "gp", "pip install torch")],
)
def test_a_missing_package_is_named_before_anything_runs(monkeypatch, package, name, line):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StudyError, match=f"`{package} is installed` must hold.*{line}"):
        make(name, {"rate": uniform(0, 1)})


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        "import sys, sweeps, sweeps.search.searches, sweeps.schedules.schedule; "
        "import sweeps.results.optuna_export; "
        "print(sorted({'optuna', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def quadratic(point):
    return (np.log10(point["rate"]) + 2) ** 2 + (point["alpha"] - 0.3) ** 2


def best_of(name, root_seed, batches=4, count=12):
    space = {"rate": log_uniform(1e-5, 1), "alpha": uniform(-1, 1)}
    searching = make(name, space, root_seed)
    scores = []
    for _ in range(batches):
        points = searching.ask(count)
        scores += [quadratic(point) for point in points]
        searching.tell(points, scores[-count:])
    return min(scores)


def test_tpe_finds_the_bottom_of_a_bowl_sooner_than_chance():
    found = {name: np.median([best_of(name, seed) for seed in range(10)]) for name in ("tpe", "random")}
    assert found["tpe"] < found["random"]


@pytest.mark.parametrize("name", ["tpe", WITH_TORCH])
@pytest.mark.parametrize("mode, sign", [("min", 1), ("max", -1)])
def test_learning_goes_towards_what_is_good(name, mode, sign):
    searching = make(name, {"rate": log_uniform(1e-5, 1), "alpha": uniform(-1, 1)}, mode=mode)
    points = searching.ask(30)
    searching.tell(points, [sign * quadratic(point) for point in points])
    later = searching.ask(4 if name == "gp" else 24)
    before, after = (np.median([quadratic(point) for point in some]) for some in (points, later))
    assert after < 0.75 * before


def test_points_of_one_tpe_batch_keep_away_from_each_other():
    # Each point that is asked for counts as a bad one for the rest of its batch (a constant liar); points
    # that are asked for one by one, with nothing between them but the seed, know nothing of each other.
    def observations(root_seed):
        searching = make("tpe", {"alpha": uniform(-1, 1)}, root_seed)
        alphas = np.linspace(-1, 1, 21)
        searching.tell([{"alpha": float(alpha)} for alpha in alphas], (np.abs(alphas - 0.3)).tolist())
        return searching

    def gap(points):
        return np.median(np.diff(np.sort(np.asarray([point["alpha"] for point in points], np.float64))))

    together = [gap(observations(seed).ask(8)) for seed in range(10)]
    apart = [
        gap([observations(100 + 8 * seed + place).ask(1)[0] for place in range(8)]) for seed in range(10)
    ]
    assert np.mean(together) > 5 * np.mean(apart)


@pytest.mark.parametrize("name", ["tpe", WITH_TORCH])
def test_it_keeps_away_from_where_members_diverged(name):
    # Above 0.1 everything diverges, and just below is the best.
    searching = make(name, {"rate": log_uniform(1e-5, 1), "alpha": uniform(-1, 1)}, mode="max")
    points = searching.ask(40)
    searching.tell(points, [np.nan if point["rate"] > 0.1 else 0.0 - point["alpha"] for point in points])
    diverging = [point["rate"] > 0.1 for point in searching.ask(6)]
    assert sum(diverging) <= 1  # one in five at random


@pytest.mark.parametrize("finite", [1, 2, 3, 7, 10, 30])
def test_tpe_never_calls_a_diverged_point_good(finite):
    optuna = optuna_samplers.load()
    observations = optuna_samplers.Observations(
        tuple({"rate": 0.5} for _ in range(finite * 40)),
        tuple([np.nan] * (finite * 39) + [1.0] * finite),
    )
    axes = searches._axes({"rate": uniform(0, 1)}, FIELDS)
    distributions = {"rate": optuna.distributions.FloatDistribution(0, 1)}
    trials = optuna_samplers._trials(optuna, "tpe", axes, distributions, observations, "min")
    states = [trial.state.name for trial in trials]
    assert states.count("COMPLETE") == finite and states.count("PRUNED") > 0
    good = optuna.samplers._tpe.sampler.default_gamma(len(trials))
    assert good <= finite


class Earlier:
    """The parts of `Results` that a history is read from."""

    def __init__(self, status, values, **columns):
        self.members = pa.table({"member": list(range(len(status))), "status": status, **columns})
        self.values = np.asarray(values)

    def final(self, metric=None):
        return self.values


def test_a_history_is_the_mean_over_seeds_of_what_fits_the_space():
    earlier = Earlier(
        ["done", "done", "done", "diverged", "done", "done", "stopped", "done", "done"],
        [0.5, 0.7, 0.9, np.nan, 0.1, 0.2, np.nan, 0.3, 0.4],
        rate=[0.1, 0.1, 0.2, 0.2, 5.0, 0.3, 0.3, 0.4, 0.4],
        width=[8, 8, 16, 16, 8, 8, 8, 8, 8],
        alpha=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0],
    )
    found = searches.history(earlier, {"rate": uniform(0, 1), "width": grid(8, 16)}, FIELDS, "value")
    assert found.points == [{"rate": 0.1, "width": 8}, {"rate": 0.2, "width": 16}]
    assert found.scores[0] == pytest.approx(0.6) and np.isnan(found.scores[1])
    # A rate outside, one that was stopped, and one with another alpha.
    assert found.left_out == 3


def test_a_history_takes_the_default_for_a_field_that_was_not_there():
    earlier = Earlier(["done"], [0.5], rate=[0.1], width=[8], rule=["adam"])
    found = searches.history(earlier, {"rate": uniform(0, 1), "alpha": uniform(-1, 1)}, FIELDS, "value")
    assert found.points == [{"rate": 0.1, "alpha": 0.0}] and found.left_out == 0


def test_a_history_reads_what_a_table_keeps_as_text():
    own = (Field("size", False, tuple, False, (1, 1)), Field("power", False, object, False, 2))
    earlier = Earlier(["done", "done"], [0.5, 0.6], size=["(1, 1)", "(2, 2)"], power=["2", "3"])
    found = searches.history(earlier, {"power": grid(2, 3)}, own, "value")
    assert found.points == [{"power": 2}] and found.left_out == 1


def test_a_history_changes_what_is_asked_first():
    space = {"rate": log_uniform(1e-5, 1), "alpha": uniform(-1, 1)}
    known = make("random", space, root_seed=9).ask(30)
    warm = make("tpe", space)
    warm.tell(known, [quadratic(point) for point in known])
    cold = make("tpe", space)
    ahead, behind = (np.median([quadratic(p) for p in one.ask(12)]) for one in (warm, cold))
    assert ahead < behind


def test_a_history_of_a_real_run_is_told():
    study = sweeps.Study(
        trial, steps=1, metric="value", mode="min", space={"alpha": grid(0.0, 0.5), "seed": range(2)}
    )
    results = sweeps.run(study, progress=False)
    found = searches.history(results, {"alpha": uniform(-1, 1)}, FIELDS, "value")
    assert found == ([{"alpha": 0.0}, {"alpha": 0.5}], [0.0, 0.5], 0)
    make("tpe", {"alpha": uniform(-1, 1)}).tell(found.points, found.scores)
