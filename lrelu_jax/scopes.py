"""The names of a model's rectifiers: each module leaves its path in the traced program, as a named scope.

Scopes survive every transformation that a model may use inside, and change no value and no type.
"""

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

from . import linen, modules
from .equations import Entry

_MARK = "lrelu_jax.module"
_NNX = (modules.ReLU, modules.LeakyReLU, modules.PReLU, modules.RReLU, modules.ELU)
_LINEN = (linen.ReLU, linen.LeakyReLU, linen.PReLU, linen.RReLU, linen.ELU)
_FLAX = (nnx.PReLU, nn.PReLU)


class Scope(NamedTuple):
    """What a name stack says about the place of an equation."""

    path: str
    """The innermost module."""
    rectifier: bool
    """Whether that module is a rectifier, and nothing else."""
    axis: int | None
    """The axis of its channels, if it was given one."""
    vmaps: int
    backward: bool
    """Whether the equation belongs to a backward pass inside the model."""


def find(stack: tuple[Entry, ...]) -> Scope:
    """Read a name stack."""
    outer, path, kind, rectifier, axis = "", "", "", "", ""
    for entry in stack:
        if entry.transforms or not entry.name.startswith(_MARK):
            continue
        _, new_kind, rectifier, axis, new_path = entry.name.split(":", 4)
        # Paths are from the root of an NNX or a Linen model, either of which may be inside the other.
        outer = "/".join(filter(None, (outer, path))) if new_kind != kind else outer
        kind, path = new_kind, new_path
    return Scope(
        path="/".join(filter(None, (outer, path))),
        rectifier=bool(rectifier),
        axis=int(axis) if axis else None,
        vmaps=sum(entry == Entry("vmap", True) for entry in stack),
        backward=Entry("transpose", True) in stack,
    )


def name_modules(model: nnx.Module) -> None:
    """Have the modules of an NNX model open their scopes when they are called, in place."""
    for path, module in list(nnx.iter_modules(model)):
        if callable(module):
            module.__class__ = _scoped(type(module), _scope("nnx", path, module))


def name_linen_modules(
    call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext
) -> Any:
    """The same for Linen, to be used with `nn.intercept_methods`."""
    module = context.module
    if context.method_name != "__call__" or module.scope is None:
        return call(*args, **kwargs)
    with jax.named_scope(_scope("linen", module.path, module)):
        return _seen(module, call, args, kwargs)


# A class, not a wrapper or an attribute: the model's own code may ask for the class of its modules (Flax's
# transformations and bridges do) and reads their attributes.
@functools.cache
def _scoped(cls: type, scope: str) -> type:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        with jax.named_scope(scope):
            return _seen(self, functools.partial(cls.__call__, self), args, kwargs)

    body = {"__call__": __call__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    # Flax asks each subclass anew whether it is a pytree.
    keywords = {"pytree": getattr(cls, "_pytree__is_pytree", True)}
    return types.new_class(cls.__name__, (cls,), keywords, lambda namespace: namespace.update(body))


def _scope(kind: str, path: tuple, module: Any) -> str:
    rectifier = isinstance(module, (*_NNX, *_LINEN, *_FLAX))
    axis = module.axis if isinstance(module, modules.PReLU | linen.PReLU) else ""
    return f"{_MARK}:{kind}:{'rectifier' if rectifier else ''}:{axis}:{'/'.join(map(str, path))}"


def _seen(module: Any, call: Callable, args: tuple, kwargs: dict) -> Any:
    """Call a module; flax's PReLU, which is plain arithmetic, gets a jit by which it can be told."""
    y = call(*args, **kwargs)
    return flax_prelu(*args, *kwargs.values(), y) if isinstance(module, _FLAX) else y


@jax.jit
def flax_prelu(x: Any, y: Any) -> Any:
    """The output `y` of a PReLU for the input `x`."""
    return jnp.where(x >= 0, y, y)
