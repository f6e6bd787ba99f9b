"""High learning rates kill ReLU units, and Leaky ReLU keeps them alive: dead units against the rate.

The claims: a learning rate that is too high leaves as much as 40 % of a ReLU network dead, units that never
activate over the whole training set (Karpathy, CS231n, 2015); the slope of Leaky ReLU lets units that are
not active recover (Maas, Hannun and Ng, 2013). Measured on an MLP of two hidden layers of 64 units, by SGD
and by Adam: the share of hidden units that put out zero for every training image (dead), the share that is
never positive (for a leaky unit, which has no zero, the nearest thing to dead), and the test accuracy. A
twentieth of the units, and half a point of accuracy, are the smallest differences that matter.

Found here (8 seeds, intervals for all cases together): with Adam 35 % of the units are dead at a rate of 0.1
and 49 % (48 to 51) at 1, where the accuracy is that of guessing; no unit dies with SGD up to a rate of 1. Of
leaky units none is dead, with α = 0.1 hardly any is never positive, and the accuracy stays above 94 %.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU
from lrelu_jax.diagnostics import unit_counts
from sweeps.claims.effects import FAILS, HOLDS, OPEN, Effect, corrected_interval, effect_of
from sweeps.claims.verdicts import Claim, Finding, finals, judge_each, levels, paired, percent
from sweeps.report.drawing import in_percent, panels
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


COLORS = ("#0072B2", "#8F6100", "#009E73", "#CC79A7", "#D55E00")
MARGIN = 0.005  # half a percent of accuracy: less would not matter
UNITS = 0.05  # of the units: a twentieth of them


@dataclasses.dataclass(frozen=True)
class Config:
    """The slope, the optimiser with its rate, and the width."""

    alpha: float = 0.0
    learning_rate: float = 0.1
    optimizer: Literal["sgd", "adam"] = "sgd"
    width: int = 64


class MLP(nnx.Module):
    """Two hidden layers."""

    def __init__(self, config: Config, pixels: int, classes: int, rngs: nnx.Rngs):
        self.first = nnx.Linear(pixels, config.width, rngs=rngs)
        self.second = nnx.Linear(config.width, config.width, rngs=rngs)
        self.logits = nnx.Linear(config.width, classes, rngs=rngs)
        self.rectifiers = nnx.List([LeakyReLU(config.alpha), LeakyReLU(config.alpha)])

    def hidden(self, images: jax.Array) -> list[jax.Array]:
        """What each hidden layer puts out, shape (n, width)."""
        flat = images.reshape(len(images), -1)
        first = self.rectifiers[0](self.first(flat))
        return [first, self.rectifiers[1](self.second(first))]

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (n, classes)."""
        return self.logits(self.hidden(images)[-1])


