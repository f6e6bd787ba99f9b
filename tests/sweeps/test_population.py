import dataclasses
import itertools

import numpy as np
import pytest

import sweeps
from sweeps.population import config_of, populate, traced_columns
from sweeps.space import StudyError


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
    return populate(sweeps.Study(trial, steps=1, metric="value", space=space), samples, root_seed)


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
        ({"rate": sweeps.log_uniform(1e-4, 1)}, None, "`samples` must be given.*rate=log_uniform"),
        ({"alpha": [0.1]}, 4, "samples` must only be given"),
        ({"rate": sweeps.log_uniform(1e-4, 1)}, 0, "`1 <= samples` must hold"),
        ({"alpha": ["text"]}, None, "field alpha is float.*'text'"),
        ({"width": sweeps.uniform(1, 9)}, 3, "field width is int"),
        ({"seed": [-1]}, None, "seed is a whole number from 0.*-1"),
        ({"seed": [0.5]}, None, "seed is a whole number"),
        ({"seed": sweeps.uniform(0, 1)}, None, "seed lists levels"),
        ({"width": [8, 1001]}, None, "must be a valid configuration.*width is too large"),
        ({"alpha": range(10**6), "seed": range(10**6)}, None, "at most .* members"),
    ],
)
def test_wrong_spaces_are_refused(space, samples, message):
    with pytest.raises(StudyError, match=message):
        population_of(space, samples)


def test_a_field_without_a_default_must_be_swept():
    required = dataclasses.make_dataclass("Required", [("alpha", float)], frozen=True)
    study = sweeps.Study(trial._replace(config=required), steps=1, metric="value")
    with pytest.raises(StudyError, match=r"has a default or is in the space.*\['alpha'\]"):
        populate(study, None, 0)
