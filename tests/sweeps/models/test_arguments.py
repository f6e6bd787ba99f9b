"""What is wrong with the arguments of `supervised` is said when it is called."""

import dataclasses
from typing import Any

import jaxtyping
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import sweeps
from sweeps.errors import StudyError


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: float = 0.1


class LinenModel(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


INPUTS, TARGETS = np.ones((20, 4), np.float32), np.zeros(20, np.int32)
PAIR = (INPUTS, TARGETS)


def adam(config: Config) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate)


def trial_of(**changes: Any) -> sweeps.Trial:
    arguments = {
        "config": Config,
        "model": lambda config, rngs: nnx.Linear(4, 2, rngs=rngs),
        "optimizer": adam,
        "data": sweeps.Data(PAIR, PAIR),
        "batch_size": 10,
    }
    return sweeps.supervised(**(arguments | changes))


def evaluation(part: Any) -> dict[str, Any]:
    return {"data": sweeps.Data(PAIR, part)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": (PAIR, PAIR)}, "`data is sweeps.Data` must hold, but got a tuple; write sweeps.Data"),
        ({"data": None}, "`data is sweeps.Data` must hold, but got a NoneType"),
        (
            {"data": sweeps.Data(iter([PAIR]), None)},
            "`data.evaluation is .inputs, targets.` must hold without folds, but got None; hold some",
        ),
        (
            evaluation(INPUTS),
            "`data.evaluation is .* must hold, but got an array; make it a tuple of the two",
        ),
        (evaluation((INPUTS,)), "`data.evaluation is .* must hold, but got a tuple of 1;"),
        (
            evaluation({"x": INPUTS, "y": TARGETS}),
            "`data.evaluation is .* but got a dict of 2; make it a tuple",
        ),
        (
            evaluation(([[1.0]], [0])),
            "`the inputs of data.evaluation are arrays` .* a list that holds a float",
        ),
        (
            evaluation((INPUTS, [0] * 20)),
            "`the targets of data.evaluation are .* holds a int; write np.asarray",
        ),
        (evaluation((INPUTS[:0], TARGETS[:0])), "`1 <= evaluation examples` must hold, but got 0; hold some"),
        ({"data": sweeps.Data(INPUTS, PAIR)}, "`data.train is .* must hold, but got an array"),
        (
            {"data": sweeps.Data(([[1.0]], [0]), PAIR)},
            "`the inputs of data.train are arrays` .* holds a float",
        ),
        ({"data": sweeps.Data([PAIR] * 3, PAIR)}, "`data.train is .* must hold, but got a list of 3"),
        ({"data": sweeps.Data(None, PAIR)}, "`data.train is .* must hold, but got None"),
        (
            {"model": lambda c: LinenModel(c)},
            r"`model takes \(config, rngs\)` .* of \(c\); write lambda config, rngs",
        ),
        (
            {"model": LinenModel},
            "`model takes .* the Linen class LinenModel, .*; write model=lambda config, rngs: Lin",
        ),
        (
            {"model": LinenModel(Config())},
            "`model is a function that builds one` must hold, but got a LinenModel",
        ),
        (
            {"model": nnx.Linear(4, 2, rngs=nnx.Rngs(0))},
            "`model is a function .* got a Linear, built already",
        ),
        ({"model": "mlp"}, r"`model is a function of \(config, rngs\)` must hold, but got a str"),
        (
            {"optimizer": optax.adam(0.1)},
            "`optimizer is a function of the configuration` must .* got an optimizer",
        ),
        (
            {"optimizer": lambda: optax.adam(0.1)},
            r"`optimizer takes \(config\)` must hold, .* function of \(\)",
        ),
        (
            {"loss": lambda model, x, y: 0.0},
            r"`loss takes \(outputs, targets\)` .* of \(model, x, y\); write lambda",
        ),
        ({"loss": "mse"}, r"`loss is a function of \(outputs, targets\)` must hold, but got a str"),
        ({"metrics": {"a": lambda outputs: 0.0}}, r"`metric a takes \(outputs, targets\)` .* of \(outputs\)"),
        ({"metrics": {"a": {"f1": max}}}, "`metrics are functions by name` .* got a dict for a; .* 'a/f1'"),
        ({"metrics": [max]}, "`metrics are named functions` must hold, but got a list; write metrics="),
        ({"metrics": {"loss": max}}, "A metric cannot be named loss: .* Choose another name"),
        (
            {"inspect": lambda model: {}},
            r"`inspect takes \(model, inputs\)` must hold, but got .* of \(model\)",
        ),
    ],
)
def test_what_is_wrong_with_an_argument_is_said_at_once(changes, message, monkeypatch):
    monkeypatch.setattr(
        jaxtyping.config, "jaxtyping_disable", True
    )  # else annotations speak first, here alone
    with pytest.raises(StudyError, match=message):
        trial_of(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": lambda config, rngs: LinenModel},
            r"but got the class LinenModel; call it: LinenModel\(…\)",
        ),
        (
            {"model": lambda config, rngs: None},
            "returns an nnx or linen Module` must hold, but got a NoneType",
        ),
        (
            {"optimizer": lambda config: None},
            "`optimizer.config. returns an optax.* must hold, but got None; write",
        ),
        (
            {"optimizer": lambda config: adam},
            "`optimizer.config. returns an optax.* must hold, but got a function",
        ),
        (
            {"inspect": lambda model, inputs: 1.0},
            "`inspect returns a dict of scalars` must hold, but got a float",
        ),
        (
            {"inspect": lambda model, inputs: {"test/loss": 1.0}},
            "`inspect returns new names` must hold, but got test/loss; choose another name",
        ),
        (
            evaluation(None),
            "`data.evaluation is .inputs, targets.` must hold without folds, .*None; hold some.*folds.5",
        ),
        (
            {"data": sweeps.Data(iter([INPUTS[:10]]), PAIR)},
            "`a batch is .inputs, targets.` must hold, but got an array",
        ),
    ],
)
def test_what_a_function_returns_is_checked_before_compiling(changes, message, monkeypatch):
    monkeypatch.setattr("sweeps.engine.program.build", None)
    study = sweeps.Study(trial_of(**changes), steps=2, metric="test/loss", mode="min")
    with pytest.raises(StudyError, match=message):
        sweeps.run(study, progress=False)


def test_what_is_right_is_taken():
    class Build:
        def __call__(self, config, rngs):
            return nnx.Linear(4, 2, rngs=rngs)

    def loss(outputs, targets, config):
        return outputs.mean() * config.learning_rate

    for changes in (
        {"model": Build()},
        {"loss": loss},
        {"loss": lambda outputs, targets, *, config=None: outputs.mean()},
        {"loss": optax.losses.safe_softmax_cross_entropy},
        {"data": sweeps.Data([INPUTS, TARGETS], PAIR)},
        {"data": sweeps.Data(iter([PAIR]), PAIR)},
    ):
        assert trial_of(**changes).batch_size == 10
