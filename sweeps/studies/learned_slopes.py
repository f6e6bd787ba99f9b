"""The slopes that PReLU learns, layer by layer, with and without weight decay on them.

The claims are those of He et al. (2015): the first layer's slopes are larger than those of deeper layers,
slopes are rarely above 1 though nothing bounds them, and weight decay pushes them to zero, towards ReLU.
Measured: the mean slope of each of four layers over training and the share above 1, from 0.25, one slope per
channel, in a convolutional network; decay of the slopes 0, 0.1 and 1 (decoupled, as in AdamW), 12 seeds. A
tenth of 0.25 is the smallest difference that matters.

Found here: no slope is above 1, and decay lowers the mean slope by 0.03 (0.1) and 0.20 (1). The first layer's
slope, 0.31, is above the dense layer's by 0.04 (0.03 to 0.05), but by less than 0.025 above the second
convolution's (-0.01, -0.03 to 0.00), so the claim of larger slopes in the first layer does not hold.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import sweeps
from lrelu_jax import PReLU, weight_decay_mask
from lrelu_jax.initializers import he_normal
from sweeps.claims.effects import NO_MORE, effect_of
from sweeps.claims.verdicts import Claim, Finding, all_of, judge_each, left_out, paired, said, series
from sweeps.report.drawing import COLORS, band, canvas, caption
from sweeps.results.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


CLAIMS = (
    Claim("PReLU learns larger slopes in the first layer than in deeper ones.", "He et al., 2015"),
    Claim("Learned slopes are rarely above 1, though nothing bounds them.", "He et al., 2015"),
    Claim("Weight decay pushes the slopes to zero, so PReLU towards ReLU.", "He et al., 2015"),
)
LAYERS = ("slope/conv1", "slope/conv2", "slope/conv3", "slope/dense")
RARELY = 0.05  # of the slopes
MARGIN = 0.025  # of a slope: a tenth of where slopes begin


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    slope_decay: float = 0.0
    weight_decay: float = 0.01
    learning_rate: float = 3e-3
    channels: int = 16


class CNN(nnx.Module):
    """Three convolutions, a hidden layer and a linear one, with a learned slope per channel."""

    def __init__(
        self, config: Config, rngs: nnx.Rngs, *, shape: tuple[int, int, int] = (8, 8, 1), classes: int = 10
    ):
        height, width, channels = shape
        scaled = he_normal(0.25)
        sizes = (channels, config.channels, config.channels, 2 * config.channels)
        self.convs = nnx.List(
            [
                nnx.Conv(*pair, (3, 3), kernel_init=scaled, rngs=rngs)
                for pair in zip(sizes, sizes[1:], strict=False)
            ]
        )
        flat = sizes[-1] * (height // 4) * (width // 4)
        self.hidden = nnx.Linear(flat, 64, kernel_init=scaled, rngs=rngs)
        self.logits = nnx.Linear(64, classes, rngs=rngs)
        self.rectifiers = nnx.List([PReLU(size) for size in (*sizes[1:], 64)])

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (n, classes) of images (n, height, width, channels)."""
        for place, conv in enumerate(self.convs):
            images = self.rectifiers[place](conv(images))
            images = sweeps.max_pool(images, (2, 2), (2, 2)) if place else images
        return self.logits(self.rectifiers[3](self.hidden(images.reshape(len(images), -1))))


def slopes(model: CNN, images: jax.Array) -> dict[str, jax.Array]:
    """The mean slope of each layer, and the share of all slopes that are above 1."""
    found = [act.alpha[...] for act in model.rectifiers]
    means = dict(zip(LAYERS, map(jnp.mean, found), strict=True))
    return {**means, "slope/share_above_one": jnp.mean(jnp.concatenate(found) > 1)}


