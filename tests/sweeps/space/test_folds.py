import dataclasses

import numpy as np
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.space.domains import is_sampled, levels, size, text
from sweeps.space.folds import Folds
from sweeps.space.grammar import as_domain
from sweeps.trial import fields
from tests.sweeps import plain


def test_folds_are_levels_and_read_back():
    domain = sweeps.folds(5)
    assert size(domain) == 5 and levels(domain) == (0, 1, 2, 3, 4) and not is_sampled(domain)
    assert text(domain) == "folds(5)" and as_domain("folds(5)") == as_domain(" folds( num = 5 ) ") == domain


def test_groups_are_labels_of_any_kind_and_told_apart():
    words = sweeps.folds(2, groups=["b", "a", "b", "c"])
    assert words == sweeps.folds(np.int64(2), groups=np.array([7.5, -1, 7.5, 9])) == Folds(2, (1, 0, 1, 2))
    assert (
        text(words)
        == text(sweeps.folds(2, groups=[1, 0, 1, 2]))
        != text(sweeps.folds(2, groups=[0, 0, 1, 2]))
    )
    with pytest.raises(StudyError, match="groups are an array.*in Python: sweeps.folds"):
        as_domain(text(words))


@pytest.mark.parametrize(
    ("num", "message"),
    [(1, "2 <= num.*got 1; one fold would hold out everything"), (0, "got 0"), (2.0, "got 2.0"),
     (True, "got True"), ("5", "got '5'")],
)  # fmt: skip
def test_a_number_that_is_none_of_folds_is_refused(num, message):
    with pytest.raises(StudyError, match=message):
        sweeps.folds(num)


@pytest.mark.parametrize(
    ("groups", "message"),
    [([[1, 2]], r"got shape \(1, 2\)"), (3, r"got shape \(\)"), ([], r"got shape \(0,\)"),
     ([0.0, np.nan], "nan among"), ([1, None], "cannot be sorted"), ([[1], [1, 2]], "cannot be sorted")],
)  # fmt: skip
def test_groups_that_are_no_labels_are_refused(groups, message):
    with pytest.raises(StudyError, match=message):
        sweeps.folds(2, groups=groups)


@pytest.mark.parametrize(
    "space",
    [{"fold": range(5)}, {"fold": [0, 1]}, {"fold": 3}, {"alpha": sweeps.folds(5)}, {"seed": "folds(5)"}],
)
def test_folds_are_of_fold_and_fold_of_folds(space):
    with pytest.raises(StudyError, match="fold takes folds, and nothing else does"):
        plain.study(space=space)


def test_a_field_named_fold_is_refused():
    config = dataclasses.make_dataclass("Config", [("fold", int, 0)], frozen=True)
    with pytest.raises(StudyError, match=r"cannot be named fold, .*say fold=folds\(5\) in the space"):
        fields(config)
