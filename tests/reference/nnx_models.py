"""Small NNX models as one writes them, each with a slope that it takes from its configuration."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


def leaky(x: jax.Array, alpha: Any) -> jax.Array:
    """The input, or alpha times it where it is negative."""
    return jnp.where(x > 0, x, alpha * x)


class MLP(nnx.Module):
    """Two dense layers."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        self.hidden, self.logits = nnx.Linear(6, 12, rngs=rngs), nnx.Linear(12, 3, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        return self.logits(leaky(self.hidden(x), self.alpha))


class Dropped(MLP):
    """With Flax's own dropout, whose rate cannot be traced."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        super().__init__(config, rngs)
        self.dropout = nnx.Dropout(config.alpha, rngs=rngs)

    def __call__(self, x):
        return self.logits(self.dropout(leaky(self.hidden(x), self.alpha)))


class Pair(nnx.Module):
    """A dense layer for each of two inputs, by name."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        self.left, self.right = nnx.Linear(2, 8, rngs=rngs), nnx.Linear(4, 8, rngs=rngs)
        self.logits = nnx.Linear(8, 3, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, inputs):
        product = self.left(inputs["left"]) * self.right(inputs["right"])
        return self.logits(leaky(product, self.alpha))


class CNN(nnx.Module):
    """A convolution without a bias, which batch normalisation would take away again; then dropout."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.8, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)
        self.logits = nnx.Linear(4 * 3 * 3, 3, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        x = nnx.max_pool(leaky(self.norm(self.conv(x)), self.alpha), (2, 2), (2, 2))
        return self.logits(self.dropout(x.reshape(len(x), -1)))


class Recurrent(nnx.Module):
    """An LSTM, and a GRU on what it returns."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        # Flax's default for what goes round is orthogonal: the QR factorisation takes long to compile.
        normal: Any = nnx.initializers.normal(0.4)
        self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(4, 5, recurrent_kernel_init=normal, rngs=rngs))
        self.gru = nnx.RNN(nnx.GRUCell(5, 3, recurrent_kernel_init=normal, rngs=rngs))
        self.logits = nnx.Linear(3, 3, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        x = jnp.asarray(self.gru(jnp.asarray(self.lstm(x))))
        return self.logits(leaky(x[:, -1], self.alpha))


class Bidirectional(nnx.Module):
    """A GRU forwards and one backwards, side by side."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        normal: Any = nnx.initializers.normal(0.4)
        ways = [nnx.RNN(nnx.GRUCell(4, 3, recurrent_kernel_init=normal, rngs=rngs)) for _ in range(2)]
        self.both, self.logits = nnx.Bidirectional(*ways, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        return self.logits(leaky(jnp.asarray(self.both(x)).mean(axis=1), self.alpha))


class Transformer(nnx.Module):
    """One block of attention, with dropout on its weights and on what it returns.

    The keys have no bias: a softmax does not change with one.
    """

    def __init__(self, config: Any, rngs: nnx.Rngs):
        self.attention = nnx.MultiHeadAttention(
            2, 4, 8, 4, use_bias=False, dropout_rate=0.2, decode=False, rngs=rngs
        )
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.logits = nnx.Linear(4, 3, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        x = x + self.dropout(self.attention(self.norm(x)))
        return self.logits(leaky(x, self.alpha).mean(axis=1))


class HalfPrecision(nnx.Module):
    """Parameters in float32, products and slopes in bfloat16."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(6, 12, dtype=jnp.bfloat16, rngs=rngs)
        self.norm = nnx.LayerNorm(12, dtype=jnp.bfloat16, rngs=rngs)
        self.logits = nnx.Linear(12, 3, dtype=jnp.bfloat16, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        return self.logits(leaky(self.norm(self.hidden(x)), self.alpha))


class Normed(nnx.Module):
    """Weight and spectral normalisation, which put the normalised kernel in the place of the kernel.

    The spectral one has no other mode argument than what `train()` and `eval()` set.
    """

    def __init__(self, config: Any, rngs: nnx.Rngs):
        self.hidden = nnx.WeightNorm(nnx.Linear(6, 8, rngs=rngs), rngs=rngs)
        self.logits = nnx.SpectralNorm(nnx.Linear(8, 3, rngs=rngs), rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        return self.logits(leaky(self.hidden(x), self.alpha))


class Block(nnx.Module):
    """A residual layer with dropout and batch normalisation."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        self.linear = nnx.Linear(6, 6, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(6, momentum=0.8, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        return x + self.dropout(leaky(self.norm(self.linear(x)), self.alpha))


class Scanned(nnx.Module):
    """Three blocks in one stack, scanned over, and computed again in the backward pass."""

    def __init__(self, config: Any, rngs: nnx.Rngs):
        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def stacked(rngs: nnx.Rngs):
            return Block(config, rngs)

        self.blocks, self.logits = stacked(rngs), nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        @nnx.remat
        def through(x, block):
            return block(x)

        return self.logits(through(x, self.blocks))


class Fourier(nnx.Module):
    """Random Fourier features and a random mask, both plain arrays that are drawn once and never learned.

    Rahimi and Recht, 2007, Random Features for Large-Scale Kernel Machines.
    """

    def __init__(self, config: Any, rngs: nnx.Rngs):
        self.projection = 5 * jax.random.normal(rngs.params(), (1, 8))
        self.mask = nnx.data(jax.random.bernoulli(rngs.params(), 0.8, (1, 16)))
        self.hidden, self.out = nnx.Linear(16, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        phases = x @ self.projection
        features = jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], axis=-1) * self.mask
        return self.out(leaky(self.hidden(features), self.alpha))


class Noise(nnx.Module):
    """An own layer of noise; like Flax's, it has a `deterministic` that `train()` and `eval()` set."""

    def __init__(self, rngs: nnx.Rngs):
        self.deterministic, self.rngs = False, rngs["noise"].fork()

    def __call__(self, x):
        return x if self.deterministic else x + 0.3 * jax.random.normal(self.rngs(), x.shape)


class Noisy(nnx.Module):
    """An own layer of noise, dropout whose rate is a hyperparameter, and units sown."""

    def __init__(self, config: Any, rngs: nnx.Rngs, dropout: Any = nnx.Dropout):
        self.hidden, self.logits = nnx.Linear(6, 12, rngs=rngs), nnx.Linear(12, 3, rngs=rngs)
        self.noise, self.dropout = Noise(rngs), dropout(config.alpha, rngs=rngs)
        self.alpha = config.alpha

    def __call__(self, x):
        x = leaky(self.noise(self.hidden(x)), self.alpha)
        self.sow(nnx.Intermediate, "units", x)
        return self.logits(self.dropout(x))
