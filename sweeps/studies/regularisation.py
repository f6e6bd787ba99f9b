"""Whether the gain of Leaky ReLU over ReLU depends on dropout and weight decay.

The claims: a non-zero slope consistently improves on ReLU (Xu et al., 2015), so under every regularisation;
and the slope must be tuned together with dropout and weight decay, since its gain depends on them (common
advice). Measured: test accuracy of a two-hidden-layer MLP with slopes 0 and 0.2, dropout 0 and 0.5, decay
0 and 1 (decoupled, as in AdamW), 24 seeds, paired. Half a percentage point is the smallest difference that
matters.

Found here (intervals hold together for 6 comparisons): under no regularisation does the slope gain half a
point: without any -0.01 (-0.23 to +0.21), with dropout +0.22 (-0.02 to +0.46), with decay -0.06 (-0.27 to
+0.16), with both +0.01 (-0.27 to +0.29). Nor does the gain depend by half a point on dropout (+0.15, -0.07 to
+0.38) or on weight decay (-0.13, -0.29 to +0.03).
"""

import dataclasses
import functools
import itertools
import math
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax
from flax import nnx
from jaxtyping import Float

import sweeps
from lrelu_jax import LeakyReLU
from sweeps.claims.effects import OTHER, Effect, effect_of
from sweeps.claims.verdicts import Claim, Finding, at_seeds, judge_each, left_out, said
from sweeps.report.drawing import canvas, caption, effects
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


CLAIMS = (
    Claim("A non-zero slope consistently improves on ReLU, whatever the regularisation.", "Xu et al., 2015"),
    Claim("The gain of a non-zero slope depends on dropout.", "common advice: tune them together"),
    Claim("The gain of a non-zero slope depends on weight decay.", "common advice: tune them together"),
)
SLOPE, DROPOUT, DECAY = 0.2, (0.0, 0.5), (0.0, 1.0)
MARGIN = 0.005  # of accuracy
COMPARISONS = 6  # four conditions, two interactions


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    alpha: float = 0.01
    dropout: float = 0.0
    weight_decay: float = 0.0
    learning_rate: float = 1e-3
    width: int = 128


class MLP(nnx.Module):
    """Two hidden layers of Leaky ReLU units, each with dropout."""

    def __init__(self, config: Config, rngs: nnx.Rngs, *, pixels: int = 64, classes: int = 10):
        self.hidden1 = nnx.Linear(pixels, config.width, rngs=rngs)
        self.hidden2 = nnx.Linear(config.width, config.width, rngs=rngs)
        self.logits = nnx.Linear(config.width, classes, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)
        self.dropout = sweeps.Dropout(config.dropout, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (n, classes) of images (n, ...)."""
        hidden = images.reshape(len(images), -1)
        for linear in (self.hidden1, self.hidden2):
            hidden = self.dropout(self.activation(linear(hidden)))
        return self.logits(hidden)


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on these images, digits if None."""
    data = data or sweeps.data.digits()
    pixels, classes = math.prod(data.train[0].shape[1:]), sweeps.data.classes(data)
    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(MLP, pixels=pixels, classes=classes),
        optimizer=lambda config: optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
        data=data,
        batch_size=128,
    )
    space = {
        "alpha": sweeps.grid(0.0, SLOPE),
        "dropout": sweeps.grid(*DROPOUT),
        "weight_decay": sweeps.grid(*DECAY),
        "seed": range(24),
    }
    return sweeps.Study(trial, steps=400, metric="test/accuracy", space=space)


study = make()


def gain(results: Results, dropout: float, decay: float) -> Float[np.ndarray, " seeds"]:
    """By how much the slope raises accuracy at each seed, under that regularisation; NaN if one diverged."""
    part = results.filter(dropout=dropout, weight_decay=decay)
    return at_seeds(part, None, alpha=SLOPE) - at_seeds(part, None, alpha=0)


def interactions(results: Results) -> tuple[Effect, Effect]:
    """How much more the slope gains with dropout than without, and with decay, over the other's levels."""
    table = np.array([[gain(results, dropout, decay) for decay in DECAY] for dropout in DROPOUT])
    table = table[..., np.isfinite(table).all(axis=(0, 1))]
    dropout = np.mean(table[1] - table[0], axis=0)
    decay = np.mean(table[:, 1] - table[:, 0], axis=0)
    words = {"unit": "points", "scale": 100}
    return (
        effect_of(dropout, MARGIN, COMPARISONS, OTHER, "change with dropout", **words),
        effect_of(decay, MARGIN, COMPARISONS, OTHER, "change with decay", **words),
    )


def gains(results: Results) -> dict[str, Effect]:
    """The gain under each regularisation, by what it is called."""
    found = {}
    for dropout, decay in itertools.product(DROPOUT, DECAY):
        label = f"dropout {dropout:g}, decay {decay:g}"
        differences = gain(results, dropout, decay)
        found[label] = effect_of(differences, MARGIN, COMPARISONS, label=label, unit="points", scale=100)
    return found


def findings(results: Results) -> tuple[Finding, ...]:
    """Whether the slope gains under each regularisation, and whether its gain depends on it."""
    each = gains(results)
    words = "; ".join(f"{label}: {said(effect.interval, 'points', 100)}" for label, effect in each.items())
    found = [
        Finding(
            CLAIMS[0],
            judge_each(list(each.values())),
            f"A slope of {SLOPE:g} changes accuracy, at {words}.{left_out(results)}",
            COMPARISONS,
            tuple(each.values()),
        )
    ]
    for claim, name, change in zip(
        CLAIMS[1:], ("dropout", "weight decay"), interactions(results), strict=True
    ):
        text = f"With {name} the slope gains {said(change.interval, 'points', 100)} more than without."
        found.append(Finding(claim, change.verdict, text, COMPARISONS, (change,)))
    return tuple(found)


def picture(results: Results) -> "Figure":
    """The gain of the slope under each regularisation, and how it changes."""
    shown = [*gains(results).values(), *interactions(results)]
    labels = [effect.label for effect in shown]
    scaled = [Interval(*(100 * value for value in effect.interval)) for effect in shown]
    figure, (axes,) = canvas()
    effects(axes, labels, scaled, 100 * MARGIN, f"gain in test accuracy of α = {SLOPE:g} over ReLU, points")
    axes.axhline(1.5, color="#999999", linewidth=0.8)
    caption(
        figure,
        "Bars: intervals of the mean over seeds, paired, which hold together at 95 % "
        f"({COMPARISONS} comparisons); filled: zero is outside.",
    )
    return figure
