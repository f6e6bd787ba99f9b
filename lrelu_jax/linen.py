"""The rectifiers as Flax Linen modules; each is the function of the same name in `lrelu_jax`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, ArrayLike, Float, Shaped

from . import functions
from .arguments import Subgradient, channels, names_alpha, scalar


class ReLU(nn.Module):
    """`lrelu_jax.relu` as a module.

    Attributes:
        subgradient: The derivative at x = 0: `"left"` (0), `"right"` (1), `"midpoint"` or a real scalar.

    References:
        Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010.

    Example:
        >>> ReLU().apply({}, jnp.array([-2.0, 3.0]))
        Array([0., 3.], dtype=float32)
    """

    _: dataclasses.KW_ONLY
    subgradient: Subgradient = "left"

    def __call__(self, x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`."""
        return functions.relu(x, subgradient=self.subgradient)


@names_alpha
class LeakyReLU(nn.Module):
    """`lrelu_jax.leaky_relu` as a module, with a slope that is not learned.

    Attributes:
        alpha: Slope for x < 0: a number or an array, traced or not.
        subgradient: The derivative at x = 0: `"left"` (alpha), `"right"` (1), `"midpoint"` or a real scalar.

    Raises:
        TypeError: When called, if `alpha` is no number, array or Variable.
        ValueError: When called, if `alpha` is a Python or NumPy value that is not finite.

    References:
        Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013.

    Example:
        >>> LeakyReLU(0.1).apply({}, jnp.array([-2.0, 3.0]))
        Array([-0.2,  3. ], dtype=float32)
    """

    alpha: Any = 0.01
    _: dataclasses.KW_ONLY
    subgradient: Subgradient = "left"

    def __call__(self, x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`."""
        return functions.leaky_relu(x, self.alpha, subgradient=self.subgradient)


@names_alpha
class PReLU(nn.Module):
    """`lrelu_jax.prelu` as a module, with learned slopes in the parameter `alpha`.

    Attributes:
        num_features: None for one shared slope of shape (), or the number of channels for one slope each.
        alpha_init: The initial slope, or an initialiser, called with a key, a shape and a dtype.
        axis: The axis of the input that the channels lie along.
        dtype: The dtype to compute in and return; None is that of the input.
        param_dtype: The dtype of the slopes.
        subgradient: The derivative at x = 0: `"left"` (alpha), `"right"` (1), `"midpoint"` or a real scalar.

    Raises:
        TypeError: When called, if `num_features` is no integer.
        ValueError: When called, if `alpha_init` is not a finite scalar or the input has another
            number of channels.

    References:
        He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015, whose initial slope is 0.25.

    Example:
        >>> params = {"params": {"alpha": jnp.array([0.25, 0.5])}}
        >>> PReLU(2).apply(params, jnp.array([[-2.0, -2.0], [3.0, 3.0]]))
        Array([[-0.5, -1. ],
               [ 3. ,  3. ]], dtype=float32)
    """

    num_features: int | None = None
    _: dataclasses.KW_ONLY
    alpha_init: float | int | Callable[..., Array] = 0.25
    axis: int = -1
    dtype: Any = None
    param_dtype: Any = jnp.float32
    subgradient: Subgradient = "left"

    @nn.compact
    def __call__(self, x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`."""
        init = self.alpha_init
        if not callable(init):
            init = nn.initializers.constant(scalar("alpha_init", init))
        alpha = self.param("alpha", init, channels(self.num_features), self.param_dtype)
        x = x if self.dtype is None else jnp.asarray(x, self.dtype)
        return functions.prelu(x, alpha, axis=self.axis, subgradient=self.subgradient)


class RReLU(nn.Module):
    """`lrelu_jax.rrelu` as a module, used as `nn.Dropout` is.

    Attributes:
        lower: The smallest slope.
        upper: The largest slope.
        deterministic: True for evaluation, False for training, None to be told by the call.
        subgradient: The derivative at x = 0: `"left"` (the element's slope), `"right"` (1), `"midpoint"` or a
            real scalar.

    Raises:
        ValueError: When called, if neither training nor evaluation was chosen, if training without the rng
            stream `rrelu` or `default`, if a bound is not a finite scalar, or if `lower > upper`.

    References:
        Xu, Wang, Chen and Li, "Empirical Evaluation of Rectified Activations in Convolutional Network", 2015.

    Example:
        >>> import jax
        >>> RReLU().apply({}, jnp.array([-12.0, 3.0]), deterministic=True)
        Array([-2.75,  3.  ], dtype=float32)
        >>> y = RReLU(deterministic=False).apply({}, -jnp.ones(9), rngs={"rrelu": jax.random.key(0)})
        >>> bool((y > -1 / 3).all() and (y <= -1 / 8).all())
        True
    """

    lower: Any = 1 / 8
    upper: Any = 1 / 3
    _: dataclasses.KW_ONLY
    deterministic: bool | None = None
    subgradient: Subgradient = "left"

    def __call__(
        self, x: Shaped[ArrayLike, "*shape"], *, deterministic: bool | None = None
    ) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`; `deterministic` given here comes before the attribute."""
        deterministic = self.deterministic if deterministic is None else deterministic
        if deterministic is None:
            raise ValueError(
                "`deterministic` must be True or False in `RReLU`, but got None; pass it to the constructor "
                "or the call"
            )
        key = None if deterministic else self.make_rng(self._stream())
        return functions.rrelu(x, key, lower=self.lower, upper=self.upper, subgradient=self.subgradient)

    def _stream(self) -> str:
        for stream in ("rrelu", "default"):
            # Asked for first, as `make_rng` would fall back on the stream of the parameters.
            if self.has_rng(stream):
                return stream
        raise ValueError(
            "`rngs` must hold the stream 'rrelu' or 'default' for `RReLU` to draw slopes in training, but "
            "got neither; pass `rngs={'rrelu': jax.random.key(0)}` to `apply`, or `deterministic=True`"
        )


class ELU(nn.Module):
    """`lrelu_jax.elu` as a module.

    Attributes:
        alpha: Minus the limit at -inf: a number or an array, traced or not.
        subgradient: The derivative at x = 0: `"left"` (alpha), `"right"` (1), `"midpoint"` or a real scalar.

    Raises:
        TypeError: When called, if `alpha` is no number, array or Variable.
        ValueError: When called, if `alpha` is a Python or NumPy value that is not finite.

    References:
        Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear
        Units (ELUs)", 2015.

    Example:
        >>> ELU(2.0).apply({}, jnp.array([-jnp.inf, 3.0]))
        Array([-2.,  3.], dtype=float32)
    """

    alpha: Any = 1.0
    _: dataclasses.KW_ONLY
    subgradient: Subgradient = "left"

    def __call__(self, x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`."""
        return functions.elu(x, self.alpha, subgradient=self.subgradient)
