import hashlib
import json

import pytest

from sweeps.store import checksums
from sweeps.store.checksums import Damaged


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "b").write_text("")
    checksums.write(tmp_path)
    return tmp_path


def test_the_checksums_are_those_of_sha256(folder):
    found = json.loads((folder / "checksums.json").read_text())
    assert found == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("b", "inner/a")
    }
    checksums.write(folder)  # which do not list themselves
    assert json.loads((folder / "checksums.json").read_text()) == found
    assert checksums.check(folder, ["b"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "checksums.json cannot be read"),
        (b'{"b": "', "checksums.json cannot be read"),
        (b"\xff\xfe\xff", "checksums.json cannot be read"),
        (b"[" * 100_000, "checksums.json cannot be read"),
        (b"[1]", "checksums.json is of another kind"),
        (b"{}", "checksums.json does not list b"),
        (b'{"b": 3}', "b is not what was written"),
        (b'{"b": "0", "c": "0"}', "is not what was written|c cannot be read"),
    ],
)
def test_checksums_that_are_damaged_are_said_to_be(folder, content, said):
    (folder / "checksums.json").write_bytes(content)
    with pytest.raises(Damaged, match=said):
        checksums.check(folder, ["b"])


def test_what_is_not_compared_must_be_there(folder):
    (folder / "inner" / "a").write_bytes(b"other")
    assert checksums.check(folder, ["b"], "inner/")
    with pytest.raises(Damaged, match="inner/a is not what was written"):
        checksums.check(folder, ["b"])
    (folder / "inner" / "a").unlink()
    with pytest.raises(Damaged, match="inner/a cannot be read.*No such file"):
        checksums.check(folder, ["b"], "inner/")
    (folder / "checksums.json").unlink()  # an earlier version wrote it
    assert not checksums.check(folder, ["b"])
    with pytest.raises(Damaged, match="is no folder"):
        checksums.check(folder / "b", [])


def test_a_record_is_read_back_and_a_changed_one_refused(tmp_path):
    record, path = {"step": 3, "rate": 0.1, "of": {7: float("inf")}}, tmp_path / "record.json"
    path.write_text(checksums.sealed(record, indent=2))
    plain = {"step": 3, "rate": 0.1, "of": {"7": float("inf")}}
    assert checksums.unsealed(path, ("step",)) == (plain, True)
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(Damaged, match="record.json is not what was written"):
        checksums.unsealed(path, ("step",))
    path.write_text('{"step": 3}')  # an earlier version wrote it
    assert checksums.unsealed(path, ("step",)) == ({"step": 3}, False)
    with pytest.raises(Damaged, match="of another kind"):
        checksums.unsealed(path, ("stop",))
    with pytest.raises(FileNotFoundError, match="nothing"):
        checksums.unsealed(tmp_path / "nothing", ())
