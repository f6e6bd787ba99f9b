import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sweeps
from sweeps.engine import program as execute
from sweeps.engine.examples import example_batch
from sweeps.engine.programs import program_of
from sweeps.errors import StudyError
from sweeps.members.population import populate, traced_columns
from tests.cases import cases
from tests.sweeps.alone import ROOT, train_alone
from tests.sweeps.population_of_mlps import small_study, small_trial


def start(study, devices=None, width=None, loop="scan"):
    population = populate(study, None, ROOT)
    mesh = execute.make_mesh(devices or jax.devices()[:1])
    program = program_of(study, population.statics[0], mesh, loop, None)
    ids = np.resize(np.arange(len(population)), width or len(population))
    members = execute.place_members(mesh, traced_columns(population, ids), population.seeds[ids])
    root, train, evaluation = execute.place_data(
        mesh, (jax.random.key(ROOT, impl="threefry2x32"), *(study.trial.data or (None, None)))
    )
    carry = program.init(root, members, example_batch(study))
    return population, program, members, carry, root, train, evaluation


def train(study, devices=None, width=None, loop="scan"):
    """The parameters and metrics of every member after all steps."""
    population, program, members, carry, root, train, evaluation = start(study, devices, width, loop)
    carry = program.advance(root, members, carry, train, 0, study.steps)
    state, diverged_at = jax.tree.map(np.asarray, (carry.state.params, carry.diverged_at))
    metrics, _ = program.evaluate(members, carry, evaluation, study.steps)
    return population, jax.tree.leaves(state), jax.tree.map(np.asarray, metrics), diverged_at


@pytest.mark.parametrize("batches", cases(["per_seed", "shared"], ["per_seed"], "models"))
def test_a_population_on_two_devices_equals_each_member_alone(batches):
    study = small_study(
        batches=batches, space={"alpha": [0.0, 0.1], "learning_rate": [0.05, 0.1], "seed": [0, 3]}
    )
    population, params, metrics, diverged_at = train(study, jax.devices()[:2])
    assert (diverged_at == execute.ALIVE).all()
    for member in range(len(population)):
        expected, loss = train_alone(study, population, member)
        for mine, theirs in zip(params, jax.tree.leaves(expected.params), strict=True):
            # Another fusion of the same float32 arithmetic, 12 steps on: rounding, no more.
            np.testing.assert_allclose(mine[member], theirs, rtol=1e-5, atol=1e-6)
        assert metrics["train/loss"][member] == pytest.approx(loss, rel=1e-5)


def test_where_a_member_stands_does_not_change_its_bits():
    study = small_study()
    population, params, _, _ = train(study, jax.devices()[:2], width=12)
    assert len(population) == 9
    turned = small_study(space={"seed": [2, 1, 0], "alpha": [0.3, 0.0, 0.1]})
    other, others, _, _ = train(turned, jax.devices()[:2], width=12)
    for member in range(9):
        same = (other.columns["alpha"] == population.columns["alpha"][member]) & (
            other.seeds == population.seeds[member]
        )
        (place,) = np.flatnonzero(same)
        for mine, theirs in zip(params, others, strict=True):
            assert np.array_equal(mine[member], theirs[place])


def test_the_compiled_program_holds_no_collective():
    _, program, members, carry, root, data, evaluation = start(small_study(), jax.devices()[:2], width=12)
    advance = program.advance.lower(root, members, carry, data, 0, 1).compile().as_text()
    evaluate = program.evaluate.lower(members, carry, evaluation, 1).compile().as_text()
    assert "while" in advance and "num_partitions=2" in advance + evaluate
    collective = r" (all-reduce|all-gather|all-to-all|reduce-scatter|collective-[a-z]+)(-start)?\("
    assert not re.search(collective, advance + evaluate)


def test_steps_in_one_span_or_many_are_the_same_bits():
    study = small_study()
    _, program, members, first, root, data, _ = start(study)
    first = program.advance(root, members, first, data, 0, 12)
    second = start(study)[3]
    for begin, end in ((0, 1), (1, 4), (4, 5), (5, 12)):
        second = program.advance(root, members, second, data, begin, end)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.array_equal(one, other)


