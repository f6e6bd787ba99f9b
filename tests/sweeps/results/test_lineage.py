import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

import sweeps
from sweeps.errors import StudyError
from sweeps.results import export
from sweeps.results.lineage import first_seeds, schedule_of
from tests.sweeps.falling_rate import OPTIONS, loss, study
from tests.sweeps.four_members import LINEAGE, four

PBT = "pbt(every=5)"


@pytest.fixture(scope="module")
def evolved(tmp_path_factory):
    return sweeps.run(study(), samples=8, schedule=PBT, out=tmp_path_factory.mktemp("run"), **OPTIONS)


def expected_losses(results):
    """The last losses by plain NumPy, from what the lineage says of seeds and rates."""
    members = results.members["member"].to_pylist()
    seeds = first_seeds(results.lineage, np.asarray(members))
    found = []
    for member, seed in zip(members, seeds, strict=True):
        stages = schedule_of(results.lineage, member, ["rate"])
        found.append(loss(int(seed), [(step, values["rate"]) for step, values in stages]))
    return found


def test_the_lineage_says_what_every_state_was_trained_with(evolved):
    assert evolved.final() == pytest.approx(expected_losses(evolved), rel=1e-4)
    table = evolved.lineage
    assert table.column_names == ["member", "step", "source", "ancestor", "ancestor_seed", "rate"]
    begun = table.filter(table["step"].to_numpy() == 0)
    assert begun["member"].to_pylist() == begun["source"].to_pylist() == list(range(16))
    assert begun["ancestor_seed"].to_pylist() == [0, 1] * 8
    later = table.filter(table["step"].to_numpy() > 0)
    assert set(later["step"].to_pylist()) == {5, 10, 15} and len(later) == 3 * 4  # a quarter at each
    assert all(member != source for member, source in zip(*later.select([0, 2]).columns, strict=True))


def test_the_lineage_of_a_run_in_memory_and_of_a_resumed_one_is_the_same(evolved):
    memory = sweeps.run(study(), samples=8, schedule=PBT, **OPTIONS)
    assert memory.lineage.equals(evolved.lineage) and memory.best()[:3] == evolved.best()[:3]
    again = sweeps.resume(evolved.directory, study(), progress=False)
    assert again.lineage.equals(evolved.lineage)
    few = evolved.filter(rate=evolved.best().config["rate"])
    assert few.lineage.equals(evolved.lineage) and few.best()[:3] == evolved.best()[:3]


def test_without_a_schedule_every_member_is_its_own_ancestor():
    table = sweeps.run(study(), samples=2, **OPTIONS).lineage
    assert table["step"].to_pylist() == [0] * 4
    assert table["member"].to_pylist() == table["ancestor"].to_pylist() == [0, 1, 2, 3]


def test_clones_of_one_seed_are_one_seed():
    # Eight levels, of which the losers go to the next: several members end at the same one.
    levels = {"rate": [0.4, 0.3, 0.2, 0.1, 0.08, 0.06, 0.05, 0.04]}
    results = sweeps.run(study(space=levels), schedule="pbt(every=2)", **OPTIONS)
    best, row = results.best(), results.configurations()[0]
    assert len(row.members) > 1
    assert best.seeds == row.seeds == 1 and math.isnan(best.low) and math.isnan(best.high)
    assert best.mean == pytest.approx(np.mean(row.values))


def test_the_interval_is_over_lineages():
    best = four([1, 3, 2, 6]).best()
    # Means of the two lineages: 1.5 and 4.5; t(0.975, 1) = 12.7062, the standard error 1.5.
    assert best.seeds == 2 and best.mean == 3
    assert best.high == pytest.approx(3 + 12.7062047 * 1.5)


def test_a_member_that_diverged_leaves_its_lineage_to_the_others():
    row = four([1, 3, 2, math.nan], ["done", "done", "done", "diverged"]).configurations()[0]
    assert row.seeds == 2 and row.diverged == 1 and row.interval.mean == (1.5 + 3) / 2
    row = four([1, math.nan, 2, math.nan], ["done", "diverged"] * 2).configurations()[0]
    assert row.seeds == 1 and row.diverged == 2 and row.interval.mean == 1.5


def test_the_schedule_of_a_state_goes_back_through_its_ancestors():
    assert schedule_of(LINEAGE, 2, ["rate"]) == [(0, {"rate": 0.1})]  # which the taken state had before too
    risen = LINEAGE.set_column(5, "rate", pa.array([0.1, 0.1, 0.2, 0.3, 0.2, 0.1]))
    assert schedule_of(risen, 2, ["rate"]) == [(0, {"rate": 0.1}), (5, {"rate": 0.3})]


def test_a_field_named_as_a_column_of_the_lineage_is_refused():
    config = dataclasses.make_dataclass("Config", [("source", float, 0.1)], frozen=True)
    own = sweeps.function(lambda config, key: {"loss": config.source}, config=config)
    with pytest.raises(StudyError, match="no swept field is named as a column of the lineage.*got source"):
        sweeps.run(study(trial=own, space={"source": [0.1, 0.2]}, metric="loss"), schedule=PBT)


def test_lineages_are_exported(evolved, tmp_path):
    assert tmp_path / "lineage.csv" in export.write(evolved, "csv", tmp_path)
    assert csv.read_csv(tmp_path / "lineage.csv").column("ancestor").equals(evolved.lineage["ancestor"])
