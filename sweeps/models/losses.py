"""Losses and metrics: the defaults, what they can judge, and the form of what any of them returns."""

import inspect as signatures
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sweeps.errors import StudyError

Loss = Callable[..., Any]


def default_loss(outputs: Any, targets: Any) -> jax.Array:
    """Softmax cross-entropy for integer targets, squared error for floats; one value per example.

    Args:
        outputs: logits `(n, …, classes)`, or predictions of the targets' shape.
        targets: class numbers `(n, …)`, or numbers of any shape `(n, …)`.

    Raises:
        StudyError: it cannot judge arrays of these shapes and types.
    """
    _check_arrays("loss", outputs, targets)
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise StudyError(
            f"`outputs are floating-point numbers` must hold for the default loss, but got {outputs.dtype}; "
            "pass `loss`"
        )
    outputs = wide(outputs)
    if jnp.issubdtype(targets.dtype, jnp.integer):
        _check_classes("loss", outputs, targets)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        raise StudyError(
            f"`targets are integers or floating-point numbers` must hold for the default loss, but got "
            f"{targets.dtype}; classes are integers: targets.astype(np.int32)"
        )
    if outputs.shape != targets.shape:
        raise StudyError(
            f"`outputs.shape == targets.shape` must hold for squared error, but got {outputs.shape} and "
            f"{targets.shape}; reshape one of them, or pass `loss`"
        )
    return jnp.square(outputs - targets)


def accuracy(outputs: Any, targets: Any) -> jax.Array:
    """Whether the largest logit is the target's; one value per example.

    Args:
        outputs: logits `(n, …, classes)`.
        targets: class numbers `(n, …)`.

    Raises:
        StudyError: these are not logits of two classes or more and a class number for each.
    """
    _check_arrays("accuracy", outputs, targets)
    _check_classes("accuracy", outputs, targets)
    return (jnp.argmax(outputs, axis=-1) == targets).astype(jnp.float32)


def within_classes(judge: Loss, labels: tuple[int, int] | None) -> Loss:
    """A default loss or metric that refuses labels which no logit stands for.

    Args:
        judge: `default_loss` or `accuracy`.
        labels: the smallest and the largest label there is, or None if they are not known.
    """

    def judged(outputs: Any, targets: Any) -> jax.Array:
        values = judge(outputs, targets)
        if labels is not None and jnp.issubdtype(targets.dtype, jnp.integer):
            lowest, highest, count = *labels, outputs.shape[-1]
            if lowest < 0 or highest >= count:
                raise StudyError(
                    f"`0 <= label < {count}`, the number of logits, must hold, but got labels from {lowest} "
                    f"to {highest}; give the model an output for each class and number them from 0, or, if "
                    f"some labels mark what is left out, pass `loss` and `metrics` that leave it out"
                )
        return values

    return judged


def label_range(*targets: Any) -> tuple[int, int] | None:
    """The smallest and the largest integer among these targets; None if none of them is an integer array."""
    found = [np.asarray(each) for each in targets if np.ndim(each) and np.size(each)]
    found = [each for each in found if np.issubdtype(each.dtype, np.integer)]
    if not found:
        return None
    return min(int(each.min()) for each in found), max(int(each.max()) for each in found)


def with_config(metric: Loss) -> Loss:
    """The function with its configuration always passed, whether or not it takes one."""
    try:
        takes_config = "config" in signatures.signature(metric).parameters
    except (TypeError, ValueError):  # a callable without a readable signature takes two arguments
        takes_config = False
    if takes_config:
        return lambda outputs, targets, config: metric(outputs, targets, config=config)
    return lambda outputs, targets, config: metric(outputs, targets)