def test_values_seeds_and_spans_do_not_trace_again():
    traces = []
    trial = small_trial()

    def step(config, state, batch, key):
        traces.append(1)
        return trial.step(config, state, batch, key)

    study = small_study(trial=trial._replace(step=step))
    population, program, members, carry, root, data, _ = start(study)
    carry = program.advance(root, members, carry, data, 0, 1)
    before = len(traces)
    other = execute.place_members(
        program.mesh, {**traced_columns(population, np.arange(9)), "alpha": np.ones(9)}, population.seeds + 7
    )
    program.advance(root, other, program.init(root, other, example_batch(study)), data, 3, 9)
    assert before > 0 and len(traces) == before


def test_divergence_freezes_a_member_and_leaves_its_neighbours_alone():
    calm = small_study(space={"learning_rate": [0.05, 0.1, 0.02]})
    wild = small_study(space={"learning_rate": [0.05, 1e25, 0.02]})
    _, params, _, diverged_at = train(calm)
    _, others, metrics, other_diverged_at = train(wild)
    assert diverged_at.tolist() == [execute.ALIVE] * 3
    assert other_diverged_at[[0, 2]].tolist() == [execute.ALIVE] * 2
    for one, other in zip(params, others, strict=True):
        assert np.array_equal(one[[0, 2]], other[[0, 2]])
    step = int(other_diverged_at[1])
    assert 1 <= step < wild.steps
    # The step it names is the first after which something is not finite, and the state is that step's.
    _, program, members, carry, root, data, _ = start(wild)
    earlier = program.advance(root, members, carry, data, 0, step - 1)
    assert all(np.isfinite(leaf[1]).all() for leaf in map(np.asarray, jax.tree.leaves(earlier.state.params)))
    at_step = program.advance(root, members, earlier, data, step - 1, step)
    frozen = [np.asarray(leaf)[1] for leaf in jax.tree.leaves(at_step.state.params)]
    for mine, theirs in zip(others, frozen, strict=True):
        assert np.array_equal(mine[1], theirs, equal_nan=True)


def test_a_loss_above_the_threshold_is_divergence():
    study = small_study(trial=small_trial(diverge_above=1e-3))
    assert train(study)[3].tolist() == [1] * 9


def test_a_bare_trial_needs_no_flax():
    def step(config, state, batch, key):
        position = state["x"] - config.alpha * 2 * state["x"]
        return {"x": position, "n": state["n"] + 1}, {"train/loss": position**2}

    trial = sweeps.Trial(
        config=small_trial().config,
        data=None,
        init=lambda config, key: {"x": jnp.float32(1.0), "n": jnp.int32(0)},
        step=step,
        evaluate=lambda config, state, data: {"x": state["x"]},
    )
    results = sweeps.run(
        sweeps.Study(trial, steps=5, metric="x", mode="min", space={"alpha": [0.25, 0.5, 1e30]}),
        progress=False,
    )
    # x is halved at each step for alpha = 1/4, and 0 after the first for 1/2: powers of two are exact.
    assert results.final("x")[:2].tolist() == [2.0**-5, 0.0]
    assert results.members["status"].to_pylist() == ["done", "done", "diverged"]


def test_a_metric_must_be_a_scalar():
    trial = small_trial()._replace(evaluate=lambda config, state, data: {"test/wide": jnp.zeros(3)})
    with pytest.raises(StudyError, match=r"`metric test/wide is a scalar` must hold, but got shape \(3,\)"):
        sweeps.run(small_study(trial=trial), progress=False)


