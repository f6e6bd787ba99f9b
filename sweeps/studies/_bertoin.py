"""The protocol of Bertoin and others: how often gradients depend on ReLU'(0), and networks trained beside.

`subgradient` and `subgradient_mnist` share it.
"""

import dataclasses
import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import sweeps
from sweeps.claims.effects import Effect, effect_of
from sweeps.claims.verdicts import binomial_interval, finals, levels, paired
from sweeps.models.losses import accuracy
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval
from sweeps.studies._low_precision import RULES, Layers, draw, forward, held, loss, precision, released

BERTOIN = "Bertoin, Bolte, Gerchinovitz and Pauwels, 2021"
BATCH = 256
OTHERS = tuple(rule for rule in RULES if rule != "zero")


@dataclasses.dataclass(frozen=True)
class Config:
    """The precision, the number of hidden layers and their width, and SGD's rate."""

    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32"
    depth: int = 3
    width: int = 128
    learning_rate: float = 0.1


class State(NamedTuple):
    """What a member carries: networks, and what was counted of those drawn for one pass each.

    Attributes:
        drawn: the network of the pass.
        trained: one network for each rule, or none.
        batches: how many there were.
        hit: for each rule but s = 0, whether the gradient differed on any batch of the pass.
        runs: how many passes are over.
        hits: on how many of them it did.
        zeros: how many inputs of rectifiers were 0.
        changes: the sum over batches that differ of the logarithm of the change.
        changed: how many batches those are.
    """

    drawn: Layers
    trained: dict[str, Layers]
    batches: jax.Array
    hit: dict[str, jax.Array]
    runs: jax.Array
    hits: dict[str, jax.Array]
    zeros: jax.Array
    changes: dict[str, jax.Array]
    changed: dict[str, jax.Array]


def protocol(data: sweeps.Data, steps: int = 0) -> sweeps.Trial:
    """A member draws a network for each pass over the data, and trains one by each rule beside.

    Args:
        data: images of shape (n, pixels) in [0, 1], and class numbers.
        steps: over how many the rate falls to 0, along a cosine, as in the published code; with 0 of them no
            network is trained, and those that are drawn are only counted.
    """
    pixels, classes = data.train[0].shape[1], int(data.train[1].max()) + 1
    size, per_pass = min(BATCH, len(data.train[0])), passes(data, 1)

    def fresh(config: Config, key: jax.Array) -> Layers:
        return draw([pixels, *[config.width] * config.depth, classes], config.dtype, key)

    def init(config: Config, key: jax.Array) -> State:
        with precision(config.dtype):
            layers, none = held(fresh(config, key)), jnp.zeros((), jnp.float32)
        learners = dict.fromkeys(RULES, layers) if steps else {}
        each = dict.fromkeys(OTHERS, none)
        no: dict[str, jax.Array] = dict.fromkeys(OTHERS, jnp.zeros((), bool))
        return State(layers, learners, jnp.int32(0), no, none, each, none, each, each)

    def step(config: Config, state: State, batch: Any, key: jax.Array) -> tuple[State, dict[str, Any]]:
        with precision(config.dtype):
            new = functools.partial(jnp.where, state.batches % per_pass == 0)
            drawn = jax.tree.map(new, fresh(config, key), released(state.drawn))
            learners = {
                rule: held(_trained(released(layers), rule, batch, _rate(config, state.batches, steps)))
                for rule, layers in state.trained.items()
            }
            return _counted(state, drawn, batch, per_pass)._replace(trained=learners), {}

    def evaluate(config: Config, state: State, evaluation: Any) -> dict[str, Any]:
        images, targets = evaluation
        units = state.batches.astype(jnp.float32) * (size * config.depth * config.width)
        metrics = {"runs/count": state.runs, "zeros/per_million": 1e6 * (state.zeros / units)}
        metrics["runs/images"] = jnp.float32(size * per_pass)
        for rule in OTHERS:
            metrics[f"runs/differ/{rule}"] = state.hits[rule] / jnp.maximum(state.runs, 1)
            metrics[f"batches/differ/{rule}"] = state.changed[rule]
            # NaN where no batch differed.
            metrics[f"log10_change/{rule}"] = state.changes[rule] / state.changed[rule]
        for rule, layers in state.trained.items():
            with precision(config.dtype):
                logits = forward(released(layers), images, rule)[0].astype(jnp.float32)
            metrics[f"test/accuracy/{rule}"] = jnp.mean(accuracy(logits, targets))
        return metrics

    # A network that overflowed is a result like any other: its accuracy is that of guessing.
    return sweeps.Trial(Config, data, init, step, evaluate, size, lambda config, state, metrics: False)


