"""How long members took: in memory and on the disk, over rounds, where some fail, and after Ctrl-C."""

import json
import time

import numpy as np
import pytest

import sweeps
from sweeps.store import checkpoints
from tests.sweeps import faulty, plain

OPTIONS = {"members_per_chunk": 4, "progress": False}
HALVING = {"schedule": "halving(min_steps=4, eta=3)"}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="grid"),
        pytest.param(HALVING, id="halving"),
        pytest.param({"executor": "processes"}, id="processes", marks=pytest.mark.durable),
    ],
)
def test_every_member_says_how_long_it_took(options, tmp_path):
    began = time.monotonic()
    results = sweeps.run(plain.study(), out=tmp_path / "run", **OPTIONS, **options)
    wall = time.monotonic() - began
    seconds = results.seconds()
    assert seconds.shape == (9,) and (seconds > 0).all() and seconds.sum() < 2 * wall
    assert sweeps.load(tmp_path / "run").seconds().tolist() == seconds.tolist()
    files = [json.loads(path.read_text()) for path in (tmp_path / "run" / "chunks").glob("*/seconds.json")]
    assert len(files) >= 3 and sum(file["seconds"] for file in files) == pytest.approx(seconds.sum())
    some = results.filter(seed=[0, 2])
    assert some.seconds().tolist() == np.delete(seconds, [1, 4, 7]).tolist()


@pytest.mark.parametrize("options", [{}, HALVING], ids=["grid", "halving"])
def test_a_run_in_memory_says_it_too(options):
    results = sweeps.run(plain.study(), **OPTIONS, **options)
    assert results.directory is None and (results.seconds() > 0).all()
    assert results.filter(alpha=0.1).seconds().tolist() == results.seconds()[3:6].tolist()


@pytest.mark.parametrize("kept", [True, False], ids=["on the disk", "in memory"])
def test_what_diverged_took_its_time_and_what_failed_has_none(kept, tmp_path):
    fault = tmp_path / "fault"
    fault.touch()
    out = tmp_path / "run" if kept else None
    results = sweeps.run(faulty.study(fault), out=out, **OPTIONS)
    status = results.members["status"].to_numpy(zero_copy_only=False)
    assert {"done", "diverged", "failed"} == set(status)
    assert np.isnan(results.seconds()).tolist() == (status == "failed").tolist()


def test_a_chunk_that_goes_on_adds_up_its_parts(interrupted, tmp_path):
    study, directory = plain.study(evaluate_every=2), tmp_path / "run"
    interrupted(9, lambda: sweeps.run(study, out=directory, **OPTIONS))
    assert np.isfinite(sweeps.load(directory).seconds()).tolist() == [True] * 4 + [False] * 5
    (folder,) = checkpoints.newest(directory)
    found = checkpoints.load(folder)
    assert found.members.tolist() == [4, 5, 6, 7] and found.seconds > 0
    checkpoints.remove(directory, folder.parent.name)
    checkpoints.save(directory, folder.parent.name, found._replace(seconds=400.0))
    seconds = sweeps.resume(directory, study, progress=False).seconds()
    assert (seconds[4:8] > 100).all() and (seconds[4:8] < 120).all() and seconds[8] < 20
