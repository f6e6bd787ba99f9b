import dataclasses
import json
from typing import Annotated, Any

import jax
import numpy as np
import optax
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import sweeps
from sweeps.engine import chunks as planning
from sweeps.engine import training
from sweeps.errors import StudyError
from sweeps.store import chunks as store
from sweeps.studies import digits_mlp
from tests.sweeps import plain

OPTIONS = {"members_per_chunk": 4, "progress": False}


def test_every_member_has_a_row_and_every_evaluation_too(tmp_path):
    study = plain.study(space={"alpha": [0.0, 0.1], "width": [4, 8], "seed": range(3)}, evaluate_every=5)
    results = sweeps.run(study, out=tmp_path / "run", **OPTIONS)
    assert results.members["member"].to_pylist() == list(range(12))
    assert set(results.members["status"].to_pylist()) == {"done"}
    assert results.members["width"].to_pylist() == [4] * 3 + [8] * 3 + [4] * 3 + [8] * 3
    assert results.members["learning_rate"].to_pylist() == [0.05] * 12
    rows = list(zip(results.metrics["member"].to_pylist(), results.metrics["step"].to_pylist(), strict=True))
    assert rows == [(member, step) for member in range(12) for step in (5, 10, 12)]


def test_in_memory_and_on_disk_are_the_same(tmp_path):
    study = plain.study()
    kept = sweeps.run(study, out=tmp_path / "run", **OPTIONS)
    memory = sweeps.run(study, **OPTIONS)
    assert memory.members.equals(kept.members) and memory.metrics.equals(kept.metrics)
    assert pq.read_table(tmp_path / "run" / "members.parquet").equals(kept.members)
    assert pq.read_table(tmp_path / "run" / "metrics.parquet").equals(kept.metrics)
    loaded = sweeps.load(tmp_path / "run")
    assert loaded.members.equals(kept.members) and loaded.best() == kept.best()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["format_version"] == 1 and manifest["members"] == 9
    assert manifest["space"] == {"alpha": "grid(0.0, 0.1, 0.3)", "seed": "range(0, 3)"}


def test_chunks_of_any_width_give_the_same_members():
    study = plain.study(steps=10)
    whole = sweeps.run(study, progress=False, members_per_chunk=9)
    for width in (2, 4):
        parts = sweeps.run(study, progress=False, members_per_chunk=width)
        assert parts.metrics["member"].equals(whole.metrics["member"])
        one, other = (results.metrics["train/loss"].to_numpy() for results in (parts, whole))
        # Another width is another fusion of the same float32 arithmetic: within 1e-5 over 10 steps.
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_run_twice_is_the_same_bits():
    study = plain.study()
    first, second = (sweeps.run(study, **OPTIONS) for _ in range(2))
    assert first.metrics.equals(second.metrics)


def test_diverged_members_rank_last_whatever_the_mode():
    space = {"learning_rate": [0.05, 1e25], "seed": range(2)}
    for metric, mode in (("test/accuracy", "max"), ("test/loss", "min"), ("test/accuracy", "min")):
        results = sweeps.run(plain.study(space=space, metric=metric, mode=mode), **OPTIONS)
        assert results.members["status"].to_pylist() == ["done", "done", "diverged", "diverged"]
        at = results.members["diverged_at"].to_pylist()
        assert at[:2] == [None, None] and all(1 <= step <= 12 for step in at[2:])
        first, last = results.configurations()
        assert first.config == {"learning_rate": 0.05} and last.diverged == 2
        assert np.isnan(results.final()[2:]).all()
        steps = results.metrics.filter(results.metrics["member"].to_numpy() == 3)["step"].to_pylist()
        assert steps == [step for step in (2, 3, 4, 5, 6, 8, 9, 10, 11, 12) if step < at[3]] + [
            min(step for step in (2, 3, 4, 5, 6, 8, 9, 10, 11, 12) if step >= at[3])
        ]


