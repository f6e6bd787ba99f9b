import hashlib
import json

import pyarrow as pa
import pytest

from sweeps.errors import StudyError
from sweeps.store import chunks as store
from sweeps.store import manifest, rungs
from sweeps.store.statuses import Status

DAMAGED = ("", "{", '{"format_version": 1, "study": "other"}', None)


@pytest.mark.parametrize("content", DAMAGED)
def test_the_copy_serves_where_the_manifest_is_damaged(tmp_path, content):
    directory = store.create(tmp_path / "run", {"study": "s"})
    path = directory / "manifest.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.warns(UserWarning, match="manifest.json .*the copy in .manifest.json is read"):
        assert store.read_manifest(directory)["study"] == "s"
    with pytest.raises(StudyError, match="which holds a run; name another"):
        store.create(directory, {})
    assert "it is put back from its copy" in (manifest.restore(directory) or "")
    assert store.read_manifest(directory)["study"] == "s" and manifest.damage(directory) is None
    assert (directory / "damaged" / "manifest.json").exists() == (content is not None)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_copy_is_written_again(tmp_path, content):
    directory = store.create(tmp_path / "run", {"study": "s"})
    copy = directory / ".manifest.json"
    before = copy.read_text()
    copy.unlink() if content is None else copy.write_text(content)
    assert store.read_manifest(directory)["study"] == "s"
    assert manifest.restore(directory) is None and copy.read_text() == before


def test_a_manifest_of_an_earlier_version_is_read_and_gets_a_copy(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"format_version": 1, "study": "old"}))
    assert store.read_manifest(tmp_path)["study"] == "old" and manifest.damage(tmp_path) is None
    assert manifest.restore(tmp_path) is None
    (tmp_path / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="manifest.json is missing"):
        assert store.read_manifest(tmp_path)["study"] == "old"


def test_the_fingerprint_is_that_of_a_version_which_did_not_know_select():
    asked, digests = {"study": "s", "mode": "max"}, {"data": "d"}
    earlier = hashlib.sha256(json.dumps([asked, digests], sort_keys=True).encode()).hexdigest()
    assert manifest.fingerprint(asked | {"select": "last"}, digests) == earlier
    assert manifest.fingerprint(asked | {"select": "best"}, digests) != earlier


def test_a_run_says_at_which_steps_it_had_ended_before(tmp_path):
    assert manifest.lengths_of(tmp_path) == ()  # there is no manifest
    directory = store.create(tmp_path / "run", {"steps": 24})
    assert manifest.lengths_of(directory) == (24,)
    # More members, in an earlier version, which had no more steps to say of; more steps; more members.
    parts = [{"members": 4}, {"members": 6, "steps": 8}, {"members": 6, "steps": 24}]
    manifest.write_manifest(directory, {"steps": 24, "earlier": parts})
    assert manifest.lengths_of(directory) == (8, 24)


def test_who_is_done_with_fewer_steps_than_the_run_has_goes_on(tmp_path):
    directory = store.create(tmp_path / "run", {"steps": 24, "earlier": [{"steps": 8}]})
    for first, stop, status in ((0, 8, "done"), (2, 8, "done"), (4, 8, "diverged"), (0, 24, "done")):
        ids = pa.array([first, first + 1])
        name = f"0-{first}-{8 if stop == 24 else 0}-{stop}"
        rows = {"member": ids, "status": [status] * 2, "stopped_at": pa.nulls(2, pa.int32())}
        store.commit(directory, name, pa.table(rows), pa.table({"member": ids, "step": [stop] * 2}), {})
    found = store.read(directory, "members")
    assert found is not None
    assert found["status"].to_pylist() == ["done"] * 2 + ["running"] * 2 + ["diverged"] * 2
    assert found["stopped_at"].to_pylist() == [None] * 6
    assert store.progress(directory, 24) == (2, {0: 6 * 8 + 2 * 16}, 2)
    assert store.members_with(directory, 8, Status.DIVERGED, Status.FAILED).tolist() == [4, 5]
    # Nothing was decided at step 8, so that no decision is missing there.
    assert rungs.damage(directory, {0, 8}) == {} and list(rungs.damage(directory, {4})) == [
        directory / "rungs" / "*-4.json"
    ]
