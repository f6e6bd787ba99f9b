"""Small Linen models as one writes them, each with a slope that it takes from its configuration."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from tests.reference.nnx_models import leaky


class MLP(nn.Module):
    """Two dense layers."""

    config: Any

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(12, name="hidden")(x)
        return nn.Dense(3, name="logits")(leaky(x, self.config.alpha))


class CNN(nn.Module):
    """A convolution without a bias, which batch normalisation would take away again; then dropout."""

    config: Any

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Conv(4, (3, 3), use_bias=False)(x)
        x = leaky(nn.BatchNorm(not train, momentum=0.8)(x), self.config.alpha)
        x = nn.max_pool(x, (2, 2), (2, 2)).reshape(len(x), -1)
        return nn.Dense(3)(nn.Dropout(0.3, deterministic=not train)(x))


class Training(nn.Module):
    """Dropout between two dense layers, told of training as Haiku and others do."""

    config: Any

    @nn.compact
    def __call__(self, x, is_training: bool):
        x = leaky(nn.Dense(12)(x), self.config.alpha)
        return nn.Dense(3)(nn.Dropout(0.4, deterministic=not is_training)(x))


class Pair(nn.Module):
    """A dense layer for each of two inputs."""

    config: Any

    @nn.compact
    def __call__(self, inputs):
        left, right = inputs
        return nn.Dense(3)(leaky(nn.Dense(8)(left) * nn.Dense(8)(right), self.config.alpha))


class Recurrent(nn.Module):
    """An LSTM, and a GRU on what it returns."""

    config: Any

    @nn.compact
    def __call__(self, x):
        normal: Any = nn.initializers.normal(0.4)
        x = jnp.asarray(nn.RNN(nn.OptimizedLSTMCell(5, recurrent_kernel_init=normal))(x))
        x = nn.RNN(nn.GRUCell(3, recurrent_kernel_init=normal))(x)
        return nn.Dense(3)(leaky(jnp.asarray(x)[:, -1], self.config.alpha))


class Transformer(nn.Module):
    """One block of attention, with dropout on its weights and on what it returns."""

    config: Any

    @nn.compact
    def __call__(self, x, deterministic: bool):
        attention = nn.MultiHeadDotProductAttention(2, qkv_features=8, use_bias=False, dropout_rate=0.2)
        found = attention(nn.LayerNorm()(x), deterministic=deterministic)
        x = x + nn.Dropout(0.2)(found, deterministic=deterministic)
        return nn.Dense(3)(leaky(x, self.config.alpha).mean(axis=1))


class HalfPrecision(nn.Module):
    """Parameters in float32, products and slopes in bfloat16."""

    config: Any

    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(dtype=jnp.bfloat16)(nn.Dense(12, dtype=jnp.bfloat16)(x))
        return nn.Dense(3, dtype=jnp.bfloat16)(leaky(x, self.config.alpha))


class Normed(nn.Module):
    """Weight normalisation, then spectral normalisation."""

    config: Any

    @nn.compact
    def __call__(self, x, train: bool):
        x = leaky(nn.WeightNorm(nn.Dense(8))(x), self.config.alpha)
        return nn.SpectralNorm(nn.Dense(3))(x, update_stats=train)


class Block(nn.Module):
    """A residual layer with dropout and batch normalisation, as a scan wants it."""

    config: Any
    train: bool

    @nn.compact
    def __call__(self, x, _):
        found = nn.BatchNorm(not self.train, momentum=0.8)(nn.Dense(6, use_bias=False)(x))
        found = nn.Dropout(0.2, deterministic=not self.train)(leaky(found, self.config.alpha))
        return x + found, None


class Scanned(nn.Module):
    """Three blocks in one stack, scanned over, and computed again in the backward pass."""

    config: Any

    @nn.compact
    def __call__(self, x, train: bool):
        stack = nn.scan(
            nn.remat(Block),
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True, "dropout": True},
            length=3,
        )
        x, _ = stack(self.config, train)(x, None)
        return nn.Dense(3)(x)


class Noisy(nn.Module):
    """Random Fourier features in a collection of their own, own noise, and units sown.

    Noise has its own stream, and dropout a rate that is a hyperparameter.
    """

    config: Any
    dropout: Any = nn.Dropout

    @nn.compact
    def __call__(self, x, train: bool):
        drawn = self.variable(
            "projections", "projection", lambda: jax.random.normal(self.make_rng("params"), (6, 8))
        )
        phases = x @ drawn.value
        x = nn.Dense(12)(jnp.concatenate([x, jnp.sin(phases), jnp.cos(phases)], axis=-1))
        if train:
            x = x + 0.3 * jax.random.normal(self.make_rng("noise"), x.shape)
        x = leaky(x, self.config.alpha)
        self.sow("intermediates", "units", x)
        return nn.Dense(3)(self.dropout(self.config.alpha)(x, deterministic=not train))
