"""Whether the best slope of a narrow network is the best of a wide one.

The claims: what is best for a small model is best for a large one, as is hoped wherever small ones are tuned
(Yang et al., 2022, show it for learning rates under their parametrisation, μP, and not under the usual one);
here it is asked of the slope, under the usual one. Measured: test accuracy of two hidden layers of 16 to 512
units, with slopes 0, 0.01, 0.1 and 0.3, from the same first weights and at one learning rate, 0.01. A slope
is chosen for each width on every fourth seed; what it costs at 512 units is measured on the others, so that
the choice does not flatter itself.

The data are MNIST-1D: wine and breast cancer have 37 and 115 test examples, and on the digits slopes differ
by a tenth of a point (`digits-mlp`), a third of a test image, and here widths and slopes differ by many of
the 1,000. Two points, a twentieth of the errors, are the smallest difference that matters. 36 seeds tell it
with a power of 90 % where slopes are chosen (27 measure them, and 22 would do), and almost where the gains of
two widths are compared, which takes 24 to 39; by a pilot of two seeds 13 and 25. About 3 minutes on two cores
that have nothing else to do, most of it at 512 units.

Found here (the intervals of each claim hold together): what narrower networks choose, one of 0, 0.01 and 0.1,
costs the widest less than 2 points: 0.7 (-0.4 to +1.9) at most. But the gain of a large slope depends on the
width: 0.3 loses 0.4 points to ReLU at 16 units and 7.9 at 512, a change of 7.5 (6.2 to 8.8); at 16 units
slopes are so alike that which is chosen is chance, and 0.3 might have been. The gains of 0.01 and 0.1 change
by less than 2 points between these widths (-0.6, -1.7 to +0.4, and -0.7, -2.1 to +0.6; two one-sided tests).
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax
from flax import nnx
from jaxtyping import Float

import sweeps
from lrelu_jax import LeakyReLU
from lrelu_jax.initializers import he_normal
from sweeps.claims.effects import NO_MORE, SAME, Effect, effect_of
from sweeps.claims.verdicts import Claim, Finding, at_seeds, combined, left_out, levels, said
from sweeps.report.drawing import COLORS, band, canvas, caption, in_percent
from sweeps.results.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


DATA = "mnist-1d"  # what `make` takes by itself
CLAIMS = (
    Claim(
        "The slope that is best for a narrow network is as good as any for a wide one.",
        "hoped for where small models are tuned; Yang et al., 2022, show it for learning rates, under μP",
    ),
    Claim("What a slope gains over ReLU does not depend on the width.", "asked here"),
)
SLOPES = (0.0, 0.01, 0.1, 0.3)
WIDTHS = (16, 32, 64, 128, 256, 512)
MARGIN = 0.02  # of accuracy
CHOOSING = 4  # one seed of so many chooses slopes, the others measure what was chosen


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    alpha: float = 0.01
    width: int = 64
    learning_rate: float = 1e-2


class MLP(nnx.Module):
    """Two hidden layers of Leaky ReLU units, whose first weights do not depend on the slope."""

    def __init__(self, config: Config, rngs: nnx.Rngs, *, inputs: int = 40, classes: int = 10):
        self.hidden1 = nnx.Linear(inputs, config.width, kernel_init=he_normal(), rngs=rngs)
        self.hidden2 = nnx.Linear(config.width, config.width, kernel_init=he_normal(), rngs=rngs)
        self.logits = nnx.Linear(config.width, classes, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Logits (n, classes) of inputs (n, ...)."""
        signal = self.activation(self.hidden1(inputs.reshape(len(inputs), -1)))
        return self.logits(self.activation(self.hidden2(signal)))


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
    )
    space = {"width": sweeps.grid(*WIDTHS), "alpha": sweeps.grid(*SLOPES), "seed": range(36)}
    return sweeps.Study(trial, steps=300, metric="test/accuracy", evaluate_every=100, space=space)


study = make()


def by_slope(results: Results, width: int) -> Float[np.ndarray, "slopes seeds"]:
    """The accuracy at a width, a row per slope and a column per seed; NaN where a run diverged."""
    slopes = levels(results, "alpha")
    return np.stack([at_seeds(results, None, alpha=slope, width=width) for slope in slopes])


