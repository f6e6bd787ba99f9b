import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeps.store import chunks as store
from sweeps.store import derived

CURRENT = (True, [])  # whole, and no chunk beside


def rows(ids, status="done"):
    return pa.table({"member": pa.array(ids, pa.int64()), "status": [status] * len(ids)})


def pending(ids):
    return rows(ids.tolist(), "pending")


def commit(directory, ids):
    metrics = pa.table({"member": ids, "step": [10] * len(ids), "loss": [float(id) for id in ids]})
    store.commit(directory, f"0-{ids[0]}-0-10", rows(ids), metrics, {})


def statuses(directory, count=6):
    found = derived.read(directory, "members", count)
    assert found is not None and found["member"].to_pylist() == list(range(len(found)))
    return found["status"].to_pylist()


@pytest.fixture
def directory(tmp_path):
    made = store.create(tmp_path / "run", {})
    derived.announce(made, 6, pending)
    commit(made, [0, 1])
    return made


def test_members_that_wait_have_rows_from_the_beginning(directory):
    assert statuses(directory) == ["done"] * 2 + ["pending"] * 4
    derived.announce(directory, 8, pending)  # a search asks for more
    assert statuses(directory, 8) == ["done"] * 2 + ["pending"] * 6
    derived.withdraw(directory)
    assert statuses(directory) == ["done"] * 2


def test_tables_are_read_only_while_they_are_those_of_the_chunks(directory):
    derived.derive(directory, 6, pending)
    assert derived.held(directory) == CURRENT
    commit(directory, [2, 3])
    assert derived.held(directory) != CURRENT
    assert statuses(directory) == ["done"] * 4 + ["pending"] * 2
    derived.derive(directory, 6, pending)
    assert derived.held(directory) == CURRENT
    pq.write_table(rows(range(6)), directory / "members.parquet")  # not what the record says
    assert derived.held(directory) != CURRENT
    derived.derive(directory, 6, pending)
    (directory / "chunks" / "0-0-0-10").rename(directory / "elsewhere")
    assert derived.held(directory) != CURRENT
    assert statuses(directory) == ["pending"] * 2 + ["done"] * 2 + ["pending"] * 2


def test_a_damaged_table_costs_the_rows_of_members_that_wait(directory):
    (directory / "members.parquet").write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match="members.parquet is damaged.*until `sweeps resume"):
        assert statuses(directory) == ["done"] * 2
    derived.announce(directory, 6, pending)
    assert statuses(directory) == ["done"] * 2 + ["pending"] * 4


def losses(directory):
    found = derived.read(directory, "metrics", 6)
    assert found is not None
    return found["loss"].to_pylist()


@pytest.fixture
def opened(monkeypatch):
    """The chunks whose rows are read."""
    names, read_file = [], store.read_file

    def counted(path, *columns):
        names.append(path.parent.name)
        return read_file(path, *columns)

    for module in (store, derived):
        monkeypatch.setattr(module, "read_file", counted)
    return names


@pytest.mark.parametrize("anew", [False, True])
def test_of_chunks_that_the_tables_hold_none_is_opened(directory, opened, anew):
    derived.derive(directory, 6, pending, anew)
    commit(directory, [3, 2])
    assert statuses(directory) == ["done", "done", "done", "done", "pending", "pending"]
    assert losses(directory) == [0.0, 1.0, 2.0, 3.0]
    assert set(opened) == {"run", "0-3-0-10"}
    derived.derive(directory, 6, pending, anew)
    commit(directory, [4, 5])
    opened.clear()
    assert statuses(directory) == ["done"] * 6 and losses(directory) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert set(opened) == {"run", "0-4-0-10"}
    before = [(directory / name).read_bytes() for name in derived.TABLES]
    derived.derive(directory, 6, pending, anew)
    assert derived.held(directory) == CURRENT
    tables = [pq.read_table(directory / name) for name in derived.TABLES]
    assert [(directory / name).read_bytes() for name in derived.TABLES] != before
    derived.derive(directory, 6, pending)
    assert tables == [pq.read_table(directory / name) for name in derived.TABLES]


@pytest.mark.parametrize(
    "fault", ["a chunk is gone", "a chunk is another", "a table is damaged", "a record is"]
)
def test_tables_that_are_stale_or_damaged_are_left_for_the_chunks(directory, opened, fault):
    derived.derive(directory, 6, pending, anew=False)
    commit(directory, [2, 3])
    first = directory / "chunks" / "0-0-0-10"
    if fault == "a chunk is gone":
        first.rename(first.with_name(".0-0-0-10.failed"))
    elif fault == "a chunk is another":
        first.rename(directory / "elsewhere")
        commit(directory, [0, 1, 4])
    else:
        name = derived.RECORD if fault == "a record is" else "metrics.parquet"
        content = bytearray((directory / name).read_bytes())
        content[len(content) // 2] ^= 0x15
        (directory / name).write_bytes(content)
    assert not derived.held(directory).usable
    expected = {"a chunk is gone": [2.0, 3.0], "a chunk is another": [0.0, 1.0, 2.0, 3.0, 4.0]}
    assert losses(directory) == expected.get(fault, [0.0, 1.0, 2.0, 3.0]) and "0-2-0-10" in opened
    derived.derive(directory, 6, pending, anew=False)
    assert derived.held(directory) == CURRENT


def test_a_damaged_chunk_that_the_tables_do_not_hold_is_said(directory):
    derived.derive(directory, 6, pending, anew=False)
    commit(directory, [2, 3])
    (directory / "chunks" / "0-2-0-10" / "members.parquet").write_bytes(b"")
    with pytest.warns(UserWarning, match="0-2-0-10 is damaged: members.parquet is not what was written"):
        assert statuses(directory) == ["done"] * 2 + ["pending"] * 4


def test_what_is_committed_while_the_tables_are_made_is_not_taken_for_held(directory, monkeypatch):
    readable = store.readable

    def slow(*words):
        found = readable(*words)
        commit(directory, [2, 3])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(store, "readable", slow)
        derived.derive(directory, 6, pending)
    assert derived.held(directory) == (True, [directory / "chunks" / "0-2-0-10"])
    assert statuses(directory) == ["done"] * 4 + ["pending"] * 2


def test_tables_are_extended_now_and_then(directory, monkeypatch):
    monkeypatch.setattr(derived, "CHUNKS_BETWEEN", 2)
    extension = derived.Extension(directory)
    extension.commit(6, pending)
    assert not (directory / derived.RECORD).exists()
    commit(directory, [2])
    extension.commit(6, pending)
    assert derived.held(directory) == CURRENT
    for member in (3, 4):
        commit(directory, [member])
        extension.commit(6, pending)
    assert len(derived.held(directory).missing) == 2  # it has just been done, and is no work by itself
    extension.due = 0.0
    extension.commit(6, pending)
    assert derived.held(directory) == CURRENT and statuses(directory) == ["done"] * 5 + ["pending"]
