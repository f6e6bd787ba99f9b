import json
import math

import numpy as np
import pyarrow as pa
import pytest

from sweeps.store import checksums
from sweeps.store import chunks as store
from sweeps.store.durations import member_seconds
from sweeps.store.repair import described, repair

METRICS = pa.table({"member": [0], "step": [10], "loss": [0.1]})


def committed(directory, name, ids, seconds=math.nan):
    rows = pa.table({"member": ids, "status": ["done"] * len(ids)})
    store.commit(directory, name, rows, METRICS, {}, seconds)
    return directory / "chunks" / name


@pytest.fixture
def directory(tmp_path):
    return store.create(tmp_path / "run", {})


def seconds_of(directory, *members):
    return member_seconds(directory, np.asarray(members)).tolist()


def test_the_seconds_of_a_chunk_are_shared_among_its_members_and_added_over_rounds(directory):
    assert seconds_of(directory, 0, 5) == pytest.approx([math.nan] * 2, nan_ok=True)
    committed(directory, "0-0-0-5", [0, 1, 2, 3], 2.0)
    committed(directory, "1-7-0-5", [7], 0.25)
    committed(directory, "0-1-5-10", [1, 3], 3.0)
    assert seconds_of(directory, 3, 0, 7, 1, 2) == [2.0, 0.5, 0.25, 2.0, 0.5]
    assert seconds_of(directory, 4, 8, 0) == pytest.approx([math.nan, math.nan, 0.5], nan_ok=True)


def test_one_round_that_is_not_known_is_no_zero(directory):
    committed(directory, "0-0-0-5", [0, 1], 2.0)
    committed(directory, "0-1-5-10", [1])
    assert seconds_of(directory, 0, 1) == pytest.approx([1.0, math.nan], nan_ok=True)


def test_two_runs_differ_in_no_other_file(tmp_path):
    folders = []
    for name, seconds in (("one", 1.0), ("other", 1.5), ("without", math.nan)):
        folders.append(committed(store.create(tmp_path / name, {}), "0-0-0-5", [0, 1], seconds))
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    taken = [file.pop("seconds.json", None) for file in files]
    assert files[0] == files[1] == files[2] and len(set(taken)) == 3 and taken[2] is None
    assert json.loads(taken[0]) | {checksums.SEAL: ""} == {"seconds": 1.0, checksums.SEAL: ""}


def break_into(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        break_into,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text('{"seconds": 9}'),  # which nothing vouches for
        lambda path: path.write_text(path.read_text().replace("2.0", "3.0")),
        lambda path: path.write_text(checksums.sealed({"seconds": None})),
    ],
    ids="gone, a folder, empty, unsealed, changed, None".split(", "),
)
def test_a_damaged_file_costs_the_time_alone(directory, damage):
    folder = committed(directory, "0-0-0-5", [0, 1], 2.0)
    committed(directory, "0-2-0-5", [2], 1.0)
    damage(folder / "seconds.json")
    assert seconds_of(directory, 0, 1, 2) == pytest.approx([math.nan, math.nan, 1.0], nan_ok=True)
    assert store.damage(folder) is None and described(directory) == []
    assert repair(directory, {"keep_best": 0, "steps": 5}) == [] and folder.exists()


def test_a_chunk_that_cannot_be_read_is_left_out(directory):
    folder = committed(directory, "0-0-0-5", [0, 1], 2.0)
    committed(directory, "0-2-0-5", [2], 1.0)
    (folder / "members.parquet").write_bytes(b"PAR1")
    assert seconds_of(directory, 0, 2) == pytest.approx([math.nan, 1.0], nan_ok=True)
