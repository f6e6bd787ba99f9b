"""He's initialisation and its gain for a slope: what 50 layers do to activations and gradients.

The claims: weights of variance 2 / fan_in keep the variance of the signals, forward and backward, through
any number of ReLU layers; rectifiers of slope α need 2 / ((1 + α²) fan_in) (He, Zhang, Ren and Sun, 2015,
section 2.2), as with 2 / fan_in a layer multiplies the variance by 1 + α². Measured: the variance of the
pre-activations, relative to the first layer's, and of the loss's gradients by them, relative to the last
layer's, through 50 layers of 192 units, for 64 normal inputs; as the logarithm to base 10.

Found here (8 networks each, intervals for all cases together): with its own gain no slope changes a variance
by a factor of ten in 50 layers. With √2 the slopes 0.25, 0.5 and 1 do, by 15.8, 5e4 and 6e14 forward, as
1 + α² to the 49th says (19.5, 5.6e4, 5.6e14); at 0.01 and 0.1 there is no telling the two gains apart.
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import sweeps
from lrelu_jax import leaky_relu
from lrelu_jax.initializers import he_uniform
from sweeps.claims.effects import (
    FAILS,
    HOLDS,
    MORE,
    OPEN,
    SAME,
    Effect,
    Verdict,
    corrected_interval,
    effect_of,
)
from sweeps.claims.verdicts import Claim, Finding, finals, judge_each, levels
from sweeps.report.drawing import panels
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


DEPTH = 50
MARKS = (1, 10, 20, 30, 40, 50)
KEPT = 1.0  # a variance is called kept if it changes by less than a factor of ten
MARGIN = 0.3  # beyond that, a factor of two
SIGNALS = {"activations": f"activations/layer{DEPTH:02}", "gradients": "gradients/layer01"}


@dataclasses.dataclass(frozen=True)
class Config:
    """The slope, whether the gain knows it, and the width."""

    alpha: float = 0.0
    slope_aware: Annotated[bool, sweeps.traced] = True
    width: int = 192
    batch: int = 64


def propagate(config: Config, key: jax.Array) -> dict[str, Any]:
    """Sends inputs through a random network and a random gradient back; log10 variances by layer."""
    inputs_key, weights_key, gradient_key = jax.random.split(key, 3)
    shape = (config.batch, config.width)
    initialise = he_uniform(jnp.where(config.slope_aware, config.alpha, 0.0))
    inputs = jax.random.normal(inputs_key, shape)

    def layer(signal: jax.Array, own: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        weights_key, probe = own
        weights = initialise(weights_key, (config.width, config.width), jnp.float32)
        before = signal @ weights + probe
        return leaky_relu(before, config.alpha), before

    def network(probes: jax.Array) -> jax.Array:
        return jax.lax.scan(layer, inputs, (jax.random.split(weights_key, DEPTH), probes))[1]

    # The gradient by a probe of zeros, added to the pre-activations, is the gradient by them.
    before, back = jax.vjp(network, jnp.zeros((DEPTH, *shape)))
    (gradients,) = back(jnp.zeros_like(before).at[-1].set(jax.random.normal(gradient_key, shape)))
    forward = jnp.log10(jnp.mean(jnp.square(before), (1, 2)))
    backward = jnp.log10(jnp.mean(jnp.square(gradients), (1, 2)))
    metrics = {f"activations/layer{mark:02}": forward[mark - 1] - forward[0] for mark in MARKS}
    metrics |= {f"gradients/layer{mark:02}": backward[mark - 1] - backward[-1] for mark in MARKS}
    return metrics | {"worst_change": jnp.max(jnp.abs(jnp.stack(list(metrics.values()))))}


study = sweeps.Study(
    sweeps.function(propagate, config=Config),
    steps=1,
    metric="worst_change",
    mode="min",
    space={
        "alpha": sweeps.grid(0.0, 0.01, 0.1, 0.25, 0.5, 1.0),
        "slope_aware": sweeps.grid(False, True),
        "seed": range(8),
    },
)

HE = "He, Zhang, Ren and Sun, 2015"
CLAIMS = (
    Claim("The gain √2 keeps activations and gradients of a deep ReLU network at their size.", HE),
    Claim("The gain √(2 / (1 + α²)) does so for every slope α.", HE),
    Claim("The gain √2 makes the signals of a leaky network grow, by (1 + α²) a layer.", HE),
)


def findings(results: Results) -> tuple[Finding, ...]:
    """What the run says of each claim."""
    slopes = levels(results, "alpha")
    leaky = [alpha for alpha in slopes if alpha]
    relu = _changes(results, [0.0], False)
    aware = _changes(results, slopes, True)
    usual = _changes(results, leaky, False)
    beyond = {case: _beyond(effect) for case, effect in usual.items()}
    grown = sorted({alpha for alpha, signal in beyond if beyond[alpha, signal].verdict == HOLDS})
    factor = f"a factor of {10**KEPT:g}"
    return (
        *(
            Finding(
                claim,
                _kept(found),
                f"Variance through {DEPTH} layers: {_said(found)}.",
                len(found),
                tuple(found.values()),
            )
            for claim, found in zip(CLAIMS, (relu, aware), strict=False)
        ),
        Finding(
            CLAIMS[2],
            judge_each(list(beyond.values())),
            f"Beyond {factor} in {DEPTH} layers for the slopes {', '.join(map(str, grown)) or 'none'}; "
            f"{_said(usual)}.",
            len(usual),
            tuple(beyond.values()),
        ),
    )


def _changes(results: Results, slopes: list[float], aware: bool) -> dict[tuple[float, str], Effect]:
    """Per slope and signal, the change of log10 variance over the whole depth."""
    cases = [(alpha, signal) for alpha in slopes for signal in SIGNALS]
    return {
        (alpha, signal): effect_of(
            finals(results, SIGNALS[signal], alpha=alpha, slope_aware=aware),
            KEPT,
            len(cases),
            SAME,
            f"{signal}, α = {alpha:g}",
            "powers of ten",
        )
        for alpha, signal in cases
    }


def _beyond(effect: Effect) -> Effect:
    """By how much a change is beyond a factor of ten."""
    interval = Interval(*(bound - KEPT for bound in effect.interval))
    label = f"{effect.label}, beyond a factor of {10**KEPT:g}"
    return effect._replace(interval=interval, margin=MARGIN, claimed=MORE, label=label)


def _kept(changes: dict[tuple[float, str], Effect]) -> Verdict:
    verdicts = [effect.verdict for effect in changes.values()]
    return HOLDS if set(verdicts) == {HOLDS} else FAILS if FAILS in verdicts else OPEN


def _said(changes: dict[tuple[float, str], Effect]) -> str:
    """The least and the most change of either signal, with their intervals."""
    parts = []
    for signal in SIGNALS:
        cases = sorted((own.interval, alpha) for (alpha, name), own in changes.items() if name == signal)
        parts.append(
            f"{signal} "
            + " to ".join(
                f"×{10**mean:.3g} [{10**low:.3g}, {10**high:.3g}] at α = {alpha:g}"
                for (mean, low, high), alpha in (cases[:1] if len(cases) == 1 else (cases[0], cases[-1]))
            )
        )
    return ", ".join(parts)


def picture(results: Results) -> "Figure":
    """The variance against the layer, forward and backward, for both gains."""
    slopes = levels(results, "alpha")
    seeds = len(finals(results, study.metric, alpha=slopes[0], slope_aware=True))
    figure, (left, right) = panels(
        2,
        f"Lines: geometric mean over {seeds} networks. Bands: its 95 % interval.\n"
        "Solid: the gain √(2 / (1 + α²)); dashed: √2. Dotted: a factor of ten.",
    )
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(slopes)))
    for axes, signal in ((left, "activations"), (right, "gradients")):
        for alpha, color in zip(slopes, colors, strict=True):
            for aware in (True, False):
                intervals = [
                    corrected_interval(
                        finals(results, f"{signal}/layer{mark:02}", alpha=alpha, slope_aware=aware), 1
                    )
                    for mark in MARKS
                ]
                mean, low, high = 10 ** np.asarray(intervals).T
                label = f"α = {alpha:g}" if aware else None
                axes.plot(MARKS, mean, "-" if aware else "--", color=color, linewidth=1.4, label=label)
                axes.fill_between(MARKS, low, high, color=color, alpha=0.12, linewidth=0)
        for bound in (10**-KEPT, 10**KEPT):
            axes.axhline(bound, color="#777777", linewidth=0.8, linestyle=":")
        axes.set(yscale="log", xlabel="layer")
    left.set(title="forward", ylabel="variance of pre-activations / first layer's")
    right.set(title="backward", ylabel="variance of gradients / last layer's")
    right.legend(frameon=False, fontsize="x-small")
    return figure
