import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.search.adaptive import Adaptive, checked


def test_a_search_is_a_name_or_has_settings():
    assert checked("tpe") == sweeps.tpe() == sweeps.tpe(32) and checked(sweeps.gp(4)).points_per_batch == 4
    assert checked("sobol").name == "sobol"


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("tpee", '"tpee". Did you mean "tpe"'),
        (3, "Unknown search 3. Choose grid, random, sobol, tpe or gp."),
        (
            Adaptive("tpe", 0),
            "1 <= points_per_batch` must hold and be a whole number, but got points_per_batch=0",
        ),
        (Adaptive("gp", True), "1 <= points_per_batch"),
        (
            Adaptive("sobol", 4),
            "search is one of tpe, gp` must hold with points_per_batch or warm_start.*sobol",
        ),
        (Adaptive("grid", warm_start="runs/first"), "with points_per_batch or warm_start, but got grid"),
    ],
)
def test_settings_that_cannot_be_are_refused(search, message):
    with pytest.raises(StudyError, match=message):
        checked(search)
