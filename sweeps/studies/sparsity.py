"""Leaky ReLU gives up sparsity: exact zeros and small activations by layer, against the slope.

The claims: ReLU puts out exact zeros for half of its units or more (Glorot, Bordes and Bengio, 2011); Leaky
ReLU sacrifices these hard zeros for a gradient (Maas, Hannun and Ng, 2013). Whether a leaky layer is still
sparse in effect depends on what counts as small: measured, after training an MLP of three hidden layers of
128 units, are for each layer the share of exact zeros over the test images, and the shares of activations
below 1 % and below 10 % of the layer's standard deviation. A hundredth of the activations is the smallest
difference that matters.

Found here: 49.4 % of the first layer's activations are exact zeros with ReLU, but 25.6 % and 23.4 % of the
next ones', so it is not half of them in every layer; with a slope there are none. Below 1 % of the deviation
a slope of 0.01 leaves 26 %, 21 % and 17 %; below 10 % slopes up to 0.03 change little: in effect such layers
are as sparse as ReLU's.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU
from sweeps.claims.effects import Effect, corrected_interval, effect_of
from sweeps.claims.verdicts import Claim, Finding, finals, judge_each, levels, paired, percent
from sweeps.report.drawing import in_percent, panels
from sweeps.results.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


COLORS = ("#0072B2", "#8F6100", "#009E73")
LAYERS = ("hidden1", "hidden2", "hidden3")
SMALL = {"small_1%": 0.01, "small_10%": 0.1}  # of the layer's standard deviation
MARGIN = 0.01  # of the activations: a hundredth of them


@dataclasses.dataclass(frozen=True)
class Config:
    """The slope, Adam's learning rate and the width."""

    alpha: float = 0.0
    learning_rate: float = 1e-3
    width: int = 128


