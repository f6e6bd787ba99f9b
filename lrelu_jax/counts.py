"""How often each unit of a rectifier was positive, zero or negative, and how large its output was.

A unit is a feature or a channel: one element of one axis of the rectifier's input, counted over the others.
"""

import functools
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Integer, Shaped

from .rectify import as_floating
from .signs import NEGATIVE, POSITIVE, ZERO, branch

Counts: TypeAlias = Integer[Array, "*members units"] | Integer[np.ndarray, " units"]


class UnitCounts(NamedTuple):
    """How often each unit was positive, zero, negative or non-finite: a pytree of integer arrays [units].

    Counts of disjoint batches add up (`merge`), and across devices (`jax.lax.psum`). On device they are
    int32, enough for 2**31 values of each unit; `dead_units` adds batches up in int64.
    """

    positive: Counts
    zero: Counts
    negative: Counts
    non_finite: Counts


class UnitReport(NamedTuple):
    """What a full pass over the data says about the units of one rectifier.

    A unit with a NaN or infinity among its inputs is neither never positive nor dormant: what it would have
    been is not known, and `counts.non_finite` shows it.
    """

    counts: UnitCounts
    never_positive: Bool[np.ndarray, " units"]
    """For ReLU the dead units: their inputs were finite, and their output, and the gradient through them,
    always 0."""
    zeros: Float[np.ndarray, " units"]
    """Share of exact zeros among the inputs."""
    negatives: Float[np.ndarray, " units"]
    """Share of negative inputs; for ReLU `zeros + negatives` is the sparsity of the output."""
    activity: Float[np.ndarray, " units"]
    """Mean size of the output, E|h|, divided by its mean over the rectifier's units; 0 where all are 0.

    NaN for a unit with an input or output that is not finite, or whose outputs add up to more than float32
    holds; the mean is over the others.
    """

    def dormant(self, tau: float = 0.0) -> Bool[np.ndarray, " units"]:
        """The units whose activity is at or below `tau`; none whose activity is NaN.

        With `tau` = 0 these are the units whose output was always 0: for ReLU the dead ones.

        References:
            Sokar, Agarwal, Castro and Evci, "The Dormant Neuron Phenomenon in Deep Reinforcement Learning",
            2023, who take 0.025 and 0.1 too.
        """
        return self.activity <= tau


class Tally(NamedTuple):
    """What one call of a rectifier adds to its report: arrays [*stack, units]."""

    counts: UnitCounts
    magnitude: Float[Array, "*stack units"] | Float[np.ndarray, "*stack units"]
    """Sums of the sizes of the outputs; not finite where one of them is not, or the sum is too large."""


def count_units(x: Shaped[ArrayLike, "*batch units"]) -> UnitCounts:
    """Count the signs of each unit over all axes but the last.

    Args:
        x: Inputs of a rectifier; subnormals have the sign of their bits.

    Returns:
        Counts of shape (units,).

    Example:
        >>> import jax.numpy as jnp
        >>> counts = count_units(jnp.array([[1.0, -1.0], [0.0, -2.0], [3.0, -3.0]]))
        >>> counts.positive.tolist(), counts.zero.tolist(), counts.negative.tolist()
        ([2, 0], [1, 0], [0, 3])
    """
    return _count(as_floating("count_units", x), 0)


def tally(x: Float[Array, "*stack over units"], y: Float[Array, "*stack over units"], stack: int) -> Tally:
    """Count a rectifier's input and sum up its output over the last axis but one.

    Args:
        x: Input of the rectifier.
        y: Its output.
        stack: How many axes `*stack` is, whose elements are apart.
    """
    wide = jnp.promote_types(y.dtype, np.float32)
    return Tally(_count(x, stack), jnp.sum(jnp.abs(y), tuple(range(stack, y.ndim - 1)), dtype=wide))


def merge(first: UnitCounts, *others: UnitCounts) -> UnitCounts:
    """Add up the counts of disjoint batches.

    Example:
        >>> import jax.numpy as jnp
        >>> batches = jnp.array([[[1.0], [2.0]], [[-1.0], [3.0]]])
        >>> merge(*map(count_units, batches)).positive.tolist()
        [3]
    """
    return jax.tree.map(lambda *counts: sum(counts[1:], counts[0]), first, *others)


def report(total: Tally) -> UnitReport:
    """Make shares of a full pass over the data, which holds at least one value of each unit."""
    positive, zero, negative, non_finite = arrays = [np.asarray(count) for count in total.counts]
    seen = np.sum(arrays, axis=0)
    mean = np.asarray(total.magnitude) / seen
    known = np.isfinite(mean) & (non_finite == 0)
    layer = mean[known].mean() if known.any() else 0.0
    activity = np.where(known, 0.0, np.nan)
    np.divide(mean, layer, out=activity, where=known & (layer > 0))
    never_positive = (positive == 0) & (non_finite == 0)
    return UnitReport(total.counts, never_positive, zero / seen, negative / seen, activity)


def _count(x: Float[Array, "..."], stack: int) -> UnitCounts:
    finite, side = jnp.isfinite(x), branch(x)
    count = functools.partial(jnp.sum, axis=tuple(range(stack, x.ndim - 1)), dtype=jnp.int32)
    return UnitCounts(
        positive=count(finite & (side == POSITIVE)),
        zero=count(side == ZERO),
        negative=count(finite & (side == NEGATIVE)),
        non_finite=count(~finite),
    )
