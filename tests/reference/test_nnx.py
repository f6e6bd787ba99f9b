import functools
from typing import Any, NamedTuple

import optax
import pytest

import sweeps
from tests.reference import data, loops
from tests.reference import nnx_models as models
from tests.reference.comparison import Config, assert_same, cases, sweep, trial_of
from tests.reference.loops import Plan


class Case(NamedTuple):
    model: Any
    data: Any
    optimizer: Any = optax.adam
    loss: Any = loops.cross_entropy
    evaluation: float = 1e-5
    swept_model: Any = None  # where a hyperparameter needs another layer than Flax's


CASES = {
    "cnn": Case(models.CNN, data.images()),
    "recurrent": Case(models.Recurrent, data.sequences()),
    "bidirectional": Case(models.Bidirectional, data.sequences()),
    "attention": Case(models.Transformer, data.sequences()),
    "bfloat16": Case(models.HalfPrecision, data.vectors(), optax.sgd, evaluation=1e-2),
    "normed": Case(models.Normed, data.vectors()),
    "scanned": Case(models.Scanned, data.vectors()),
    "fourier": Case(models.Fourier, data.waves(), loss=loops.squared_error),
    "noisy": Case(
        models.Noisy, data.vectors(), swept_model=functools.partial(models.Noisy, dropout=sweeps.Dropout)
    ),
}


DEFAULT = ("cnn",)  # the others run with `-m models`


@pytest.mark.filterwarnings("ignore:Using 'Module.sow:DeprecationWarning")
@pytest.mark.parametrize("case", cases(CASES, DEFAULT))
def test_a_member_is_the_model_trained_by_hand(case, tmp_path):
    plan = Plan(case.data)
    trial = trial_of(case.swept_model or case.model, case.optimizer, plan)

    def train(config: Config, seed: int) -> loops.Run:
        optimizer = case.optimizer(config.learning_rate)
        return loops.train_nnx(lambda rngs: case.model(config, rngs), optimizer, plan, seed, case.loss)

    assert_same(sweep(trial, plan, tmp_path), train, plan, case.loss, case.evaluation)


@pytest.mark.models
def test_a_dropout_rate_that_the_space_leaves_out(tmp_path):
    plan = Plan(data.vectors())
    swept = sweep(
        trial_of(models.Dropped, optax.adam, plan), plan, tmp_path, learning_rate=[0.05, 0.02], seed=[3]
    )

    def train(config: Config, seed: int) -> loops.Run:
        optimizer = optax.adam(config.learning_rate)
        return loops.train_nnx(lambda rngs: models.Dropped(config, rngs), optimizer, plan, seed)

    assert_same(swept, train, plan)