def passes(data: sweeps.Data, count: int) -> int:
    """How many steps so many passes over the data are."""
    return count * (len(data.train[0]) // min(BATCH, len(data.train[0])))


def unit_scaled(data: sweeps.Data, axis: int | None = 0) -> sweeps.Data:
    """The images as rows of pixels in [0, 1].

    Args:
        data: pairs (images, class numbers).
        axis: 0 scales each pixel by its own range in the training part, None all of them by one.
    """
    low, high = data.train[0].min(axis=axis), data.train[0].max(axis=axis)
    span = np.where(high > low, high - low, 1)
    return sweeps.Data(*((((x - low) / span).astype(np.float32).reshape(len(x), -1), y) for x, y in data))


def _counted(state: State, drawn: Layers, batch: Any, per_pass: int) -> State:
    """What is known after a batch more of the network that was drawn for this pass."""
    gradients, met = {}, jnp.zeros(())
    for rule in RULES:
        every, met = jax.grad(loss, has_aux=True)(drawn, rule, *batch)
        gradients[rule] = every[0][0]
    first, ended = state.batches % per_pass == 0, (state.batches + 1) % per_pass == 0
    hit, hits, changes, changed = {}, {}, {}, {}
    for rule in OTHERS:
        differs = jnp.any(gradients["zero"] != gradients[rule])
        hit[rule] = differs | (state.hit[rule] & ~first)
        hits[rule] = state.hits[rule] + (ended & hit[rule])
        change = _change(gradients["zero"], gradients[rule])
        changes[rule] = state.changes[rule] + jnp.where(differs, change, 0)
        changed[rule] = state.changed[rule] + differs
    counts = (state.runs + ended, hits, state.zeros + met, changes, changed)
    return State(held(drawn), state.trained, state.batches + 1, hit, *counts)


def _change(before: jax.Array, after: jax.Array) -> jax.Array:
    """The logarithm of the relative change of the first layer's gradient."""
    before, after = before.astype(jnp.float32), after.astype(jnp.float32)
    tiny = jnp.finfo(jnp.float32).tiny
    size = jnp.linalg.norm(before)
    return jnp.log10(jnp.maximum(jnp.linalg.norm(after - before), tiny) / jnp.maximum(size, tiny))


def _rate(config: Config, done: jax.Array, steps: int) -> jax.Array:
    """The learning rate after some of so many steps."""
    return config.learning_rate * (1 + jnp.cos(math.pi * done / steps)) / 2


def _trained(layers: Layers, rule: str, batch: Any, rate: Any) -> Layers:
    """The layers after a step of SGD by a rule."""
    slopes = jax.grad(loss, has_aux=True)(layers, rule, *batch)[0]
    return jax.tree.map(functools.partial(_updated, rate=rate), layers, slopes)


def _updated(value: jax.Array, slope: jax.Array, rate: Any) -> jax.Array:
    wide = jnp.promote_types(value.dtype, jnp.float32)
    return (value.astype(wide) - rate * slope.astype(wide)).astype(value.dtype)


def differing(results: Results, rule: str, **conditions: Any) -> tuple[int, int]:
    """How many runs differ from s = 0 by a rule, and how many there are."""
    count = finals(results, "runs/count", **conditions)
    differ = np.rint(finals(results, f"runs/differ/{rule}", **conditions) * count)
    return int(differ.sum()), int(count.sum())


def share(results: Results, comparisons: int, rule: str, **conditions: Any) -> Interval:
    """The share of runs that differ, with its interval."""
    return binomial_interval(*differing(results, rule, **conditions), comparisons)


def growth(results: Results, margin: float, rule: str) -> list[Effect]:
    """How many more runs differ, seed by seed, at the largest depth or width than at the smallest.

    Where no run of either differs, or all of both do, nothing can be said; float64 is left out.
    """
    found, comparisons = [], compared(results)
    for field, other in (("depth", "width"), ("width", "depth")):
        ends = levels(results, field)
        for dtype in (name for name in levels(results, "dtype") if name != "float64"):
            for same in levels(results, other):
                at = {"dtype": dtype, other: same}
                values = paired(
                    results, f"runs/differ/{rule}", {**at, field: ends[-1]}, {**at, field: ends[0]}
                )
                label = f"{field} {ends[-1]} above {ends[0]}, {dtype}, {other} {same}"
                if values.any():
                    found.append(
                        effect_of(values, margin, comparisons, label=label, unit="points", scale=100)
                    )
    return found


def compared(results: Results) -> int:
    """How many pairs of sizes there are: of each precision but float64, at each other size."""
    count = len([name for name in levels(results, "dtype") if name != "float64"])
    return count * sum(len(levels(results, field)) for field in ("depth", "width"))


def bar(interval: Interval) -> dict[str, Any]:
    """What `errorbar` draws an interval by."""
    reach = [[interval.mean - interval.low], [interval.high - interval.mean]]
    return {"y": interval.mean, "yerr": np.clip(reach, 0, None), "capsize": 2}
