import dataclasses
from typing import Annotated, Literal

import pytest

import sweeps
from sweeps.space import StudyError
from sweeps.trial import check_value, fields


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.01
    decay: float | None = None
    width: int = 128
    depth: Annotated[int, sweeps.traced] = 2
    fixed: Annotated[float, sweeps.static] = 0.5
    rule: Literal["sgd", "adam"] = "adam"
    bias: bool = True


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
        ("alpha", "text", "field alpha is float.*'text'"),
        ("alpha", True, "field alpha is float"),
        ("alpha", None, "field alpha is float"),
        ("width", 1.5, "field width is int"),
        ("bias", 1, "field bias is bool"),
        ("rule", "adm", "did you mean adam"),
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
        sweeps.Study(trial, steps=0, metric="value")
    with pytest.raises(StudyError, match="did you mean alpha"):
        sweeps.Study(trial, steps=1, metric="value", space={"alhpa": [1.0]})
    with pytest.raises(StudyError, match="mode is one of max, min.*there are|did you mean"):
        sweeps.Study(trial, steps=1, metric="value", mode="maxx")
    with pytest.raises(StudyError, match="did you mean per_seed"):
        sweeps.Study(trial, steps=1, metric="value", batches="per-seed")
    with pytest.raises(StudyError, match="evaluate_every"):
        sweeps.Study(trial, steps=1, metric="value", evaluate_every=0)


def test_configurations_that_cannot_be_swept_are_refused():
    with pytest.raises(StudyError, match="frozen dataclass.*int"):
        fields(int)
    with pytest.raises(StudyError, match=r"@dataclass\(frozen=True\)"):
        fields(dataclasses.make_dataclass("Thawed", [("alpha", float, 0.1)]))
    with pytest.raises(StudyError, match="seed is the engine's"):
        fields(dataclasses.make_dataclass("Seeded", [("seed", int, 0)], frozen=True))
    mutable = dataclasses.field(default_factory=list)
    with pytest.raises(StudyError, match="field layers is hashable.*list; a tuple would do"):
        fields(dataclasses.make_dataclass("Mutable", [("layers", list, mutable)], frozen=True))


def test_fields_named_as_columns_of_the_results_are_refused():
    for name in ("member", "step", "status"):
        config = dataclasses.make_dataclass("Taken", [(name, float, 0.1)], frozen=True)
        with pytest.raises(StudyError, match=f"as a column of the results` must hold, but got {name}"):
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
    study = sweeps.Study(trial, steps=steps, metric="value", evaluate_every=every)
    assert study.evaluation_steps == expected
