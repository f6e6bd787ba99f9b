"""Which examples make the batch of a step: the same for every member, or by each seed's own order.

A member that holds out a fold goes through the other examples in the order that it would go through all of
them in: the order of its epoch, without what it holds out. An epoch has as many batches for every fold, those
that the largest one leaves; the rest of the order is dropped.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sweeps.data.streams import Block
from sweeps.engine.folds import Split, rows_of
from sweeps.ops.permutation import permuted
from sweeps.ops.threefry import fold_in
from sweeps.trial import Study

ORDER = 2  # the stream of epochs' orders that is folded into the root key
NONE = -1  # where an order is not known yet


class Batches(NamedTuple):
    """How the loop gets at batches.

    Attributes:
        axis: the axis of a batch along which members lie; None where they share it.
        order: what the first step is given as the order of its epoch: none yet.
        take: `(step, order) -> (batch, order)`, the order that of the step's epoch.
    """

    axis: int | None
    order: Any
    take: Callable[[Any, Any], tuple[Any, Any]]


def batches_of(study: Study, root: jax.Array, members: Any, train: Any) -> Batches:
    """How a loop over steps gets at the training data.

    Args:
        study: the study.
        root: the root key.
        members: their `seeds`, and the `folds` that they hold out, one row each.
        train: the training data, as folds cut it where there are folds, or a block of a stream.
    """
    size = study.trial.batch_size
    if isinstance(train, Block):
        return Batches(None, (), lambda step, order: (_at(train, step), order))
    if train is None or size is None:
        return Batches(None, (), lambda step, order: (train, order))
    cut = isinstance(train, Split)
    data = train.data if cut else train
    count = len(jax.tree.leaves(data)[0])
    per_epoch = (train.training_size if cut else count) // size
    per_seed = study.batches == "per_seed"

    def of_epoch(epoch: Any) -> Any:
        key = fold_in(fold_in(root, ORDER), epoch)
        if not per_seed:
            order = permuted(key, count)
            return _without_each_fold(train, order) if cut else order
        orders = jax.vmap(lambda seed: permuted(fold_in(key, seed), count))(members.seeds)
        return jax.vmap(partial(_without, train))(orders, members.folds) if cut else orders

    def take(step: Any, order: Any) -> tuple[Any, Any]:
        place = step % per_epoch
        # The step counter is the same for all members, so this stays a branch: an epoch is ordered once.
        due = (place == 0) | (order.ravel()[0] == NONE)
        order = jax.lax.cond(due, lambda: of_epoch(step // per_epoch), lambda: order)
        index = jax.lax.dynamic_slice_in_dim(order, place * size, size, axis=-1)
        if cut and not per_seed:
            index = index[members.folds]
        return rows_of(data, index), order

    rows = (len(members.seeds),) if per_seed else (len(train.table),) if cut else ()
    return Batches(0 if per_seed or cut else None, jnp.full((*rows, count), NONE), take)


def _without(train: Split, order: jax.Array, fold: Any) -> jax.Array:
    """The order with what a fold holds out after all else."""
    return order[jnp.argsort(train.fold[order] == fold, stable=True)]


def _without_each_fold(train: Split, order: jax.Array) -> jax.Array:
    """The order of every fold, a row each."""
    return jax.vmap(partial(_without, train, order))(jnp.arange(len(train.table)))


def _at(block: Block, step: Any) -> Any:
    return jax.tree.map(lambda rows: rows[step - block.first], block.batches)
