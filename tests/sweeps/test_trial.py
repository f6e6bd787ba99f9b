import dataclasses
import enum
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.space.checking import check_value
from sweeps.space.domains import text
from sweeps.trial import fields


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.01
    decay: float | None = None
    width: int = 128
    depth: Annotated[int, sweeps.traced] = 2
    fixed: Annotated[float, sweeps.static] = 0.5
    rule: Literal["sgd", "adam"] = "adam"
    bias: bool = True


class Rule(str, enum.Enum):  # noqa: UP042, what people have
    sgd = "plain"
    adam = "adaptive"


class Depth(enum.Enum):
    shallow = 2
    deep = 8


@dataclasses.dataclass(frozen=True)
class Wide:
    rule: Rule = Rule.sgd
    depth: Depth = Depth.shallow
    word: str = "relu"
    layers: tuple[int, ...] = (64,)
    pair: tuple[float, Rule] | None = None
    anything: Any = None
    bound: float = math.inf
    count: Annotated[int, sweeps.traced] = 0
    total: int = 0


trial = sweeps.function(lambda config, key: {"value": config.alpha}, config=Config)


def test_types_decide_what_is_traced():
    assert {field.name: field.traced for field in fields(Config)} == {
        "alpha": True,
        "decay": True,
        "width": False,
        "depth": True,
        "fixed": False,
        "rule": False,
        "bias": False,
    }
    assert [field.name for field in fields(Config) if field.optional] == ["decay"]


def test_types_from_annotations_that_are_strings():
    strings = dataclasses.make_dataclass("Strings", [("rate", "float", 0.1), ("n", "int", 3)], frozen=True)
    assert [field.traced for field in fields(strings)] == [True, False]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("alpha", "text", "^alpha takes a number, but got 'text'\\.$"),
        ("alpha", True, "alpha takes a number, but got True"),
        ("alpha", None, "alpha takes a number"),
        ("width", (8, 32), r"^width takes values, not a list: grid\(8, 32\) or choice\(8, 32\)\.$"),
        ("width", 1.5, "width takes a whole number, but got 1.5"),
        ("bias", 1, "bias takes true or false, but got 1"),
        ("rule", "adm", 'Unknown rule "adm". Did you mean "adam"'),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(name, value, message):
    field = next(field for field in fields(Config) if field.name == name)
    with pytest.raises(StudyError, match=message):
        check_value(field, value)


def test_a_value_takes_its_fields_type():
    by_name = {field.name: field for field in fields(Config)}
    assert type(check_value(by_name["alpha"], 1)) is float
    assert type(check_value(by_name["width"], 64.0)) is int
    assert check_value(by_name["decay"], None) is None


def test_a_study_checks_what_it_is_told():
    with pytest.raises(StudyError, match=r"`1 <= steps` must hold.*steps=0"):
        sweeps.Study(trial, steps=0, metric="value", mode="max")
    with pytest.raises(StudyError, match=r"whole number, but got steps=2\.0; int\(steps\) is one to Python"):
        sweeps.Study(trial, steps=2.0, metric="value", mode="max")  # pyright: ignore[reportArgumentType]
    with pytest.raises(StudyError, match=r'^Config has no field "alhpa"\. Did you mean "alpha"\?$'):
        sweeps.Study(trial, steps=1, metric="value", mode="max", space={"alhpa": [1.0]})
    with pytest.raises(StudyError, match='Unknown mode "maxx". Did you mean "max"'):
        sweeps.Study(trial, steps=1, metric="value", mode="maxx")
    with pytest.raises(StudyError, match='Unknown batches "per-seed". Did you mean "per_seed"'):
        sweeps.Study(trial, steps=1, metric="value", mode="max", batches="per-seed")
    with pytest.raises(StudyError, match="evaluate_every"):
        sweeps.Study(trial, steps=1, metric="value", mode="max", evaluate_every=0)


def test_configurations_that_cannot_be_swept_are_refused():
    with pytest.raises(StudyError, match="frozen dataclass.*int"):
        fields(int)
    with pytest.raises(StudyError, match=r"@dataclass\(frozen=True\)"):
        fields(dataclasses.make_dataclass("Thawed", [("alpha", float, 0.1)]))
    with pytest.raises(StudyError, match="cannot be named seed, which every study has"):
        fields(dataclasses.make_dataclass("Seeded", [("seed", int, 0)], frozen=True))
    mutable = dataclasses.field(default_factory=list)
    with pytest.raises(StudyError, match="field layers is hashable.*list; a tuple would do"):
        fields(dataclasses.make_dataclass("Mutable", [("layers", list, mutable)], frozen=True))


