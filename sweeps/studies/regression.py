"""Test R² against α for an MLP that predicts the progression of diabetes from ten measurements.

The claims are those of `digits-mlp` for a regression: the slope of Leaky ReLU must be tuned, and 0.01 or 0.1
are good values. Measured: R² on 111 of scikit-learn's 442 patients, by a two-hidden-layer MLP trained on the
other 331; 8 slopes from 0 (ReLU) to 1 (a linear model), 32 seeds each; the best slope and 0.01 again on 32
fresh seeds. The split is one and the same, so intervals are over initialisations and batches alone. 0.02 is
taken as the smallest difference of R² that matters.

Found here: the larger the slope, the better, and a slope of 1, which is a linear model, is best: its R² is
above that of 0.01 by 0.17 (0.15 to 0.18, 32 fresh seeds). Neither 0.01 nor 0.1 is a good slope, but what
this data asks for is no rectifier at all.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU
from sweeps.claims.tuning import Question, answers, drawn
from sweeps.claims.verdicts import Finding
from sweeps.results.results import Results
from sweeps.studies.digits_mlp import CLAIMS as CLAIMS
from sweeps.studies.digits_mlp import OPTIONS as OPTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


QUESTION = Question("alpha", (0.01, 0.1), *CLAIMS, margin=0.02, unit="of R²")


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    alpha: float = 0.01
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    width: int = 64


class MLP(nnx.Module):
    """Ten measurements, two hidden layers of Leaky ReLU units, one number."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.hidden1 = nnx.Linear(10, config.width, rngs=rngs)
        self.hidden2 = nnx.Linear(config.width, config.width, rngs=rngs)
        self.out = nnx.Linear(config.width, 1, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, patients: jax.Array) -> jax.Array:
        """Predictions (n,) for patients (n, 10)."""
        hidden = self.activation(self.hidden2(self.activation(self.hidden1(patients))))
        return self.out(hidden)[:, 0]


def diabetes() -> sweeps.Data:
    """The patients, split once at random; inputs and targets standardised by the training part."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    inputs, targets = load_diabetes(return_X_y=True)
    parts = train_test_split(inputs, targets, test_size=0.25, random_state=0)
    x_train, x_test, y_train, y_test = map(np.asarray, parts)
    mean, deviation = y_train.mean(), y_train.std()
    scaled = [((part - mean) / deviation).astype(np.float32) for part in (y_train, y_test)]
    return sweeps.data.standardise(sweeps.Data((x_train, scaled[0]), (x_test, scaled[1])))


def explained(spread: float, predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """One value per patient, whose mean is R²."""
    return 1 - jnp.square(predictions - targets) / spread


data = diabetes()
study = sweeps.Study(
    sweeps.supervised(
        config=Config,
        model=MLP,
        optimizer=lambda config: optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
        data=data,
        batch_size=64,
        metrics={"r2": functools.partial(explained, float(np.var(data.evaluation[1])))},
    ),
    steps=300,
    metric="test/r2",
    space={"alpha": sweeps.grid(0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0), "seed": range(32)},
)


def findings(results: Results) -> tuple[Finding, ...]:
    """Whether another slope than 0.01 does better, and whether any does better than 0.01 and 0.1."""
    return answers(results, QUESTION)


def picture(results: Results) -> "Figure":
    """R² against the slope, with the winner and the default on fresh seeds."""
    return drawn(results, QUESTION, "α, the slope below zero (0: ReLU, 1: linear)", "test R²")