@pytest.mark.parametrize(
    ("loop", "batches"),
    [
        ("map", "shared"),
        ("host", "per_seed"),
        pytest.param("map", "per_seed", marks=pytest.mark.models),
        pytest.param("host", "shared", marks=pytest.mark.models),
    ],
)
def test_every_loop_is_the_same_training(loop, batches):
    study = small_study(batches=batches, steps=10)
    scanned, others = (train(study, jax.devices()[:2], 12, mode) for mode in ("scan", loop))
    for one, other in zip(scanned[1], others[1], strict=True):
        # Other fusions of the same float32 arithmetic, ten steps on.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(scanned[2]["train/loss"], others[2]["train/loss"], rtol=1e-5)


@pytest.mark.parametrize("loop", cases(["scan", "map", "host"], ["scan", "host"], "models"))
def test_in_every_loop_a_diverged_member_is_frozen_and_its_neighbours_keep_their_bits(loop):
    calm = train(small_study(space={"learning_rate": [0.05, 0.1, 0.02]}), loop=loop)
    wild_study = small_study(space={"learning_rate": [0.05, 1e25, 0.02]})
    wild = train(wild_study, loop=loop)
    step = int(wild[3][1])
    assert 1 <= step < wild_study.steps and wild[3][[0, 2]].tolist() == [execute.ALIVE] * 2
    at_step = train(small_study(space={"learning_rate": [0.05, 1e25, 0.02]}, steps=step), loop=loop)
    for one, other, stopped in zip(calm[1], wild[1], at_step[1], strict=True):
        assert np.array_equal(one[[0, 2]], other[[0, 2]])
        assert np.array_equal(other[1], stopped[1], equal_nan=True)


def test_a_frozen_member_stays_frozen_over_spans():
    study = small_study(space={"learning_rate": [0.05, 1e25, 0.02]})
    whole = train(study)
    _, program, members, carry, root, data, _ = start(study)
    for begin in range(12):
        carry = program.advance(root, members, carry, data, begin, begin + 1)
    for one, other in zip(whole[1], jax.tree.leaves(carry.state.params), strict=True):
        assert np.array_equal(one, other, equal_nan=True)
    assert whole[3].tolist() == carry.diverged_at.tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(5, 7), (64, 128)])
def test_one_parameter_that_is_not_finite_for_one_step_is_divergence(value, shape):
    spoilt = jnp.zeros(shape).at[2, 3].set(value)

    def step(config, state, batch, key):
        # Only at the third step, and in no loss: a check at any other time would not see it.
        return {"x": jnp.where(state["n"] == 2, spoilt, 1.0), "n": state["n"] + 1}, {}

    trial = sweeps.Trial(
        config=small_trial().config,
        data=None,
        init=lambda config, key: {"x": jnp.zeros(shape), "n": jnp.int32(0)},
        step=step,
        evaluate=lambda config, state, data: {"n": state["n"]},
    )
    results = sweeps.run(
        sweeps.Study(trial, steps=5, metric="n", mode="max", space={"seed": range(2)}), progress=False
    )
    assert results.members["diverged_at"].to_pylist() == [3, 3]


@pytest.mark.models
def test_members_whose_initialisation_factorises_a_matrix_start_in_turn():
    # Under vmap two devices could wait for each other for ever (jaxlib shares a batch of factorisations
    # among the threads of the pool that it waits on), so this test could hang.
    orthogonal = jax.nn.initializers.orthogonal()
    trial = sweeps.Trial(
        config=small_trial().config,
        data=None,
        init=lambda config, key: {"w": jax.jit(orthogonal, static_argnums=1)(key, (8, 8))},
        step=lambda config, state, batch, key: (state, {}),
        evaluate=lambda config, state, data: {"w": jnp.abs(state["w"] @ state["w"].T - jnp.eye(8)).max()},
    )
    study = sweeps.Study(trial, steps=1, metric="w", mode="max", space={"seed": range(8)})
    _, program, members, _, root, _, _ = start(
        small_study(trial=trial, metric="w", mode="max"), jax.devices()[:2], 10
    )
    assert "while" in program.init.lower(root, members, None).as_text()
    assert sweeps.run(study, progress=False).final("w").max() < 1e-5