def test_fields_named_as_columns_of_the_results_are_refused():
    for name in ("member", "step", "status"):
        config = dataclasses.make_dataclass("Taken", [(name, float, 0.1)], frozen=True)
        with pytest.raises(StudyError, match=f"cannot be named {name}, as a column of the results is"):
            fields(config)


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [
        (500, None, (50, 100, 150, 200, 250, 300, 350, 400, 450, 500)),
        (3, None, (1, 2, 3)),
        (15, None, (2, 3, 5, 6, 8, 9, 11, 12, 14, 15)),
        (10, 4, (4, 8, 10)),
        (8, 4, (4, 8)),
        (5, 100, (5,)),
    ],
)
def test_evaluation_steps_end_with_the_last(steps, every, expected):
    study = sweeps.Study(trial, steps=steps, metric="value", mode="max", evaluate_every=every)
    assert study.evaluation_steps == expected


def checked(name, value):
    return check_value(next(field for field in fields(Wide) if field.name == name), value)


def test_members_of_enumerations_and_tuples_keep_their_type():
    assert checked("rule", "adam") is checked("rule", "adaptive") is checked("rule", Rule.adam) is Rule.adam
    assert checked("depth", "deep") is checked("depth", 8) is Depth.deep
    assert checked("word", Rule.adam) == "adaptive" and type(checked("word", Rule.adam)) is str
    assert checked("layers", [64, 32.0]) == checked("layers", "(64, 32)") == (64, 32)
    assert checked("pair", "(inf, 'adam')") == checked("pair", [math.inf, "adam"]) == (math.inf, Rule.adam)
    assert checked("pair", None) is None


def test_infinities_are_values_and_nan_is_refused():
    assert fields(Wide)[6].default == math.inf
    assert checked("bound", -math.inf) == -math.inf
    for name in ("bound", "anything"):
        with pytest.raises(StudyError, match=f"{name} takes numbers, and nan is none"):
            checked(name, math.nan)
    with pytest.raises(StudyError, match="total takes a whole number, but got inf"):
        checked("total", math.inf)


def test_whole_numbers_that_do_not_fit_are_refused():
    assert checked("count", 2**31 - 1) == 2**31 - 1 and checked("total", 2**40) == 2**40
    with pytest.raises(StudyError, match="field count fits in 32 bits.*2147483648; jax_enable_x64 gives 64"):
        checked("count", 2**31)
    with pytest.raises(StudyError, match="field count fits in 32 bits"):
        checked("count", -(2**31) - 1)
    with pytest.raises(StudyError, match="field total fits in 64 bits"):
        checked("total", 1e300)
    with jax.enable_x64(True):
        assert checked("count", 2**40) == 2**40


@dataclasses.dataclass(frozen=True)
class OneNumber:
    x: float = 0.1


@pytest.mark.parametrize(
    ("domain", "got", "there"),
    [
        ([0.1, 1e39], "1e\\+39", "inf"),
        (sweeps.grid(0.1, 1e-50), "1e-50", "0"),
        (sweeps.uniform(-1e39, 0), "-1e\\+39", "-inf"),
        (sweeps.log_uniform(1e-50, 1), "1e-50", "0"),
        (sweeps.linspace(0, 1e39, 3), "1e\\+39", "inf"),
    ],
)
def test_numbers_that_would_be_infinite_or_zero_where_they_are_traced_are_refused(domain, got, there):
    trial = sweeps.function(lambda config, key: {"loss": config.x}, config=OneNumber)
    options = {"steps": 1, "metric": "loss", "samples": 2}
    with pytest.raises(StudyError, match=f"field x fits in 32 bits.*got {got}, which would be {there}; jax_"):
        sweeps.Study(trial, space={"x": domain}, **options)
    with jax.enable_x64(True):
        sweeps.Study(trial, space={"x": domain}, **options)
    sweeps.Study(trial, space={"x": [math.inf, 3e38, 1e-44, 0.0]}, **options)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rule", "adm", 'Unknown rule "adm". Did you mean "adam"'),
        ("depth", 3, r"Unknown depth 3\. Choose \w+ or \w+\."),
        ("layers", 64, r"layers takes a tuple, but got 64\. Several are grid\(\(64, 64\), \(32,\)\)\."),
        ("layers", (64, 1.5), r"layers\[1\] takes a whole number, but got 1.5"),
        ("pair", (1.0,), "pair takes a tuple of 2, but got"),
    ],
)
def test_enumerations_and_tuples_say_what_must_hold(name, value, message):
    with pytest.raises(StudyError, match=message):
        checked(name, value)


def test_a_field_that_post_init_sets_is_not_asked_for():
    own = dataclasses.field(init=False)
    config = dataclasses.make_dataclass("Own", [("a", float, 0.1), ("twice", float, own)], frozen=True)
    assert [field.name for field in fields(config)] == ["a"]


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        ("test/accuracy", "max"),
        ("test/top5_accuracy", "max"),
        ("validation/R2", "max"),
        ("f1", "max"),
        ("roc-auc", "max"),
        ("mean reward", "max"),
        ("test/loss", "min"),
        ("mean_squared_error", "min"),
        ("test/MSE", "min"),
        ("mae", "min"),
        ("test.perplexity", "min"),
    ],
)
def test_the_last_word_of_the_metric_says_which_is_better(metric, mode):
    study = sweeps.Study(trial, steps=1, metric=metric)
    assert study.mode == mode
    other = "min" if mode == "max" else "max"
    assert sweeps.Study(trial, steps=1, metric=metric, mode=other).mode == other
    assert dataclasses.replace(study, steps=2).mode == mode


