"""Configurations as people write them: nested dataclasses, and one class of several."""

import dataclasses
import itertools
from typing import Annotated, Any

import numpy as np
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.members.population import baseline, config_of, configure, gather, populate, traced_columns
from sweeps.trial import fields
from tests.sweeps.nested import SPACE, Config, Leak, Sgd, Sign, study


@dataclasses.dataclass(frozen=True)
class Cosine:
    peak: float = 0.1


@dataclasses.dataclass(frozen=True)
class Linear:
    peak: float = 0.2
    end: float = 0.0


@dataclasses.dataclass(frozen=True)
class Adam:
    rate: float = 1e-3
    schedule: Cosine | Linear | None = Linear(end=0.5)
    decay: float | None = None


@dataclasses.dataclass(frozen=True)
class Plain:
    rate: float = 1e-1
    heads: Annotated[int, sweeps.traced] = 4
    schedule: Cosine | Linear | None = None


@dataclasses.dataclass(frozen=True)
class Net:
    layers: tuple[int, ...] = (64,)
    width: int = 8
    label: str = dataclasses.field(init=False)

    def __post_init__(self):
        if self.width > 1000:
            raise ValueError("width is too large")
        object.__setattr__(self, "label", f"net of {self.width}")


@dataclasses.dataclass(frozen=True)
class Deep:
    net: Net
    optimizer: Adam | Plain = Plain()
    alpha: float = 0.0


TRIAL = sweeps.function(lambda config, key: {"loss": config.alpha}, config=Deep)


def population_of(space, samples=None, config=Deep):
    return populate(
        sweeps.Study(TRIAL._replace(config=config), steps=1, metric="loss", space=space), samples, 0
    )


def rows(population, *names):
    """What members have in these fields, without their seeds."""
    values = {**population.fixed, **population.columns}
    columns = [
        values[name].tolist() if name in population.columns else itertools.repeat(values[name])
        for name in names
    ]
    return list(zip(*columns, population.seeds.tolist(), strict=False))


def test_nested_fields_have_dotted_names_and_types_decide_inside():
    found = {field.name: field for field in fields(Deep)}
    assert list(found) == [
        "net.layers", "net.width", "optimizer", "optimizer.rate", "optimizer.schedule",
        "optimizer.schedule.peak", "optimizer.schedule.end", "optimizer.decay", "optimizer.heads", "alpha",
    ]  # fmt: skip
    assert [name for name, field in found.items() if field.traced] == [
        "optimizer.rate", "optimizer.schedule.peak", "optimizer.schedule.end", "optimizer.decay",
        "optimizer.heads", "alpha",
    ]  # fmt: skip
    assert found["optimizer"].default == "Plain" and found["net.layers"].default == (64,)


def test_defaults_are_those_of_the_chosen_class_or_of_the_instance_that_is_the_default():
    population = population_of(
        {"optimizer": [Adam, "Plain"], "optimizer.schedule": [None, "Linear", "Cosine"]}
    )
    assert rows(population, "optimizer", "optimizer.rate", "optimizer.schedule", "optimizer.schedule.peak",
                "optimizer.schedule.end", "optimizer.heads") == [
        ("Adam", 1e-3, None, None, None, None, 0), ("Adam", 1e-3, "Linear", 0.2, 0.5, None, 0),
        ("Adam", 1e-3, "Cosine", 0.1, None, None, 0), ("Plain", 0.1, None, None, None, 4, 0),
        ("Plain", 0.1, "Linear", 0.2, 0.0, 4, 0), ("Plain", 0.1, "Cosine", 0.1, None, 4, 0),
    ]  # fmt: skip
    assert population.swept == ("optimizer", "optimizer.schedule")
    assert config_of(population, 1) == Deep(Net(), Adam(schedule=Linear(0.2, 0.5)))
    assert config_of(population, 3) == Deep(Net(), Plain())


