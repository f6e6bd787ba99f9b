"""Models told of training by an argument, and parameters that say how to be sharded, train as in Flax."""

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
from sweeps.models.variables import evaluation_model, train_outputs, variables
from tests.cases import cases

INIT, STEPS, RATE = nn.initializers.lecun_uniform(), 5, 0.1
RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.normal(size=(16, 8)).astype(np.float32), RNG.integers(0, 3, 16).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: float = RATE


class Net(nn.Module):
    kernel_init: Any

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(4, kernel_init=self.kernel_init)(x)))


BOXES = {
    "none": INIT,
    "names": nn.with_partitioning(INIT, (None, "model")),
    "logical names": nn.with_logical_partitioning(
        INIT, ("embed", "mlp"), rules=(("embed", "data"), ("mlp", "model"))
    ),
}


def run(model: Any, out: Any) -> tuple[Any, Any]:
    """The losses of two members, and the first model, trained on all examples at every step."""
    trial = sweeps.supervised(
        config=Config,
        model=model,
        optimizer=lambda config: optax.sgd(config.learning_rate),
        data=sweeps.Data((INPUTS, TARGETS), (INPUTS, TARGETS)),
        batch_size=len(INPUTS),
    )
    space = {"learning_rate": [RATE, RATE / 2]}
    study = sweeps.Study(trial, steps=STEPS, metric="test/loss", space=space)
    results = sweeps.run(study, out=out, progress=False, keep_best=2)
    return results.final("test/loss"), results.model(study, 0)(INPUTS)


def by_hand(kernel_init: Any) -> tuple[float, Any]:
    """A plain loop on one device, from the parameters of member 0."""
    net, key = Net(kernel_init), jax.random.key(0, impl="threefry2x32")
    for number in (0, 0, 0):  # initialisation, seed 0, Linen's stream of parameters
        key = jax.random.fold_in(key, number)
    params = nn.meta.unbox(net.init(key, jnp.zeros((1, 8))))

    def loss(params):
        outputs: Any = net.apply(params, INPUTS)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, TARGETS).mean()

    for _ in range(STEPS):
        params = jax.tree.map(lambda value, slope: value - RATE * slope, params, jax.grad(loss)(params))
    return float(loss(params)), net.apply(params, INPUTS)


@pytest.mark.parametrize("name", cases(BOXES, ["names"], "models"))
def test_a_linen_model_with_partitioned_parameters_trains_as_in_plain_flax(name, tmp_path):
    losses, outputs = run(lambda config, rngs: Net(BOXES[name]), tmp_path / "run")
    loss, expected = by_hand(BOXES[name])
    assert losses[0] == pytest.approx(loss, rel=1e-5) and losses[1] != losses[0]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.models
def test_an_nnx_model_with_partitioned_parameters_is_the_same_without(tmp_path):
    found = [
        run(lambda config, rngs, init=init: nnx.Linear(8, 3, kernel_init=init, rngs=rngs), tmp_path / name)
        for name, init in (("plain", INIT), ("named", nnx.with_partitioning(INIT, (None, "model"))))
    ]
    assert found[0][0].tolist() == found[1][0].tolist()


class Told(nnx.Module):
    """Told of training by an argument, which its layers are given."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        self.norm = nnx.BatchNorm(3, momentum=0.5, rngs=rngs)
        self.dropout, self.out = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x, train=False):
        return self.out(self.dropout(self.norm(x, use_running_average=not train), deterministic=not train))


class Asking(Told):
    def __call__(self, x, *, deterministic):  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().__call__(x, not deterministic)


class Training(Told):
    def __call__(self, x, is_training=True):
        return super().__call__(x, is_training)


class Left(Told):
    """None leaves it to what `train()` and `eval()` have set."""

    def __call__(self, x, deterministic=None):
        assert deterministic is None
        return self.out(self.dropout(self.norm(x)))


@pytest.mark.parametrize("kind", [Told, Asking, Training, Left])
def test_an_nnx_model_is_told_of_training_by_the_argument_that_it_has(kind):
    key, x = jax.random.key(0), jnp.arange(12.0).reshape(4, 3)
    params, rest = variables(kind(None, nnx.Rngs(key)), key, x)
    outputs, after, rest = train_outputs(kind(None, nnx.Rngs(key)), params, rest, x, key)
    expected: Any = Told(None, nnx.Rngs(key))
    assert (outputs == expected(x, train=True)).all()
    assert (rest["norm"]["mean"][...] == expected.norm.mean[...]).all() and expected.norm.mean[...].any()
    model = evaluation_model(kind(None, nnx.Rngs(1)), after, rest)
    assert (model(x) == expected(x, train=False)).all()
    assert isinstance(model, nnx.Module) is (kind in (Told, Left))
