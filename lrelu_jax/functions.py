"""The rectifiers as pure functions: `relu`, `leaky_relu`, `prelu`, `rrelu` and `elu`.

They share the contract of `lrelu_jax.rectify`: the output has the floating dtype of x whatever the slope's
dtype, 16-bit inputs are computed in float32 and rounded once, and `subgradient` is the derivative at x = ±0:
`"left"` (the limit from below), `"right"` (the limit from above, 1), `"midpoint"` (their mean) or a real
scalar, which may be traced.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Shaped, UInt32

from .arguments import (
    Subgradient,
    Variable,
    as_floating,
    bounds,
    compute_dtype,
    names_alpha,
    parameter,
    require_axis,
)
from .exponential import rectify_exponentially
from .rectify import keep_branches, rectify


def relu(x: Shaped[ArrayLike, "*shape"], *, subgradient: Subgradient = "left") -> Float[Array, "*shape"]:
    """Rectified linear unit.

    relu(x) = x for x > 0, else 0.

    Args:
        x: Input of any shape; integers and booleans become the default float.
        subgradient: The derivative at x = 0. `"left"` is 0, as in `jax.nn.relu` and PyTorch.

    Returns:
        The shape and floating dtype of `x`.

    Raises:
        TypeError: If `x` is complex.
        ValueError: If `subgradient` is an unknown name, not finite, or not a scalar.

    References:
        Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010. On the
        derivative at zero: Bertoin, Bolte, Gerchinovitz and Pauwels, "Numerical influence of ReLU'(0) on
        backpropagation", 2021.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> relu(jnp.array([-2.0, 0.0, 3.0]))
        Array([0., 0., 3.], dtype=float32)

        A sweep over the derivative at zero:

        >>> derivative = jax.grad(lambda x, s: relu(x, subgradient=s))
        >>> jax.vmap(derivative, in_axes=(None, 0))(jnp.zeros(()), jnp.linspace(0, 1, 3))
        Array([0. , 0.5, 1. ], dtype=float32)
    """
    return rectify("relu", x, 0.0, subgradient)


@names_alpha
def leaky_relu(
    x: Shaped[ArrayLike, "*#shape"],
    alpha: Shaped[ArrayLike, "*#shape"] | Variable = 0.01,
    *,
    subgradient: Subgradient = "left",
) -> Float[Array, "*shape"]:
    """Leaky rectified linear unit.

    leaky_relu(x) = x for x > 0, else alpha * x; with alpha = 0 it is `relu`.

    Args:
        x: Input of any shape; integers and booleans become the default float.
        alpha: Slope for x < 0, of any sign: a number, or an array that broadcasts against `x`.
        subgradient: The derivative at x = 0. `"left"` is alpha, as in PyTorch; `jax.nn.leaky_relu` has 1.

    Returns:
        The floating dtype of `x`, whatever that of `alpha`; the shape of both broadcast.

    Raises:
        TypeError: If `x` or `alpha` is complex.
        ValueError: If `alpha` is a Python or NumPy value that is not finite, or `subgradient` is an unknown
            name, not finite, or not a scalar.

    References:
        Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> leaky_relu(jnp.array([-2.0, 0.0, 3.0]), 0.25)
        Array([-0.5,  0. ,  3. ], dtype=float32)
        >>> print(jax.grad(leaky_relu, argnums=1)(-2.0, 0.25))
        -2.0
    """
    return rectify("leaky_relu", x, alpha, subgradient)


@names_alpha
def prelu(
    x: Shaped[ArrayLike, "*shape"],
    alpha: Shaped[ArrayLike, ""] | Shaped[ArrayLike, " channels"] | Variable,
    *,
    axis: int = -1,
    subgradient: Subgradient = "left",
) -> Float[Array, "*shape"]:
    """Parametric rectified linear unit: a leaky one whose slope is learned.

    prelu(x) = x for x > 0, else alpha * x, with one alpha for all of `x` or one for each channel.

    Args:
        x: Input of any shape; integers and booleans become the default float.
        alpha: Slope for x < 0, of shape () or (channels,).
        axis: The axis of `x` that the channels lie along: -1 in Flax, 1 in PyTorch.
        subgradient: The derivative at x = 0. `"left"` is alpha, as in PyTorch.

    Returns:
        The shape and floating dtype of `x`. The gradient of `alpha` is summed in float32 at least.

    Raises:
        TypeError: If `x` or `alpha` is complex, or `axis` no integer.
        ValueError: If `alpha` has more than one axis, or a length that is not that of `x` along `axis`, or is
            a Python or NumPy value that is not finite; or if `subgradient` is an unknown name, not finite, or
            not a scalar.

    References:
        He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.

    Example:
        >>> import jax.numpy as jnp
        >>> prelu(jnp.array([[-2.0, -2.0], [3.0, 3.0]]), jnp.array([0.25, 0.5]))
        Array([[-0.5, -1. ],
               [ 3. ,  3. ]], dtype=float32)
    """
    # The checks that need the caller's own value come before it is a JAX array.
    alpha = parameter("alpha", alpha)
    shape, slopes = np.shape(x), np.shape(alpha)
    if len(slopes) > 1:
        raise ValueError(f"`alpha` must have shape () or (channels,), but got shape {slopes}")
    if len(slopes) == 1:
        require_axis(axis, shape)
        if slopes[0] != shape[axis]:
            raise ValueError(
                f"`alpha` must have one slope for each channel of `x`, but got {slopes[0]} slopes "
                f"for {shape[axis]} channels along axis {axis} of shape {shape}"
            )
        unit_axes = [1] * len(shape)
        unit_axes[axis] = slopes[0]
        alpha = jnp.reshape(jnp.asarray(alpha), unit_axes)
    return rectify("prelu", x, alpha, subgradient)


def rrelu(
    x: Shaped[ArrayLike, "*shape"],
    key: Key[Array, ""] | UInt32[Array, "2"] | None,
    *,
    lower: Shaped[ArrayLike, ""] | Variable = 1 / 8,
    upper: Shaped[ArrayLike, ""] | Variable = 1 / 3,
    subgradient: Subgradient = "left",
) -> Float[Array, "*shape"]:
    """Randomised leaky rectified linear unit.

    rrelu(x) = x for x > 0, else a * x, with a drawn from U(lower, upper) for each element when training and
    a = (lower + upper) / 2 in evaluation. Forward and backward pass see one draw.

    Args:
        x: Input of any shape; integers and booleans become the default float.
        key: The key of the draw, or None, said explicitly, for evaluation.
        lower: The smallest slope.
        upper: The largest slope.
        subgradient: The derivative at x = 0. `"left"` is the element's own slope, as in PyTorch.

    Returns:
        The shape and floating dtype of `x`.

    Raises:
        TypeError: If `x` or a bound is complex.
        ValueError: If a bound is not finite or `lower > upper`, where they are concrete; or if `subgradient`
            is an unknown name, not finite, or not a scalar.

    References:
        Xu, Wang, Chen and Li, "Empirical Evaluation of Rectified Activations in Convolutional Network", 2015.
        They divide by a number from U(3, 8); this slope from U(1/8, 1/3) is PyTorch's form.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> rrelu(jnp.array([-12.0, 3.0]), None)
        Array([-2.75,  3.  ], dtype=float32)
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> draws = jax.vmap(rrelu, in_axes=(None, 0))(-1.0, keys)
        >>> bool((draws > -1 / 3).all() and (draws <= -1 / 8).all())
        True
    """
    dtype = compute_dtype(as_floating("rrelu", x))
    x = jnp.asarray(x)
    low, high = (_bound(bound, dtype) for bound in bounds(lower, upper))
    if key is None:
        return rectify("rrelu", x, (low + high) / 2, subgradient)

    # The backward pass draws the same slopes again from the key rather than keep one float per element.
    @functools.partial(jax.checkpoint, prevent_cse=False, policy=keep_branches)
    def drawn(x: Array, low: Array, high: Array) -> Array:
        return rectify("rrelu", x, jax.random.uniform(key, x.shape, dtype, low, high), subgradient)

    return drawn(x, low, high)


def elu(
    x: Shaped[ArrayLike, "*#shape"],
    alpha: Shaped[ArrayLike, "*#shape"] | Variable = 1.0,
    *,
    subgradient: Subgradient = "left",
) -> Float[Array, "*shape"]:
    """Exponential linear unit.

    elu(x) = x for x > 0, else alpha * (exp(x) - 1); its derivative for x < 0 is alpha * exp(x).

    Args:
        x: Input of any shape; integers and booleans become the default float.
        alpha: Minus the limit at -inf, of any sign: a number, or an array that broadcasts against `x`.
        subgradient: The derivative at x = 0. `"left"` is alpha, as in `jax.nn.elu` and PyTorch. The second
            derivative there is 0, as in PyTorch.

    Returns:
        The floating dtype of `x`, whatever that of `alpha`; the shape of both broadcast. Value and derivative
        are within 4 units in the last place down to x = -80.

    Raises:
        TypeError: If `x` or `alpha` is complex.
        ValueError: If `alpha` is a Python or NumPy value that is not finite, or `subgradient` is an unknown
            name, not finite, or not a scalar.

    References:
        Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear
        Units (ELUs)", 2015.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> elu(jnp.array([-1.0, 0.0, 3.0]))
        Array([-0.63212055,  0.        ,  3.        ], dtype=float32)
        >>> f"{jax.grad(elu)(-20.0):.3e}"
        '2.061e-09'
    """
    return rectify_exponentially(x, alpha, subgradient)


def _bound(value: ArrayLike, dtype: np.dtype) -> Array | np.ndarray:
    """A bound in the dtype of the slopes; what NumPy can hold stays known to whoever exports the mean."""
    return jnp.asarray(value, dtype) if isinstance(value, jax.Array) else np.asarray(value, dtype)
