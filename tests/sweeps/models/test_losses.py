"""The default loss and accuracy, and what they refuse to judge."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import sweeps
from sweeps.errors import StudyError
from sweeps.models.losses import accuracy, default_loss


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: float = 0.1


def study_of(targets: Any, outputs: int = 1, model: Any = None, **changes: Any) -> sweeps.Study:
    inputs = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    arguments = {
        "config": Config,
        "model": model or (lambda config, rngs: nnx.Linear(4, outputs, rngs=rngs)),
        "optimizer": lambda config: optax.sgd(config.learning_rate),
        "data": sweeps.Data((inputs, targets), (inputs, targets)),
        "batch_size": 10,
    }
    trial = sweeps.supervised(**(arguments | changes))
    return sweeps.Study(trial, steps=2, metric="test/loss", mode="min")


def sigmoid(outputs, targets):
    return optax.sigmoid_binary_cross_entropy(outputs[:, 0], targets)


def squeezed(config, rngs):
    return nnx.Sequential(nnx.Linear(4, 1, rngs=rngs), lambda x: x[:, 0])


CLASSES = np.arange(20, dtype=np.int32) % 2
ONE_LOGIT = (
    "two classes or more` must hold for the default {}, but got .*; give the model two outputs, or judge"
)


@pytest.mark.parametrize(
    ("targets", "changes", "message"),
    [
        (CLASSES, {}, ONE_LOGIT.format("loss")),
        (CLASSES, {"loss": sigmoid}, ONE_LOGIT.format("accuracy")),
        (
            CLASSES,
            {"model": squeezed, "loss": lambda o, t: optax.sigmoid_binary_cross_entropy(o, t)},
            ONE_LOGIT.format("accuracy"),
        ),
        (CLASSES[:, None], {"outputs": 2}, r"outputs \(10, 2\) and targets \(10, 1\); drop the last axis"),
        (
            np.stack([CLASSES] * 3, axis=1),
            {"outputs": 2},
            r"targets \(10, 3\); reshape one of them, or pass `loss`",
        ),
        (
            np.arange(20, dtype=np.int32),
            {"outputs": 10},
            "`0 <= label < 10`, .* must hold, but got labels from 0 to 19; give",
        ),
        (
            CLASSES - 1,
            {"outputs": 2},
            "`0 <= label < 2`, .* must hold, but got labels from -1 to 0; .*left out",
        ),
        (
            CLASSES * 3,
            {"outputs": 2, "loss": lambda o, t: jnp.mean(o)},
            "`0 <= label < 2`, .* must hold, but got labels from 0 to 3",
        ),
        (CLASSES == 1, {}, "`targets are integers or floating-point .* bool; classes are integers"),
        (
            {"a": CLASSES},
            {},
            "`targets are one array` must hold for the default loss, but got a dict; pass `loss`",
        ),
        (
            CLASSES,
            {"model": lambda config, rngs: Two(rngs)},
            "`outputs are one array` must hold for the default loss, but got a tuple; pass `loss`",
        ),
        (
            CLASSES,
            {"model": lambda config, rngs: Two(rngs), "loss": lambda o, t: jnp.mean(o[0])},
            "`outputs are one array` must hold for the default accuracy, but got a tuple; pass `metrics`",
        ),
        (
            CLASSES,
            {"outputs": 2, "loss": lambda o, t: (jnp.mean(o), {"aux": 1})},
            "`loss returns an array` must hold, but got a tuple; return its first element alone",
        ),
        (
            CLASSES,
            {"outputs": 2, "metrics": {"both": lambda o, t: {"a": jnp.mean(o)}}},
            "`both returns an array` must hold, but got a dict; return one array",
        ),
        (
            CLASSES,
            {"outputs": 2, "metrics": {"nothing": lambda o, t: None}},
            "`nothing returns an array` must hold, but got a NoneType; return one array",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_before_compiling(targets, changes, message, monkeypatch):
    monkeypatch.setattr("sweeps.engine.program.build", None)
    with pytest.raises(StudyError, match=message):
        sweeps.run(study_of(targets, **changes), progress=False)


class Batches:
    """A data loader: ten examples at a time, from the first at each reading."""

    def __init__(self, targets):
        self.targets = targets

    def __iter__(self):
        inputs = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
        return iter([(inputs[at : at + 10], self.targets[at : at + 10]) for at in (0, 10)])


def streamed(train, evaluation=CLASSES):
    inputs = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    return study_of(CLASSES, outputs=3, data=sweeps.Data(train, (inputs, evaluation)))


@pytest.mark.parametrize("read", [lambda batches: batches, iter], ids=["loader", "iterator"])
@pytest.mark.parametrize("wrong", [4, -1])
def test_labels_in_a_stream_are_refused_before_compiling(read, wrong, monkeypatch):
    monkeypatch.setattr("sweeps.engine.program.build", None)
    targets = np.where(np.arange(20) == 7, wrong, CLASSES)
    low, high = min(wrong, 0), max(wrong, 1)
    with pytest.raises(StudyError, match=f"`0 <= label < 3`, .* but got labels from {low} to {high}; give"):
        sweeps.run(streamed(read(Batches(targets))), progress=False)


def test_looking_at_labels_takes_no_batch_from_an_iterator():
    def losses(train):
        results = sweeps.run(streamed(train), progress=False)
        return results.metrics.sort_by("step")["train/loss"].to_pylist()

    assert losses(iter(Batches(CLASSES))) == losses(Batches(CLASSES))
    study = streamed(iter(Batches(CLASSES)))
    sweeps.run(study, progress=False)
    with pytest.raises(
        StudyError, match="train can be read again from its first batch` must hold.*list_iter"
    ):
        sweeps.run(study, progress=False)


class Two(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.linear(x), x


def test_the_cures_that_messages_name():
    """A single logit judged as the message says, and no metrics at all."""
    right = {"accuracy": lambda outputs, targets: (outputs[:, 0] > 0) == targets}
    study = study_of(CLASSES, loss=sigmoid, metrics=right)
    results = sweeps.run(study, progress=False)
    config, data = Config(), study.trial.data
    assert data is not None
    state = study.trial.init(config, nnx.Rngs(0).params())
    logits = data.evaluation[0] @ np.asarray(state.params["kernel"])
    found = study.trial.evaluate(config, state, data.evaluation)
    assert float(found["test/accuracy"]) == pytest.approx(((logits[:, 0] > 0) == CLASSES).mean())
    assert set(results.metric_names) == {"train/loss", "test/loss", "test/accuracy"}
    found = study_of(CLASSES, loss=sigmoid, metrics={}).trial.evaluate(config, state, data.evaluation)
    assert set(found) == {"test/loss"}


def test_defaults_on_sequences_and_half_precision():
    rng = np.random.default_rng(1)
    logits, targets = (
        jnp.asarray(rng.normal(size=(5, 3, 4)), jnp.bfloat16),
        jnp.asarray(rng.integers(0, 4, (5, 3))),
    )
    exact = np.float64(logits)
    picked = np.take_along_axis(exact, np.asarray(targets)[..., None], axis=-1)[..., 0]
    losses = default_loss(logits, targets)
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, np.log(np.exp(exact).sum(axis=-1)) - picked, rtol=1e-5)
    assert np.array_equal(accuracy(logits, targets), exact.argmax(-1) == np.asarray(targets))