def examples(name: str, values: Any, inputs: Any) -> jax.Array:
    """What a loss or a metric returned, checked to be a scalar or one value (or more) per example.

    Args:
        name: what it is called.
        values: what it returned.
        inputs: what the model saw, first axis the examples.

    Raises:
        StudyError: it is something else.
    """
    if not (hasattr(values, "shape") or isinstance(values, bool | int | float)):
        kind = type(values).__name__
        cure = "return its first element alone" if kind in ("tuple", "list") else "return one array"
        raise StudyError(f"`{name} returns an array` must hold, but got a {kind}; {cure}")
    values, count = jnp.asarray(values), jax.tree.leaves(inputs)[0].shape[0]
    if values.ndim and values.shape[0] != count:
        raise StudyError(
            f"`{name} is a scalar or has one value per example` must hold, but got shape {values.shape} "
            f"for {count} examples"
        )
    if not jnp.issubdtype(values.dtype, jnp.floating):
        if name == "loss":
            raise StudyError(f"`loss is a floating-point number` must hold, but got {values.dtype}")
        values = values.astype(jnp.result_type(float))
    return values


def mean_of(name: str, values: jax.Array, weights: Any) -> jax.Array:
    """The mean over examples, weighted where they have weights; 0 where these are all 0.

    Args:
        name: what the values are called.
        values: what `examples` returned.
        weights: one per example, or None.

    Raises:
        StudyError: there are weights, and the value is a scalar.
    """
    if weights is None:
        return jnp.mean(values)
    return sum_of(name, values, weights) / total_of(weights)


def total_of(weights: Any) -> jax.Array:
    """What a weighted sum is divided by: the sum of the weights, or 1 where they are all 0.

    Args:
        weights: one per example.
    """
    total = jnp.sum(weights, dtype=jnp.result_type(float))
    return jnp.where(total > 0, total, 1)


def sum_of(name: str, values: jax.Array, weights: Any) -> jax.Array:
    """The sum over examples of the mean of each, times its weight where there are weights.

    Args:
        name: what the values are called.
        values: one or more per example.
        weights: one per example, or None.

    Raises:
        StudyError: there are weights, and the value is a scalar.
    """
    if weights is None:
        return jnp.sum(wide(values)) / (values.size // len(values))
    if not values.ndim:
        raise StudyError(
            f"`{name} has one value per example` must hold where examples have weights, but got a scalar; "
            f"return the values before they are averaged"
        )
    each = wide(values).reshape(len(values), -1).mean(axis=1)
    return jnp.sum(each * weights.astype(each.dtype))


def wide(array: jax.Array) -> jax.Array:
    """The floating-point numbers in 32 bits at least."""
    return array.astype(jnp.float32) if jnp.finfo(array.dtype).bits < 32 else array


def _check_arrays(name: str, outputs: Any, targets: Any) -> None:
    for what, value in (("outputs", outputs), ("targets", targets)):
        if not hasattr(value, "shape"):
            raise StudyError(
                f"`{what} are one array` must hold for the default {name}, but got a "
                f"{type(value).__name__}; pass {_own(name)}"
            )


def _check_classes(name: str, outputs: Any, targets: Any) -> None:
    """Raises unless these are logits of two classes or more, and a class number for each."""
    shapes = f"outputs {outputs.shape} and targets {targets.shape}"
    if outputs.ndim > 1 and outputs.shape[:-1] == targets.shape and outputs.shape[-1] > 1:
        return
    if targets.shape == (*outputs.shape[:-1], 1) and outputs.shape[-1] > 1:
        cure = "drop the last axis of the targets: targets[..., 0]"
    elif outputs.shape == targets.shape or outputs.shape[-1:] == (1,):
        cure = (
            "give the model two outputs, or judge its single logit yourself: "
            "loss=lambda outputs, targets: optax.sigmoid_binary_cross_entropy(outputs[:, 0], targets), "
            "metrics={'accuracy': lambda outputs, targets: (outputs[:, 0] > 0) == targets}"
        )
    else:
        cure = f"reshape one of them, or pass {_own(name)}"
    raise StudyError(
        f"`outputs (n, classes) and targets (n,), two classes or more` must hold for the default {name}, but "
        f"got {shapes}; {cure}"
    )


def _own(name: str) -> str:
    return "`loss`" if name == "loss" else "`metrics` (`metrics={}` for none)"
