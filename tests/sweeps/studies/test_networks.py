"""The ready studies of slopes that fall, of deep, normalised and wide networks: trained small, and made up.

Two minutes on two cores, most of it the compiler's.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sweeps
from sweeps.claims.verdicts import CONDITIONAL, FAILS, HOLDS, OPEN
from sweeps.models.annealing import annealed as annealed_at
from sweeps.studies import annealing, depth, normalisation, transfer
from tests.sweeps.studies.made_up import results_of, verdicts

pytestmark = pytest.mark.studies


def small(study, steps, **space):
    return dataclasses.replace(study, steps=steps, evaluate_every=steps // 2, space={**study.space, **space})


@pytest.fixture(scope="module")
def falling():
    study = small(annealing.study, 10, learning_rate=sweeps.grid(1e-3), seed=range(2))
    return sweeps.run(study, progress=False)


def test_the_slope_has_fallen_to_zero_in_the_end(falling):
    for shape, middle in (("Linear", 0.15), ("Cosine", 0.15), ("Steps", 0.1)):
        slopes = falling.filter(alpha=shape).metrics["slope"].to_numpy().reshape(2, 2)
        np.testing.assert_allclose(slopes[:, 0], middle, rtol=1e-5)
        np.testing.assert_array_equal(slopes[:, 1], 0)
    for value in annealing.CONSTANTS:
        slopes = falling.filter(**annealing.constant(value)).metrics["slope"].to_numpy()
        np.testing.assert_allclose(slopes, value, rtol=1e-6)


def test_networks_that_are_compared_begin_with_the_same_weights():
    for module in (annealing, normalisation, transfer):
        trial = module.study.trial
        kernels = []
        for slope in (0.0, 0.3):
            value = sweeps.Constant(slope) if module is annealing else slope
            config = annealed_at(dataclasses.replace(trial.config(), alpha=value), 0, 1)
            state = trial.init(config, jax.random.key(0))
            kernels.append([leaf for leaf in jax.tree.leaves(state.params) if leaf.ndim == 2])
        assert len(kernels[0]) >= 3
        for one, other in zip(*kernels, strict=True):
            np.testing.assert_array_equal(one, other)


def test_batch_norm_is_evaluated_by_its_running_statistics():
    """So each example's output is its own, whatever it is evaluated with, and the statistics are learned."""
    trial = normalisation.study.trial
    assert trial.data is not None
    config = trial.config(normalisation="batch", alpha=0.1)
    state = trial.init(config, jax.random.key(0))
    inputs, targets = (jnp.asarray(part[:64]) for part in trial.data.train)
    inputs = 3 * inputs + 1  # statistics that the first ones, 0 and 1, are far from

    def loss(state, part):
        return float(trial.evaluate(config, state, (inputs[part], targets[part]))["test/loss"])

    halves = [loss(state, slice(None, 32)), loss(state, slice(32, None))]
    assert halves[0] != halves[1] and np.mean(halves) == pytest.approx(loss(state, slice(None)), rel=1e-5)
    trained, metrics = trial.step(config, state, (inputs, targets), jax.random.key(1))
    # In training it is the batch's own statistics that count.
    assert abs(metrics["train/loss"] - loss(state, slice(None))) > 0.01
    assert len(jax.tree.leaves(state.rest)) == 2 * config.depth
    for before, after in zip(jax.tree.leaves(state.rest), jax.tree.leaves(trained.rest), strict=True):
        assert not np.array_equal(before, after)
    only = trained._replace(params=state.params)
    assert abs(loss(only, slice(None)) - loss(state, slice(None))) > 0.01


@pytest.mark.parametrize("kind", normalisation.KINDS)
def test_layers_are_normalised_before_the_rectifier(kind):
    trial = normalisation.study.trial
    assert trial.data is not None
    config = trial.config(normalisation=kind, alpha=0.1)
    model = normalisation.MLP(config, nnx.Rngs(0))
    inputs = 5 * jnp.asarray(trial.data.train[0][:200]) + 2
    norm, linear = model.blocks[0].norm, model.blocks[0].linear
    before = linear(inputs) if norm is None else norm(linear(inputs))
    if kind == "none":
        assert np.abs(before).max() > 5
    else:
        axis = 0 if kind == "batch" else 1
        np.testing.assert_allclose(before.mean(axis), 0, atol=1e-4)
        np.testing.assert_allclose(before.std(axis), 1, rtol=1e-3)
    np.testing.assert_allclose(model.blocks[0](inputs), np.where(before > 0, before, 0.1 * before), rtol=1e-5)