def optimizer(config: Config) -> optax.GradientTransformation:
    """Plain SGD, or Adam."""
    return {"sgd": optax.sgd, "adam": optax.adam}[config.optimizer](config.learning_rate)


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on other images.

    Args:
        data: pairs (images, class numbers); None takes the digits.
    """
    data = sweeps.data.digits() if data is None else data
    pixels, classes = math.prod(data.train[0].shape[1:]), int(data.train[1].max()) + 1

    def units(model: MLP, images: jax.Array) -> dict[str, Any]:
        """Whether a unit is dead is a question of the training set: there it gets its gradients."""
        train = jnp.asarray(data.train[0])
        never = [counts.positive == 0 for counts in unit_counts(model, train).values()]
        dead = [jnp.all(layer == 0, axis=0) for layer in model.hidden(train)]
        metrics = {f"train/dead/hidden{place}": jnp.mean(own) for place, own in enumerate(dead, 1)}
        return metrics | {
            "train/dead": jnp.mean(jnp.stack(dead)),
            "train/never_positive": jnp.mean(jnp.stack(never)),
        }

    return sweeps.Study(
        sweeps.supervised(
            config=Config,
            model=lambda config, rngs: MLP(config, pixels, classes, rngs),
            optimizer=optimizer,
            data=data,
            batch_size=128,
            inspect=units,
        ),
        steps=300,
        metric="test/accuracy",
        space={
            "optimizer": sweeps.grid("sgd", "adam"),
            "learning_rate": sweeps.logspace(1e-3, 1.0, 7),
            "alpha": sweeps.grid(0.0, 0.01, 0.1),
            "seed": range(8),
        },
    )


study = make()

CLAIMED = 0.4  # of the units, dead
KARPATHY, MAAS = "Karpathy, CS231n lecture notes, 2015", "Maas, Hannun and Ng, 2013"
CLAIMS = (
    Claim("A learning rate that is too high kills ReLU units.", KARPATHY),
    Claim("It can leave as much as 40 % of the network dead.", KARPATHY),
    Claim("The slope of Leaky ReLU keeps units alive: fewer are never positive than with ReLU.", MAAS),
    Claim("Where units die, Leaky ReLU is the more accurate.", MAAS),
)


def findings(results: Results) -> tuple[Finding, ...]:
    """What the run says of each claim."""
    rates, slopes = levels(results, "learning_rate"), [a for a in levels(results, "alpha") if a]
    pairs = [(o, rate) for o in levels(results, "optimizer") for rate in rates]
    above = {
        (o, rate): effect_of(
            finals(results, "train/dead", optimizer=o, learning_rate=rate, alpha=0.0) - CLAIMED,
            UNITS,
            len(pairs),
            label=f"{o} at {rate:.2g}, above {CLAIMED:.0%}",
            unit="points",
            scale=100,
        )
        for o, rate in pairs
    }
    relu = {case: Interval(*(CLAIMED + value for value in own.interval)) for case, own in above.items()}
    optimizers = levels(results, "optimizer")
    # The highest rate of which an interval is left: at higher ones all but one diverged.
    highest = {o: max(rate for p, rate in pairs if p == o and relu[o, rate].low > -1) for o in optimizers}
    killed = {
        o: effect_of(
            paired(
                results,
                "train/dead",
                {"optimizer": o, "learning_rate": highest[o], "alpha": 0.0},
                {"optimizer": o, "learning_rate": rates[0], "alpha": 0.0},
            ),
            UNITS,
            len(optimizers),
            label=f"{o} at {highest[o]:.2g}",
            unit="points",
            scale=100,
        )
        for o in optimizers
    }
    alive = _against_relu(results, "train/never_positive", pairs, slopes, UNITS)
    better = _against_relu(results, "test/accuracy", pairs, slopes, MARGIN)
    worst = max((case for case in pairs if relu[case].low > -1), key=lambda case: relu[case].mean)
    many = relu[worst]
    dead_leaky = max(finals(results, "train/dead", alpha=alpha).max() for alpha in slopes)
    return (
        Finding(
            CLAIMS[0],
            judge_each(list(killed.values())),
            "Dead units at the highest rate above those at the lowest: "
            + ", ".join(f"{o} at {highest[o]:.2g}: {percent(i.interval)}" for o, i in killed.items())
            + ".",
            len(killed),
            tuple(killed.values()),
        ),
        Finding(
            CLAIMS[1],
            HOLDS if many.low > CLAIMED else FAILS if all(i.high < CLAIMED for i in relu.values()) else OPEN,
            f"The most dead units: {percent(many)}, with {worst[0]} at {worst[1]:.2g}.",
            len(pairs),
            (above[worst],),
        ),
        Finding(
            CLAIMS[2],
            judge_each(list(alive.values())),
            f"{_cases(alive)} Dead units of leaky networks: at most {dead_leaky:.1%}.",
            len(alive),
            tuple(alive.values()),
        ),
        Finding(
            CLAIMS[3],
            judge_each(list(better.values())),
            _cases(better),
            len(better),
            tuple(better.values()),
        ),
    )


def _against_relu(
    results: Results, metric: str, pairs: list[tuple[str, float]], slopes: list[float], margin: float
) -> dict[tuple[str, float, float], Effect]:
    """Leaky ReLU's advantage over ReLU for every optimiser, rate and slope; NaN where too many diverged."""
    sign = 1 if metric == results.manifest["metric"] else -1
    cases = [(*pair, alpha) for pair in pairs for alpha in slopes]
    found = {}
    for o, rate, alpha in cases:
        same = {"optimizer": o, "learning_rate": rate}
        differences = sign * paired(results, metric, {**same, "alpha": alpha}, {**same, "alpha": 0.0})
        label = f"{o} at {rate:.2g}, α = {alpha:g}"
        found[o, rate, alpha] = effect_of(
            differences, margin, len(cases), label=label, unit="points", scale=100
        )
    return found


def _cases(effects: dict[tuple[str, float, float], Effect]) -> str:
    """How many of the conditions show an advantage, how many the contrary, and the largest one."""
    known = {case: effect.interval for case, effect in effects.items() if effect.bounded}
    if not known:
        return "Too many members diverged to compare any."
    ahead = [case for case, interval in known.items() if interval.low > 0]
    behind = [case for case, interval in known.items() if interval.high < 0]
    most = max(known, key=lambda case: known[case].mean)
    where = "; ".join(f"{o} at {rate:.2g}, α = {alpha:g}" for o, rate, alpha in ahead)
    return (
        f"Advantage over ReLU above zero under {len(ahead)} of {len(known)} conditions"
        f"{f' ({where})' if ahead else ''}, below zero under {len(behind)}; the largest: "
        f"{percent(known[most])}, with {most[0]} at {most[1]:.2g}, α = {most[2]:g}."
    )


def picture(results: Results) -> "Figure":
    """Dead units, units never positive and test accuracy against the learning rate."""
    rates, optimizers = levels(results, "learning_rate"), levels(results, "optimizer")
    seeds = len(levels(results, "seed"))
    figure, axes = panels(
        3,
        f"Lines: mean over the seeds (of {seeds}) that did not diverge. Bands: its 95 % interval.\n"
        "Solid: " + ("; dashed: ".join(sorted(optimizers, reverse=True))) + ".",
    )
    metrics = {
        "train/dead": "dead units",
        "train/never_positive": "units never positive",
        "test/accuracy": "test accuracy",
    }
    for own, (metric, title) in zip(axes, metrics.items(), strict=True):
        for alpha, color in zip(levels(results, "alpha"), COLORS, strict=False):
            for o, style in zip(sorted(optimizers, reverse=True), ("-", "--"), strict=False):
                intervals = [
                    corrected_interval(
                        finals(results, metric, optimizer=o, learning_rate=rate, alpha=alpha), 1
                    )
                    for rate in rates
                ]
                mean, low, high = np.asarray(intervals).T
                label = f"α = {alpha:g}" if style == "-" else None
                own.plot(rates, mean, style, color=color, marker="o", markersize=3, label=label)
                own.fill_between(rates, low, high, color=color, alpha=0.15, linewidth=0)
        own.set(xscale="log", xlabel="learning rate", title=title, ylim=(-0.03, 1.03))
        in_percent(own)
    for o, style in zip(sorted(optimizers, reverse=True), ("-", "--"), strict=False):
        axes[0].plot([], [], style, color="#444444", label=o)
    axes[0].legend(frameon=False, fontsize="small", loc="upper left")
    return figure
