"""The rectifiers as Flax NNX modules, and `Alpha`, the variable type of a learned slope."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Shaped

from . import functions
from .rectify import Subgradient, require_finite


class Alpha(nnx.Param):
    """The variable type of a learned slope: `nnx.state(model, Alpha)` finds every one of them.

    Example:
        >>> from flax import nnx
        >>> import jax
        >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), PReLU(), PReLU(3))
        >>> [slope.shape for slope in jax.tree.leaves(nnx.state(model, Alpha))]
        [(), (3,)]
    """


class ReLU(nnx.Module):
    """`lrelu_jax.relu` as a module.

    Args:
        subgradient: The derivative at x = 0: `"left"` (0), `"right"` (1), `"midpoint"` or a real scalar.

    Raises:
        ValueError: When called, if `subgradient` is an unknown name, not finite, or not a scalar.

    References:
        Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010.

    Example:
        >>> ReLU()(jnp.array([-2.0, 3.0]))
        Array([0., 3.], dtype=float32)
    """

    def __init__(self, *, subgradient: Subgradient = "left"):
        self.subgradient = _attribute(subgradient)

    def __call__(self, x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`."""
        return functions.relu(x, subgradient=self.subgradient)


class LeakyReLU(nnx.Module):
    """`lrelu_jax.leaky_relu` as a module, with a slope that is not learned.

    Args:
        alpha: Slope for x < 0. A Python number stays static, part of the graph definition; an array, traced
            or not, is data, so that `nnx.split` works inside `jit` and `vmap` too.
        subgradient: The derivative at x = 0: `"left"` (alpha), `"right"` (1), `"midpoint"` or a real scalar.

    Raises:
        ValueError: If `alpha` is concrete and not finite.

    References:
        Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013.

    Example:
        >>> LeakyReLU(0.1)(jnp.array([-2.0, 3.0]))
        Array([-0.2,  3. ], dtype=float32)
    """

    def __init__(self, alpha: Shaped[ArrayLike, "..."] = 0.01, *, subgradient: Subgradient = "left"):
        require_finite("alpha", alpha)
        self.alpha = _attribute(alpha)
        self.subgradient = _attribute(subgradient)

    def __call__(self, x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`."""
        return functions.leaky_relu(x, self.alpha, subgradient=self.subgradient)


class PReLU(nnx.Module):
    """`lrelu_jax.prelu` as a module, with learned slopes in `alpha`, an `Alpha`.

    Args:
        num_features: None for one shared slope of shape (), or the number of channels for one slope each.
        alpha_init: The initial slope, or an initialiser, called with a key, a shape and a dtype.
        axis: The axis of the input that the channels lie along.
        dtype: The dtype to compute in and return; None is that of the input.
        param_dtype: The dtype of the slopes.
        subgradient: The derivative at x = 0: `"left"` (alpha), `"right"` (1), `"midpoint"` or a real scalar.
        rngs: Needed only by an initialiser: its stream `params`, else `default`.

    Raises:
        ValueError: If `alpha_init` is not finite or is an initialiser without `rngs`; when called, if the
            input has another number of channels.

    References:
        He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015, whose initial slope is 0.25.

    Example:
        >>> act = PReLU(2)
        >>> act.alpha[...] = jnp.array([0.25, 0.5])
        >>> act(jnp.array([[-2.0, -2.0], [3.0, 3.0]]))
        Array([[-0.5, -1. ],
               [ 3. ,  3. ]], dtype=float32)
    """

    def __init__(
        self,
        num_features: int | None = None,
        *,
        alpha_init: float | Callable[..., Array] = 0.25,
        axis: int = -1,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        subgradient: Subgradient = "left",
        rngs: nnx.Rngs | None = None,
    ):
        shape = () if num_features is None else (num_features,)
        if not callable(alpha_init):
            require_finite("alpha_init", alpha_init)
            self.alpha = Alpha(jnp.full(shape, alpha_init, param_dtype))
        elif rngs is not None:
            self.alpha = Alpha(alpha_init(rngs.params(), shape, param_dtype))
        else:
            raise ValueError(
                "`rngs` must be given when `alpha_init` is an initialiser, but got rngs=None; "
                "`rngs=nnx.Rngs(0)` will do"
            )
        self.axis = axis
        self.dtype = dtype
        self.subgradient = _attribute(subgradient)

    def __call__(self, x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`."""
        x = x if self.dtype is None else jnp.asarray(x, self.dtype)
        return functions.prelu(x, self.alpha[...], axis=self.axis, subgradient=self.subgradient)


def _attribute(value: Any) -> Any:
    """Names and Python numbers stay static; arrays become data, without which a tracer would be static."""
    return value if isinstance(value, str | int | float) else nnx.data(jnp.asarray(value))
