"""Whether BatchNorm or LayerNorm takes away what a slope gains over ReLU.

The claims: without BatchNorm an activation with a negative side is to be used, ELU, and with it ReLU
(Mishkin, Sergievskiy and Matas, 2017, on ImageNet); here the same is asked of Leaky ReLU, and of LayerNorm.
Measured: test accuracy of six dense layers of 64 units, normalised before the rectifier or not at all, with
slopes 0, 0.01, 0.1 and 0.3, from the same first weights and at one learning rate, 0.005. BatchNorm is
evaluated by its running statistics.

The data are MNIST-1D: wine and breast cancer have 37 and 115 test examples, and on the digits slopes differ
by a tenth of a point (`digits-mlp`), a third of a test image, and here these networks miss four in ten of
1,000 test examples. Two points, a twentieth of these, are the smallest difference that matters. 72 seeds tell
it from none with a power of 90 % for every one of the 15 comparisons: by a pilot of 16, a difference of two
gains takes 69 and a gain 41. About 2 minutes on two cores that have nothing else to do.

Found here (intervals hold together for 15 comparisons): without normalisation a slope of 0.1 gains 2.3 points
(1.6 to 3.1) and 0.3 gains 3.1 (2.4 to 3.9), while 0.01 gains less than 2 (0.1, -0.7 to +0.9). With BatchNorm
none gains 2 points: the most is 1.0 (0.3 to 1.7) at 0.1. Nor does any with LayerNorm, where the most is 0.6
(-0.2 to +1.4). BatchNorm takes 3.8 points (2.8 to 4.7) of what 0.3 gains, and LayerNorm 3.0 (1.7 to 4.3).
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Literal

import jax
import numpy as np
import optax
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU
from lrelu_jax.initializers import he_normal
from sweeps.claims.effects import MORE, NO_MORE, Claimed, Effect, Verdict, effect_of
from sweeps.claims.verdicts import Claim, Finding, all_of, at_seeds, combined, left_out, said
from sweeps.report.drawing import canvas, caption, effects
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval
from sweeps.studies.activations import on_training

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


MISHKIN = "Mishkin, Sergievskiy and Matas, 2017, of ELU"
DATA = "mnist-1d"  # what `make` takes by itself
CLAIMS = (
    Claim("Without normalisation a slope is more accurate than ReLU.", MISHKIN),
    Claim("With BatchNorm no slope is: ReLU does.", MISHKIN),
    Claim("With LayerNorm no slope is: ReLU does.", "asked here"),
    Claim("A slope gains less with BatchNorm than without.", MISHKIN),
    Claim("A slope gains less with LayerNorm than without.", "asked here"),
)
NAMES = {"none": "no norm", "batch": "BatchNorm", "layer": "LayerNorm"}
KINDS = tuple(NAMES)
SLOPES = (0.01, 0.1, 0.3)
MARGIN = 0.02  # of accuracy
COMPARISONS = 5 * len(SLOPES)  # the gains under three kinds, and what each of two takes away


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    alpha: float = 0.01
    normalisation: Literal["none", "batch", "layer"] = "none"
    learning_rate: float = 5e-3
    width: int = 64
    depth: int = 6


class Block(nnx.Module):
    """A dense layer, what normalises it, and its rectifier."""

    def __init__(self, size: int, config: Config, rngs: nnx.Rngs):
        self.linear = nnx.Linear(size, config.width, kernel_init=he_normal(), rngs=rngs)
        self.norm = {
            "none": lambda: None,
            "batch": lambda: nnx.BatchNorm(config.width, momentum=0.9, rngs=rngs),
            "layer": lambda: nnx.LayerNorm(config.width, rngs=rngs),
        }[config.normalisation]()
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, signal: jax.Array) -> jax.Array:
        """What the layer puts out."""
        signal = self.linear(signal)
        return self.activation(signal if self.norm is None else self.norm(signal))


class MLP(nnx.Module):
    """Hidden layers that are normalised before the rectifier, or not at all."""

    def __init__(self, config: Config, rngs: nnx.Rngs, *, inputs: int = 40, classes: int = 10):
        sizes = [inputs, *(config.depth - 1) * [config.width]]
        self.blocks = nnx.List([Block(size, config, rngs) for size in sizes])
        self.logits = nnx.Linear(config.width, classes, rngs=rngs)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Logits (n, classes) of inputs (n, ...)."""
        signal = inputs.reshape(len(inputs), -1)
        for block in self.blocks:
            signal = block(signal)
        return self.logits(signal)


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on this data, MNIST-1D if None."""
    data = data or sweeps.data.mnist_1d()
    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(
            MLP, inputs=math.prod(data.train[0].shape[1:]), classes=sweeps.data.classes(data)
        ),
        optimizer=lambda config: optax.adam(config.learning_rate),
        data=data,
        batch_size=100,
        inspect=on_training(data),
    )
    space = {
        "normalisation": sweeps.grid(*KINDS),
        "alpha": sweeps.grid(0.0, *SLOPES),
        "seed": range(72),
    }
    return sweeps.Study(trial, steps=400, metric="test/accuracy", evaluate_every=200, space=space)


study = make()


def gain(results: Results, kind: str, slope: float) -> np.ndarray:
    """By how much the slope raises the accuracy at each seed; NaN where a run diverged."""
    own = {"normalisation": kind}
    return at_seeds(results, None, alpha=slope, **own) - at_seeds(results, None, alpha=0.0, **own)


def gains(results: Results, kind: str) -> dict[float, Effect]:
    """The gain of every slope under a kind of normalisation; without any, it is claimed to be there."""
    claimed = MORE if kind == "none" else NO_MORE
    return {slope: _effect(gain(results, kind, slope), claimed, kind, slope) for slope in SLOPES}


def taken(results: Results, kind: str) -> dict[float, Effect]:
    """How much less every slope gains under a kind of normalisation than without any."""
    return {
        slope: _effect(gain(results, "none", slope) - gain(results, kind, slope), MORE, kind, slope)
        for slope in SLOPES
    }


def _effect(differences: np.ndarray, claimed: Claimed, kind: str, slope: float) -> Effect:
    label = f"{NAMES[kind]}, α = {slope:g}"
    return effect_of(differences, MARGIN, COMPARISONS, claimed, label, "points", 100)


def findings(results: Results) -> tuple[Finding, ...]:
    """Whether a slope gains under each kind, and whether a kind takes that away."""
    each = [gains(results, kind) for kind in KINDS] + [taken(results, kind) for kind in KINDS[1:]]
    beginnings = (
        *(f"Accuracy above ReLU's {where}" for where in ("without it", "with BatchNorm", "with LayerNorm")),
        "Gain without less that with BatchNorm",
        "Gain without less that with LayerNorm",
    )
    found = []
    for claim, own, words in zip(CLAIMS, each, beginnings, strict=True):
        verdicts: list[Verdict] = [effect.verdict for effect in own.values()]
        # That no slope gains says something of all of them.
        verdict = all_of(verdicts) if own[SLOPES[0]].claimed == NO_MORE else combined(verdicts)
        parts = ", ".join(
            f"at α = {slope:g} {said(effect.interval, scale=100)}" for slope, effect in own.items()
        )
        small = f"less than {100 * MARGIN:g} is too small to matter"
        measured = f"{words}: {parts} points; {small}.{left_out(results)}"
        found.append(Finding(claim, verdict, measured, COMPARISONS, tuple(own.values())))
    return tuple(found)


def picture(results: Results) -> "Figure":
    """The gain of every slope under each kind of normalisation, and what each kind takes away."""
    figure, (left, right) = canvas(2)
    for axes, table, unit in (
        (left, {kind: gains(results, kind) for kind in KINDS}, "accuracy above ReLU's, points"),
        (right, {kind: taken(results, kind) for kind in KINDS[1:]}, "gain without less that with it, points"),
    ):
        rows = [own for each in table.values() for own in each.values()]
        scaled = [Interval(*(100 * bound for bound in own.interval)) for own in rows]
        effects(axes, [own.label for own in rows], scaled, 100 * MARGIN, unit)
        for line in range(1, len(table)):
            axes.axhline(line * len(SLOPES) - 0.5, color="#999999", linewidth=0.8)
    caption(
        figure,
        "Left: what each slope gains over ReLU. Right: how much less that is with a normalisation. Bars: "
        "intervals of the mean over seeds, paired, which hold together at 95 % "
        f"({COMPARISONS} comparisons); filled: zero is outside.",
    )
    return figure
