"""Plain networks of 4 to 64 layers: where ReLU stops training, and which slope goes on.

The claims: weights of gain √2 let a ReLU network of 30 layers train that stalls with the gain 1, Xavier's,
and a slope α needs √(2 / (1 + α²)) (He, Zhang, Ren and Sun, 2015); without skips training error grows with
depth all the same (the same, 2016; of narrow ReLU networks Hanin and Rolnick, 2018, show that signals vary
the more); a larger slope lets networks without skips or normalisation go deeper (Zhang, Botev and Martens,
2022). Measured: the error on the training images after 300 steps of Adam at 0.0003, layers of 64 units, the
slopes 0, 0.01, 0.1, 0.3 and 0.6, each with its own gain, and with √2 where that differs by more than a
hundredth. At this width no ReLU network is born dead (`born-dead`): what is lost is the size of signals, and
what tells inputs apart.

The data are the digits: whether a network trains is told by how it fits what it has seen, for which a small
set does, but of wine and of breast cancer guessing gets 40 and 63 % right, and of the digits 10 %. Ten points
of training error, a ninth of what lies between guessing and none, are the smallest difference that matters.
16 seeds tell it with a power of 90 % between slopes at 64 layers, by a pilot of 10. About 2.5 minutes on two
cores that have nothing else to do.

Found here (the intervals of each claim hold together): ReLU with √2 is left with 3 % at 4 layers, 2 % at 16,
9 % at 32 and 41 % at 64, where with the gain 1 it guesses (90 %, and 39 % at 32). At 64 layers a slope of 0.3
saves 24 points (17 to 31) and 0.6 saves 37 (30 to 45), which leaves 4 %; neither 0.01 nor 0.1 saves ten. With
√2 in place of its own gain 0.6 loses 29 of these points (25 to 33), and 0.3 none that could be told from none
or ten (4, -2 to +11).
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Float

import sweeps
from lrelu_jax import leaky_relu
from sweeps.claims.effects import Effect, effect_of
from sweeps.claims.verdicts import Claim, Finding, at_seeds, combined, levels, said
from sweeps.report.drawing import COLORS, band, canvas, caption, in_percent
from sweeps.results.results import Results
from sweeps.studies.activations import on_training

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


DEPTHS = (4, 8, 16, 32, 64)
SLOPES = (0.01, 0.1, 0.3, 0.6)
LARGE = 0.2  # slopes from which the two gains differ by more than a hundredth
MARGIN = 0.1  # of the training error
ROOT = math.sqrt(2)
CLAIMS = (
    Claim(
        "A ReLU network of 30 layers trains with the gain √2, and stalls with 1 (Xavier's).",
        "He, Zhang, Ren and Sun, 2015",
    ),
    Claim(
        "The deeper a plain ReLU network, the higher its training error, with √2 too.",
        "He, Zhang, Ren and Sun, 2016, of convolutional networks; Hanin and Rolnick, 2018, of narrow ones",
    ),
    Claim(
        "Where ReLU no longer trains, a larger slope does.",
        "Zhang, Botev and Martens, 2022, of slopes that are chosen for the depth",
    ),
    Claim("A slope needs its own gain there: with √2 it trains worse.", "He, Zhang, Ren and Sun, 2015"),
)


def own_gain(slope: Any) -> Any:
    """He's gain for a slope, of Python numbers and columns of them."""
    return np.sqrt(2 / (1 + np.square(slope)))


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    alpha: float = 0.0
    gain: float = ROOT
    depth: int = 4
    learning_rate: float = 3e-4
    width: int = 64


class Plain(nnx.Module):
    """Hidden layers one after the other, with nothing between them but the rectifier."""

    def __init__(self, config: Config, rngs: nnx.Rngs, *, inputs: int = 64, classes: int = 10):
        width, size = config.width, (config.depth - 1, config.width, config.width)
        draw = functools.partial(
            jax.nn.initializers.variance_scaling, jnp.square(config.gain), "fan_in", "truncated_normal"
        )
        self.first = nnx.Linear(inputs, width, kernel_init=draw(), rngs=rngs)
        self.kernels = nnx.Param(draw(batch_axis=0)(rngs.params(), size, jnp.float32))
        self.biases = nnx.Param(jnp.zeros((config.depth - 1, width)))
        self.logits = nnx.Linear(width, classes, rngs=rngs)
        self.alpha = nnx.data(config.alpha)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Logits (n, classes) of inputs (n, ...)."""

        # A loop over the layers: the program is as short for 64 as it is for 4.
        def layer(signal: jax.Array, own: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            kernel, bias = own
            return leaky_relu(signal @ kernel + bias[None], self.alpha), None

        signal = leaky_relu(self.first(inputs.reshape(len(inputs), -1)), self.alpha)
        signal, _ = jax.lax.scan(layer, signal, (self.kernels[...], self.biases[...]))
        return self.logits(signal)


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on this data, digits if None."""
    data = data or sweeps.data.digits()
    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(
            Plain, inputs=math.prod(data.train[0].shape[1:]), classes=sweeps.data.classes(data)
        ),
        optimizer=lambda config: optax.adam(config.learning_rate),
        data=data,
        batch_size=64,
        inspect=on_training(data),
    )
    space = {
        "depth": sweeps.grid(*DEPTHS),
        "alpha": sweeps.grid(0.0, *SLOPES),
        "gain": sweeps.grid(1.0, ROOT, *(float(own_gain(slope)) for slope in SLOPES)),
        "seed": range(16),
    }
    return sweeps.Study(
        trial, steps=300, metric="train/error", evaluate_every=100, space=space, where=compared
    )


