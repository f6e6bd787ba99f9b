import hashlib
import json

import pytest

from sweeps.errors import StudyError
from sweeps.store import chunks as store
from sweeps.store import manifest

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
