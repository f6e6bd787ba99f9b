"""Metrics over a whole evaluation set, whose examples go through the model in batches."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sweeps.errors import StudyError
from sweeps.models.losses import examples, sum_of, total_of

# Evaluation runs in batches of this many examples, so that its memory does not grow with the set.
EVALUATION_BATCH = 1024


def measure(
    model: Callable[[Any], Any],
    metrics: Mapping[str, Callable[[Any, Any], Any]],
    inputs: Any,
    targets: Any,
    weights: Any = None,
) -> dict[str, jax.Array]:
    """The metrics on all examples.

    One value per example becomes the mean over the set. A scalar need not be a mean, so it is computed once,
    on the outputs for the whole set, which are kept only for that.

    Args:
        model: inputs to outputs; called inside of a loop over batches.
        metrics: `(outputs, targets) -> scalar or one value per example`, by name.
        inputs: what the model sees, first axis the examples.
        targets: what the outputs are judged by.
        weights: of the examples, with which one value per example is averaged; None weighs all alike.

    Raises:
        StudyError: a metric returns neither, or a scalar where there are weights; or outputs that are needed
            whole have no axis of examples.
    """
    count = len(jax.tree.leaves(inputs)[0])

    def on_batch(batch: tuple[Any, Any, Any]) -> tuple[dict[str, Any], Any]:
        """The sums over the batch, and its outputs if a metric is a scalar."""
        outputs, sums = model(batch[0]), {}
        for name, metric in metrics.items():
            values = examples(name, metric(outputs, batch[1]), batch[0])
            if values.ndim or weights is not None:
                sums[name] = sum_of(name, values, batch[2])
        if len(sums) == len(metrics):
            return sums, None
        if count > EVALUATION_BATCH:
            _check_rows(outputs, len(jax.tree.leaves(batch)[0]), set(metrics) - set(sums))
        return sums, outputs

    if count <= EVALUATION_BATCH:
        sums, outputs = on_batch((inputs, targets, weights))
    else:
        sums, outputs = _in_batches(on_batch, (inputs, targets, weights), count // EVALUATION_BATCH)
    whole = count if weights is None else total_of(weights)
    return {
        name: sums[name] / whole if name in sums else examples(name, metric(outputs, targets), inputs)
        for name, metric in metrics.items()
    }


def _in_batches(on_batch: Callable[[Any], tuple[Any, Any]], data: Any, whole: int) -> tuple[Any, Any]:
    """The sums over all batches, and their outputs one after the other; the last batch may be short."""
    cut = whole * EVALUATION_BATCH
    batches = jax.tree.map(lambda array: array[:cut].reshape(whole, EVALUATION_BATCH, *array.shape[1:]), data)
    sums, outputs = jax.lax.map(on_batch, batches)
    sums = jax.tree.map(jnp.sum, sums)
    outputs = jax.tree.map(lambda array: array.reshape(cut, *array.shape[2:]), outputs)
    if cut == len(jax.tree.leaves(data)[0]):
        return sums, outputs
    last, last_outputs = on_batch(jax.tree.map(lambda array: array[cut:], data))
    join = jax.tree.map(lambda *parts: jnp.concatenate(parts), outputs, last_outputs)
    return jax.tree.map(jnp.add, sums, last), join


def _check_rows(outputs: Any, count: int, names: set[str]) -> None:
    """Raises unless all outputs have a row per example, so that batches of them can be joined."""
    for leaf in jax.tree.leaves(outputs):
        if jnp.shape(leaf)[:1] != (count,):
            raise StudyError(
                f"`outputs have a row per example` must hold where a metric is a scalar "
                f"({', '.join(sorted(names))}), but got shape {jnp.shape(leaf)} for {count} examples; return "
                f"one value per example from it, or one row per example from the model"
            )
