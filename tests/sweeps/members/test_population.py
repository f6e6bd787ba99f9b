import dataclasses
import enum
import itertools
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.members.counts import check_samples
from sweeps.members.population import config_of, configure, gather, pinned, populate, traced_columns


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.01
    rate: float = 1e-3
    width: int = 128
    decay: float | None = None
    rule: str = "adam"

    def __post_init__(self):
        if self.width > 1000:
            raise ValueError("width is too large")


trial = sweeps.function(lambda config, key: {"value": config.alpha}, config=Config)


def population_of(space, samples=None, root_seed=0):
    return populate(sweeps.Study(trial, steps=1, metric="value", mode="max", space=space), samples, root_seed)


def test_levels_samples_and_seeds_cross():
    population = population_of(
        {"alpha": [0.0, 0.1, 0.2], "rate": sweeps.log_uniform(1e-4, 1), "width": [8, 16], "seed": range(5)},
        samples=4,
    )
    assert len(population) == 3 * 2 * 4 * 5
    rows = {
        (*(population.columns[name][member] for name in ("alpha", "rate", "width")), population.seeds[member])
        for member in range(len(population))
    }
    rates = set(population.columns["rate"])
    assert len(rates) == 4
    assert rows == set(itertools.product((0.0, 0.1, 0.2), rates, (8, 16), range(5)))
    assert population.seeds[:6].tolist() == [0, 1, 2, 3, 4, 0]


def test_sampled_fields_are_drawn_jointly():
    population = population_of(
        {"alpha": sweeps.uniform(0, 1), "rate": sweeps.uniform(0, 1), "seed": range(2)}, samples=50
    )
    assert len(population) == 100
    points = set(zip(population.columns["alpha"], population.columns["rate"], strict=True))
    assert len(points) == 50
    # Independent draws: the correlation of 50 pairs is within 4 standard errors of zero.
    assert abs(np.corrcoef(np.array(sorted(points)).T)[0, 1]) < 4 / np.sqrt(50)


def test_draws_do_not_depend_on_other_fields_or_on_how_many():
    one = population_of({"alpha": sweeps.uniform(0, 1)}, samples=4)
    more = population_of({"rate": sweeps.uniform(0, 1), "alpha": sweeps.uniform(0, 1)}, samples=9)
    assert more.columns["alpha"][:4].tolist() == one.columns["alpha"].tolist()
    other = population_of({"alpha": sweeps.uniform(0, 1)}, samples=4, root_seed=1)
    assert not set(other.columns["alpha"]) & set(one.columns["alpha"])


def test_whole_numbers_are_drawn_into_static_and_float_fields():
    space = {"width": "int_log_uniform(2, 512)", "rate": sweeps.int_uniform(0, 1), "alpha": [0.0, 0.1]}
    population = population_of(space, samples=400)
    widths = population.columns["width"]
    assert widths.dtype == np.int64 and widths.min() == 2 and widths.max() > 400
    assert set(population.columns["rate"]) == {0.0, 1.0} and population.columns["rate"].dtype == np.float64
    assert len(population.statics) == len(np.unique(widths))
    with pytest.raises(StudyError, match="width takes a whole number"):
        population_of({"width": sweeps.choice(8, 8.5)}, samples=9)


def test_log_uniform_draws_are_uniform_in_the_logarithm():
    drawn = np.log10(population_of({"rate": sweeps.log_uniform(1e-4, 1)}, samples=2000).columns["rate"])
    shares = np.histogram(drawn, bins=4, range=(-4, 0))[0] / 2000
    # Four standard errors of a share of 2000 draws at 1/4.
    assert np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 2000)


def test_static_values_make_groups():
    population = population_of(
        {"width": [8, 16], "alpha": [0.0, 0.1], "decay": [None, 0.1, 0.2], "rule": ["sgd"]}
    )
    assert len(population.statics) == 4  # two widths x (decay unset, decay set)
    for member in range(len(population)):
        config, static = config_of(population, member), population.statics[population.groups[member]]
        assert static["width"] == config.width and static["rule"] == "sgd"
        assert ("decay" in static) == (config.decay is None)
        assert "alpha" not in static


