"""Gradients of a whole model, with what is slow in them exchanged."""

from collections.abc import Callable
from typing import Any

import jax

from sweeps.ops.exchange import exchanged, trace
from sweeps.ops.pooling import fast_pool
from sweeps.ops.sums import fast_sum, spreads


def value_and_grad(function: Callable[[Any], tuple[Any, Any]]) -> Callable[[Any], Any]:
    """`jax.value_and_grad(function, has_aux=True)`, with pools and sums that are fast on CPU.

    The function is traced, and what it traced to is differentiated with max-pools of tiles, such as
    `flax.nnx.max_pool`'s, exchanged for `max_pool`'s: values and gradients are the same bits, but for
    zeros of both signs, NaN and subnormals, as it says. Sums over neighbouring axes, of which the gradient of
    a convolution's bias is one, agree to rounding.

    Args:
        function: of one pytree of arrays; returns a scalar, and a pytree of arrays.

    Returns:
        A function that returns the value with what is beside it, and the gradient.

    >>> from flax import nnx
    >>> import jax.numpy as jnp
    >>> pooled = lambda x: (jnp.sum(nnx.max_pool(x, (2, 2), strides=(2, 2))), None)
    >>> value_and_grad(pooled)(jnp.arange(16.0).reshape(1, 4, 4, 1))[0]
    (Array(40., dtype=float32), None)
    """

    def traced(params: Any) -> Any:
        forward = exchanged(trace(function, params), fast_pool)
        both = jax.value_and_grad(forward, has_aux=True)
        if not spreads(forward.program.jaxpr):
            return both(params)
        return exchanged(trace(both, params), fast_sum)(params)

    return traced
