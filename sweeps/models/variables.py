"""A Flax module, NNX or Linen, as pure functions of its variables."""

import contextlib
import inspect as signatures
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jax import lax

from sweeps.errors import StudyError
from sweeps.models.arrays import called
from sweeps.ops import convolution, dense

# What a model carries besides its parameters. Random streams are made anew in every step, and what was
# sown is an output.
REST = nnx.All(nnx.Variable, nnx.Not(nnx.Any(nnx.Param, nnx.RngState, nnx.Intermediate)))

NO_MESH = jax.sharding.AbstractMesh((), ())  # under a mesh Flax would shard what is boxed over its axes

# Which layers, of NNX and of Linen, call which function of `jax.lax` by default, and its fast form.
FAST = (
    (nnx.Conv, nn.Conv, "conv_general_dilated", convolution.conv_general_dilated),
    (nnx.Linear, nn.Dense, "dot_general", dense.dot_general),
)


def unsharded(model: Callable[[Any, nnx.Rngs], Any], config: Any, key: jax.Array) -> Any:
    """A module freshly built, whose parameters are on one device whatever it says of sharding them.

    Args:
        model: `(config, rngs) -> module`.
        config: what it is built from.
        key: what its random streams start from.
    """
    with nnx.use_eager_sharding(False):
        return model(config, nnx.Rngs(key))


def variables(module: Any, key: jax.Array, inputs: Any) -> tuple[Any, Any]:
    """What a freshly built module holds.

    Args:
        module: an NNX or Linen module.
        key: what a Linen module draws its parameters from; an NNX module has drawn them already.
        inputs: arrays `(n, …)` of the inputs' shape, for a Linen module.

    Returns:
        The parameters, and all other variables.

    Raises:
        StudyError: it is not a Flax module.
    """
    if isinstance(module, nnx.Module):
        return nnx.state(module, nnx.Param), nnx.state(module, REST)
    if isinstance(module, nn.Module):
        one = jax.tree.map(lambda array: jnp.zeros((1, *array.shape[1:]), jnp.result_type(array)), inputs)
        with jax.sharding.use_abstract_mesh(NO_MESH):
            found = dict(module.init(_streams(key), one, **_mode(module, train=False)))
            # What says how to shard a parameter over devices: those of the engine have whole members each.
            found = nn.meta.unbox(found)
        found.pop("intermediates", None)
        return found.pop("params", {}), found
    got, cure = f"a {type(module).__name__}", ""
    if isinstance(module, type):
        got, cure = f"the class {module.__name__}", f"; call it: {module.__name__}(…)"
    raise StudyError(f"`model(config, rngs) returns an nnx or linen Module` must hold, but got {got}{cure}")


def train_outputs(module: Any, params: Any, rest: Any, inputs: Any, key: jax.Array) -> tuple[Any, Any, Any]:
    """Outputs in training mode, and the parameters and other variables as the call left them.

    Some layers write a parameter as they are called, as `nnx.WeightNorm` does, and what they wrote stays.

    Args:
        module: the module.
        params: its parameters.
        rest: its other variables.
        inputs: a batch.
        key: what a Linen module's random streams start from.
    """
    if isinstance(module, nnx.Module):
        nnx.update(module, params, rest)
        outputs = called(_view(module, train=True), inputs, _mode(module, train=True))
        return outputs, nnx.state(module, nnx.Param), nnx.state(module, REST)
    outputs, rest = module.apply(
        {"params": params, **rest},
        inputs,
        rngs=_streams(key),
        mutable=list(rest),
        **_mode(module, train=True),
    )
    return outputs, params, rest


def evaluation_model(module: Any, params: Any, rest: Any) -> Any:
    """The module with these variables, callable without dropout and with running averages.

    Args:
        module: the module.
        params: its parameters.
        rest: its other variables.
    """
    if isinstance(module, nnx.Module):
        nnx.update(module, params, rest)
        bound, mode = _view(module, train=False), _mode(module, train=False)
        if all(_defaults(module)[name] is value for name, value in mode.items()):
            return bound  # a module, as it was built
    else:
        bound, mode = module.bind({"params": params, **rest}), _mode(module, train=False)
    return _Bound(bound, mode) if mode else bound


def lowered(module: Any) -> Any:
    """Gives an NNX module's convolutions and dense layers their fast forms; changes nothing else.

    Args:
        module: a module that this call may change; layers that do not have Flax's default are left alone.

    Returns:
        The same module.
    """
    if isinstance(module, nnx.Module):
        for _, part in nnx.iter_modules(module):
            for kind, _, name, fast in FAST:
                if isinstance(part, kind) and getattr(part, name) is getattr(lax, name):
                    setattr(part, name, fast)
    return module


@contextlib.contextmanager
def lowered_linen(lower: bool) -> Iterator[None]:
    """While it lasts, Linen's convolutions and dense layers that still have Flax's default are the fast ones.

    Args:
        lower: False changes nothing.
    """

    def interceptor(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        module = context.module
        for _, kind, name, fast in FAST if context.method_name == "__call__" else ():
            if isinstance(module, kind) and not (getattr(module, name) or getattr(module, f"{name}_cls")):
                object.__setattr__(module, name, fast)
                try:
                    return call(*arguments, **keywords)
                finally:
                    object.__setattr__(module, name, None)
        return call(*arguments, **keywords)

    with nn.intercept_methods(interceptor) if lower else contextlib.nullcontext():
        yield


class _Bound(NamedTuple):
    """A module with its variables whose mode arguments are filled in; all else is the module's."""

    module: Any
    mode: dict[str, Any]

    def __call__(self, *inputs: Any) -> Any:
        return self.module(*inputs, **self.mode)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


def _view(module: nnx.Module, train: bool) -> Any:
    mode = {"deterministic": not train, "use_running_average": not train}
    # A layer without `set_view` is told as `model.train()` and `model.eval()` do: by its attributes.
    module.set_attributes(**mode, raise_if_not_found=False)
    return nnx.view(module, **mode, raise_if_not_found=False)


def _mode(module: Any, train: bool) -> dict[str, Any]:
    modes = dict.fromkeys(("train", "training", "is_training"), train)
    modes |= dict.fromkeys(("deterministic", "use_running_average"), not train)
    defaults = _defaults(module)
    if isinstance(module, nnx.Module):  # where None leaves it to the attributes, which are set
        defaults = {name: default for name, default in defaults.items() if default is not None}
    return {name: value for name, value in modes.items() if name in defaults}


def _defaults(module: Any) -> dict[str, Any]:
    """The defaults of what a module is called with."""
    parameters = signatures.signature(type(module).__call__).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def _streams(key: jax.Array) -> dict[str, jax.Array]:
    # For every name that is not given, Linen's `make_rng` falls back to the `params` stream.
    names = ("params", "dropout", "default")
    return {name: jax.random.fold_in(key, place) for place, name in enumerate(names)}
