"""Hyperparameters inside a trial's functions are what they are in a person's own loop."""

import dataclasses
import functools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flax import nnx

import sweeps
from sweeps.engine import program as execute
from sweeps.engine.examples import example_batch
from sweeps.engine.rows import pending_rows
from sweeps.host.progress import Display
from sweeps.members.population import populate, traced_columns
from sweeps.store import chunks as store
from sweeps.store.derived import derive
from tests.cases import cases
from tests.sweeps.population_of_mlps import small_study, small_trial


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: float = 0.1
    b2: float = 0.999
    decay: float = 0.25


INPUTS = np.linspace(-1, 1, 8, dtype=np.float32).reshape(8, 1)
STEPS = 5


def initial():
    return {"w": jnp.full((1, 3), 0.5, jnp.bfloat16), "b": jnp.zeros((1, 3), jnp.bfloat16)}


def loss_of(params, inputs):
    outputs = inputs.astype(jnp.bfloat16) @ params["w"] + params["b"]
    return jnp.mean(jnp.square(outputs.astype(jnp.float32) - 1))


def own_loop(config):
    """Adam and decay on bfloat16 parameters, as a person writes it: Python floats, no population."""
    adam = optax.adam(config.learning_rate, b2=config.b2)
    params = initial()
    state = adam.init(params)

    @jax.jit
    def step(params, state):
        gradients = jax.grad(loss_of)(params, INPUTS)
        updates, state = adam.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        return jax.tree.map(lambda param: param - config.decay * param, params), state

    for _ in range(STEPS):
        params, state = step(params, state)
    return params, state


def step(config, state, batch, key):
    adam = optax.adam(config.learning_rate, b2=config.b2)
    value, gradients = jax.value_and_grad(loss_of)(state[0], batch)
    updates, inner = adam.update(gradients, state[1], state[0])
    params = optax.apply_updates(state[0], updates)
    return (jax.tree.map(lambda param: param - config.decay * param, params), inner), {"train/loss": value}


def bf16_trial():
    return sweeps.Trial(
        config=Config,
        data=sweeps.Data(INPUTS, INPUTS),
        init=lambda config, key: (initial(), optax.adam(config.learning_rate, b2=config.b2).init(initial())),
        step=step,
        evaluate=lambda config, state, data: {"w": jnp.sum(state[0]["w"])},
    )


def states_of(study, tmp_path, loop):
    """The final states of all members, as `keep_best` has them."""
    sweeps.run(study, out=tmp_path / loop, members_per_chunk=2, keep_best=4, progress=False)
    results = sweeps.load(tmp_path / loop)
    return [results.model(study, member) for member in range(len(results.members))]


@pytest.mark.parametrize("loop", cases(["scan", "host"], ["scan"], "models"))
def test_bfloat16_parameters_train_as_in_a_loop_of_ones_own(tmp_path, monkeypatch, loop):
    monkeypatch.setattr("sweeps.engine.chunks.first_loop", lambda *_: loop)
    space = {"learning_rate": [0.1, 0.01], "b2": [0.999, 0.9]}
    study = sweeps.Study(bf16_trial(), steps=STEPS, metric="w", mode="max", space=space)
    states = states_of(study, tmp_path, loop)
    for state, (rate, b2) in zip(states, [(0.1, 0.999), (0.1, 0.9), (0.01, 0.999), (0.01, 0.9)], strict=True):
        expected = own_loop(Config(rate, b2))
        for mine, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
            # One unit in the last place of bfloat16: 1 - b2 is a Python float there, and a float32 here.
            np.testing.assert_allclose(
                np.asarray(mine, np.float64), np.asarray(theirs, np.float64), rtol=2**-7, atol=2**-7
            )


def carrying_trial():
    """Carries a hyperparameter along in its state, and one that a step replaces by an array."""

    def step(config, state, batch, key):
        moved = state["x"] - state["rate"] * state["x"]
        return {"x": moved, "rate": state["rate"], "last": jnp.float32(0.5)}, {"train/loss": jnp.sum(moved)}

    return sweeps.Trial(
        config=Config,
        data=None,
        init=lambda config, key: {
            "x": jnp.ones(2, jnp.bfloat16),
            "rate": config.learning_rate,
            "last": config.decay,
        },
        step=step,
        evaluate=lambda config, state, data: {"x": jnp.sum(state["x"])},
    )


