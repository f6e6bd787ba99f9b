"""100 kills over every schedule, search and executor. About 4 minutes on two cores; `pytest -m durable`."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import sweeps
from sweeps.store.chunks import read_manifest
from tests.sweeps import killed_often

KILLS = {"inline": 3, "processes": 2}
pytestmark = [
    pytest.mark.durable,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="each attempt is forked"),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return os.environ | {
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.getbasetemp().parent / "xla-of-killed-sweeps"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(Path(killed_often.__file__).parents[2]),
    }


@pytest.mark.parametrize("executor", KILLS)
@pytest.mark.parametrize("search", killed_often.SEARCHES)
@pytest.mark.parametrize("schedule", killed_often.SCHEDULES)
def test_a_sweep_killed_again_and_again_ends_with_the_same_tables(
    schedule, search, executor, environment, tmp_path
):
    if search == "gp" and not find_spec("torch"):
        pytest.skip("needs torch")
    if executor == "processes" and sys.platform != "linux":
        pytest.skip("processes are for Linux alone")
    words = [tmp_path, schedule, search, executor, KILLS[executor]]
    done = subprocess.run(
        [sys.executable, killed_often.__file__, *map(str, words)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) == KILLS[executor], done.stderr
    run, whole = (sweeps.load(tmp_path / name) for name in ("run", "whole"))
    assert set(whole.members["status"].to_pylist()) == (
        {"done"} if schedule == "pbt" else {"done", "stopped"}
    )
    for kind in ("members", "metrics", "lineage"):
        one, other = (getattr(found, kind).to_pandas() for found in (run, whole))
        assert one.equals(other)  # bit for bit, and NaN where there was NaN
    assert repr(run.best()) == repr(whole.best())
    assert read_manifest(tmp_path / "run") == read_manifest(tmp_path / "whole")
    for folder in ("kept", "chunks", "rungs"):
        # What was set aside has a name that begins with a dot: a worker that has lost its driver may commit
        # while another begins, which then trains that chunk again.
        one, other = ((tmp_path / name / folder).glob("[!.]*") for name in ("run", "whole"))
        assert sorted(path.name for path in one) == sorted(path.name for path in other)
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert not [name for name in ("checkpoints", "lock", "workers") if (tmp_path / "run" / name).exists()]
