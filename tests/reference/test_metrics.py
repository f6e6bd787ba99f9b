"""Metrics that are no means over examples, on 1,500 examples that are sorted by class."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.reference import data, loops
from tests.reference.comparison import Config, config_of, first_and_last, sweep, trial_of
from tests.reference.loops import Plan, Run
from tests.reference.nnx_models import MLP

UNLABELLED = -1


def partly_labelled() -> Plan:
    """Most of the first class and a few of the others have no label."""
    rng, pairs = np.random.default_rng(7), []
    for inputs, targets in data.vectors():
        hidden = rng.uniform(size=len(targets)) < np.where(targets == 0, 0.8, 0.1)
        pairs.append((inputs, np.where(hidden, UNLABELLED, targets).astype(np.int32)))
    return Plan(tuple(pairs))


PLAN = partly_labelled()


def masked_loss(outputs, targets):
    """The mean cross-entropy of what has a label."""
    known = targets != UNLABELLED
    errors = loops.cross_entropy(outputs, jnp.maximum(targets, 0))
    return jnp.sum(jnp.where(known, errors, 0)) / jnp.sum(known)


def f1(outputs, targets):
    """The F1 score of class 1."""
    found, there = jnp.argmax(outputs, axis=-1) == 1, targets == 1
    return 2 * jnp.sum(found & there) / (jnp.sum(found) + jnp.sum(there))


def r2(outputs, targets):
    """How much of the variance of being of class 2 its probability explains."""
    there = (targets == 2).astype(jnp.float32)
    left = jnp.sum((there - jax.nn.softmax(outputs)[:, 2]) ** 2)
    return 1 - left / jnp.sum((there - jnp.mean(there)) ** 2)


def right(outputs, targets):
    """Whether the largest logit is the label's; one value per example."""
    return jnp.argmax(outputs, axis=-1) == targets


@pytest.fixture(scope="module")
def reported_and_outputs(tmp_path_factory):
    """What the engine reported after the last step, and what the same model trained by hand puts out."""
    options = {"loss": masked_loss, "metrics": {"f1": f1, "r2": r2, "right": right}}
    swept = sweep(trial_of(MLP, optax.adam, PLAN, **options), PLAN, tmp_path_factory.mktemp("metrics"))
    last = {row["member"]: row for row in swept.results.metrics.to_pylist() if row["step"] == PLAN.steps}
    return [(last[row["member"]], trained(row).outputs) for row in first_and_last(swept.results)]


def trained(row: dict) -> Run:
    config: Config = config_of(row)
    optimizer = optax.adam(config.learning_rate)
    return loops.train_nnx(lambda rngs: MLP(config, rngs), optimizer, PLAN, row["seed"], masked_loss)


def test_f1_is_that_of_the_whole_set(reported_and_outputs):
    targets = PLAN.data[1][1]
    for reported, outputs in reported_and_outputs:
        found = np.argmax(outputs, axis=-1) == 1
        precision, recall = np.mean(targets[found] == 1), np.mean(found[targets == 1])
        expected = 2 / (1 / precision + 1 / recall)
        np.testing.assert_allclose(reported["test/f1"], expected, rtol=1e-5)


def test_r2_is_that_of_the_whole_set(reported_and_outputs):
    targets = PLAN.data[1][1]
    for reported, outputs in reported_and_outputs:
        powers = np.exp(np.asarray(outputs, np.float64))
        errors = (targets == 2) - powers[:, 2] / powers.sum(axis=1)
        expected = 1 - np.mean(errors**2) / np.var(targets == 2)
        np.testing.assert_allclose(reported["test/r2"], expected, rtol=1e-5)


def test_a_loss_with_masked_labels_is_that_of_the_whole_set(reported_and_outputs):
    targets = PLAN.data[1][1]
    known = targets != UNLABELLED
    for reported, outputs in reported_and_outputs:
        expected = np.mean(loops.cross_entropy(outputs[known], targets[known]))
        np.testing.assert_allclose(reported["test/loss"], expected, rtol=1e-5)


def test_one_value_per_example_is_averaged_over_all(reported_and_outputs):
    targets = PLAN.data[1][1]
    for reported, outputs in reported_and_outputs:
        expected = np.mean(np.argmax(outputs, axis=-1) == targets)
        np.testing.assert_allclose(reported["test/right"], expected, rtol=1e-5)