def test_a_hyperparameter_carried_in_the_state_survives_a_checkpoint(tmp_path, monkeypatch):
    study = sweeps.Study(
        carrying_trial(), steps=6, metric="x", mode="max", space={"learning_rate": [0.5, 0.25]}
    )
    whole = sweeps.run(study, progress=False)
    # x is 2 (1 - rate)^6: powers of two and of three quarters, which bfloat16 holds to 8 bits.
    assert whole.final()[0] == 2 * 0.5**6
    assert whole.final()[1] == pytest.approx(2 * 0.75**6, rel=6 * 2**-8)
    chunk, shown = Display.chunk, []

    def interrupting(*arguments):
        chunk(*arguments)
        shown.append(arguments)
        if len(shown) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Display, "chunk", interrupting)
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            sweeps.run(study, out=tmp_path / "run", progress=False)
    assert sweeps.resume(tmp_path / "run", study, progress=False).metrics.equals(whole.metrics)


def test_a_state_that_begins_with_a_hyperparameter_does_not_compile_twice():
    trial, traces = carrying_trial(), []

    def step(config, state, batch, key):
        traces.append(1)
        return trial.step(config, state, batch, key)

    study = sweeps.Study(
        trial._replace(step=step), steps=2, metric="x", mode="max", space={"learning_rate": [0.5, 0.25]}
    )
    population = populate(study, None, 0)
    program = execute.build(study, population.statics[0], execute.make_mesh(jax.devices()[:1]))
    root = jax.random.key(0)
    members = execute.place_members(program.mesh, traced_columns(population, np.arange(2)), population.seeds)
    carry = program.init(root, members, None)
    carry = program.advance(root, members, carry, None, 0, 1)
    before = len(traces)
    program.advance(root, members, carry, None, 1, 2)
    assert before > 0 and len(traces) == before


LARGE = 2**24 + 1  # the first whole number that float32 does not hold


def counting_trial():
    def step(config, state, batch, key):
        metrics = {"train/loss": config.learning_rate, "seen": state, "half": state % 2 == 0}
        return state + 2, metrics | {"fine": jnp.asarray(1 / 3)}

    return sweeps.Trial(
        config=Config,
        data=None,
        init=lambda config, key: jnp.asarray(LARGE, int),
        step=step,
        evaluate=lambda config, state, data: {"total": state, "third": config.learning_rate / 3},
    )


def counted(**options):
    return sweeps.run(counting_study(), devices=jax.devices()[:1], progress=False, **options)


def counting_study():
    space = {"learning_rate": [0.1, 0.2]}
    return sweeps.Study(counting_trial(), steps=4, metric="total", mode="max", space=space, evaluate_every=2)


def test_whole_numbers_are_metrics_of_their_own_kind(tmp_path):
    results = counted(out=tmp_path / "run", members_per_chunk=1)
    assert results.metrics["seen"].to_pylist() == [LARGE + 2, LARGE + 6] * 2  # the last step's
    assert results.metrics["total"].to_pylist() == [LARGE + 4, LARGE + 8] * 2
    assert results.metrics["half"].to_pylist() == [0.0] * 4
    assert results.final("total").tolist() == [LARGE + 8] * 2
    assert str(results.metrics.schema.field("third").type) == "float"
    # A chunk of an earlier version, all of whose metrics are float32.
    first, _ = store.committed(tmp_path / "run")
    table = pq.read_table(first / "metrics.parquet")
    older = [pa.field(f.name, pa.float32() if f.type == pa.float64() else f.type) for f in table.schema]
    pq.write_table(table.cast(pa.schema(older), safe=False), first / "metrics.parquet")
    for path in (first / "checksums.json", tmp_path / "run" / "derived.json"):  # which it did not write
        path.unlink()
    mixed = sweeps.load(tmp_path / "run")
    assert mixed.metrics["total"].to_pylist() == [2**24 + 4, 2**24 + 8, LARGE + 4, LARGE + 8]
    derive(tmp_path / "run", 2, functools.partial(pending_rows, populate(counting_study(), None, 0)))
    assert pq.read_table(tmp_path / "run/metrics.parquet").equals(mixed.metrics)


