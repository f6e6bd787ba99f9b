import json
import math

import numpy as np
import pytest

from sweeps.store import checkpoints
from sweeps.store.checkpoints import Checkpoint


def checkpoint(members, step, evaluations=1, seconds=math.nan):
    """Two arrays whose rows tell the member and the step."""
    ids = np.asarray(members)
    leaves = [
        ids * 100.0 + step,
        np.stack([ids, ids + step], axis=1).astype(np.int32),
        np.zeros((len(ids), 0)),
    ]
    found = [(5 * place, {"test/loss": ids + np.float32(place)}) for place in range(1, evaluations + 1)]
    return Checkpoint(step, ids, leaves, found, {"devices": 2}, seconds=seconds)


def assert_equal(one, other):
    assert one is not None and one.step == other.step and one.setting == other.setting
    assert one.members.tolist() == other.members.tolist()
    for mine, theirs in zip(one.leaves, other.leaves, strict=True):
        assert mine.dtype == theirs.dtype and mine.tolist() == theirs.tolist()
    for (step, mine), (same, theirs) in zip(one.evaluations, other.evaluations, strict=True):
        assert step == same and mine.keys() == theirs.keys()
        assert all(mine[name].tolist() == theirs[name].tolist() for name in mine)


def test_what_is_written_is_read_back(tmp_path):
    for evaluations in (0, 1, 3):
        kept = checkpoint([4, 5, 6], 7, evaluations)
        checkpoints.save(tmp_path, str(evaluations), kept)
        folder = tmp_path / "checkpoints" / str(evaluations) / "7"
        assert_equal(checkpoints.load(folder), kept)


def test_only_the_newest_of_a_chunk_stays(tmp_path):
    for step in (3, 9, 10):
        checkpoints.save(tmp_path, "0-4-3", checkpoint([4, 5, 6], step))
    assert [path.name for path in (tmp_path / "checkpoints" / "0-4-3").iterdir()] == ["10"]
    # The same step once more, evaluated: its second evaluation is after step 10.
    checkpoints.save(tmp_path, "0-4-3", checkpoint([4, 5, 6], 10, evaluations=2))
    assert [path.name for path in (tmp_path / "checkpoints" / "0-4-3").iterdir()] == ["10-evaluated"]
    assert [record["step"] for record in checkpoints.newest(tmp_path).values()] == [10]
    checkpoints.remove(tmp_path, "0-4-3")
    assert checkpoints.newest(tmp_path) == {}


def test_members_are_gathered_from_wherever_they_are(tmp_path):
    def find(*members):
        return checkpoints.in_flight(tmp_path, np.asarray(members), 0, 20)

    assert find(1) is None
    checkpoints.save(tmp_path, "0a", checkpoint([1, 3, 5], 8))
    checkpoints.save(tmp_path, "0b", checkpoint([0, 2], 8))
    checkpoints.save(tmp_path, "0c", checkpoint([7], 11))
    for members in ([1, 3, 5], [5, 1], [0, 3, 2], [2]):
        assert_equal(find(*members), checkpoint(members, 8))
    assert find(1, 4) is None  # one is not there
    assert find(1, 7) is None  # they are at different steps
    checkpoints.save(tmp_path, "0d", checkpoint([3], 20))
    assert_equal(find(3), checkpoint([3], 20))  # the newest
    earlier = checkpoints.in_flight(tmp_path, np.asarray([3]), 0, 19)
    assert_equal(earlier, checkpoint([3], 8))  # the newest inside the interval
    assert checkpoints.in_flight(tmp_path, np.asarray([1]), 4, 20) is None  # of another interval


def test_a_round_begins_from_evaluated_states_alone(tmp_path):
    checkpoints.save(tmp_path, "0a", checkpoint([1, 3], 10, evaluations=2))
    checkpoints.save(tmp_path, "0b", checkpoint([0, 2], 10, evaluations=2))
    checkpoints.save(tmp_path, "0c", checkpoint([4], 10, evaluations=1))
    found = checkpoints.at_rung(tmp_path, np.asarray([2, 3, 3]), 10)
    assert found is not None and found.evaluations == [] and found.start == found.step == 10
    assert found.leaves[0].tolist() == [210.0, 310.0, 310.0]
    assert checkpoints.at_rung(tmp_path, np.asarray([4]), 10) is None
    assert checkpoints.at_rung(tmp_path, np.asarray([1]), 9) is None
    checkpoints.prune(tmp_path, 10, {})
    assert len(checkpoints.newest(tmp_path)) == 3
    checkpoints.prune(tmp_path, 11, {})
    assert checkpoints.newest(tmp_path) == {}