def best_slopes(results: Results) -> dict[int, float]:
    """The slope that is best at each width, on every fourth seed: the others are for measuring it."""
    slopes = levels(results, "alpha")  # a run that diverged has nothing right
    return {
        width: slopes[int(np.nan_to_num(by_slope(results, width)[:, ::CHOOSING]).mean(axis=1).argmax())]
        for width in levels(results, "width")
    }


def regrets(results: Results) -> dict[int, Effect]:
    """What the widest network loses with each narrower one's best slope, on seeds that chose neither."""
    slopes, best = levels(results, "alpha"), best_slopes(results)
    *narrow, widest = best
    table = by_slope(results, widest)
    fresh = np.delete(table, np.s_[::CHOOSING], axis=1)
    found = {}
    for width in narrow:
        lost = fresh[slopes.index(best[widest])] - fresh[slopes.index(best[width])]
        label = f"lost with the slope of width {width}"
        found[width] = effect_of(lost, MARGIN, len(narrow), NO_MORE, label, "points", 100)
    return found


def changes(results: Results) -> dict[float, Effect]:
    """How much more each slope gains over ReLU in the narrowest network than in the widest."""
    widths, slopes = levels(results, "width"), levels(results, "alpha")
    narrow, wide = (by_slope(results, width) for width in (widths[0], widths[-1]))
    found = {}
    for place, slope in enumerate(slopes):
        if slope:
            more = (narrow[place] - narrow[0]) - (wide[place] - wide[0])
            label = f"gain of {slope:g} at {widths[0]} less that at {widths[-1]}"
            found[slope] = effect_of(more, MARGIN, len(slopes) - 1, SAME, label, "points", 100)
    return found


def findings(results: Results) -> tuple[Finding, ...]:
    """Whether narrow networks choose a good slope for the widest, and whether gains depend on the width."""
    lost, more, best = regrets(results), changes(results), best_slopes(results)
    *narrow, widest = best
    small = f"less than {100 * MARGIN:g} is too small to matter"
    transferred = combined([effect.verdict for effect in lost.values()])
    words = ", ".join(
        f"{best[width]:g} of width {width} {said(own.interval, scale=100)}" for width, own in lost.items()
    )
    first = Finding(
        CLAIMS[0],
        transferred,
        f"At width {widest}, its own best slope, {best[widest]:g}, is more accurate than the best slope, "
        f"{words} points; {small}.{left_out(results)}",
        len(lost),
        tuple(lost.values()),
    )
    verdict = combined([effect.verdict for effect in more.values()])
    words = ", ".join(f"at α = {slope:g} {said(own.interval, scale=100)}" for slope, own in more.items())
    second = Finding(
        CLAIMS[1],
        verdict,
        f"Gain over ReLU at width {narrow[0]} less that at {widest}: {words} points; {small}."
        f"{left_out(results)}",
        len(more),
        tuple(more.values()),
    )
    return first, second


def picture(results: Results) -> "Figure":
    """Accuracy against width for every slope, and what slopes gain over ReLU at each width."""
    widths, slopes = levels(results, "width"), levels(results, "alpha")
    figure, (left, right) = canvas(2)
    tables = {width: by_slope(results, width) for width in widths}
    for place, (slope, color) in enumerate(zip(slopes, COLORS, strict=False)):
        label = f"α = {slope:g}" if slope else "α = 0, ReLU"
        rows = np.stack([tables[width][place] for width in widths])
        band(left, np.array(widths), rows, color, label, marker="o")
        if place:
            gained = np.stack([tables[width][place] - tables[width][0] for width in widths])
            band(right, np.array(widths), 100 * gained, color, label, marker="o")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(widths, [str(width) for width in widths])
        axes.set_xlabel("width of both hidden layers")
    in_percent(left)
    left.set(ylabel="test accuracy")
    right.axhspan(-100 * MARGIN, 100 * MARGIN, color="#999999", alpha=0.18, linewidth=0)
    right.axhline(0, color="#444444", linewidth=1)
    right.set(ylabel="accuracy above ReLU's, percentage points")
    left.legend(frameon=False, fontsize="small")
    seeds = len(levels(results, "seed"))
    caption(
        figure,
        f"Means over {seeds} seeds with their 95 % intervals, each by itself. Grey: differences too small to "
        "matter.",
    )
    return figure
