"""Deployment: `jax.nn`'s functions in the rectifiers' place, for importers that know only those.

ONNX, TensorFlow Lite and others have nodes for ReLU, LeakyReLU and ELU, and put them where they find
`jax.nn`'s functions. What those compute differs from this package in what the README's table of exactness
lists; `jax.export` takes the rectifiers as they are and needs none of this.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

_swapped: ContextVar[bool] = ContextVar("lrelu_jax.export", default=False)


@contextlib.contextmanager
def jax_nn() -> Iterator[None]:
    """A context in which this package's functions and modules are traced as `jax.nn`'s.

    What is traced inside has `jax.nn`'s values and derivatives, whatever `subgradient` says; a slope that is
    an array is cast to the dtype of the input, so that dtypes stay the same. JAX's caches are emptied at both
    ends, so that nothing traced before is met inside, nor the reverse: what was compiled before is compiled
    again when it is called.

    Example:
        >>> import lrelu_jax
        >>> with jax_nn():
        ...     program = jax.make_jaxpr(lrelu_jax.LeakyReLU(0.1))(jnp.ones(3))
        >>> [equation.params["name"] for equation in program.eqns]
        ['leaky_relu']
    """
    jax.clear_caches()
    token = _swapped.set(True)
    try:
        yield
    finally:
        _swapped.reset(token)
        jax.clear_caches()


def swapped() -> bool:
    """Whether `jax.nn`'s functions are to be used."""
    return _swapped.get()


def leaky_relu(x: Float[Array, "..."], alpha: ArrayLike) -> Float[Array, "..."]:
    """`jax.nn.leaky_relu`, or `jax.nn.relu` for a slope that is the number 0."""
    slope = _number(alpha)
    if slope is None:
        x, slopes = jnp.broadcast_arrays(x, jnp.asarray(alpha, x.dtype))
        return jnp.where(x >= 0, x, slopes * x)
    return jax.nn.leaky_relu(x, slope) if slope else jax.nn.relu(x)


def elu(x: Float[Array, "..."], alpha: ArrayLike) -> Float[Array, "..."]:
    """`jax.nn.elu`."""
    scale = _number(alpha)
    if scale is None:
        x, scales = jnp.broadcast_arrays(x, jnp.asarray(alpha, x.dtype))
        return jnp.where(x > 0, x, scales * jnp.expm1(jnp.where(x > 0, 0, x)))
    return jax.nn.elu(x, scale)


def _number(alpha: ArrayLike) -> float | None:
    """A number, which importers make an attribute of their node, or None for an array, which they cannot."""
    return None if isinstance(alpha, jax.Array) or np.ndim(alpha) else np.asarray(alpha).astype(float).item()
