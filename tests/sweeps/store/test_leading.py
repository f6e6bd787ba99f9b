"""The best configuration so far: by NumPy alone, while members are at different steps and some are lost."""

import numpy as np
import pytest

import sweeps
from sweeps.store import chunks as store
from sweeps.store import heartbeats
from sweeps.store.heartbeats import Record
from sweeps.store.leading import committed_lead, in_words, leading
from sweeps.store.lock import locked
from sweeps.store.status import status
from tests.sweeps import plain


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_mean_over_seeds_decides_and_lost_seeds_count_against(mode):
    sign = 1.0 if mode == "max" else -1.0
    alpha = np.repeat([0.0, 0.1, 0.2], 3)
    values = sign * np.array([0.1, 0.2, 0.3, 0.3, 0.4, 0.2, 9.0, np.nan, 9.0])
    found = leading(np.arange(9), {"alpha": alpha}, values, 50, mode)
    assert found is not None and found[:2] == (50, 3) and found.member == 3 and found.config == "alpha=0.1"
    assert found.value == pytest.approx(sign * 0.3)
    equal = leading(np.arange(9), {"alpha": alpha}, np.ones(9), 50, mode)
    assert equal is not None and equal.member == 0  # the first, as in results
    assert leading(np.arange(9), {"alpha": alpha}, np.full(9, np.nan), 50, mode) is None
    # Of values of any kind, and of one configuration without a field.
    kinds = np.asarray([(8,), (8,), None], dtype=object)
    last = leading(np.arange(3), {"layers": kinds}, values[:3], 5, mode)
    assert last is not None and last.config == "layers=(8,)" and last.seeds == 2
    alone = leading(np.arange(3), {}, values[:3], 5, mode)
    assert alone is not None and alone.config == "the default configuration" and alone.seeds == 3


def test_a_run_says_at_its_end_what_results_say(tmp_path):
    for name, schedule in (("grid", None), ("halving", "halving(eta=2, min_steps=2)")):
        study = plain.study(steps=8)
        results = sweeps.run(
            study, out=tmp_path / name, progress=False, members_per_chunk=4, schedule=schedule
        )
        best, found = results.best(), committed_lead(tmp_path / name, store.read_manifest(tmp_path / name))
        assert found is not None and found.step == 8 and found.value == pytest.approx(best.mean)
        assert found.seeds == best.seeds
        said = dict(status(tmp_path / name))
        assert said["best so far"].startswith(f"{best.metric} {best.mean:.4g} at step 8")
        assert "rate" not in said and "time left" not in said


def test_a_run_under_way_says_how_far_it_is(tmp_path):
    study = plain.study(steps=8)
    sweeps.run(study, out=tmp_path / "run", progress=False, members_per_chunk=4)
    table = sweeps.load(tmp_path / "run").members
    with locked(tmp_path / "run") as lock:
        lock.say(
            {
                "phase": "timing 16 members at once",
                "trained": 0,
                "of": 64,
                "rate": None,
                "left": None,
                "best": None,
            }
        )
        said = dict(status(tmp_path / "run"))
        assert said["running"].endswith("timing 16 members at once") and said["time left"] == "–"
        assert said["rate"] == "0 of 64 member-steps (0 %)"
        lock.say(
            {"trained": 32, "of": 64, "rate": 1234.5, "left": 83.0, "best": [4, 2, 0.75, 5], "phase": ""}
        )
        said = dict(status(tmp_path / "run"))
    assert said["rate"] == "32 of 64 member-steps (50 %), 1.23k a second" and said["time left"] == "1:23"
    swept = store.read_manifest(tmp_path / "run")["swept"]
    config = in_words({name: table[name][5].as_py() for name in swept})
    assert said["best so far"] == f"test/accuracy 0.75 at step 4, mean of 2 seeds: {config}"


def test_a_large_crew_is_named_in_a_few_lines(tmp_path):
    sweeps.run(plain.study(), out=tmp_path / "run", progress=False, members_per_chunk=4)
    for place in range(20):
        record = Record(tmp_path / "run", f"worker-{place:02d}")
        record.say({"chunk": "0-0-0-10", "members": 4, "step": 3, "steps": 10})
    with locked(tmp_path / "run"):
        rows = status(tmp_path / "run")
    assert sum(label.startswith("worker-") for label, _ in rows) == 8
    assert ("workers", "… and 12 more") in rows


def test_workers_of_a_killed_process_are_not_shown_and_forgotten(tmp_path):
    study = plain.study(steps=8)
    sweeps.run(study, out=tmp_path / "run", progress=False)
    record = {"chunk": "0-0-0-8", "members": 4, "step": 3, "steps": 8}
    Record(tmp_path / "run", "worker-1").say(record)
    assert "worker-1" not in dict(status(tmp_path / "run"))
    with locked(tmp_path / "run"):
        assert "chunk 0-0-0-8, step 3/8" in dict(status(tmp_path / "run"))["worker-1"]
    sweeps.resume(tmp_path / "run", study, progress=False)
    assert heartbeats.read(tmp_path / "run") == {}
