"""What `supervised` is given, checked before anything is traced."""

import inspect as signatures
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from flax import nnx

from sweeps.data.streams import check_stream, is_stream
from sweeps.errors import StudyError
from sweeps.trial import Data


def check_arguments(data: Any, model: Any, optimizer: Any, loss: Any, metrics: Any, inspect: Any) -> None:
    """Checks that data are pairs of arrays, and that functions are functions of what they will be given.

    Raises:
        StudyError: they are not.
    """
    _check_data(data)
    _check_model(model)
    if hasattr(optimizer, "update") and not isinstance(optimizer, type):
        raise StudyError(
            "`optimizer is a function of the configuration` must hold, but got an optimizer; write "
            "optimizer=lambda config: optax.adam(config.learning_rate)"
        )
    _check_takes("optimizer", optimizer, "config")
    if loss is not None:
        _check_takes("loss", loss, "outputs, targets")
    if inspect is not None:
        _check_takes("inspect", inspect, "model, inputs")
    if metrics is not None and not isinstance(metrics, Mapping):
        raise StudyError(
            f"`metrics are named functions` must hold, but got a {type(metrics).__name__}; write "
            "metrics={'name': function}"
        )
    for name, metric in (metrics or {}).items():
        if name == "loss":
            raise StudyError("A metric cannot be named loss: test/loss is the loss. Choose another name.")
        if isinstance(metric, Mapping):
            raise StudyError(
                f"`metrics are functions by name` must hold, but got a dict for {name}; write them side by "
                f"side, with a slash in the name: '{name}/{next(iter(metric), 'part')}'"
            )
        _check_takes(f"metric {name}", metric, "outputs, targets")


def as_parts(what: str, part: Any) -> tuple[Any, Any, Any]:
    """The inputs, the targets, and the weights of the examples or None.

    Raises:
        StudyError: they are not two, nor three of which the last are weights.
    """
    if not has_targets(part):
        size = f" of {len(part)}" if isinstance(part, tuple | list | Mapping) else ""
        kind = "an array" if hasattr(part, "shape") else f"a {type(part).__name__}{size}"
        got = "None" if part is None else kind
        raise StudyError(
            f"`{what} is (inputs, targets)` must hold, but got {got}; make it a tuple of the two, or of "
            f"these and a weight per example"
        )
    return part[0], part[1], part[2] if len(part) == 3 else None


def without_evaluation() -> StudyError:
    """What is said where there is nothing to evaluate on."""
    return StudyError(
        "`data.evaluation is (inputs, targets)` must hold without folds, but got None; hold some of the "
        'training examples out and pass them, or space={"fold": sweeps.folds(5)} holds out each fifth in turn'
    )


def has_targets(part: Any) -> bool:
    """Whether it is a tuple or a list of inputs and targets, or of these and a weight per example."""
    if not isinstance(part, tuple | list) or len(part) not in (2, 3):
        return False
    return len(part) == 2 or len(getattr(part[2], "shape", ())) == 1


def checked_optimizer(transform: Any) -> optax.GradientTransformation:
    """The optimiser, if it is one.

    Raises:
        StudyError: it is not.
    """
    if isinstance(transform, type) or not (hasattr(transform, "init") and hasattr(transform, "update")):
        got = "None" if transform is None else f"a {type(transform).__name__}"
        raise StudyError(
            f"`optimizer(config) returns an optax.GradientTransformation` must hold, but got {got}; write "
            "optimizer=lambda config: optax.adam(config.learning_rate)"
        )
    return transform


def inspected(values: Any, taken: Mapping[str, Any]) -> dict[str, Any]:
    """What `inspect` returned, whose names no metric has.

    Raises:
        StudyError: it is no dict, or a name is taken.
    """
    if not isinstance(values, Mapping):
        raise StudyError(
            f"`inspect returns a dict of scalars` must hold, but got a {type(values).__name__}; name each"
        )
    for name in values:
        if name in taken or name == "train/loss":
            raise StudyError(f"`inspect returns new names` must hold, but got {name}; choose another name")
    return dict(values)


def _check_data(data: Any) -> None:
    if not isinstance(data, Data):
        raise StudyError(
            f"`data is sweeps.Data` must hold, but got a {type(data).__name__}; write "
            "sweeps.Data(train=(inputs, targets), evaluation=(inputs, targets))"
        )
    parts = {} if data.evaluation is None else {"data.evaluation": data.evaluation}
    if isinstance(data.train, tuple | list | Mapping) or not is_stream(data.train):
        parts["data.train"] = data.train
    else:
        check_stream(data.train, chunks=1)
    for what, part in parts.items():
        _check_part(what, part)
    if data.evaluation is None:
        if not parts:
            raise without_evaluation()
        return  # to be seen when it is known whether there are folds
    inputs = jax.tree.leaves(data.evaluation[0])
    if not inputs or not np.ndim(inputs[0]) or not len(inputs[0]):
        raise StudyError(
            "`1 <= evaluation examples` must hold, but got 0; hold some examples of the training data out"
        )


def _check_part(what: str, part: Any) -> None:
    """Raises a StudyError unless inputs and targets are arrays, and weights say how much each counts."""
    *pair, weights = as_parts(what, part)
    if weights is not None and not _are_weights(np.asarray(weights)):
        raise StudyError(
            f"`the weights of {what} are finite numbers ≥ 0, not all 0` must hold, but got others; a "
            f"weight of 0 leaves an example out"
        )
    for name, value in zip(("inputs", "targets"), pair, strict=True):
        for leaf in jax.tree.leaves(value):
            if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
                raise StudyError(
                    f"`the {name} of {what} are arrays` must hold, but got a {type(value).__name__} "
                    f"that holds a {type(leaf).__name__}; write np.asarray(…)"
                )


def _are_weights(weights: np.ndarray) -> bool:
    numbers = weights.dtype.kind in "biuf" and bool(np.isfinite(weights).all())
    return numbers and bool((weights >= 0).all() and (weights > 0).any())


def _check_model(model: Any) -> None:
    cure = "write model=lambda config, rngs: MyModel(…)"
    if isinstance(model, nnx.Module | nn.Module):
        raise StudyError(
            f"`model is a function that builds one` must hold, but got a {type(model).__name__}, built "
            f"already; {cure}"
        )
    if isinstance(model, type) and issubclass(model, nn.Module):
        name = model.__name__
        raise StudyError(
            f"`model takes (config, rngs)` must hold, but got the Linen class {name}, which takes its "
            f"fields; write model=lambda config, rngs: {name}(…)"
        )
    _check_takes("model", model, "config, rngs")


def _check_takes(what: str, function: Callable[..., Any] | Any, names: str) -> None:
    """Raises unless the function can be called with these, and with `config` by name where it takes that."""
    cure = f"write lambda {names}: …"
    if not callable(function):
        kind = type(function).__name__
        raise StudyError(f"`{what} is a function of ({names})` must hold, but got a {kind}; {cure}")
    own = function.__init__ if isinstance(function, type) else function  # a class takes what builds it
    try:
        signature = signatures.signature(own)
    except (TypeError, ValueError):  # a callable without a readable signature is called and seen
        return
    places = len(names.split(", ")) + isinstance(function, type)
    by_name = {"config": None} if "config" in signature.parameters and names.startswith("outputs") else {}
    try:
        signature.bind(*[None] * places, **by_name)
    except TypeError:
        raise StudyError(
            f"`{what} takes ({names})` must hold, but got a function of {signature}; {cure}"
        ) from None
