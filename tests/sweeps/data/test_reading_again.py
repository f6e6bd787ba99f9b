"""A stream that is read for several rounds is at the right batch in each, or is refused before training."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sweeps
from sweeps.data.streams import Once
from sweeps.engine import program as execute
from sweeps.errors import StudyError
from sweeps.host.progress import Display

BATCHES = 7
STEPS = 18
OPTIONS = {"progress": False, "members_per_chunk": 4}


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1


@dataclasses.dataclass
class Loader:
    """Batches that hold their number, from the first at each reading."""

    count: int = BATCHES

    def __iter__(self):
        return (np.full(2, number, np.float32) for number in range(self.count))


def study(train, **changes):
    trial = sweeps.Trial(
        Config,
        sweeps.Data(train, None),
        init=lambda config, key: {"sum": jnp.float32(0)},
        step=lambda config, state, batch, key: (
            {"sum": state["sum"] * 0.5 + batch[0]},
            {"batch": batch[0]},
        ),
        evaluate=lambda config, state, data: {"test/loss": state["sum"] + config.rate},
    )
    arguments = {"steps": STEPS, "metric": "test/loss", "evaluate_every": 1, "space": {"rate": RATES}}
    return sweeps.Study(trial, **(arguments | changes))


RATES = [0.1, 0.2, 0.3, 0.4]


def batch_of_every_step(steps=STEPS):
    """What a plain loop over the loader, again and again, sees."""
    seen = []
    while len(seen) < steps:
        seen += [int(batch[0]) for batch in Loader()]
    return seen[:steps]


def batches_seen(results, member):
    rows = [row for row in results.metrics.to_pylist() if row["member"] == member]
    return [int(row["batch"]) for row in sorted(rows, key=lambda row: row["step"])]


@pytest.mark.parametrize("schedule", ["halving(min_steps=5, eta=2)", "pbt(every=5)"])
def test_every_round_goes_on_where_the_last_one_ended(schedule):
    results = sweeps.run(study(Loader()), schedule=schedule, confirm=1, **OPTIONS)
    found = [
        batches_seen(results, row["member"]) for row in results.members.to_pylist() if row["status"] == "done"
    ]
    assert found and all(seen == batch_of_every_step() for seen in found)
    assert results.confirmation is not None
    assert batches_seen(results.confirmation, 0) == batch_of_every_step()


def test_a_run_that_was_stopped_goes_on_at_its_batch(tmp_path, monkeypatch):
    shown, chunk = [], Display.chunk

    def counted(*arguments):
        chunk(*arguments)
        shown.append(arguments)
        if len(shown) == 11:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Display, "chunk", counted)
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            sweeps.run(study(Loader()), out=tmp_path / "run", **OPTIONS)
    results = sweeps.resume(tmp_path / "run", study(Loader()), progress=False)
    assert all(batches_seen(results, member) == batch_of_every_step() for member in range(4))


ONCE = "which can be read once; pass an object whose __iter__ starts anew"


@pytest.mark.parametrize(
    ("options", "reader"),
    [
        ({"schedule": "halving(min_steps=5, eta=2)"}, "by each round of a schedule"),
        ({"schedule": "pbt"}, "by each round of a schedule"),
        ({"search": sweeps.tpe(points_per_batch=2), "samples": 4}, "by each batch of a search"),
        ({"executor": "processes"}, "by each worker"),
        ({"confirm": 2}, "again to confirm the winner"),
        ({"members_per_chunk": 2}, "for each of 2 chunks"),
    ],
)
def test_what_can_be_read_once_is_refused_where_it_would_be_read_again(options, reader, tmp_path):
    if "search" in options:
        pytest.importorskip("optuna")
    with pytest.raises(StudyError, match=f"train can be read {reader}` must hold, but got a .*{ONCE}"):
        sweeps.run(study(iter(list(Loader(18)))), out=tmp_path / "run", **(OPTIONS | options))
    assert not (tmp_path / "run").exists()


def test_a_search_of_one_batch_reads_once():
    pytest.importorskip("optuna")
    results = sweeps.run(study(iter(list(Loader(18)))), search="tpe", samples=4, **OPTIONS)
    assert batches_seen(results, 0) == list(range(18))


def test_reading_again_after_the_memory_ran_out_is_refused(monkeypatch):
    build = execute.build

    def limited(*arguments):
        program = build(*arguments)

        def advance(root, members, carry, train, start, stop):
            if len(members.seeds) > 2 and start > 3:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory allocating 1 byte")
            return program.advance(root, members, carry, train, start, stop)

        advance.lower = program.advance.lower  # pyright: ignore[reportFunctionMemberAccess]
        return program._replace(advance=advance)

    monkeypatch.setattr(execute, "build", limited)
    halved = sweeps.run(study(Loader()), **OPTIONS)
    assert all(batches_seen(halved, member) == batch_of_every_step() for member in range(4))
    with pytest.raises(StudyError, match=f"read again from its first batch` must hold.*{ONCE}"):
        sweeps.run(study(iter(list(Loader(18)))), **OPTIONS)


def test_looking_at_the_first_batch_loses_none():
    once = Once(iter(range(3)))
    assert next(iter(once)) == next(iter(once)) == 0
    assert list(once) == [0, 1, 2]
    with pytest.raises(StudyError, match="lasts for all steps"):
        list(once)
