import os
import signal
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

import sweeps
from sweeps.engine import commit
from sweeps.engine.chunks import Chunk
from sweeps.engine.commit import Handover
from sweeps.engine.training import Trained
from sweeps.host.progress import Display
from sweeps.store import checkpoints
from sweeps.store import chunks as store
from sweeps.store.checkpoints import Checkpoint
from tests.sweeps.population_of_mlps import small_study

NOTHING = pa.table({})


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(commit.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def committed(monkeypatch):
    """What was committed at once: the names of the chunks, a list for every time."""
    seen = []
    monkeypatch.setattr(
        commit, "commit", lambda study, directory, keep, done: seen.append([c.name for c, _ in done])
    )
    return seen


def chunk(first, group=0, start=0, stop=4):
    return Chunk(group, np.arange(first, first + 2), 2, start, stop)


def trained(ids, size=2, width=1, last=False):
    state = Checkpoint(4, ids, [np.zeros((2, size), np.float32)], [], {"width": width})
    return Trained(NOTHING, NOTHING, {"width": width}, np.zeros(2), None if last else state, None)


def add(held, *arguments, **keywords):
    one = chunk(*arguments)
    held.add(one, trained(one.members, **keywords))
    return one.name


def test_short_chunks_are_committed_together_and_said_so(tmp_path, clock, committed):
    finished = []
    held = Handover(small_study(), tmp_path, 0, lambda one: finished.append(one.name))
    names = [add(held, first) for first in (0, 2, 4)]
    assert not committed and not finished
    held.flush()
    assert committed == [names] and finished == names
    held.flush()
    assert committed == [names]


def test_what_is_held_is_bounded_in_time_and_bytes(tmp_path, clock, committed):
    held = Handover(small_study(), tmp_path, 0, lambda one: None)
    first = add(held, 0)
    clock[0] += commit.HELD_SECONDS
    late = add(held, 2)
    assert committed == [[first, late]]
    large = add(held, 4, size=commit.HELD_BYTES // 8)
    assert committed == [[first, late], [large]]


def test_chunks_of_another_group_or_setting_or_that_are_done_wait_for_no_other(tmp_path, clock, committed):
    held = Handover(small_study(), tmp_path, 0, lambda one: None)
    names = [add(held, 0), add(held, 2, 1), add(held, 4, 1, width=2), add(held, 6, last=True)]
    assert committed == [[names[0]], [names[1]], [names[2]], [names[3]]]


def test_the_states_of_a_round_are_one_checkpoint(tmp_path):
    ids = [np.asarray([0, 1]), np.asarray([5, 6])]
    parts = [
        Checkpoint(4, members, [members.astype(np.float32)], [(4, {"loss": members / 2})], {})
        for members in ids
    ]
    checkpoints.save(tmp_path, "0-all", checkpoints.joined(parts))
    found = checkpoints.at_rung(tmp_path, np.asarray([6, 0, 6]), 4)
    assert found is not None and found.leaves[0].tolist() == [6, 0, 6]
    evaluated = checkpoints.in_flight(tmp_path, np.asarray([5, 1]), 0, 4)
    assert evaluated is not None and evaluated.evaluations[0][1]["loss"].tolist() == [2.5, 0.5]


@pytest.mark.durable
def test_a_first_round_writes_one_checkpoint_and_ctrl_c_commits_what_is_held(tmp_path, monkeypatch):
    saved, shown, show, save = [], Counter(), Display.chunk, checkpoints.save
    monkeypatch.setattr(commit, "HELD_SECONDS", 1e6)  # however long the compiler takes
    monkeypatch.setattr(checkpoints, "save", lambda *words: (saved.append(words[2].step), save(*words))[1])

    def interrupts(display, name, running):
        show(display, name, running)
        shown[name] += 1
        if len(shown) == 6 and shown[name] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    study = small_study(space={"alpha": sweeps.linspace(0, 0.4, 16), "seed": range(2)}, steps=12)
    options = {"members_per_chunk": 4, "progress": False, "schedule": "halving(min_steps=4)"}
    whole = sweeps.run(study, out=tmp_path / "whole", **options)
    assert saved == [4]  # eight chunks of four
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        patched.setattr(Display, "chunk", interrupts)
        sweeps.run(study, out=tmp_path / "run", **options)
    done = len(store.committed(tmp_path / "run"))
    assert 4 <= done < 8
    resumed = sweeps.resume(tmp_path / "run", study, progress=False)
    assert resumed.members.equals(whole.members) and resumed.metrics.equals(whole.metrics)
