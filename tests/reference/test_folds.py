"""Members of cross-validation beside the same trained by hand on indices that NumPy computes."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from scipy import stats
from sklearn.model_selection import StratifiedKFold

import sweeps
from tests.reference import data, folds, loops
from tests.reference.comparison import Config, config_of
from tests.reference.loops import Plan, Run
from tests.reference.nnx_models import MLP
from tests.reference.test_metrics import f1

TRAIN, EVALUATION = data.vectors()  # 70 examples in classes of unequal size: folds of 24, 23 and 23
FOLDS, SEEDS, ALPHAS, STEPS = 3, (3, 11), (0.1, 0.4), 5
MEMBERS = FOLDS * len(SEEDS) * len(ALPHAS)


def swept(
    train: Any, evaluation: Any, fold: Any, batches: str = "shared", steps: int = STEPS, **options: Any
) -> sweeps.Results:
    """Twelve members in chunks of six rows, the last of which are padded, on two devices."""
    trial = sweeps.supervised(
        config=Config,
        model=MLP,
        optimizer=lambda config: optax.adam(config.learning_rate),
        data=sweeps.Data(train, evaluation),
        batch_size=16,
        **options,
    )
    space = {"alpha": ALPHAS, "seed": SEEDS, "fold": fold}
    study = sweeps.Study(
        trial, steps=steps, metric="validation/loss", evaluate_every=1, batches=batches, space=space
    )
    return sweeps.run(study, root_seed=5, devices=jax.devices()[:2], members_per_chunk=5, progress=False)


@functools.cache
def trainer(config: Config) -> Callable[[Plan, int], Run]:
    """Trains members of this configuration by hand."""
    return loops.nnx_trainer(lambda rngs: MLP(config, rngs), optax.adam(config.learning_rate))


def by_hand(
    row: dict[str, Any], membership: np.ndarray, per_seed: bool, steps: int = STEPS
) -> tuple[Run, Any]:
    """A member trained by hand, with outputs for what it held out, then for the others, and held targets."""
    fold, config = row["fold"], config_of(row)
    held = [part[membership == fold] for part in TRAIN]
    judged = [np.concatenate(parts) for parts in zip(held, EVALUATION, strict=True)]
    plan = Plan((TRAIN, judged), steps=steps, per_seed=per_seed, folds=membership, fold=fold)
    return trainer(config)(plan, row["seed"]), held[1]


def assert_same(results: sweeps.Results, membership: np.ndarray, per_seed: bool, held_out_is_the_test: bool):
    rows = results.members.to_pylist()
    cells = {(row["alpha"], row["seed"], row["fold"]) for row in rows}
    assert len(rows) == len(cells) == MEMBERS and {row["status"] for row in rows} == {"done"}
    losses = []
    for row in rows:
        run, held = by_hand(row, membership, per_seed)
        found = [metrics for metrics in results.metrics.to_pylist() if metrics["member"] == row["member"]]
        np.testing.assert_allclose([metrics["train/loss"] for metrics in found], run.losses, rtol=1e-5)
        parts = {
            "validation": (run.outputs[: len(held)], held),
            "test": (run.outputs[len(held) :], EVALUATION[1]),
        }
        if held_out_is_the_test:
            parts["test"] = parts["validation"]
        for name, (outputs, targets) in parts.items():
            loss = np.mean(loops.cross_entropy(outputs, targets))
            np.testing.assert_allclose(found[-1][f"{name}/loss"], loss, rtol=1e-5)
            right = np.mean(np.argmax(outputs, axis=-1) == targets)
            np.testing.assert_allclose(found[-1][f"{name}/accuracy"], right, rtol=1e-6)
        losses.append(run.losses)
    apart = np.abs(np.stack(losses)[:, None] - np.stack(losses)[None]).max(axis=-1)
    assert (apart > 1e-3)[~np.eye(MEMBERS, dtype=bool)].all()  # else one member could stand for another


def test_members_are_the_model_trained_by_hand_on_the_other_folds():
    results = swept(TRAIN, EVALUATION, sweeps.folds(FOLDS))
    assert_same(results, folds.stratified(TRAIN[1], FOLDS, 5), per_seed=False, held_out_is_the_test=False)


def test_batches_of_each_seed_and_groups_that_stay_together():
    groups = np.repeat(["c", "a", "d", "b", "e"], (26, 20, 12, 7, 5))
    results = swept(TRAIN, None, sweeps.folds(FOLDS, groups=groups), "per_seed")
    membership = folds.grouped(TRAIN[1], groups, FOLDS, 5)
    assert len(set(np.bincount(membership))) == FOLDS  # folds of three different sizes
    assert_same(results, membership, per_seed=True, held_out_is_the_test=True)


def test_a_metric_that_is_no_mean_is_that_of_the_fold():
    results = swept(TRAIN, None, sweeps.folds(FOLDS), metrics={"f1": f1})
    membership = folds.stratified(TRAIN[1], FOLDS, 5)
    last = {row["member"]: row for row in results.metrics.to_pylist() if row["step"] == STEPS}
    for row in results.members.to_pylist()[:FOLDS]:  # of each fold one
        run, held = by_hand(row, membership, per_seed=False)
        expected = float(f1(run.outputs[: len(held)], held))
        np.testing.assert_allclose(last[row["member"]]["validation/f1"], expected, rtol=1e-5)


def test_the_mean_over_folds_agrees_with_that_over_folds_of_scikit_learn():
    results = swept(TRAIN, None, sweeps.folds(5), steps=40)
    found = results.best()
    others = np.zeros(len(TRAIN[1]), int)
    for fold, (_, held) in enumerate(StratifiedKFold(5, shuffle=True, random_state=1).split(*TRAIN)):
        others[held] = fold
    values = []
    for fold in range(5):
        row = {"alpha": found.config["alpha"], "learning_rate": 0.05, "seed": SEEDS[0], "fold": fold}
        run, held = by_hand(row, others, per_seed=False, steps=40)
        values.append(np.mean(loops.cross_entropy(run.outputs[: len(held)], held)))
    # Two means of five values each, of the same examples cut otherwise.
    spread = np.std(values, ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    reach = stats.t.ppf(0.975, 4)
    assert abs(found.mean - np.mean(values)) < min(reach * spread, found.high - found.mean)
    assert 0.5 < (found.high - found.mean) / (reach * spread) < 2