def compared(point: Any) -> Any:
    """Which pairs there are: a slope and its own gain, a large one and √2, ReLU and 1."""
    slope, gain = point["alpha"], point["gain"]
    own, root = (np.abs(gain - wanted) < 1e-6 for wanted in (own_gain(slope), ROOT))
    return own | (root & (slope > LARGE)) | ((slope == 0) & (gain == 1))


study = make()


def errors(results: Results, depth: int, slope: float, gain: float) -> Float[np.ndarray, " seeds"]:
    """The training error of every seed; a run that diverged has everything wrong."""
    found = at_seeds(results, "train/error", depth=depth, alpha=slope, gain=gain)
    return np.where(np.isfinite(found), found, 1.0)


def deep(results: Results) -> list[int]:
    """The depths of 30 layers and more, which claims are about; the deepest alone where there are none."""
    depths = levels(results, "depth")
    return [depth for depth in depths if depth >= 30] or depths[-1:]


def saved_errors(results: Results) -> tuple[dict[Any, Effect], ...]:
    """How much training error is saved, for each claim: by depth, or by depth and slope."""
    shallowest, *others = levels(results, "depth")
    slopes, far = [slope for slope in levels(results, "alpha") if slope], deep(results)

    def saved(
        cases: dict[Any, tuple[tuple[int, float, float], tuple[int, float, float]]],
    ) -> dict[Any, Effect]:
        return {
            case: effect_of(
                errors(results, *worse) - errors(results, *better),
                MARGIN,
                len(cases),
                label=_case(case),
                unit="points",
                scale=100,
            )
            for case, (worse, better) in cases.items()
        }

    return (
        saved({depth: ((depth, 0.0, 1.0), (depth, 0.0, ROOT)) for depth in far}),
        saved({depth: ((depth, 0.0, ROOT), (shallowest, 0.0, ROOT)) for depth in others}),
        saved({(d, a): ((d, 0.0, ROOT), (d, a, own_gain(a))) for d in far for a in slopes}),
        saved({(d, a): ((d, a, ROOT), (d, a, own_gain(a))) for d in far for a in slopes if a > LARGE}),
    )


def findings(results: Results) -> tuple[Finding, ...]:
    """What holds of each claim."""
    by_depth = ", ".join(
        f"{errors(results, depth, 0.0, ROOT).mean():.1%} at {depth}" for depth in levels(results, "depth")
    )
    words = (
        "Training error of ReLU with √2 below that with 1",
        f"Training error of ReLU with √2, by layers: {by_depth}; above that of the shallowest",
        "Training error below ReLU's",
        "Training error below that with √2",
    )
    found = []
    for claim, text, own in zip(CLAIMS, words, saved_errors(results), strict=True):
        verdict = combined([effect.verdict for effect in own.values()])
        listed = ", ".join(f"{_case(case)} {said(each.interval, scale=100)}" for case, each in own.items())
        measured = f"{text}, {listed} points.{_diverged(results)}"
        found.append(Finding(claim, verdict, measured, len(own), tuple(own.values())))
    return tuple(found)


def _case(case: Any) -> str:
    return f"at {case[0]} with α = {case[1]:g}" if isinstance(case, tuple) else f"at {case}"


def _diverged(results: Results) -> str:
    missing = int(np.isnan(results.final()).sum())
    return f" {missing} of {len(results.members)} runs diverged and count as all wrong." if missing else ""


def picture(results: Results) -> "Figure":
    """Training error against depth, for every slope with its own gain and with √2."""
    depths, slopes = levels(results, "depth"), levels(results, "alpha")
    figure, (left, right) = canvas(2)

    def line(axes: Any, slope: float, gain: float, color: str, label: str) -> None:
        rows = np.stack([errors(results, depth, slope, gain) for depth in depths])
        band(axes, np.array(depths), rows, color, label, marker="o")

    for slope, color in zip(slopes, COLORS, strict=False):
        label = f"α = {slope:g}" if slope else "α = 0, ReLU"
        line(left, slope, float(own_gain(slope)), color, label)
        if not slope or slope > LARGE:
            line(right, slope, ROOT, color, label)
    line(right, 0.0, 1.0, "#444444", "α = 0, ReLU, gain 1")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(depths, [str(depth) for depth in depths])
        axes.set(xlabel="hidden layers", ylim=(-0.03, 1.03))
        in_percent(axes)
        axes.legend(frameon=False, fontsize="small")
    left.set(title="each slope with its own gain", ylabel="training error")
    right.set(title="other gains: √2, or 1")
    caption(
        figure,
        f"Means over {len(levels(results, 'seed'))} seeds with their 95 % intervals, each by itself, after "
        f"{results.manifest['steps']} steps; a run that diverged has everything wrong.",
    )
    return figure