def test_an_interrupted_run_keeps_what_was_finished(tmp_path, monkeypatch):
    study = plain.study()
    whole = sweeps.run(study, **OPTIONS)
    commits, commit = [], store.commit

    def interrupted(*arguments):
        commit(*arguments)
        commits.append(arguments)
        if len(commits) == 2:
            raise KeyboardInterrupt("pressed")

    monkeypatch.setattr(store, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt, match="pressed"):
        sweeps.run(study, out=tmp_path / "run", **OPTIONS)
    kept = pq.read_table(tmp_path / "run" / "members.parquet")
    done = kept["status"].to_numpy() == "done"
    assert len(kept) == 9 and 0 < done.sum() < 9
    assert set(kept["status"].to_pylist()) == {"done", "pending"}
    finished = np.isin(whole.metrics["member"].to_numpy(), np.flatnonzero(done))
    assert pq.read_table(tmp_path / "run" / "metrics.parquet").equals(whole.metrics.filter(finished))


def test_what_cannot_be_run_is_said_before_anything_is_written(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(StudyError, match='The trial reports no metric ".*". Did you mean "test/accuracy"'):
        sweeps.run(plain.study(metric="test/acuracy", mode="max"), out=out, progress=False)
    with pytest.raises(StudyError, match="root_seed is a whole number"):
        sweeps.run(plain.study(), out=out, root_seed=-1, progress=False)
    width: Any
    for width in (0, 2.0, "2", True):
        with pytest.raises(StudyError, match="1 <= members_per_chunk` must hold and be a whole number"):
            sweeps.run(plain.study(), out=out, members_per_chunk=width, progress=False)
    big = plain.study(space={"alpha": sweeps.linspace(0, 1, 1001), "seed": range(100)})
    with pytest.raises(StudyError, match="`out` must be given above 100000 members, but got 100100"):
        sweeps.run(big, progress=False)
    assert not out.exists()


@pytest.mark.parametrize("name", ["step", "member", "seed", "group", "status", "diverged_at", "stopped_at"])
def test_a_metric_named_as_a_column_is_refused_before_training(name, tmp_path):
    trial = plain.trial
    for more in (
        {"step": lambda *rest: (trial.step(*rest)[0], {**trial.step(*rest)[1], name: 1.5})},
        {"evaluate": lambda *rest: {**trial.evaluate(*rest), name: 1.5}},
    ):
        with pytest.raises(
            StudyError, match=f"as a column of the results` must hold, but got {name}; train/"
        ):
            sweeps.run(plain.study(trial=trial._replace(**more)), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_metric_of_both_step_and_evaluate_is_refused():
    trial = plain.trial
    both = trial._replace(evaluate=lambda *rest: {**trial.evaluate(*rest), "train/loss": 0.0})
    with pytest.raises(StudyError, match="of different names` must hold, but got train/loss from both"):
        sweeps.run(plain.study(trial=both), progress=False)


def test_the_root_seed_changes_every_member():
    first, second = (
        sweeps.run(plain.study(), root_seed=seed, **OPTIONS).metrics["train/loss"].to_numpy()
        for seed in (0, 1)
    )
    assert (first != second).all()


def test_spans_grow_with_the_measured_pace_of_each_program():
    pace, chunk = training.Pace(), planning.Chunk(0, np.arange(4), 4, 0, 1000)
    assert pace.span(chunk, 1000) == 1
    pace.saw(chunk, 1, 30.0)  # the compiler
    assert pace.span(chunk, 1000) == 1
    pace.saw(chunk, 1, 0.01)
    assert pace.span(chunk, 1000) == 200 and pace.span(chunk, 7) == 7
    assert pace.span(chunk._replace(group=1), 1000) == 1  # another program's pace is its own
    pace.saw(chunk, 1, 60.0)
    assert pace.span(chunk, 1000) == 1


def test_programs_compile_once_per_group(monkeypatch):
    trial, traces = plain.trial, []

    def step(config, state, batch, key):
        traces.append(config.width)
        return trial.step(config, state, batch, key)

    study = plain.study(
        trial=trial._replace(step=step),
        space={"alpha": sweeps.linspace(0, 1, 6), "width": [4, 8], "seed": range(3)},
    )
    sweeps.run(study, **OPTIONS)
    per_group = {width: traces.count(width) for width in (4, 8)}
    few = plain.study(trial=study.trial, space={"alpha": [0.0], "width": [4, 8]})
    traces.clear()
    sweeps.run(few, **OPTIONS)
    # The first group is traced once more, by the check before anything is compiled.
    assert per_group == {width: traces.count(width) for width in (4, 8)}
    assert planning.cut(np.zeros(18, int), 2, 4)[0].width == 4


@pytest.fixture(scope="module")
def on_digits():
    return sweeps.supervised(
        config=digits_mlp.Config,
        model=digits_mlp.MLP,
        optimizer=lambda config: optax.sgd(config.learning_rate),
        data=sweeps.data.digits(),
        batch_size=128,
    )


@pytest.mark.parametrize(
    ("field", "wild", "mild"),
    [("alpha", 5.0, 0.2), ("learning_rate", 1e6, 0.05)],
)
@pytest.mark.models
def test_sgd_diverges_on_digits_where_it_must(on_digits, field, wild, mild):
    found = []
    for other in (wild, mild):
        space = {"alpha": [0.1], "learning_rate": [0.1]} | {field: [0.1, other]}
        study = sweeps.Study(on_digits, steps=20, metric="test/loss", mode="min", space=space)
        found.append(sweeps.run(study, progress=False, members_per_chunk=2))
    results, calm = found
    assert results.members["status"].to_pylist() == ["done", "diverged"]
    assert 1 <= results.members["diverged_at"].to_pylist()[1] <= 20
    assert calm.members["status"].to_pylist() == ["done", "done"]
    assert results.configurations()[-1].config == {"alpha": 0.1, "learning_rate": 0.1} | {field: wild}
    # The neighbour keeps every bit.
    first, second = (each.metrics.filter(pc.field("member") == 0) for each in found)
    assert first.equals(second)


@dataclasses.dataclass(frozen=True)
class Parabola:
    x: float = 0.0
    offset: float | None = None
    factor: Annotated[int, sweeps.traced] = 2
    name: str = "a"


def test_a_whole_run_may_be_one_function():
    def train(config, key):
        value = config.factor * (config.x - 1) ** 2 + (0 if config.offset is None else config.offset)
        return {"value": value, "noise": jax.random.uniform(key), "is_a": float(config.name == "a")}

    space = {"x": [0, 1, 2], "offset": [None, 0.5], "factor": [1, 3], "name": ["a", "b"], "seed": range(2)}
    study = sweeps.Study(
        sweeps.function(train, config=Parabola), steps=1, metric="value", mode="min", space=space
    )
    results = sweeps.run(study, progress=False, members_per_chunk=12)
    rows = results.members.to_pylist()
    assert len(rows) == 3 * 2 * 2 * 2 * 2 and len({row["group"] for row in rows}) == 4
    for row, value, is_a in zip(rows, results.final(), results.final("is_a"), strict=True):
        assert value == row["factor"] * (row["x"] - 1) ** 2 + (row["offset"] or 0)
        assert is_a == (row["name"] == "a")
    noise = results.final("noise")
    key = jax.random.key(0, impl="threefry2x32")
    for number in (1, 1, 0):  # the stream of steps, seed 1, step 0
        key = jax.random.fold_in(key, number)
    assert noise[[row["seed"] == 1 for row in rows]].tolist() == [float(jax.random.uniform(key))] * 24
    assert results.best().config == {"x": 1.0, "offset": None, "factor": 1, "name": "a"}