def test_columns_and_configuration_agree():
    population = population_of({"width": [8, 16], "alpha": [0.0, 0.1], "decay": [None, 0.1, 0.2]})
    for group in range(len(population.statics)):
        members = np.flatnonzero(population.groups == group)
        columns = traced_columns(population, members)
        for place, member in enumerate(members):
            config = config_of(population, member)
            values = population.statics[group] | {name: column[place] for name, column in columns.items()}
            assert values == dataclasses.asdict(config)


def test_without_seeds_there_is_seed_zero_and_without_space_one_member():
    population = population_of({})
    assert len(population) == 1 and population.seeds.tolist() == [0]
    assert config_of(population, 0) == Config()


@pytest.mark.parametrize(
    ("space", "samples", "message"),
    [
        ({"rate": sweeps.log_uniform(1e-4, 1)}, None, "Say how many points are drawn of rate=log_uniform"),
        ({"alpha": [0.1]}, 4, "is for fields that are drawn"),
        ({"rate": sweeps.log_uniform(1e-4, 1)}, 0, "`1 <= samples` must hold"),
        ({"alpha": ["text"]}, None, "alpha takes a number, but got 'text'"),
        ({"width": sweeps.uniform(1, 9)}, 3, "width takes a whole number"),
        ({"seed": [-1]}, None, "seed is a whole number from 0.*-1"),
        ({"seed": [0.5]}, None, "seed is a whole number"),
        ({"seed": sweeps.uniform(0, 1)}, None, "seed lists levels"),
        ({"width": [8, 1001]}, None, "must be a valid configuration.*width is too large"),
        (
            {"alpha": range(10**6), "width": [8, 16], "seed": range(10**6)},
            None,
            "at most 10,000,000 members.*alpha 1,000,000 x width 2 x seed 1,000,000 = 2,000,000,000,000",
        ),
    ],
)
def test_wrong_spaces_are_refused(space, samples, message):
    with pytest.raises(StudyError, match=message):
        population_of(space, samples)


def test_a_field_without_a_default_must_be_swept():
    required = dataclasses.make_dataclass("Required", [("alpha", float)], frozen=True)
    study = sweeps.Study(trial._replace(config=required), steps=1, metric="value", mode="max")
    with pytest.raises(StudyError, match="Give alpha a default, or values in the space"):
        populate(study, None, 0)


def test_too_many_members_are_refused_before_any_is_made():
    tracemalloc.start()
    for space, samples in (
        ({"alpha": sweeps.linspace(0, 1, 10_000_000), "seed": range(16)}, None),
        ({"alpha": sweeps.uniform(0, 1), "seed": range(16)}, 10_000_000),
    ):
        with pytest.raises(StudyError, match="10,000,000 x seed 16 = 160,000,000; list fewer levels"):
            population_of(space, samples)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_a_million_members_take_fifty_bytes_each():
    config = dataclasses.make_dataclass("Plain", [("alpha", float, 0.1)], frozen=True)
    space = {"alpha": sweeps.linspace(0, 1, 100_000), "seed": range(10)}
    study = sweeps.Study(trial._replace(config=config), steps=1, metric="value", mode="max", space=space)
    tracemalloc.start()
    population = populate(study, None, 0)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(population) == 10**6 and kept < 20 * 10**6 and most < 50 * 10**6


def test_groups_are_made_of_combinations_that_occur():
    names = [f"field_{place}" for place in range(6)]
    config = dataclasses.make_dataclass("Many", [(name, int, 0) for name in names], frozen=True)
    space = {name: sweeps.choice(*range(64)) for name in names}
    study = sweeps.Study(trial._replace(config=config), steps=1, metric="value", mode="max", space=space)
    population = populate(study, 64, 0)  # 64**6 combinations would not fit into any memory
    points = [tuple(population.columns[name][member] for name in names) for member in range(64)]
    assert [tuple(static.values()) for static in population.statics] == list(dict.fromkeys(points))
    assert [points[member] for member in range(64)] == [
        tuple(population.statics[group].values()) for group in population.groups
    ]


class Rule(enum.Enum):
    sgd = "plain"
    adam = "adaptive"


@dataclasses.dataclass(frozen=True)
class Layered:
    rule: Rule = Rule.sgd
    layers: tuple[int, ...] = (8,)
    alpha: float = float("inf")


