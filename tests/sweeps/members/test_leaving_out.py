"""Which combinations a study's `where` leaves out."""

import dataclasses
import itertools

import numpy as np
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.members.population import populate
from sweeps.members.request import make_request
from sweeps.members.sampling import Sampling
from tests.sweeps import nested, plain

OPTIONS = {"members_per_chunk": 4, "progress": False}
SPACE = {"alpha": [0.0, 0.1, 0.3], "width": [4, 8, 16], "seed": range(2)}
SAMPLED = {"alpha": "uniform(0, 1)", "learning_rate": "log_uniform(1e-3, 0.1)", "seed": range(2)}


def small(columns):
    return columns["alpha"] * columns["width"] < 1


def one_at_a_time(point):
    return point["alpha"] == 0 or point["width"] in (4, 8)  # which arrays refuse


def points_of(study, samples=None):
    population = populate(study, samples, 0)
    columns = [population.columns[name].tolist() for name in population.swept]
    return list(zip(*columns, population.seeds.tolist(), strict=True))


@pytest.mark.parametrize("where", [small, one_at_a_time, lambda columns: np.asarray(columns["width"]) != 8])
def test_a_grid_is_its_product_without_what_is_left_out(where):
    expected = [
        (alpha, width, seed)
        for alpha, width, seed in itertools.product([0.0, 0.1, 0.3], [4, 8, 16], range(2))
        if where({"alpha": alpha, "width": width})
    ]
    assert 0 < len(expected) < 18
    assert points_of(plain.study(space=SPACE, where=where)) == expected


def test_columns_come_first_and_points_where_they_are_refused():
    calls = []

    def counted(where):
        def asked(values):
            calls.append(values)
            return where(values)

        return asked

    populate(plain.study(space=SPACE, where=counted(small)), None, 0)
    (columns,) = calls
    assert columns["alpha"].dtype == np.float64 and columns["width"].dtype == np.int64
    assert columns["learning_rate"] == 0.05  # which does not vary
    calls.clear()
    populate(plain.study(space=SPACE, where=counted(one_at_a_time)), None, 0)
    assert len(calls) == 10
    assert (
        calls[-1] == {"alpha": 0.3, "learning_rate": 0.05, "width": 16} and type(calls[-1]["alpha"]) is float
    )


@dataclasses.dataclass(frozen=True)
class Layered:
    layers: tuple[int, ...] = (8,)
    alpha: float = 0.1


def test_a_tuple_is_compared_as_one_value():
    trial = sweeps.function(lambda config, key: {"loss": config.alpha}, config=Layered)
    space = {"layers": [(8,), (16,), (8, 8)], "alpha": [0.0, 0.1]}
    study = sweeps.Study(trial, steps=1, metric="loss", space=space, where=lambda c: c["layers"] != (8,))
    assert [row[0] for row in points_of(study)] == [(16,), (16,), (8, 8), (8, 8)]


def test_a_field_that_a_point_has_not_is_none():
    study = nested.study(
        where=lambda point: point["optimizer"] == "Sgd" or point["optimizer.momentum"] is None
    )
    assert len(populate(study, None, 0)) == 32
    study = nested.study(
        where=lambda point: point["optimizer.momentum"] is not None and point["leak.alpha"] > 0
    )
    assert {row[1] for row in points_of(study)} == {"Sgd"} and len(populate(study, None, 0)) == 12


def test_draws_are_left_out_after_they_are_drawn():
    own = plain.study(space=SAMPLED, where=lambda columns: columns["alpha"] < 0.5)
    whole = points_of(dataclasses.replace(own, where=None), 40)
    assert points_of(own, 40) == [row for row in whole if row[0] < 0.5]
    for search in ("random", "sobol"):
        found = make_request(own, Sampling(search, 32, 0), name="own").population
        assert 0.2 < len(found) / 64 < 0.8 and (found.columns["alpha"] < 0.5).all()


def test_a_search_that_learns_proposes_as_many_as_were_asked_for():
    own = plain.study(space=SAMPLED, samples=12, where=lambda point: point["alpha"] < 0.1)
    found = sweeps.run(own, search=sweeps.tpe(points_per_batch=4), **OPTIONS)
    alphas = found.members["alpha"].to_numpy()
    assert len(alphas) == 24 and (alphas < 0.1).all() and len(set(alphas)) == 12


def nothing(columns):
    return columns["alpha"] > 1


@pytest.mark.parametrize("search", ["grid", "random", "sobol", "tpe"])
def test_a_study_of_which_nothing_is_left_is_refused(search, tmp_path):
    own = plain.study(space=SAMPLED, samples=3, where=nothing)
    with pytest.raises(StudyError, match="`where lets some point through` must hold, but it leaves out"):
        sweeps.run(own, search=search, out=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            lambda point: point["alhpa"] > 0,
            "says True or False of a point` must hold, but got KeyError: 'alhpa'",
        ),
        (lambda point: "yes", "says True or False of a point` must hold, but got 'yes'"),
        (lambda point: None, "but got None for"),
    ],
)
def test_a_predicate_that_does_not_say_is_refused(where, message):
    with pytest.raises(StudyError, match=message):
        populate(plain.study(space=SPACE, where=where), None, 0)
    with pytest.raises(StudyError, match="`where is a function` must hold, but got 'alpha < 1'"):
        plain.study(space=SPACE, where="alpha < 1")


@pytest.mark.parametrize("search", ["grid", "tpe"])
def test_a_run_goes_on_with_what_it_began_with_and_notices_another(search, tmp_path):
    space, samples = (SPACE, None) if search == "grid" else (SAMPLED, 3)
    own = plain.study(space=space, samples=samples, where=lambda point: point["alpha"] < 0.2)
    found = sweeps.run(own, search=search, out=tmp_path / "run", confirm=1, **OPTIONS)
    same = dataclasses.replace(own, where=lambda columns: 0.2 > columns["alpha"])
    assert sweeps.resume(tmp_path / "run", same, progress=False).members.equals(found.members)
    assert sweeps.replay(tmp_path / "run", 1, own, progress=False).same
    others = (None, lambda point: point["alpha"] < 0.1) if search == "tpe" else (None, small)
    for where in others:
        with pytest.raises(StudyError, match=r"study is the one.*where: [\d]+ .*, now "):
            sweeps.resume(tmp_path / "run", dataclasses.replace(own, where=where), progress=False)


def test_a_run_without_one_notices_that_there_is_one_now(tmp_path):
    sweeps.run(plain.study(), out=tmp_path / "run", **OPTIONS)
    own = plain.study(
        where=lambda columns: columns["alpha"] >= 0
    )  # which leaves nothing out, and is asked for
    with pytest.raises(StudyError, match="where: nothing, now 9 members"):
        sweeps.resume(tmp_path / "run", own, progress=False)
