"""Data as people have them: several inputs, and a weight per example; each beside a loop by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import sweeps
from tests.reference import data, linen_models, loops, nnx_models
from tests.reference.comparison import Config
from tests.reference.loops import Plan

STEPS, BATCH, RATE, SEED, ROOT = 6, 16, 0.05, 3, 5
(INPUTS, TARGETS), (OTHERS, JUDGED) = data.vectors()
WEIGHTS, IMPORTANT = (
    np.random.default_rng(seed).choice([0.0, 0.5, 1.0, 4.0], len(targets)).astype(np.float32)
    for seed, targets in enumerate((TARGETS, JUDGED))
)


def by_name(x: Any) -> dict[str, Any]:
    return {"left": x[:, :2], "right": x[:, 2:]}


def in_a_row(x: Any) -> tuple[Any, Any]:
    return x[:, :2], x[:, 2:]


def swept(model: Any, train: Any, evaluation: Any, **options: Any) -> list[dict[str, Any]]:
    """The metrics of every step of a member of alpha 0.4, trained beside another."""
    trial = sweeps.supervised(
        config=Config,
        model=model,
        optimizer=lambda config: optax.sgd(config.learning_rate),
        data=sweeps.Data(train, evaluation),
        batch_size=BATCH,
        **options,
    )
    space = {"alpha": [0.1, 0.4], "seed": [SEED]}
    study = sweeps.Study(trial, steps=STEPS, metric="test/loss", evaluate_every=1, space=space)
    results = sweeps.run(study, root_seed=ROOT, progress=False)
    return [row for row in results.metrics.to_pylist() if row["member"] == 1]


def by_hand(start: Any, apply: Any, weights: np.ndarray) -> tuple[list[float], Any]:
    """Gradient descent on the weighted mean: the losses, and the outputs for the evaluation set."""
    plan = Plan(((INPUTS, np.arange(len(INPUTS))), None), BATCH, STEPS, ROOT)

    def loss(params: Any, inputs: Any, targets: Any, weights: Any) -> jax.Array:
        return jnp.sum(loops.cross_entropy(apply(params, inputs), targets) * weights) / jnp.sum(weights)

    differentiated = jax.jit(jax.value_and_grad(loss))
    params, losses = start(loops.initial_key(plan, SEED)), []
    for (_, rows), _ in loops.batches(plan, SEED):
        value, gradients = differentiated(params, INPUTS[rows], TARGETS[rows], weights[rows])
        params = jax.tree.map(lambda p, g: p - RATE * g, params, gradients)
        losses.append(float(value))
    return losses, apply(params, OTHERS)


def assert_same(found: list[dict[str, Any]], losses: list[float], outputs: Any, weights: np.ndarray) -> None:
    np.testing.assert_allclose([row["train/loss"] for row in found], losses, rtol=1e-5)
    errors = np.asarray(loops.cross_entropy(outputs, JUDGED), np.float64)
    right = np.argmax(outputs, axis=-1) == JUDGED
    np.testing.assert_allclose(found[-1]["test/loss"], np.average(errors, weights=weights), rtol=1e-5)
    np.testing.assert_allclose(found[-1]["test/accuracy"], np.average(right, weights=weights), rtol=1e-5)


def nnx_member(kind: Any, shaped: Any) -> tuple[Any, Any]:
    """What starts an NNX model's parameters by hand, and what applies them."""

    def build(key: jax.Array) -> Any:
        return nnx.split(kind(Config(0.4, RATE), nnx.Rngs(key)), nnx.Param, ...)

    def apply(params: Any, x: Any) -> Any:
        graph, _, rest = build(jax.random.key(0))
        return nnx.merge(graph, params, rest, copy=True)(shaped(x))

    return lambda key: build(key)[1], apply


def test_a_dict_of_inputs_is_handed_to_the_model():
    found = swept(nnx_models.Pair, (by_name(INPUTS), TARGETS), (by_name(OTHERS), JUDGED))
    losses, outputs = by_hand(*nnx_member(nnx_models.Pair, by_name), np.ones(len(TARGETS), np.float32))
    assert_same(found, losses, outputs, np.ones(len(JUDGED)))


@pytest.mark.models
def test_a_tuple_of_inputs_is_handed_to_the_model():
    module = linen_models.Pair(Config(0.4, RATE))
    found = swept(
        lambda config, rngs: linen_models.Pair(config),
        (in_a_row(INPUTS), TARGETS),
        (in_a_row(OTHERS), JUDGED),
    )

    def start(key: jax.Array) -> Any:
        return module.init(loops.streams(key), in_a_row(jnp.zeros((1, 6))))

    losses, outputs = by_hand(
        start, lambda params, x: module.apply(params, in_a_row(x)), np.ones(len(TARGETS), np.float32)
    )
    assert_same(found, losses, outputs, np.ones(len(JUDGED)))


def test_examples_count_by_their_weights_in_training_and_evaluation():
    assert len(JUDGED) > 1024  # more than one batch of evaluation, the last of which is short
    found = swept(nnx_models.MLP, (INPUTS, TARGETS, WEIGHTS), (OTHERS, JUDGED, IMPORTANT))
    losses, outputs = by_hand(*nnx_member(nnx_models.MLP, lambda x: x), WEIGHTS)
    assert_same(found, losses, outputs, IMPORTANT)
    even = swept(nnx_models.MLP, (INPUTS, TARGETS, np.full(len(TARGETS), 2)), (OTHERS, JUDGED))
    plain = swept(nnx_models.MLP, (INPUTS, TARGETS), (OTHERS, JUDGED))
    for row, other in zip(even, plain, strict=True):
        assert row == pytest.approx(other, rel=1e-5)
    assert abs(plain[-1]["test/loss"] - found[-1]["test/loss"]) > 1e-3


WRONG = [
    (np.full(70, -1.0), {}, "the weights of data.train are finite numbers ≥ 0, not all 0"),
    (np.full(70, np.nan), {}, "the weights of data.train are finite numbers"),
    (np.zeros(70), {}, "the weights of data.train are finite numbers"),
    (np.ones(69), {}, r"all arrays of train have one length.*\[70, 70, 69\]"),
    (
        np.ones((70, 2)),
        {},
        "data.train is .*inputs, targets.*got a tuple of 3.*these and a weight per example",
    ),
    (
        np.ones(70),
        {"loss": lambda outputs, targets: outputs.mean()},
        "loss has one value per example.*a scalar",
    ),
    (
        np.ones(70),
        {"metrics": {"f1": lambda outputs, targets: outputs.mean()}},
        "f1 has one value per example.*a scalar",
    ),
]


@pytest.mark.parametrize(("weights", "options", "message"), WRONG)
def test_weights_that_weigh_nothing_are_refused(weights, options, message):
    with pytest.raises(sweeps.errors.StudyError, match=message):
        swept(nnx_models.MLP, (INPUTS, TARGETS, weights), (OTHERS, JUDGED, IMPORTANT), **options)