class MLP(nnx.Module):
    """Three hidden layers."""

    def __init__(self, config: Config, pixels: int, classes: int, rngs: nnx.Rngs):
        widths = [pixels, config.width, config.width, config.width]
        self.layers = nnx.List([nnx.Linear(widths[i], widths[i + 1], rngs=rngs) for i in range(3)])
        self.logits = nnx.Linear(config.width, classes, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def hidden(self, images: jax.Array) -> list[jax.Array]:
        """What each hidden layer puts out, shape (n, width)."""
        signals = [images.reshape(len(images), -1)]
        for layer in self.layers:
            signals.append(self.activation(layer(signals[-1])))
        return signals[1:]

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (n, classes)."""
        return self.logits(self.hidden(images)[-1])


def sparsity(model: MLP, images: jax.Array) -> dict[str, Any]:
    """The shares of exact zeros and of small activations of each layer."""
    metrics = {}
    for name, signal in zip(LAYERS, model.hidden(images), strict=True):
        metrics[f"test/zeros/{name}"] = jnp.mean(signal == 0)
        for kind, share in SMALL.items():
            metrics[f"test/{kind}/{name}"] = jnp.mean(jnp.abs(signal) < share * jnp.std(signal))
    return metrics


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on other images.

    Args:
        data: pairs (images, class numbers); None takes the digits.
    """
    data = sweeps.data.digits() if data is None else data
    pixels, classes = math.prod(data.train[0].shape[1:]), int(data.train[1].max()) + 1
    return sweeps.Study(
        sweeps.supervised(
            config=Config,
            model=lambda config, rngs: MLP(config, pixels, classes, rngs),
            optimizer=lambda config: optax.adam(config.learning_rate),
            data=data,
            batch_size=128,
            inspect=sparsity,
        ),
        steps=300,
        metric="test/accuracy",
        space={"alpha": sweeps.grid(0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0), "seed": range(12)},
    )


study = make()

MAAS = "Maas, Hannun and Ng, 2013"
CLAIMS = (
    Claim("Half of the activations of a ReLU layer or more are exact zeros.", "Glorot, Bordes, Bengio, 2011"),
    Claim("Leaky ReLU sacrifices these hard zeros.", MAAS),
    Claim("It has fewer activations below 1 % of the layer's deviation than ReLU.", MAAS),
    Claim("It has fewer activations below 10 % of the layer's deviation than ReLU.", MAAS),
)


def findings(results: Results) -> tuple[Finding, ...]:
    """What the run says of each claim."""
    half = {
        layer: corrected_interval(finals(results, f"test/zeros/{layer}", alpha=0.0), len(LAYERS))
        for layer in LAYERS
    }
    lost = [_lost(results, kind) for kind in ("zeros", *SMALL)]
    leaky = [alpha for alpha in levels(results, "alpha") if alpha]
    most = max(finals(results, f"test/zeros/{layer}", alpha=leaky).max() for layer in LAYERS)
    excess = [
        effect_of(
            finals(results, f"test/zeros/{layer}", alpha=0.0) - 0.5,
            MARGIN,
            len(LAYERS),
            label=f"{layer}, above half",
            unit="points",
            scale=100,
        )
        for layer in LAYERS
    ]
    said = ", ".join(f"{percent(interval)} in {layer}" for layer, interval in half.items())
    return (
        Finding(CLAIMS[0], judge_each(excess), f"Exact zeros: {said}.", len(half), tuple(excess)),
        Finding(
            CLAIMS[1],
            judge_each(list(lost[0].values())),
            f"{_cases(lost[0])} The largest share of exact zeros of any leaky layer: {most:.3%}.",
            len(lost[0]),
            tuple(lost[0].values()),
        ),
        *(
            Finding(claim, judge_each(list(found.values())), _cases(found), len(found), tuple(found.values()))
            for claim, found in zip(CLAIMS[2:], lost[1:], strict=True)
        ),
    )


def _lost(results: Results, kind: str) -> dict[tuple[float, str], Effect]:
    """By how much ReLU's share is above the leaky one's, per slope and layer."""
    cases = [(alpha, layer) for alpha in levels(results, "alpha") if alpha for layer in LAYERS]
    return {
        (alpha, layer): effect_of(
            paired(results, f"test/{kind}/{layer}", {"alpha": 0.0}, {"alpha": alpha}),
            MARGIN,
            len(cases),
            label=f"α = {alpha:g}, {layer}",
            unit="points",
            scale=100,
        )
        for alpha, layer in cases
    }


def _cases(found: dict[tuple[float, str], Effect]) -> str:
    """How many of the conditions show a loss, and the least and the most of it."""
    effects = {case: effect.interval for case, effect in found.items()}
    lost = [case for case, interval in effects.items() if interval.low > 0]
    kept = sorted({alpha for alpha, layer in effects if (alpha, layer) not in lost})
    but = f", not in every layer at α = {', '.join(f'{alpha:g}' for alpha in kept)}" if kept else ""
    least, most = (choose(effects, key=lambda case: effects[case].mean) for choose in (min, max))
    return (
        f"Fewer than with ReLU in {len(lost)} of {len(effects)} cases of slope and layer{but}; from "
        f"{percent(effects[least])} (α = {least[0]:g}, {least[1]}) to {percent(effects[most])} "
        f"(α = {most[0]:g}, {most[1]})."
    )


def picture(results: Results) -> "Figure":
    """Exact zeros and small activations of each layer against the slope."""
    slopes = levels(results, "alpha")
    figure, axes = panels(
        3,
        f"Lines: mean over {len(levels(results, 'seed'))} seeds after {results.manifest['steps']} steps. "
        "Bands: its 95 % interval.",
    )
    titles = {
        "zeros": "exact zeros",
        "small_1%": "below 1 % of the deviation",
        "small_10%": "below 10 % of the deviation",
    }
    for own, (kind, title) in zip(axes, titles.items(), strict=True):
        for layer, color, mark in zip(LAYERS, COLORS, "osD", strict=True):
            found = [
                corrected_interval(finals(results, f"test/{kind}/{layer}", alpha=alpha), 1)
                for alpha in slopes
            ]
            mean, low, high = np.asarray(found).T
            own.plot(slopes, mean, color=color, marker=mark, markersize=4, label=layer)
            own.fill_between(slopes, low, high, color=color, alpha=0.2, linewidth=0)
        own.set_xscale("symlog", linthresh=0.01)  # ReLU has its place, at zero
        own.set_xticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
        own.set(xlabel="slope α", title=title, ylim=(-0.02, 1))
        in_percent(own)
    axes[0].set_ylabel("share of activations")
    axes[0].legend(frameon=False, fontsize="small")
    return figure