def test_members_that_are_gathered_have_their_share_of_the_seconds(tmp_path):
    checkpoints.save(tmp_path, "0a", checkpoint([1, 3, 5, 7], 8, seconds=2.0))
    checkpoints.save(tmp_path, "0b", checkpoint([0, 2], 8, seconds=3.0))
    checkpoints.save(tmp_path, "0c", checkpoint([4], 8))

    def seconds(*members):
        found = checkpoints.in_flight(tmp_path, np.asarray(members), 0, 20)
        assert found is not None
        return found.seconds

    assert seconds(1, 3, 5, 7) == 2.0 and seconds(3, 0) == 2.0 and seconds(0, 1, 2, 3) == 4.0
    assert math.isnan(seconds(4)) and math.isnan(seconds(0, 4))


def test_a_round_begins_with_no_seconds_and_earlier_versions_do_not_say_any(tmp_path):
    checkpoints.save(tmp_path, "0a", checkpoint([1, 3], 10, evaluations=2, seconds=2.0))
    found = checkpoints.at_rung(tmp_path, np.asarray([3, 3, 1]), 10)
    assert found is not None and found.seconds == 0.0
    (folder,) = checkpoints.newest(tmp_path)
    assert checkpoints.load(folder).seconds == 2.0
    record = json.loads((folder / "checkpoint.json").read_text())
    del record["seconds"], record["sha256"]
    (folder / "checkpoint.json").write_text(json.dumps(record))
    assert math.isnan(checkpoints.load(folder).seconds)


def test_parts_that_are_not_evaluated_alike_are_no_checkpoint(tmp_path):
    checkpoints.save(tmp_path, "0a", checkpoint([1, 3], 10, evaluations=2))  # `10-evaluated`
    checkpoints.save(tmp_path, "0b", checkpoint([0, 2], 10, evaluations=1))  # `10`
    for members in ([1, 0], [0, 1]):  # whichever comes first
        assert checkpoints.in_flight(tmp_path, np.asarray(members), 0, 20) is None
    assert_equal(checkpoints.in_flight(tmp_path, np.asarray([3]), 0, 20), checkpoint([3], 10, evaluations=2))


@pytest.mark.parametrize("sums", [True, False])  # as written now, and as earlier versions did
@pytest.mark.parametrize("name", ["evaluations.parquet", "checkpoint.json", "state/manifest.ocdbt"])
def test_a_checkpoint_without_one_of_its_files_is_damaged(tmp_path, name, sums):
    checkpoints.save(tmp_path, "0a", checkpoint([1, 3], 10))
    (folder,) = checkpoints.newest(tmp_path)
    if not sums:
        (folder / "checksums.json").unlink()
    assert checkpoints.damage(folder) is None
    (folder / name).unlink()
    assert checkpoints.damage(folder) is not None
    if not name.startswith("state"):
        assert checkpoints.newest(tmp_path) == {}


def test_a_checkpoint_that_could_not_be_written_is_said_once(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    writer = checkpoints.Writer(tmp_path, 0.001)
    writer.save("a", checkpoint([1], 3))
    assert "in the way" not in (problem := writer.finish() or "") and "checkpoints" in problem
    assert writer.finish() is None


def test_checkpoints_are_due_when_the_last_is_written_and_the_time_has_passed(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    writer = checkpoints.Writer(tmp_path, 30)
    now[0] = 129.0
    assert not writer.due()
    now[0] = 130.0
    assert writer.due()
    writer.begin()
    assert not writer.due()
    now[0] = 200.0
    writer.save("a", checkpoint([1], 3))
    assert not writer.due()
    assert writer.finish() is None
    now[0] = 230.0
    assert writer.due()


def test_what_is_trained_again_is_found_before_its_interval_begins(tmp_path):
    checkpoints.save(tmp_path, "0-1-10-20-2", checkpoint([1, 3], 5)._replace(start=10))
    members = np.asarray([1, 3])
    assert checkpoints.in_flight(tmp_path, members, 10, 20) is None
    found = checkpoints.in_flight(tmp_path, members, 10, 20, after=0)
    assert_equal(found, checkpoint([1, 3], 5))
    assert checkpoints.in_flight(tmp_path, members, 0, 10) is None  # of another interval
