import functools
from typing import Any, NamedTuple

import optax
import pytest

import sweeps
from tests.reference import data, loops
from tests.reference import linen_models as models
from tests.reference.comparison import Config, assert_same, cases, sweep, trial_of
from tests.reference.loops import Plan


class Case(NamedTuple):
    model: Any
    data: Any
    mode: Any = lambda train: {}
    optimizer: Any = optax.adam
    evaluation: float = 1e-5
    swept_model: Any = None  # where a hyperparameter needs another layer than Flax's


def by_train(train: bool) -> dict[str, bool]:
    return {"train": train}


def by_deterministic(train: bool) -> dict[str, bool]:
    return {"deterministic": not train}


def by_is_training(train: bool) -> dict[str, bool]:
    return {"is_training": train}


CASES = {
    "is_training": Case(models.Training, data.vectors(), by_is_training),
    "cnn": Case(models.CNN, data.images(), by_train),
    "recurrent": Case(models.Recurrent, data.sequences()),
    "attention": Case(models.Transformer, data.sequences(), by_deterministic),
    "bfloat16": Case(models.HalfPrecision, data.vectors(), optimizer=optax.sgd, evaluation=1e-2),
    "normed": Case(models.Normed, data.vectors(), by_train),
    "scanned": Case(models.Scanned, data.vectors(), by_train),
    "noisy": Case(
        models.Noisy,
        data.vectors(),
        by_train,
        swept_model=functools.partial(models.Noisy, dropout=sweeps.linen.Dropout),
    ),
}


DEFAULT = ("bfloat16",)  # the others run with `-m models`


@pytest.mark.parametrize("case", cases(CASES, DEFAULT))
def test_a_member_is_the_model_trained_by_hand(case, tmp_path):
    plan, swept_model = Plan(case.data), case.swept_model or case.model
    trial = trial_of(lambda config, rngs: swept_model(config), case.optimizer, plan)

    def train(config: Config, seed: int) -> loops.Run:
        module, optimizer = case.model(config), case.optimizer(config.learning_rate)
        return loops.train_linen(module, optimizer, plan, seed, mode=case.mode)

    assert_same(sweep(trial, plan, tmp_path), train, plan, evaluation=case.evaluation)
