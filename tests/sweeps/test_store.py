import pyarrow as pa
import pytest

from sweeps import store
from sweeps.space import StudyError

MEMBERS = pa.table({"member": [1, 0], "status": ["done", "done"]})
METRICS = pa.table({"member": [1, 0, 0], "step": [5, 10, 5], "loss": [0.1, 0.2, 0.3]})


def test_a_commit_is_read_back_in_order(tmp_path):
    directory = store.create(tmp_path / "run", {"study": "s"})
    assert store.read(directory, "members") is None
    store.commit(directory, "0-0-0-10", MEMBERS, METRICS)
    store.commit(directory, "0-2-0-10", pa.table({"member": [2], "status": ["done"]}), METRICS.slice(0, 0))
    members, metrics = store.read(directory, "members"), store.read(directory, "metrics")
    assert members is not None and members["member"].to_pylist() == [0, 1, 2]
    assert metrics is not None and metrics.to_pydict() == {
        "member": [0, 0, 1],
        "step": [5, 10, 5],
        "loss": [0.3, 0.2, 0.1],
    }
    assert store.read_manifest(directory) == {"format_version": 1, "study": "s"}


def test_a_commit_that_failed_leaves_no_trace(tmp_path, monkeypatch):
    directory = store.create(tmp_path / "run", {})

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.pq, "write_table", full_disk)
    with pytest.raises(OSError, match="No space left"):
        store.commit(directory, "0-0-0-10", MEMBERS, METRICS)
    monkeypatch.undo()
    assert store.committed(directory) == []
    store.commit(directory, "0-0-0-10", MEMBERS, METRICS)
    assert [path.name for path in store.committed(directory)] == ["0-0-0-10"]


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StudyError, match="a new or empty folder.*holds something else"):
        store.create(tmp_path, {})
    with pytest.raises(StudyError, match="which is a file"):
        store.create(tmp_path / "notes.txt", {})
    store.create(tmp_path / "run", {})
    with pytest.raises(StudyError, match="holds a run; name another"):
        store.create(tmp_path / "run", {})
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="`out can be written` must hold.*Not a directory"):
        store.create(tmp_path / "file" / "run", {})
