"""The rectifiers as Flax NNX modules, and `Alpha`, the variable type of a learned slope."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Shaped

from . import functions
from .arguments import Subgradient, Variable, bounds, channels, names_alpha, parameter, scalar


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


@names_alpha
class LeakyReLU(nnx.Module):
    """`lrelu_jax.leaky_relu` as a module, with a slope that is not learned.

    Args:
        alpha: Slope for x < 0. A Python number stays static, part of the graph definition; an array, traced
            or not, is data, so that `nnx.split` works inside `jit` and `vmap` too; an `nnx.Variable` stays
            one.
        subgradient: The derivative at x = 0: `"left"` (alpha), `"right"` (1), `"midpoint"` or a real scalar.

    Raises:
        TypeError: If `alpha` is no number, array or Variable.
        ValueError: If `alpha` is a Python or NumPy value that is not finite.

    References:
        Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013.

    Example:
        >>> LeakyReLU(0.1)(jnp.array([-2.0, 3.0]))
        Array([-0.2,  3. ], dtype=float32)
    """

    def __init__(
        self, alpha: Shaped[ArrayLike, "..."] | Variable = 0.01, *, subgradient: Subgradient = "left"
    ):
        parameter("alpha", alpha)
        self.alpha = _attribute(alpha)
        self.subgradient = _attribute(subgradient)

    def __call__(self, x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`."""
        return functions.leaky_relu(x, self.alpha, subgradient=self.subgradient)


