import resource

import numpy as np
import pyarrow as pa
import pytest

from sweeps.errors import StudyError
from sweeps.store import chunks as store
from sweeps.store.repair import repair

MEMBERS = pa.table({"member": [1, 0], "status": ["done", "done"]})
METRICS = pa.table({"member": [1, 0, 0], "step": [5, 10, 5], "loss": [0.1, 0.2, 0.3]})


def test_a_commit_is_read_back_in_order(tmp_path):
    directory = store.create(tmp_path / "run", {"study": "s"})
    assert store.read(directory, "members") is None
    store.commit(directory, "0-0-0-10", MEMBERS, METRICS, {})
    store.commit(
        directory, "0-2-0-10", pa.table({"member": [2], "status": ["done"]}), METRICS.slice(0, 0), {}
    )
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

    def full_disk(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.pq, "write_table", full_disk)
    with pytest.raises(StudyError, match="0-0-0-10 can be written` must hold.*No space left"):
        store.commit(directory, "0-0-0-10", MEMBERS, METRICS, {})
    monkeypatch.undo()
    assert store.committed(directory) == []
    store.commit(directory, "0-0-0-10", MEMBERS, METRICS, {})
    assert [path.name for path in store.committed(directory)] == ["0-0-0-10"]


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StudyError, match="a new or empty folder.*holds something else"):
        store.create(tmp_path, {})
    with pytest.raises(StudyError, match="which is a file"):
        store.create(tmp_path / "notes.txt", {})
    store.create(tmp_path / "run", {})
    with pytest.raises(StudyError, match="holds a run; name another, or `sweeps resume"):
        store.create(tmp_path / "run", {})
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="`out can be written` must hold.*Not a directory"):
        store.create(tmp_path / "file" / "run", {})


def test_a_file_that_may_not_grow_leaves_no_trace(tmp_path):
    directory = store.create(tmp_path / "run", {})
    rows = pa.table({"member": range(100_000), "loss": np.random.default_rng(0).random(100_000)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # as a full disk, or a quota
    try:
        with pytest.raises(StudyError, match="0-0-0-10 can be written` must hold, but got .*File too large"):
            store.commit(directory, "0-0-0-10", MEMBERS, rows, {})
        with pytest.raises(StudyError, match="manifest.json can be written` must hold.*File too large"):
            store.write_manifest(directory, {"study": "s" * 20_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    names = sorted(path.name for path in directory.rglob("*"))
    assert names == [".manifest.json", "chunks", "manifest.json"]
    assert store.read_manifest(directory) == {"format_version": 1}


def test_a_damaged_chunk_is_named_and_the_others_load(tmp_path):
    directory = store.create(tmp_path / "run", {})
    store.commit(directory, "0-0-0-10", MEMBERS, METRICS, {"devices": 2})
    store.commit(directory, "0-2-0-10", pa.table({"member": [2], "status": ["done"]}), METRICS, {})
    truncate(directory / "chunks" / "0-2-0-10" / "metrics.parquet")
    for kind in store.KINDS:
        with pytest.warns(
            UserWarning, match="0-2-0-10 is damaged: metrics.parquet is not what.*`sweeps resume"
        ):
            table = store.read(directory, kind)
        assert table is not None and sorted(set(table["member"].to_pylist())) == [0, 1]
    (directory / "chunks" / ".0-4-0-10.tmp").mkdir()
    (directory / ".members.parquet.tmp").write_text("half")
    (said,) = repair(directory, {"keep_best": 0, "steps": 10})
    assert said.startswith("chunks/0-2-0-10 is damaged (metrics.parquet is not what was written): it is set")
    assert [path.name for path in store.committed(directory)] == ["0-0-0-10"]
    assert [path.name for path in directory.rglob(".*")] == [".manifest.json"]
    kept = sorted(path.name for path in (directory / "damaged" / "chunks" / "0-2-0-10").iterdir())
    assert kept == ["checksums.json", "members.parquet", "metrics.parquet", "setting.json"]
    assert store.committed_members(directory, store.Interval(0, 10)).tolist() == [0, 1]
    assert store.read_setting(directory / "chunks" / "0-0-0-10") == {"devices": 2}


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])