def test_levels_of_a_class_cross_only_where_it_is_chosen():
    population = populate(study(), None, 0)
    assert len(population) == 2 * (3 + 1) * 2 * 2
    expected = [
        (alpha, optimizer, momentum, rate, seed)
        for alpha, optimizer, momentum, rate, seed in itertools.product(
            [0.0, 0.3], ["Sgd", "Sign"], [0.0, 0.5, 0.9], [0.01, 0.05], range(2)
        )
        if optimizer == "Sgd" or momentum == 0.0
    ]
    expected = [(*row[:2], row[2] if row[1] == "Sgd" else None, *row[3:]) for row in expected]
    assert (
        rows(population, "leak.alpha", "optimizer", "optimizer.momentum", "optimizer.learning_rate")
        == expected
    )
    assert len(population.statics) == 2


def test_the_order_of_the_space_is_the_order_of_members_whatever_chooses_last():
    space = {"optimizer.momentum": [0.5, 0.9], "leak.alpha": [0.0, 0.1], "optimizer": ["Sign", "Sgd"]}
    population = populate(study(space=space), None, 0)
    assert rows(population, "optimizer.momentum", "leak.alpha", "optimizer") == [
        (None, 0.0, "Sign", 0), (0.5, 0.0, "Sgd", 0), (None, 0.1, "Sign", 0), (0.5, 0.1, "Sgd", 0),
        (0.9, 0.0, "Sgd", 0), (0.9, 0.1, "Sgd", 0),
    ]  # fmt: skip


def test_draws_cross_with_levels_of_their_class_and_are_one_where_nothing_is_drawn():
    drawn = {"optimizer": ["Sgd", "Sign"], "optimizer.momentum": "uniform(0, 1)", "leak.alpha": [0.0, 0.1]}
    population = populate(study(space=drawn), 5, 0)
    assert len(population) == 2 * (5 + 1)
    chosen = {"optimizer": "choice(Sgd, Sign)", "optimizer.momentum": [0.0, 0.9]}
    population = populate(study(space=chosen), 40, 0)
    counts = [population.columns["optimizer"].tolist().count(name) for name in ("Sgd", "Sign")]
    assert counts[0] % 2 == 0 and counts[0] // 2 + counts[1] == 40 and min(counts) > 5
    assert {row[0] for row in rows(population, "optimizer.momentum") if row[0] is None} == {None}


def test_members_are_counted_before_they_are_made():
    many = {
        "optimizer": ["Sgd", "Sign"],
        "optimizer.momentum": "linspace(0, 1, 9000000)",
        "leak.alpha": [0.0, 0.1],
    }
    with pytest.raises(StudyError, match="at most 10,000,000 members` must hold, but got points 18,000,002"):
        populate(study(space=many), None, 0)


def test_a_configuration_is_built_with_traced_values_inside():
    population = populate(study(), None, 0)
    member = np.flatnonzero(population.columns["optimizer"] == "Sgd")[-1:]
    values = traced_columns(population, member)
    assert list(values) == ["leak.alpha", "optimizer.learning_rate", "optimizer.momentum"]
    group = population.statics[population.groups[member[0]]]
    marks = {name: object() for name in values}
    config = configure(Config, group, marks)
    assert type(config) is Config and type(config.leak) is Leak and type(config.optimizer) is Sgd
    assert config.leak.alpha is marks["leak.alpha"] and config.leak.squared is False
    assert config.optimizer.momentum is marks["optimizer.momentum"]
    member = np.flatnonzero(population.columns["optimizer"] == "Sign")[:1]
    config = configure(
        Config, population.statics[population.groups[member[0]]], traced_columns(population, member)
    )
    assert type(config.optimizer) is Sign and config.optimizer.power == 1
    assert not hasattr(config.optimizer, "momentum")


def test_what_post_init_sets_inside_is_there_and_what_it_refuses_is_refused():
    population = population_of({"net.width": [8, 16], "alpha": [0.1]})
    config = configure(
        Deep, population.statics[1], {"alpha": 0.1, "optimizer.rate": 0.1, "optimizer.heads": 4}
    )
    assert config.net.label == "net of 16" == config_of(population, 1).net.label
    with pytest.raises(StudyError, match=r"Deep\(.*'net.width': 1001.* must be a valid.*width is too large"):
        population_of({"net.width": [8, 1001]})


