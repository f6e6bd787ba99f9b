"""The study of deep convolutional networks: the network against NumPy, verdicts on made-up results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sweeps
from sweeps.claims.verdicts import CONDITIONAL, FAILS, HOLDS
from sweeps.studies import activations, deep_cnn
from tests.sweeps.studies.made_up import results_of, verdicts

pytestmark = pytest.mark.studies

GAINS = {
    "relu": 2**0.5,
    "leaky-0.01": (2 / 1.0001) ** 0.5,
    "leaky-0.18": (2 / (1 + 1 / 5.5**2)) ** 0.5,
    "prelu": (2 / 1.0625) ** 0.5,
    "rrelu": (2 / (1 + (1 / 64 + 1 / 24 + 1 / 9) / 3)) ** 0.5,
    "elu": 1.2452,  # by quadrature
}


def in_numpy(model, signal, slope, normalised):
    """The network by its description: signals (n, places, channels), zeros beyond their ends."""
    signal = np.asarray(signal, np.float64)
    for place, layer in enumerate(model.layers, 1):
        kernel, bias = (np.asarray(one[...], np.float64) for one in (layer.conv.kernel, layer.conv.bias))
        padded = np.pad(signal, ((0, 0), (1, 1), (0, 0)))
        length = signal.shape[1]
        signal = bias + sum(padded[:, tap : tap + length] @ kernel[tap] for tap in range(3))
        if normalised:  # as in training: by the batch's own statistics
            signal = (signal - signal.mean((0, 1))) / np.sqrt(signal.var((0, 1)) + 1e-5)
        signal = np.where(signal > 0, signal, slope * signal)
        if place in (2, 5):
            signal = signal.reshape(len(signal), length // 2, 2, -1).max(2)
    weights, bias = (np.asarray(one[...], np.float64) for one in (model.logits.kernel, model.logits.bias))
    return signal.reshape(len(signal), -1) @ weights + bias


@pytest.mark.parametrize("normalisation", ["none", "batch"])
def test_the_network_is_the_one_that_is_described(normalisation):
    config = deep_cnn.Config(activation="leaky-0.18", normalisation=normalisation, channels=4)
    model = deep_cnn.DeepCNN(config, nnx.Rngs(0))
    signal = np.random.default_rng(0).normal(size=(6, 40, 1)).astype(np.float32)
    wanted = in_numpy(model, signal, 1 / 5.5, normalisation == "batch")
    np.testing.assert_allclose(model(jnp.asarray(signal)), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", activations.SLOPES)
def test_weights_have_the_gain_of_their_own_rectifier(name):
    model = deep_cnn.DeepCNN(deep_cnn.Config(activation=name, channels=64), nnx.Rngs(0))
    drawn = np.concatenate([np.ravel(layer.conv.kernel[...]) for layer in model.layers[1:]])
    assert drawn.std() * (3 * 64) ** 0.5 == pytest.approx(GAINS[name], rel=0.01)


def test_there_is_one_batch_norm_for_each_convolution_or_none():
    trial = deep_cnn.make(sweeps.Data(*2 * [(np.ones((8, 4, 1), np.float32), np.arange(8) % 4)])).trial
    config = trial.config(normalisation="batch", channels=2)
    state = trial.init(config, jax.random.key(0))
    assert len(jax.tree.leaves(state.rest)) == 2 * deep_cnn.DEPTH
    assert not jax.tree.leaves(trial.init(trial.config(channels=2), jax.random.key(0)).rest)


def test_the_training_error_is_of_all_classes_of_a_set_in_their_order():
    count = 2 * activations.MOST_TRAINING_IMAGES
    part = np.zeros((count, 1), np.float32), (np.arange(count) >= count / 2).astype(np.int32)
    measured = activations.on_training(sweeps.Data(part, part))
    zero = measured(lambda x: jnp.eye(2)[jnp.zeros(len(x), int)], jnp.zeros(0))
    assert zero["train/error"] == 0.5


def errors(none, batch):
    """Errors that are lower, by activation and whether there is BatchNorm, by what is given."""

    def value(config, noise, step):
        lower = {"none": none, "batch": batch}[config["normalisation"]].get(config["activation"], (0.0, 0.0))
        return {
            "test/error": 0.08 - lower[0] + 0.002 * noise,
            "train/error": 0.04 - lower[1] + 0.002 * noise,
        }

    return value


CLAIMED = {
    "leaky-0.18": (0.02, 0.0),
    "prelu": (0.02, 0.02),
    "rrelu": (0.02, -0.02),
    "elu": (0.02, 0.0),
}


@pytest.mark.parametrize(
    ("none", "batch", "expected"),
    [
        (CLAIMED, CLAIMED, [HOLDS] * 6),
        (CLAIMED, {}, [HOLDS, *[CONDITIONAL] * 5]),
        ({}, CLAIMED, [HOLDS, *[CONDITIONAL] * 5]),
        ({}, {}, [HOLDS, *[FAILS] * 5]),
        ({"leaky-0.01": (0.02, 0.0)}, {}, [CONDITIONAL, *[FAILS] * 5]),
    ],
)
def test_an_ordering_is_judged_without_batch_norm_and_with_it(none, batch, expected):
    results = results_of(deep_cnn.study, errors(none, batch))
    assert verdicts(deep_cnn, results) == expected
    first, *_, last = deep_cnn.findings(results)
    assert first.comparisons == 2 * activations.COMPARISONS and len(first.effects) == 2
    assert [effect.label.rpartition(", ")[2] for effect in last.effects] == list(deep_cnn.CONDITIONS)
    # What one effect says is of its own condition.
    lower = [none.get("elu", (0.0,))[0], batch.get("elu", (0.0,))[0]]
    assert [effect.interval.mean for effect in last.effects] == pytest.approx(lower, abs=1e-3)