def test_enumerations_and_tuples_make_groups_and_come_back_from_text():
    space = {"rule": list(Rule), "layers": "grid((8, 8), (16, 4), (32,))"}
    study = sweeps.Study(trial._replace(config=Layered), steps=1, metric="value", mode="max", space=space)
    population = populate(study, None, 0)
    assert [static["layers"] for static in population.statics] == [(8, 8), (16, 4), (32,)] * 2
    assert config_of(population, 4) == Layered(Rule.adam, (16, 4))
    # What a table, or JSON, makes of a point.
    again = gather(study, [{"rule": "adam", "layers": "(16, 4)"}, {"rule": "sgd", "layers": [32]}], [0], 0)
    assert [config_of(again, place) for place in (0, 1)] == [
        Layered(Rule.adam, (16, 4)),
        Layered(layers=(32,)),
    ]


@dataclasses.dataclass(frozen=True)
class Derived:
    alpha: float = 0.1
    width: int = 8
    hidden: int = dataclasses.field(init=False)
    schedule: Callable = dataclasses.field(init=False)

    def __post_init__(self):
        if self.alpha < 0:
            raise ValueError("alpha is negative")
        alpha, width = self.alpha, self.width
        for name, value in {
            "hidden": 4 * width,
            "schedule": lambda count: count * width,
            "slope": 2 * alpha,
            "large": alpha > 0.5,
            "scaled": lambda count: count * alpha,
        }.items():
            object.__setattr__(self, name, value)


@pytest.mark.parametrize("alphas", [[0.1], [0.1, 0.2]])
def test_what_post_init_sets_is_there_where_no_traced_field_is_in_it(alphas):
    space = {"alpha": alphas, "width": [8, 16]}
    study = sweeps.Study(trial._replace(config=Derived), steps=1, metric="value", mode="max", space=space)
    population = populate(study, None, 0)
    for static, width in zip(population.statics, (8, 16), strict=True):
        instance = configure(Derived, static, {"alpha": 0.3})
        assert instance.hidden == 4 * width and "schedule" in vars(instance)
        assert not {"slope", "large", "scaled"} & vars(instance).keys()
    with pytest.raises(StudyError, match="valid configuration.*alpha is negative"):
        populate(dataclasses.replace(study, space={"alpha": [0.1, -1.0]}), None, 0)


def test_a_traced_field_that_post_init_changes_is_refused():
    def halve(self):
        object.__setattr__(self, "alpha", self.alpha / 2)

    config = dataclasses.make_dataclass(
        "Halved", [("alpha", float, 0.5)], frozen=True, namespace={"__post_init__": halve}
    )
    study = sweeps.Study(trial._replace(config=config), steps=1, metric="value", mode="max")
    with pytest.raises(
        StudyError, match="__post_init__ leaves alpha as it is.*0.25 for 0.5; change it where"
    ):
        populate(study, None, 0)


def test_a_field_that_the_trial_calls_static_is_so_unless_it_is_swept():
    quiet = trial._replace(static=("rate",))
    study = sweeps.Study(quiet, steps=1, metric="value", mode="max", space={"alpha": [0.1, 0.2]})
    population = populate(study, None, 0)
    assert population.statics[0]["rate"] == 1e-3 and "alpha" not in population.statics[0]
    assert "rate" not in traced_columns(population, np.arange(2))
    plain = populate(dataclasses.replace(study, trial=trial), None, 0)
    assert pinned(plain, ["rate"]).statics == population.statics
    swept = populate(dataclasses.replace(study, space={"rate": [0.1]}), None, 0)
    assert "rate" in traced_columns(swept, np.arange(1))


@pytest.mark.parametrize(
    ("field", "digits", "message"),
    [
        ("alpha", 400, "alpha takes a number, but got 1000.*…"),
        ("width", 400, r"field width fits in 64 bits` must hold for a whole number, but got 1000.*…"),
        ("width", 5000, r"field width fits in 64 bits.* a very long int"),
        ("seed", 400, r"seed is a whole number from 0 to 4294967295` must hold, but got 1000.*…"),
    ],
)
def test_numbers_that_no_array_holds_are_refused(field, digits, message):
    with pytest.raises(StudyError, match=message):
        population_of({field: [10**digits]})


@pytest.mark.parametrize("samples", [True, 1.5, "3", 0, -1, [2]])
def test_samples_are_a_whole_number(samples):
    with pytest.raises(StudyError, match="`1 <= samples` must hold and be a whole number, but got samples="):
        check_samples(samples)
