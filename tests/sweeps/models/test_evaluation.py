"""Evaluation over the whole set, in batches; what is expected is computed by NumPy and plain Flax."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import sweeps
from sweeps.errors import StudyError
from sweeps.models import evaluation


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: float = 0.1


def evaluated(model: Any, inputs: Any, targets: Any, **changes: Any) -> dict[str, float]:
    """The metrics of the untrained model, compiled as a population compiles them."""
    trial = sweeps.supervised(
        **{
            "config": Config,
            "model": model,
            "optimizer": lambda config: optax.sgd(config.learning_rate),
            "data": sweeps.Data((inputs, targets), (inputs, targets)),
            "batch_size": 4,
        }
        | changes
    )

    def run(key: jax.Array, data: Any) -> dict[str, jax.Array]:
        return trial.evaluate(Config(), trial.init(Config(), key), data)

    quick = {"xla_backend_optimization_level": 0}
    members = jax.jit(jax.vmap(run, in_axes=(0, None)), compiler_options=quick)
    found = members(jax.random.split(jax.random.key(0), 1), (inputs, targets))
    return {name: float(values[0]) for name, values in found.items()}


class Same(nnx.Module):
    """Puts out what it is given."""

    def __init__(self, config, rngs):
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, x):
        return jax.tree.map(lambda array: array * self.scale[...], x)


def f1(outputs, targets):
    found = outputs[:, 1] > outputs[:, 0]
    right = jnp.sum(found * targets)
    return 2 * right / jnp.maximum(jnp.sum(found) + jnp.sum(targets), 1)


def squared(outputs, targets):
    return jnp.square(outputs[:, 0] - targets)


def test_a_scalar_is_computed_once_on_the_whole_set():
    rng = np.random.default_rng(0)
    targets = np.sort(rng.random(3000) < 0.3).astype(np.int32)
    logits = rng.normal(size=(3000, 2)).astype(np.float32)
    logits[:, 1] += 0.6 * targets
    found = evaluated(Same, logits, targets, metrics={"f1": f1, "first": lambda o, t: jnp.max(o)})
    guess = logits[:, 1] > logits[:, 0]
    expected = 2 * (guess & (targets == 1)).sum() / (guess.sum() + targets.sum())
    assert found["test/f1"] == pytest.approx(expected, rel=1e-6)
    assert found["test/first"] == logits.max()
    batches = [slice(0, 1024), slice(1024, 2048), slice(2048, 3000)]
    means = [float(f1(jnp.asarray(logits[part]), jnp.asarray(targets[part]))) for part in batches]
    assert abs(np.average(means, weights=[1024, 1024, 952]) - expected) > 0.1  # what a mean of batches gives


def test_a_scalar_loss_is_that_of_the_whole_set():
    rng = np.random.default_rng(1)
    inputs, targets = rng.normal(size=(1500, 3)).astype(np.float32), rng.integers(0, 3, 1500)
    targets[:1100] = -1  # left out

    def masked(outputs, targets):
        kept = targets >= 0
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.maximum(targets, 0))
        return jnp.sum(losses * kept) / jnp.maximum(jnp.sum(kept), 1)

    found = evaluated(Same, inputs, targets, loss=masked, metrics={})
    exponents = np.exp(inputs.astype(np.float64))
    picked = inputs[np.arange(1500), np.maximum(targets, 0)]
    each = np.log(exponents.sum(axis=1)) - picked
    assert found["test/loss"] == pytest.approx(each[1100:].mean(), rel=1e-5)


@pytest.mark.parametrize("count", [7, 1024, 1025, 1500, 2048])
def test_accuracy_counts_every_example_once_and_nothing_else(count):
    # The short last batch is all wrong, and so is the first example: padding or a repeat would show.
    logits = np.eye(3, dtype=np.float32)[np.zeros(count, int)]
    targets = np.zeros(count, np.int32)
    wrong = count % 1024 if count > 1024 else 1
    targets[count - wrong :] = 2
    targets[0] = 1
    found = evaluated(Same, logits, targets)
    assert found["test/accuracy"] == np.float32((targets == 0).sum()) / np.float32(count)
    expected = np.log(np.e + 2) - (targets == 0).mean()
    assert found["test/loss"] == pytest.approx(expected, rel=1e-6)


def test_one_value_per_token_is_averaged_over_tokens(monkeypatch):
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 8)
    rng = np.random.default_rng(2)
    logits, targets = rng.normal(size=(20, 5, 4)).astype(np.float32), rng.integers(0, 4, (20, 5))
    found = evaluated(Same, logits, targets)
    assert found["test/accuracy"] == pytest.approx((logits.argmax(-1) == targets).mean(), rel=1e-6)


def test_half_precision_values_are_averaged_in_single(monkeypatch):
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 512)
    values = np.full((1030, 1), 100, np.float16)
    found = evaluated(
        Same, values, values, loss=lambda o, t: o[:, 0].astype(jnp.float16), metrics={"n": lambda o, t: t}
    )
    assert found == {"test/loss": 100.0, "test/n": 100.0}  # a float16 ends at 65,504


def test_dicts_of_inputs_outputs_and_targets(monkeypatch):
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 8)
    rng = np.random.default_rng(3)
    inputs = {name: rng.normal(size=20).astype(np.float32) for name in "ab"}
    targets = {name: rng.normal(size=20).astype(np.float32) for name in "ab"}

    def loss(outputs, targets):
        return sum(jnp.square(outputs[name] - targets[name]) for name in outputs)

    found = evaluated(Same, inputs, targets, loss=loss, metrics={"worst": lambda o, t: jnp.max(loss(o, t))})
    each = np.sum([np.square(inputs[name] - targets[name]) for name in "ab"], axis=0)
    assert found["test/loss"] == pytest.approx(each.mean(), rel=1e-5)
    assert found["test/worst"] == pytest.approx(each.max(), rel=1e-6)


def test_outputs_that_cannot_be_joined_are_refused(monkeypatch):
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 8)

    class Two(Same):
        def __call__(self, x):
            return x * self.scale[...], jnp.sum(x)

    inputs = np.ones((20, 1), np.float32)
    each = {"loss": lambda o, t: squared(o[0], t[:, 0]), "metrics": {}}
    assert evaluated(Two, inputs, inputs, **each)["test/loss"] == 0
    scalar = {"metrics": {"sum": lambda o, t: jnp.sum(o[0])}}
    with pytest.raises(
        StudyError, match=r"row per example` must hold where .* scalar \(sum\), .* shape \(\)"
    ):
        evaluated(Two, inputs, inputs, **(each | scalar))


class Recurrent(nnx.Module):
    def __init__(self, config, rngs):
        self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(2, 3, rngs=rngs))
        self.logits = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        return self.logits(jnp.asarray(self.rnn(x))[:, -1])


class Bidirectional(Recurrent):
    def __init__(self, config, rngs):
        super().__init__(config, rngs)
        cells = [nnx.RNN(nnx.GRUCell(2, 3, rngs=rngs)) for _ in range(2)]
        self.rnn, self.logits = nnx.Bidirectional(*cells), nnx.Linear(6, 2, rngs=rngs)


class Dense(nnx.Module):
    """A dense layer of a kind on the last time step."""

    def __init__(self, config, rngs):
        self.layer = nnx.Linear(2, 2, rngs=rngs)

    def __call__(self, x):
        return self.layer(x[:, -1])


class WeightNormed(Dense):
    def __init__(self, config, rngs):
        self.layer = nnx.WeightNorm(nnx.Linear(2, 2, rngs=rngs), rngs=rngs)


class Spectral(Dense):
    def __init__(self, config, rngs):
        self.norm = nnx.SpectralNorm(nnx.Linear(2, 2, rngs=rngs), rngs=rngs)

    def __call__(self, x):
        return self.norm(x[:, -1], update_stats=False)


class Remat(Dense):
    @nnx.remat
    def hidden(self, x):
        return self.layer(x)

    def __call__(self, x):
        return self.hidden(x[:, -1])


class Scanned(Dense):
    def __init__(self, config, rngs):
        @nnx.split_rngs(splits=3)
        @nnx.vmap
        def make(rngs):
            return nnx.Linear(2, 2, rngs=rngs)

        self.layers = make(rngs)

    def __call__(self, x):
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def forward(layer, x):
            return jnp.tanh(layer(x))

        return forward(self.layers, x[:, -1])


class Sowing(Dense):
    def __call__(self, x):
        hidden = super().__call__(x)
        self.sow(nnx.Intermediate, "hidden", hidden)
        return hidden


class Counting(Dense):
    def __init__(self, config, rngs):
        super().__init__(config, rngs)
        self.calls = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, x):
        self.calls[...] += 1
        return super().__call__(x)


class LinenRecurrent(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(jnp.asarray(nn.RNN(nn.GRUCell(3))(x))[:, -1])


# Some change in evaluation, the others are transformed; more of both run with `-m models`.
KINDS = [
    Remat,
    Scanned,
    Sowing,
    Counting,
    *(
        pytest.param(kind, marks=pytest.mark.models)
        for kind in (Bidirectional, WeightNormed, Spectral, lambda config, rngs: LinenRecurrent())
    ),
]


@pytest.mark.filterwarnings("ignore:Using 'Module.sow")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_model_that_changes_or_transforms_itself_is_evaluated_in_batches(kind, monkeypatch):
    rng = np.random.default_rng(4)
    inputs, targets = rng.normal(size=(20, 4, 2)).astype(np.float32), rng.integers(0, 2, 20)
    changes = {"inspect": lambda model, inputs: {"mean": jnp.mean(model(inputs))}, "lowering": None}
    whole = evaluated(kind, inputs, targets, **changes)
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 8)
    assert evaluated(kind, inputs, targets, **changes) == pytest.approx(whole, rel=1e-5)


@pytest.mark.models
def test_a_recurrent_network_on_a_large_evaluation_set():
    rng = np.random.default_rng(5)
    inputs, targets = rng.normal(size=(1500, 3, 2)).astype(np.float32), rng.integers(0, 2, 1500)
    found = evaluated(Recurrent, inputs, targets)
    logits = Recurrent(None, nnx.Rngs(jax.random.split(jax.random.key(0), 1)[0]))(jnp.asarray(inputs))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    assert found["test/loss"] == pytest.approx(float(losses.mean()), rel=1e-5)
    assert found["test/accuracy"] == pytest.approx(float((logits.argmax(-1) == targets).mean()), rel=1e-6)
