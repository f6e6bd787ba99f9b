"""Optimisers as one puts them together with optax; the learning rate may be a number or a schedule."""

from typing import Any

import jax
import optax


def kernels(params: Any) -> Any:
    """Which parameters are kernels: those with more than one axis."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def regularised(schedule: Any) -> optax.GradientTransformationExtraArgs:
    """Clipped gradients, AdamW that decays kernels only, and smaller steps where the loss does not halve."""
    return optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(schedule, weight_decay=0.1, mask=kernels),
        optax.contrib.reduce_on_plateau(factor=0.5, patience=2, rtol=0.5),
    )


def partitioned(learning_rate: Any) -> optax.GradientTransformation:
    """Kernels by Adam on the mean of three gradients; biases by moving averages of theirs."""
    several = optax.MultiSteps(optax.adam(learning_rate), 3).gradient_transformation()
    averaged = optax.chain(optax.ema(0.8), optax.sgd(learning_rate))
    return optax.multi_transform(
        {"kernel": several, "bias": averaged},
        lambda params: jax.tree.map(lambda is_kernel: "kernel" if is_kernel else "bias", kernels(params)),
    )


def lookahead(learning_rate: Any) -> optax.GradientTransformation:
    """Slow weights that go half of the way to the fast ones in every third step; for `LookaheadParams`."""
    return optax.lookahead(partitioned(learning_rate), sync_period=3, slow_step_size=0.5)


def with_slow_weights(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Lookahead for parameters that are the fast weights alone: the slow ones are in its state."""

    def init(params: Any) -> Any:
        both: Any = optax.LookaheadParams.init_synced(params)
        return both.slow, optimizer.init(both)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        slow, inner = state
        both: Any = optax.LookaheadParams(params, slow)
        changes: Any
        changes, inner = optimizer.update(updates, inner, both)
        return changes.fast, (optax.apply_updates(slow, changes.slow), inner)

    return optax.GradientTransformation(init, update)
