"""The engine's members beside the same members trained by hand."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from flax import nnx

import sweeps
from tests.reference import loops
from tests.reference.loops import Plan, Run

ALPHAS, RATES, SEEDS = (0.1, 0.4), (0.05, 0.02), (3, 11)


@dataclasses.dataclass(frozen=True)
class Config:
    """What differs between members."""

    alpha: float = 0.1
    learning_rate: float = 0.05


def cases(named: dict[str, Any], default: tuple[str, ...]) -> list[Any]:
    """Parameters of a test: what takes long to compile runs with `-m models`, but for the default ones."""
    marks = {name: () if name in default else (pytest.mark.models,) for name in named}
    return [pytest.param(case, id=name, marks=marks[name]) for name, case in named.items()]


class Swept(NamedTuple):
    """A finished sweep, and the study that it is of."""

    results: sweeps.Results
    study: sweeps.Study


def trial_of(model: Any, optimizer: Callable[[Any], Any], plan: Plan, **options: Any) -> sweeps.Trial:
    """The trial that a plan describes; `optimizer` takes the learning rate."""
    return sweeps.supervised(
        config=Config,
        model=model,
        optimizer=lambda config: optimizer(config.learning_rate),
        data=sweeps.Data(*plan.data),
        batch_size=plan.batch_size,
        **options,
    )


def sweep(trial: sweeps.Trial, plan: Plan, folder: Path, devices: int = 1, **space: Any) -> Swept:
    """Trains a population, evaluates it after every step and keeps all of its states."""
    space = space or {"alpha": ALPHAS, "learning_rate": RATES, "seed": SEEDS[:1]}
    study = sweeps.Study(
        trial,
        steps=plan.steps,
        metric="test/loss",
        mode="min",
        evaluate_every=1,  # so that the training loss of every step is reported
        batches="per_seed" if plan.per_seed else "shared",
        space=space,
    )
    members = int(np.prod([len(levels) for levels in space.values()]))
    results = sweeps.run(
        study,
        out=folder / "run",
        keep_best=members,
        members_per_chunk=members,
        devices=jax.devices()[:devices],
        root_seed=plan.root_seed,
        progress=False,
    )
    return Swept(results, study)


def first_and_last(results: sweeps.Results) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two members that differ in everything that was swept."""
    rows = results.members.to_pylist()
    assert [row["status"] for row in rows] == ["done"] * len(rows)
    return rows[0], rows[-1]


def config_of(row: dict[str, Any]) -> Config:
    """A member's hyperparameters, as plain numbers."""
    return Config(row["alpha"], row["learning_rate"])


def assert_same(
    swept: Swept,
    train: Callable[[Config, int], Run],
    plan: Plan,
    loss: Callable[..., Any] = loops.cross_entropy,
    evaluation: float = 1e-5,
) -> None:
    """Two members agree with the same two trained by hand, in losses, metrics, outputs and states.

    Args:
        swept: the sweep.
        train: trains a configuration with a seed by hand.
        plan: what both were trained on.
        loss: one value per example.
        evaluation: how far evaluation may be away, relatively: what is rounded to 16 bits may be rounded
            elsewhere in another program.
    """
    rows = first_and_last(swept.results)
    runs = [train(config_of(row), row["seed"]) for row in rows]
    assert not np.allclose(runs[0].losses, runs[1].losses, rtol=1e-3)  # else one could stand for the other
    for row, run in zip(rows, runs, strict=True):
        assert_same_metrics(swept.results, row["member"], run, plan, loss, evaluation)
        model = swept.results.model(swept.study, row["member"])
        assert_same_states(variables(model), (run.params, run.rest))
        outputs, expected = model(plan.data[1][0]), run.outputs
        assert outputs.dtype == expected.dtype
        outputs, expected = (np.asarray(array, np.float32) for array in (outputs, expected))
        np.testing.assert_allclose(outputs, expected, rtol=10 * evaluation, atol=10 * evaluation)


def assert_same_metrics(
    results: sweeps.Results, member: int, run: Run, plan: Plan, loss: Callable[..., Any], evaluation: float
) -> None:
    """The losses of all steps, and the metrics after the last."""
    metrics = [row for row in results.metrics.to_pylist() if row["member"] == member]
    assert [row["step"] for row in metrics] == list(range(1, plan.steps + 1))
    np.testing.assert_allclose([row["train/loss"] for row in metrics], run.losses, rtol=1e-5)
    outputs, targets = run.outputs, plan.data[1][1]
    np.testing.assert_allclose(metrics[-1]["test/loss"], np.mean(loss(outputs, targets)), rtol=evaluation)
    if np.issubdtype(targets.dtype, np.integer):
        right = np.mean(np.argmax(outputs, axis=-1) == targets)
        np.testing.assert_allclose(metrics[-1]["test/accuracy"], right, rtol=evaluation)


def assert_same_states(found: Any, expected: Any) -> None:
    """States have the same paths, shapes, dtypes and values."""
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.keys() == theirs.keys()
        for path, value in theirs.items():
            assert mine[path].dtype == value.dtype, path
            np.testing.assert_allclose(mine[path], value, rtol=1e-4, atol=1e-4, err_msg=path)


def variables(model: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters, and all else that a model carries but its random streams."""
    if isinstance(model, nnx.Module):
        rest = nnx.state(model, nnx.Not(nnx.Any(nnx.Param, nnx.RngState)))
        return loops.by_path(nnx.state(model, nnx.Param)), loops.by_path(rest)
    rest = dict(model.variables)
    params = rest.pop("params")
    return loops.by_path(params), loops.by_path(rest)