def test_which_gains_are_compared():
    own = [float(depth.own_gain(slope)) for slope in (0.01, 0.1, 0.3)]
    there = [(0.0, 1.0), (0.0, depth.ROOT), (0.01, own[0]), (0.3, depth.ROOT), (0.3, own[2])]
    left_out = [(0.3, 1.0), (0.3, own[1]), (0.0, own[0]), (0.1, depth.ROOT), (0.01, depth.ROOT)]
    slope, gain = np.array(there + left_out).T
    assert depth.compared({"alpha": slope, "gain": gain}).tolist() == [True] * 5 + [False] * 5


def test_thirty_two_layers_train_with_a_slope_and_its_gain_and_not_as_relu_with_none():
    trial, errors = depth.study.trial, []
    assert trial.data is not None and trial.model is not None
    images, targets = (jnp.asarray(part[:512]).reshape(8, 64, *part.shape[1:]) for part in trial.data.train)
    for slope, gain in ((0.0, 1.0), (0.6, float(depth.own_gain(0.6)))):
        config = trial.config(alpha=slope, gain=gain, depth=32, learning_rate=1e-3)

        @jax.jit
        def epoch(state, config=config):
            def step(state, batch):
                return trial.step(config, state, batch, jax.random.key(0))[0], None

            return jax.lax.scan(step, state, (images, targets))[0]

        state = jax.jit(lambda key, config=config: trial.init(config, key))(jax.random.key(1))
        for _ in range(10):
            state = epoch(state)
        logits = jax.jit(trial.model(config, state))(images[0])
        errors.append(float(jnp.mean(jnp.argmax(logits, -1) != targets[0])))
    assert errors[0] > 0.6 and errors[1] < 0.1  # guessing has 0.9


def test_the_gain_scales_every_hidden_layer():
    one, other = (depth.Plain(depth.Config(gain=gain, depth=40), nnx.Rngs(0)) for gain in (1.0, depth.ROOT))
    for name in ("kernels", "first.kernel"):
        kernels = [np.asarray(_found(model, name)) for model in (one, other)]
        np.testing.assert_allclose(kernels[1], depth.ROOT * kernels[0], rtol=1e-5)
        assert np.std(kernels[0]) * 8 == pytest.approx(1, rel=0.03)  # 1 / sqrt(64) inputs


def _found(model, name):
    for part in name.split("."):
        model = getattr(model, part)
    return model[...]


def test_a_plain_network_is_layers_one_after_the_other():
    model = depth.Plain(depth.Config(alpha=0.3, depth=5), nnx.Rngs(0))
    inputs = np.random.default_rng(0).normal(size=(7, 64)).astype(np.float32)
    signal = inputs @ np.asarray(model.first.kernel[...])
    for kernel in np.asarray(model.kernels[...]):
        signal = np.where(signal > 0, signal, 0.3 * signal) @ kernel
    signal = np.where(signal > 0, signal, 0.3 * signal) @ np.asarray(model.logits.kernel[...])
    np.testing.assert_allclose(model(jnp.asarray(inputs)), signal, rtol=1e-4, atol=1e-5)


def annealed(gain, shape=0.0, dead=0.0, error=0.0, spread=0.002):
    def value(config, noise, step):
        falls = config["alpha"] != "Constant"
        relu = config["alpha.value"] == 0
        return {
            "test/accuracy": 0.6 + gain * falls + shape * (config["alpha"] == "Steps") + spread * noise,
            "train/error": 0.3 + error * relu + spread * noise,
            "test/dead_units": 0.1 + dead * relu + spread * noise,
        }

    return value


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.03, 0.0, 0.05, 0.05), [HOLDS, HOLDS, HOLDS, HOLDS]),
        ((0.0, 0.04, 0.0, -0.05), [FAILS, FAILS, FAILS, FAILS]),
        ((0.0, 0.0, 0.0, 0.0, 0.5), [OPEN, OPEN, OPEN, OPEN]),
    ],
)
def test_the_verdicts_on_a_falling_slope_go_either_way(arguments, expected):
    results = results_of(annealing.study, annealed(*arguments))
    assert verdicts(annealing, results) == expected


