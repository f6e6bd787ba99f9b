import numpy as np
import pyarrow as pa
import pytest

from sweeps.errors import StudyError
from sweeps.results.filtering import matching

MEMBERS = pa.table(
    {
        "member": range(6),
        "seed": pa.array([0, 1, 2] * 2, pa.uint32()),
        "status": ["done", "done", "diverged", "done", "stopped", "done"],
        "diverged_at": pa.array([None, None, 7, None, None, None], pa.int32()),
        "alpha": np.repeat(np.linspace(0, 0.3, 4)[1:3], 3),
        "decay": [None, None, None, 0.0, 0.0, 1e-4],
        "width": [32, 32, 64, 64, 128, 128],
        "bias": [True, False, None, True, False, None],
        "shape": ["(3, 3)", "(3, 3)", "(5, 5)", "(5, 5)", "None", None],
    }
)


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"member": 3}, [3]),
        ({"shape": (3, 3)}, [0, 1]),
        ({"shape": ((3, 3), (5, 5))}, [0, 1, 2, 3]),
        ({"seed": range(1, 9)}, [1, 2, 4, 5]),
        ({"seed": {0, 2}}, [0, 2, 3, 5]),
        ({"seed": (each for each in (0, 1))}, [0, 1, 3, 4]),
        ({"seed": np.arange(2)}, [0, 1, 3, 4]),
        ({"seed": np.int64(2)}, [2, 5]),
        ({"seed": [2**80, -1, 1]}, [1, 4]),
        ({"status": "done"}, [0, 1, 3, 5]),
        ({"status": ["stopped", "diverged"]}, [2, 4]),
        ({"diverged_at": None}, [0, 1, 3, 4, 5]),
        ({"diverged_at": [None, 7.0]}, [0, 1, 2, 3, 4, 5]),
        ({"alpha": 0.1}, [0, 1, 2]),
        ({"alpha": [0.1, float("inf"), float("nan")]}, [0, 1, 2]),
        ({"alpha": np.float64(0.2)}, [3, 4, 5]),
        ({"decay": None}, [0, 1, 2]),
        ({"decay": 0}, [3, 4]),
        ({"decay": [None, 1e-4]}, [0, 1, 2, 5]),
        ({"width": [32.0, 64]}, [0, 1, 2, 3]),
        ({"width": [32.5, 64]}, [2, 3]),
        ({"bias": True}, [0, 3]),
        ({"bias": [None, False]}, [1, 2, 4, 5]),
        ({"shape": "(3, 3)"}, [0, 1]),
        ({"shape": [(5, 5)]}, [2, 3]),
        ({"shape": None}, [5]),
        ({"alpha": 0.2, "seed": range(2), "status": "done"}, [3]),
    ],
)
def test_members_that_meet_every_condition(conditions, kept):
    assert np.flatnonzero(matching(MEMBERS, conditions)).tolist() == kept


def test_values_that_differ_by_more_than_rounding_are_told_apart():
    members = pa.table({"member": range(3), "alpha": [0.1, 0.1 * (1 + 1e-8), -0.1]})
    assert matching(members, {"alpha": 0.1 * (1 + 1e-12)}).tolist() == [True, False, False]
    assert matching(members, {"alpha": [0.1 * (1 - 1e-12), 0.2]}).tolist() == [True, False, False]
    assert matching(members, {"alpha": [-0.1, 0.1 * (1 + 1e-8)]}).tolist() == [False, True, True]


def test_infinities_are_values_like_others():
    members = pa.table({"member": range(5), "x": [0.0, 1.0, np.inf, -np.inf, None]})
    assert matching(members, {"x": np.inf}).tolist() == [False, False, True, False, False]
    assert matching(members, {"x": [1.0, -np.inf]}).tolist() == [False, True, False, True, False]
    assert matching(members, {"x": [None, np.inf]}).tolist() == [False, False, True, False, True]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"alfa": 0.1}, 'Members have no column "alfa". Did you mean "alpha"'),
        (
            {"alpha": 0.12},
            r"No member has alpha=0.12\. The nearest is 0\.0?[19]9*",
        ),
        ({"alpha": float("inf")}, r"No member has alpha=inf\. The nearest is 0\.(2|19)"),
        ({"alpha": float("-inf")}, r"No member has alpha=-inf\. The nearest is 0\.0?[19]9*"),
        ({"seed": range(8, 12)}, r"No member has seed=range\(8, 12\)\. The nearest is 2"),
        ({"seed": []}, r"No member has seed=\[\]\. There are 0, 1, 2"),
        ({"status": "don"}, 'No member has the status "don". Did you mean "done"'),
        ({"status": None}, "No member has status=None. There are done, diverged, stopped"),
        ({"alpha": "0.1"}, "`alpha is a number` must hold in a filter, but got '0.1'"),
        ({"width": True}, "`width is a number` must hold in a filter, but got True"),
        ({"bias": 1}, "`bias is True or False` must hold in a filter, but got 1"),
        (
            {"alpha": 0.1, "status": "stopped"},
            "No member has all of alpha=0.1, status='stopped'; each of them",
        ),
    ],
)
def test_a_filter_that_cannot_match_says_why(conditions, message):
    with pytest.raises(StudyError, match=message):
        matching(MEMBERS, conditions)


def test_a_column_without_values_offers_none():
    members = pa.table({"member": [0], "bias": [True], "stopped_at": pa.nulls(1, pa.int32())})
    with pytest.raises(StudyError, match="=5. There are none that are set"):
        matching(members, {"stopped_at": 5})
    with pytest.raises(StudyError, match="=False. There are True"):
        matching(members, {"bias": False})