@pytest.mark.parametrize("metric", ["value", "loss_of_accuracy/zero", "accuracyloss", "losses", ""])
def test_a_metric_that_does_not_say_which_is_better_asks(metric):
    with pytest.raises(
        StudyError, match=r'mode is given, or metric ends in one of accuracy.*mode="max".*"min"'
    ):
        sweeps.Study(trial, steps=1, metric=metric)


def test_a_study_and_its_results_are_shown_in_a_line():
    study = sweeps.Study(
        trial,
        steps=1,
        metric="value",
        mode="min",
        samples=3,
        space={"alpha": "uniform(0, 1)", "seed": range(2)},
    )
    assert repr(study) == "Study(Config: alpha=uniform(0.0, 1.0), seed=range(0, 2); 1 step; min value)"
    assert repr(sweeps.run(study, progress=False)) == "Results(study: 6 members; min value; in memory)"
    with pytest.raises(StudyError, match="1 <= samples"):
        sweeps.Study(trial, steps=1, metric="loss", mode="min", samples=0)


def double(x):
    return 2 * x


@dataclasses.dataclass(frozen=True)
class Named:
    activation: Callable[[Any], Any] = jax.nn.relu
    cell: type = int
    rule: Rule | None = None
    layers: tuple[int, ...] = (64,)


named = sweeps.function(lambda config, key: {"loss": config.activation(-1.0) * 1.0}, config=Named)


def test_functions_classes_enumerations_tuples_and_none_are_levels():
    space = {
        "activation": ["jax.numpy.tanh", double, "relu"],
        "cell": [int, "builtins.float"],
        "rule": [None, "adam", Rule.sgd],
        "layers": [(8,), [8, 8]],
    }
    study = sweeps.Study(named, steps=1, metric="loss", space=space)
    assert study.domains["activation"] == sweeps.grid(jax.numpy.tanh, double, jax.nn.relu)
    assert text(study.domains["activation"]) == "grid('tanh', 'double', 'relu')"
    found = sweeps.run(study, progress=False)
    members = found.members
    assert set(members["activation"].to_pylist()) == {"tanh", "double", "relu"}
    assert set(members["cell"].to_pylist()) == {"int", "float"}
    assert set(members["rule"].to_pylist()) == {None, "adam", "sgd"}
    assert set(members["layers"].to_pylist()) == {"(8,)", "(8, 8)"}
    assert (
        found.best().config["activation"] == "double" and len(found.filter(activation=double).members) == 12
    )
    losses = dict(zip(members["activation"].to_pylist(), found.final().tolist(), strict=True))
    assert losses == {"double": -2.0, "tanh": pytest.approx(math.tanh(-1)), "relu": 0.0}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"activation": ["jax.nn.rellu"]}, "field activation is a function.*'jax.nn.rellu'; a name such as"),
        ({"activation": ["tanh"]}, "field activation is a function.*'tanh'"),
        ({"activation": [3]}, "field activation is a function.*3"),
        ({"activation": [lambda x: x]}, "a function has a name, which tables show.*give it one with def"),
        (
            {"activation": [double, "tests.sweeps.test_trial.double", "double"]},
            "function` must hold|distinct",
        ),
        ({"activation": [jax.numpy.tanh, math.tanh]}, "`distinct values` must hold"),
        ({"activation": "os.nothing"}, "field activation is a function.*'os.nothing'"),
    ],
)
def test_functions_that_have_no_name_or_are_not_there_are_refused(space, message):
    with pytest.raises(StudyError, match=message):
        sweeps.Study(named, steps=1, metric="loss", space=space)


def test_a_function_that_was_chosen_is_found_again(tmp_path):
    space = {"activation": sweeps.choice(double, jax.numpy.tanh), "layers": sweeps.choice((8,), (8, 8))}
    study = sweeps.Study(named, steps=1, metric="loss", samples=6, space=space)
    search = sweeps.tpe(points_per_batch=2)
    found = sweeps.run(study, search=search, out=tmp_path / "run", confirm=1, progress=False)
    assert found.confirmation is not None
    assert "relu" in found.confirmation.members["activation"].to_pylist()  # the baseline's
    assert sweeps.replay(tmp_path / "run", 3, study, progress=False).same
    warm = sweeps.tpe(points_per_batch=2, warm_start=tmp_path / "run")
    again = sweeps.run(study, search=warm, out=tmp_path / "warm", progress=False)
    assert sweeps.resume(tmp_path / "warm", study, progress=False).members.equals(again.members)