def test_points_and_the_baseline_leave_out_what_is_not_chosen():
    own = study()
    assert baseline(own) == {
        "leak.alpha": 0.1, "optimizer": "Sgd", "optimizer.momentum": 0.0, "optimizer.learning_rate": 0.05,
    }  # fmt: skip
    points = [
        {"optimizer": "Sign", "optimizer.momentum": None},
        {"optimizer": "Sgd", "optimizer.momentum": 0.9},
    ]
    population = gather(own, points, [0], 0)
    assert [config_of(population, at).optimizer for at in (0, 1)] == [Sign(), Sgd(momentum=0.9)]


def test_groups_of_later_points_leave_those_of_the_first():
    points: list[dict[str, Any]] = [{"optimizer": "Sign", "optimizer.momentum": None}]
    first = gather(study(), points, [0], 0)
    grown = gather(study(), [*points, {"optimizer": "Sgd", "optimizer.momentum": 0.9}], [0], 0)
    assert grown.statics[0] == first.statics[0] and grown.groups.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"optimizer": [Sign], "optimizer.momentum": [0.9]},
         "`some member has optimizer.momentum` must hold, which Sgd alone has, but got optimizer=Sign; add"),
        ({"optimizer.power": [1, 2]}, "has optimizer.power.*Sign alone has, but got optimizer=Sgd"),
        ({"optimizer": ["Sdg"]}, 'Unknown optimizer "Sdg". Did you mean "Sgd"'),
        ({"optimizer": [Leak]}, 'Unknown optimizer "Leak". Choose Sgd or Sign.'),
        ({"optimizer": ["Sgd", Sgd]}, "field `optimizer`: `distinct values` must hold"),
        ({"optimizer": "range(2)"}, "Unknown optimizer 0. Choose Sgd or Sign."),
        ({"leak": [0.1]}, 'Config has no field "leak". Did you mean "leak.alpha"'),
        ({"leak.alpha": {}}, r"field `leak.alpha`: .*must hold in grid, but got \{\}"),
        ({"optimizer.momentun": [0.1]}, 'Did you mean "optimizer.momentum"'),
        ({"optimizer": [Sgd()]}, "must hold in grid, but got Sgd"),
        ({"optimizer.momentum": [None, 0.9]}, "optimizer.momentum takes a number, but got None"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_in_one_message(space, message):
    with pytest.raises(StudyError, match=message):
        populate(study(space=space), None, 0)


def test_tables_nest_and_dotted_names_overwrite_what_stood_before():
    space = {"leak": {"alpha": [0.0, 0.5]}, "leak.squared": [True], "optimizer.momentum": [0.9]}
    own = study(space={**space, "leak.alpha": "linspace(0, 1, 3)"})
    assert {name: sweeps.space.domains.size(domain) for name, domain in own.domains.items()} == {
        "leak.alpha": 3, "leak.squared": 1, "optimizer.momentum": 1,
    }  # fmt: skip


def dataclass_of(name, **hints):
    return dataclasses.make_dataclass(name, [(key, *pair) for key, pair in hints.items()], frozen=True)


def test_configurations_that_cannot_be_told_apart_are_refused():
    one, other = dataclass_of("One", rate=(float, 0.1)), dataclass_of("Other", rate=(int, 1))
    with pytest.raises(StudyError, match="`part.rate has one type in all classes.*got float and int; give"):
        fields(dataclass_of("Both", part=(one | other, one())))
    with pytest.raises(StudyError, match="classes of part have different names` must hold, but got One, One"):
        fields(dataclass_of("Twins", part=(one | dataclass_of("One", x=(float, 0.0)), one())))
    with pytest.raises(StudyError, match="default of part is of its type, One` must hold, but got None"):
        fields(dataclass_of("Unset", part=(one, None)))
    thawed = dataclasses.make_dataclass("Thawed", [("rate", float, 0.1)])
    with pytest.raises(
        StudyError, match=r"field part is hashable.*a Thawed; write @dataclass\(frozen=True\)"
    ):
        fields(dataclass_of("Loose", part=(thawed, dataclasses.field(default_factory=thawed))))
    kept = Annotated[one, sweeps.static]
    assert [field.name for field in fields(dataclass_of("Whole", part=(kept, one())))] == ["part"]
    with pytest.raises(StudyError, match="Give part.x a default, or values in the space"):
        population_of({}, config=dataclass_of("Asks", part=(dataclass_of("Bare", x=(float,)),)))
    assert SPACE["optimizer"] == [Sgd, Sign]