def optimizer(config: Config) -> optax.GradientTransformation:
    """Adam with decoupled decay, of the slopes apart from that of the weights."""

    def on_slopes(params: Any) -> Any:
        return jax.tree.map(lambda decays: not decays, weight_decay_mask(params))

    return optax.chain(
        optax.scale_by_adam(),
        optax.add_decayed_weights(config.weight_decay, mask=weight_decay_mask),
        optax.add_decayed_weights(config.slope_decay, mask=on_slopes),
        optax.scale_by_learning_rate(config.learning_rate),
    )


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on these images, digits if None."""
    data = data or sweeps.data.digits(image=True)
    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(CNN, shape=sweeps.data.image_shape(data), classes=sweeps.data.classes(data)),
        optimizer=optimizer,
        data=data,
        batch_size=64,
        inspect=slopes,
    )
    space = {"slope_decay": sweeps.grid(0.0, 0.1, 1.0), "seed": range(12)}
    return sweeps.Study(trial, steps=400, metric="test/accuracy", space=space)


study = make()


def findings(results: Results) -> tuple[Finding, ...]:
    """What holds of each claim; the first two without decay of the slopes."""
    free = results.filter(slope_decay=0)
    deeper = {
        layer: effect_of(
            free.final(LAYERS[0]) - free.final(f"slope/{layer}"),
            MARGIN,
            len(LAYERS) - 1,
            label=f"conv1 above {layer}",
        )
        for layer in (name.partition("/")[2] for name in LAYERS[1:])
    }
    words = ", ".join(f"{layer} by {said(gap.interval)}" for layer, gap in deeper.items())
    first = float(np.nanmean(free.final(LAYERS[0])))
    larger = Finding(
        CLAIMS[0],
        all_of([gap.verdict for gap in deeper.values()]),
        f"The first layer's mean slope, {first:.2f}, is above that of {words}.{left_out(free)}",
        len(deeper),
        tuple(deeper.values()),
    )
    above = effect_of(
        free.final("slope/share_above_one"), RARELY, 1, NO_MORE, "slopes above 1", "% of the slopes", 100
    )
    share = f"Above 1 are {said(above.interval, above.unit, 100, 1)}; rarely is below {RARELY:.0%}."
    decays = [level for level in np.unique(results.members["slope_decay"].to_numpy()).tolist() if level]
    pulls, said_of = [], []
    for decay in decays:
        shrunk = [paired(results, name, {"slope_decay": 0}, {"slope_decay": decay}) for name in LAYERS]
        pulls.append(effect_of(np.mean(shrunk, axis=0), MARGIN, len(decays), label=f"decay {decay:g}"))
        said_of.append(f"a decay of {decay:g} lowers the mean slope by {said(pulls[-1].interval)}")
    measured = f"Over the layers, {' and '.join(said_of)}.{left_out(results)}"
    pushed = Finding(CLAIMS[2], judge_each(pulls), measured, len(decays), tuple(pulls))
    return larger, Finding(CLAIMS[1], above.verdict, share, 1, (above,)), pushed


def picture(results: Results) -> "Figure":
    """The mean slope of each layer over training, a panel per decay."""
    decays = np.unique(results.members["slope_decay"].to_numpy()).tolist()
    figure, panels = canvas(len(decays), (3.4 * len(decays), 4.2))
    for axes, decay in zip(panels, decays, strict=True):
        for name, color in zip(LAYERS, COLORS, strict=False):
            steps, table = series(results, name, slope_decay=decay)
            band(axes, steps, table, color, name.partition("/")[2])
        axes.axhline(0.25, color="#444444", linewidth=1, linestyle=":")
        axes.set(title=f"decay of the slopes {decay:g}", xlabel="training steps")
    low, high = (edge(axes.get_ylim()[side] for axes in panels) for side, edge in enumerate((min, max)))
    for axes in panels:
        axes.set_ylim(low, high)
    panels[0].set_ylabel("mean learned slope α")
    panels[0].legend(frameon=False, fontsize="small")
    seeds = len(np.unique(results.members["seed"].to_numpy()))
    caption(
        figure,
        f"Lines and bands: mean and 95 % interval over {seeds} seeds of the mean slope of a layer's "
        "channels. Dotted: where slopes begin.",
    )
    return figure