def normalised(none, batch, layer, spread=0.002):
    def value(config, noise, step):
        gain = {"none": none, "batch": batch, "layer": layer}[config["normalisation"]]
        return {"test/accuracy": 0.6 + gain * (config["alpha"] > 0) + spread * noise}

    return value


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.04, 0.0, 0.0), [HOLDS] * 5),
        ((0.0, 0.04, 0.04), [FAILS] * 5),
        ((0.04, 0.04, 0.0), [HOLDS, FAILS, HOLDS, FAILS, HOLDS]),
        ((0.0, 0.0, 0.0, 0.5), [OPEN] * 5),
    ],
)
def test_the_verdicts_on_normalisation_go_either_way(arguments, expected):
    assert verdicts(normalisation, results_of(normalisation.study, normalised(*arguments))) == expected


def wide(change, spread=0.002):
    """A slope of 0.3 gains 0.04 in narrow networks, and so much more in those of 64 units and more."""

    def value(config, noise, step):
        gain = (0.04 + change * (config["width"] >= 64)) * (config["alpha"] == 0.3)
        return {"test/accuracy": 0.6 + gain + spread * noise}

    return value


def test_the_verdicts_on_transfer_go_either_way():
    assert verdicts(transfer, results_of(transfer.study, wide(0.0))) == [HOLDS, HOLDS]
    changed = results_of(transfer.study, wide(-0.1))
    # The best slopes of 16 and 32 units are the worst of 512; slopes other than 0.3 gain the same everywhere.
    assert verdicts(transfer, changed) == [CONDITIONAL, CONDITIONAL]
    best = transfer.best_slopes(changed)
    assert best[16] == best[32] == 0.3 and best[64] != 0.3 and best[512] != 0.3
    assert transfer.regrets(changed)[16].interval.low > 0.05
    assert OPEN in verdicts(transfer, results_of(transfer.study, wide(0.0, 0.5)))


def test_slopes_are_chosen_on_other_seeds_than_they_are_measured_on():
    def value(config, noise, step):
        return {"test/accuracy": 0.6 + 0.1 * noise}

    results = results_of(transfer.study, value, seeds=6)
    assert all(effect.seeds == 4 for effect in transfer.regrets(results).values())
    # Over seeds that choose, none does better than the best; on others some do.
    at = transfer.by_slope(results, 512)
    best = transfer.levels(results, "alpha").index(transfer.best_slopes(results)[512])
    assert at[:, [0, 4]].mean(1).argmax() == best


def deep(stalled, worse, slope, gain, spread=0.01):
    def value(config, noise, step):
        far, alpha = config["depth"] >= 32, config["alpha"]
        error = 0.3 + spread * noise + worse * (config["depth"] > 4) * (alpha == 0)
        error += far * stalled * (config["gain"] == 1) + far * slope * (alpha > 0)
        return {"train/error": error + far * gain * (alpha > 0) * (config["gain"] == depth.ROOT)}

    return value


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.5, 0.2, -0.1, 0.2), [HOLDS] * 4),
        ((0.0, 0.0, 0.0, 0.0), [FAILS] * 4),
        ((0.0, 0.0, 0.0, 0.0, 5.0), [OPEN] * 4),
    ],
)
def test_the_verdicts_on_depth_go_either_way(arguments, expected):
    assert verdicts(depth, results_of(depth.study, deep(*arguments))) == expected


def test_a_run_that_diverged_has_everything_wrong():
    def value(config, noise, step):
        lost = config["depth"] == 64 and config["gain"] == depth.ROOT and config["alpha"] == 0.3
        return {"train/error": float("nan") if lost else 0.3 + 0.01 * noise}

    results = results_of(depth.study, value, seeds=4)
    assert depth.errors(results, 64, 0.3, depth.ROOT).tolist() == [1.0] * 4
    found = depth.findings(results)
    assert (
        found[3].verdict == CONDITIONAL
        and "4 of " in found[3].measured
        and "as all wrong" in found[3].measured
    )