def test_metrics_are_float64_under_x64():
    with jax.enable_x64(True):
        results = counted()
    assert results.metrics["third"].to_pylist() == [0.1 / 3] * 2 + [0.2 / 3] * 2
    assert results.metrics["train/loss"].to_pylist() == [0.1] * 2 + [0.2] * 2
    assert results.metrics["fine"].to_pylist() == [1 / 3] * 4
    assert results.metrics["seen"].to_pylist() == [LARGE + 2, LARGE + 6] * 2


@pytest.mark.models
def test_a_supervised_study_runs_under_strict_promotion(tmp_path):
    space = {"learning_rate": [0.05, 1e25], "seed": range(2)}
    study = small_study(steps=2, evaluate_every=1, batches="per_seed", space=space)
    with jax.numpy_dtype_promotion("strict"):
        results = sweeps.run(study, out=tmp_path / "run", keep_best=1, members_per_chunk=4, progress=False)
        assert np.isfinite(results.model(study).hidden.kernel[...]).all()
    assert set(results.members["status"].to_pylist()) == {"done", "diverged"}


class CNN(nnx.Module):
    def __init__(self, config, rngs):
        self.conv = nnx.Conv(1, 2, (3, 3), rngs=rngs)
        self.norm, self.dropout = nnx.BatchNorm(2, rngs=rngs), sweeps.Dropout(config.alpha, rngs=rngs)
        self.logits = nnx.Linear(12, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x.reshape(-1, 2, 3, 1))))
        return self.logits(self.dropout(x.reshape(-1, 12)))


@pytest.mark.models
def test_batch_statistics_dropout_and_a_population_that_learns_rates_run_under_strict_promotion():
    space = {"alpha": sweeps.uniform(0.0, 0.5), "learning_rate": sweeps.log_uniform(1e-3, 0.1)}
    study = small_study(trial=small_trial(model=CNN), steps=4, space=space)
    options = {"schedule": "pbt(every=2)", "samples": 8, "members_per_chunk": 8, "progress": False}
    with jax.numpy_dtype_promotion("strict"):
        results = sweeps.run(study, **options)
    assert set(results.members["status"].to_pylist()) == {"done"}
    assert np.isfinite(results.final("test/loss")).all()
    learned = {row["learning_rate"] for row in results.lineage.to_pylist()}
    assert len(learned) > 8  # those of the beginning, and what was made of them


@pytest.mark.parametrize("loop", ["map", "host"])
def test_every_loop_runs_under_strict_promotion(monkeypatch, loop):
    monkeypatch.setattr("sweeps.engine.chunks.first_loop", lambda *_: loop)
    with jax.numpy_dtype_promotion("strict"):
        results = counted(members_per_chunk=2)
    assert results.manifest["numerical_setting"]["loop"] == loop
    assert results.metrics["total"].to_pylist() == [LARGE + 4, LARGE + 8] * 2


class Batches:
    def __init__(self, arrays):
        self.arrays = arrays

    def __iter__(self):
        while True:
            yield tuple(array[:4] for array in self.arrays)


def study_of_linear(train, evaluation):
    trial = sweeps.supervised(
        config=Config,
        model=lambda config, rngs: nnx.Linear(2, 2, rngs=rngs),
        optimizer=lambda config: optax.sgd(config.learning_rate),
        data=sweeps.Data(train, evaluation),
        batch_size=4,
    )
    return sweeps.Study(trial, steps=1, metric="test/loss")


def test_data_of_64_bits_is_taken_as_jax_takes_it():
    inputs = np.random.default_rng(0).normal(size=(4, 2))
    wide = (inputs, (inputs[:, 0] > 0).astype(np.int64))
    for train in (wide, Batches(wide)):
        batch = example_batch(study_of_linear(train, wide))
        assert [(part.shape, str(part.dtype)) for part in batch] == [((4, 2), "float32"), ((4,), "int32")]
    assert sweeps.run(study_of_linear(wide, wide), progress=False).best().mean > 0
