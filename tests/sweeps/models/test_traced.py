import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import sweeps


def test_dropout_equals_flax_at_a_python_rate():
    x = jax.random.normal(jax.random.key(1), (50, 20))
    mine = sweeps.Dropout(0.3, rngs=nnx.Rngs(dropout=4))(x)
    theirs = nnx.Dropout(0.3, rngs=nnx.Rngs(dropout=4))(x)
    assert jnp.array_equal(mine, theirs) and (mine == 0).mean() == pytest.approx(0.3, abs=0.06)
    kept, dropped = (
        np.asarray(module.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(5)}))
        for module in (sweeps.linen.Dropout(0.3), nn.Dropout(0.3))
    )
    assert np.array_equal(kept, dropped)


def test_dropout_at_its_ends_and_in_evaluation():
    x = jnp.ones((4, 4))
    for rate, factor in ((0.0, 1.0), (1.0, 0.0)):

        def dropped(x: jax.Array, rate: float = rate) -> jax.Array:
            return sweeps.Dropout(jnp.float32(rate), rngs=nnx.Rngs(0))(x).sum()

        value, gradient = jax.value_and_grad(dropped)(x)
        assert value == 16 * factor and (gradient == factor).all()
    assert jnp.array_equal(sweeps.Dropout(0.5, deterministic=True)(x), x)
    with pytest.raises(ValueError, match="`rngs` must be given to Dropout in training mode"):
        sweeps.Dropout(0.5)(x)


@pytest.mark.parametrize("kind", [sweeps.Dropout, nnx.Dropout])
def test_dropout_is_told_its_mode_as_flax_is(kind):
    x = jnp.ones(64)
    model = nnx.Sequential(kind(0.5, rngs=nnx.Rngs(0)))
    assert jnp.array_equal(nnx.view(model, deterministic=True)(x), x)
    assert set(nnx.view(model, deterministic=False)(x).tolist()) == {0.0, 2.0}
    model.eval()
    assert jnp.array_equal(model(x), x)
    model.train()
    assert set(model(x).tolist()) == {0.0, 2.0}


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.5


class Told(nnx.Module):
    """Dropout as users wrote it before `nnx.view`: `model.train()` and `model.eval()` set an attribute."""

    def __init__(self, rate, *, rngs):
        self.deterministic, self.rate, self.rngs = False, rate, rngs["dropout"].fork()

    def __call__(self, x):
        if self.deterministic:
            return x
        return jnp.where(jax.random.bernoulli(self.rngs(), 1 - self.rate, x.shape), x / (1 - self.rate), 0.0)


class Dropped(nnx.Module):
    def __init__(self, kind, config, rngs):
        self.dropout, self.linear = kind(config.rate, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.linear(self.dropout(x))


@pytest.mark.parametrize("kind", [sweeps.Dropout, nnx.Dropout, Told])
def test_evaluation_and_the_model_that_is_returned_drop_nothing(kind):
    rng = np.random.default_rng(0)
    data = (jnp.asarray(rng.normal(size=(40, 6)), jnp.float32), jnp.asarray(rng.integers(0, 3, 40)))
    trial = sweeps.supervised(
        config=Config,
        model=lambda config, rngs: Dropped(kind, config, rngs),
        optimizer=lambda config: optax.sgd(0.1),
        data=sweeps.Data(data, data),
        batch_size=40,
    )
    config = Config()
    state = trial.init(config, jax.random.key(3))
    logits = data[0] @ np.asarray(state.params["linear"]["kernel"])  # the bias is still 0
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, data[1])
    found = trial.evaluate(config, state, data)
    assert float(found["test/loss"]) == pytest.approx(float(losses.mean()), rel=1e-6)
    assert trial.model is not None
    np.testing.assert_allclose(trial.model(config, state)(data[0]), logits, rtol=1e-4, atol=1e-5)
    trained = trial.step(config, state, data, jax.random.key(4))[1]["train/loss"]
    assert float(trained) != pytest.approx(float(losses.mean()), rel=1e-3)
