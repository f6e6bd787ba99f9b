import jax
import numpy as np
import pytest

import sweeps
from sweeps.engine import training
from sweeps.engine.chunks import Chunk
from tests.sweeps import plain
from tests.sweeps.population_of_mlps import small_study


def chunk_of(group, width=4):
    return Chunk(group, np.arange(width), width)


def test_spans_of_dear_and_of_cheap_groups_take_as_long():
    pace, cheap, dear = training.Pace(), chunk_of(0), chunk_of(1)
    for seconds in (60.0, 0.01):  # a compiler's, then a step's
        assert pace.span(cheap, 10_000) == 1
        pace.saw(cheap, 1, seconds)
    assert pace.span(cheap, 10_000) == 200 and pace.span(cheap, 150) == 150
    for seconds in (60.0, 5.0):
        assert pace.span(dear, 10_000) == 1
        pace.saw(dear, 1, seconds)
    assert pace.span(dear, 10_000) == 1  # which is longer than a span should be, and cannot be cut
    assert pace.span(cheap, 10_000) == 200  # as if no other group had been trained in between
    pace.saw(cheap, 200, 1.0)
    assert pace.span(cheap, 10_000) == 400
    assert pace.span(chunk_of(0, width=8), 10_000) == 1  # another program, which is compiled first


@pytest.mark.parametrize("setting", [jax.debug_nans, jax.debug_infs])
def test_checks_for_nans_do_not_end_a_sweep_in_which_a_member_diverges(setting, tmp_path):
    study = small_study(space={"learning_rate": [0.05, 1e25, 0.02]}, steps=4, evaluate_every=2)
    calm = sweeps.run(study, progress=False, members_per_chunk=3)
    with setting(True):
        watched = sweeps.run(study, progress=False, members_per_chunk=3, out=tmp_path / "run")
        assert watched.members["status"].to_pylist() == ["done", "diverged", "done"]
        with pytest.raises(FloatingPointError, match="debug_nans"):  # what is not a sweep's is still watched
            jax.jit(lambda x: x * np.inf - (x * np.inf if setting is jax.debug_nans else 0))(1.0)
    for name in ("test/loss", "train/loss"):
        assert np.array_equal(calm.final(name), watched.final(name), equal_nan=True)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"schedule": "halving(min_steps=4, eta=2)"}, id="halving"),
        pytest.param({"executor": "processes"}, id="processes", marks=pytest.mark.durable),
    ],
)
def test_checks_for_nans_end_neither_a_schedule_nor_workers(options, tmp_path):
    """Workers take some seconds to start, twice."""
    study = plain.study(space={"learning_rate": [0.05, 1e25, 0.02, 0.01]}, steps=8, evaluate_every=4)

    def tables(name):
        results = sweeps.run(study, progress=False, members_per_chunk=2, out=tmp_path / name, **options)
        return results.members.to_pylist(), results.metrics.to_pylist()

    calm = tables("calm")
    with jax.debug_nans(True):
        watched = tables("watched")
    statuses = [row["status"] for row in watched[0]]
    assert statuses[1] == "diverged" and statuses.count("done") == (2 if "schedule" in options else 3)
    assert repr(watched) == repr(calm)  # NaNs too


def test_planning_measures_members_that_diverge():
    study = small_study(space={"learning_rate": [1e25], "seed": range(4)}, steps=4)
    with jax.debug_nans(True):
        assert sweeps.run(study, progress=False).members["status"].to_pylist() == ["diverged"] * 4