@names_alpha
class PReLU(nnx.Module):
    """`lrelu_jax.prelu` as a module, with learned slopes in `alpha`, an `Alpha`.

    Inside a Linen model, through `nnx.bridge.to_linen`, the slopes are not in `params` but in a collection
    `Alpha`, which Flax names after the variable's class: train that one too, or take `lrelu_jax.linen.PReLU`.

    Args:
        num_features: None for one shared slope of shape (), or the number of channels for one slope each.
        alpha_init: The initial slope, or an initialiser, called with a key, a shape and a dtype.
        axis: The axis of the input that the channels lie along.
        dtype: The dtype to compute in and return; None is that of the input.
        param_dtype: The dtype of the slopes.
        subgradient: The derivative at x = 0: `"left"` (alpha), `"right"` (1), `"midpoint"` or a real scalar.
        rngs: Needed only by an initialiser: its stream `params`, else `default`.

    Raises:
        TypeError: If `num_features` is no integer.
        ValueError: If `alpha_init` is not a finite scalar or is an initialiser without `rngs`; when called,
            if the input has another number of channels.

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
        alpha_init: float | int | Callable[..., Array] = 0.25,
        axis: int = -1,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        subgradient: Subgradient = "left",
        rngs: nnx.Rngs | None = None,
    ):
        shape = channels(num_features)
        if not callable(alpha_init):
            self.alpha = Alpha(jnp.full(shape, scalar("alpha_init", alpha_init), param_dtype))
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


class RReLU(nnx.Module):
    """`lrelu_jax.rrelu` as a module, used as `nnx.Dropout` is.

    After `model.train()` every call draws a new slope for each element, and the backward pass of that call
    sees the same ones; after `model.eval()` the slope is (lower + upper) / 2.

    Args:
        lower: The smallest slope.
        upper: The largest slope.
        subgradient: The derivative at x = 0: `"left"` (the element's slope), `"right"` (1), `"midpoint"` or a
            real scalar.
        deterministic: True for evaluation, False for training, None to be told by `train`, `eval`, `nnx.view`
            or the call.
        rngs: Where keys come from: the stream `rrelu`, else `default`.

    Raises:
        TypeError: If `rngs` is not an `nnx.Rngs`, `nnx.RngStream` or None.
        ValueError: If a bound is not a scalar, or a concrete one not finite, or `lower > upper`; when called,
            if neither training nor evaluation was chosen, or when training without a source of keys.

    References:
        Xu, Wang, Chen and Li, "Empirical Evaluation of Rectified Activations in Convolutional Network", 2015.

    Example:
        >>> act = RReLU(rngs=nnx.Rngs(0))
        >>> act.eval()
        >>> act(jnp.array([-12.0, 3.0]))
        Array([-2.75,  3.  ], dtype=float32)
        >>> act.train()
        >>> bool((act(-jnp.ones(9)) != act(-jnp.ones(9))).all())
        True
    """

    def __init__(
        self,
        lower: Shaped[ArrayLike, ""] | Variable = 1 / 8,
        upper: Shaped[ArrayLike, ""] | Variable = 1 / 3,
        *,
        subgradient: Subgradient = "left",
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ):
        bounds(lower, upper)
        if not isinstance(rngs, nnx.Rngs | nnx.RngStream | None):
            raise TypeError(
                f"`rngs` of `RReLU` must be an nnx.Rngs, an nnx.RngStream or None, but got {rngs!r}; "
                "`rngs=nnx.Rngs(0)` will do"
            )
        self.lower = _attribute(lower)
        self.upper = _attribute(upper)
        self.subgradient = _attribute(subgradient)
        self.deterministic = deterministic
        # A stream of its own, so that this module's draws do not depend on who else asks for keys.
        stream = rngs["rrelu"] if isinstance(rngs, nnx.Rngs) else rngs
        self.rngs = nnx.data(None if stream is None else stream.fork())

    def __call__(
        self,
        x: Shaped[ArrayLike, "*shape"],
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | Array | None = None,
    ) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`; arguments given here come before those of the constructor."""
        deterministic = self.deterministic if deterministic is None else deterministic
        if deterministic is None:
            raise ValueError(
                "`deterministic` must be True or False in `RReLU`, but got None; call `model.train()` or "
                "`model.eval()` first, or pass it to the constructor or the call"
            )
        key = None if deterministic else self._key(self.rngs if rngs is None else rngs)
        return functions.rrelu(x, key, lower=self.lower, upper=self.upper, subgradient=self.subgradient)

    def set_view(self, deterministic: bool | None = None):
        """Take part in `nnx.view(model, deterministic=...)`.

        Args:
            deterministic: True for evaluation, False for training, None to leave it as it is.
        """
        if deterministic is not None:
            self.deterministic = deterministic

    def _key(self, rngs: nnx.Rngs | nnx.RngStream | Array | None) -> Array:
        if rngs is None:
            raise ValueError(
                "`rngs` must be given for `RReLU` to draw slopes in training, but got rngs=None; pass "
                "`rngs=nnx.Rngs(0)` to the constructor or the call, or use `model.eval()`"
            )
        if isinstance(rngs, nnx.Rngs):
            return rngs["rrelu"]()
        return rngs() if isinstance(rngs, nnx.RngStream) else rngs


class ELU(nnx.Module):
    """`lrelu_jax.elu` as a module.

    Args:
        alpha: Minus the limit at -inf. A Python number stays static, an array is data, an `nnx.Variable`
            stays one, as in `LeakyReLU`.
        subgradient: The derivative at x = 0: `"left"` (alpha), `"right"` (1), `"midpoint"` or a real scalar.

    Raises:
        TypeError: If `alpha` is no number, array or Variable.
        ValueError: If `alpha` is a Python or NumPy value that is not finite.

    References:
        Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear
        Units (ELUs)", 2015.

    Example:
        >>> ELU(2.0)(jnp.array([-jnp.inf, 3.0]))
        Array([-2.,  3.], dtype=float32)
    """

    def __init__(
        self, alpha: Shaped[ArrayLike, "..."] | Variable = 1.0, *, subgradient: Subgradient = "left"
    ):
        parameter("alpha", alpha)
        self.alpha = _attribute(alpha)
        self.subgradient = _attribute(subgradient)

    def __call__(self, x: Shaped[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """Apply the rectifier to `x`."""
        return functions.elu(x, self.alpha, subgradient=self.subgradient)


def weight_decay_mask(params: Any) -> Any:
    """Mark what weight decay should act on: every parameter but the learned slopes.

    Decay pulls a slope towards zero, that is towards ReLU, and He et al. (2015, section 2.1) use none.

    Args:
        params: The parameters of an NNX model (`nnx.state(model, nnx.Param)`) or the dict of a Linen one.

    Returns:
        The same tree with False for each `Alpha` and each leaf named `alpha`, and True elsewhere; optax takes
        it, or this function itself, as a `mask`.

    Example:
        >>> import optax
        >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), PReLU())
        >>> tx = optax.adamw(1e-3, mask=weight_decay_mask(nnx.state(model, nnx.Param)))
        >>> weight_decay_mask({"Dense_0": {"kernel": 1.0}, "PReLU_0": {"alpha": 0.25}})
        {'Dense_0': {'kernel': True}, 'PReLU_0': {'alpha': False}}
    """

    def decays(path: tuple, leaf: Any) -> bool:
        # A Linen parameter with names of axes is boxed, and the box an attribute in its path.
        while path and isinstance(path[-1], jax.tree_util.GetAttrKey):
            path = path[:-1]
        named_alpha = jax.tree_util.keystr(path[-1:], simple=True) == "alpha"
        return not (named_alpha or isinstance(leaf, Alpha))

    return jax.tree.map_with_path(decays, params, is_leaf=lambda node: isinstance(node, nnx.Variable))


def _attribute(value: Any) -> Any:
    """Names and numbers stay static, Variables Variables; arrays become data, or a tracer would be static."""
    return value if isinstance(value, str | int | float | nnx.Variable) else nnx.data(jnp.asarray(value))
