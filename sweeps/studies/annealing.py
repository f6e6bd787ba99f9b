"""A slope that falls from 0.3 to 0 while a network is trained, against slopes that stay.

The claims: to begin with an easier network, nearer to a linear one, and to end with the one that is wanted
trains better and comes out better, as continuation methods do (Gulcehre, Moczulski, Visin and Bengio, 2016,
who anneal noise, not a slope); here it is asked of a slope, and besides whether units that ReLU would kill
early live on, and whether the way down matters. Measured: test accuracy, training error and the share of
hidden units that put out zero for every test example, of three dense layers of 64 units from the same first
weights, with a slope that falls in a line, as a cosine or in four stages, against 0, 0.01, 0.1 and 0.3. The
learning rates are 0.01, ReLU's best of a few, and 0.03, at which units die.

The data are MNIST-1D: wine and breast cancer have 37 and 115 test examples, and on the digits slopes differ
by a tenth of a point (`digits-mlp`), a third of a test image, and here these networks miss four in ten of
1,000 test examples. Two points, a twentieth of these, are the smallest difference that matters. 48 seeds
tell it in accuracy with a power of 90 % at 0.01 and, but for one comparison that takes 53, at 0.03, about as
a pilot of 4 said (46). The training error, on every second of the 4,000 training examples, varies more: it
needs 65, about 2 minutes on two cores that have nothing else to do.

Found here with 68 seeds (intervals hold together for 18 comparisons): the falling slope is not better than
all that stay. Over 0 it gains 0.3 points (-0.4 to +1.0) at 0.01 and 1.3 (0.1 to 2.4) at 0.03, and it loses
1.1 (0.5 to 1.7) and 1.7 (0.9 to 2.6) to a slope of 0.1. Nor does it train better than ReLU: its training
error is 1.0 points (0.3 to 1.7) above ReLU's at 0.01, and at 0.03 less than two below (0.6, -0.7 to +2.0).
It does keep units alive: at the end 2.7 and 33.8 points fewer are dead than with ReLU. At 0.01 all ways down
come to the same; at 0.03 stages are better than a line by 1.6 points (0.8 to 2.4).
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU
from lrelu_jax.initializers import he_normal
from sweeps.claims.effects import MORE, SAME, Claimed, Effect, Verdict, effect_of
from sweeps.claims.verdicts import Claim, Finding, all_of, combined, left_out, levels, paired, said
from sweeps.report.drawing import canvas, caption, effects
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval
from sweeps.studies.activations import on_training

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


DATA = "mnist-1d"  # what `make` takes by itself
CLAIMS = (
    Claim(
        "A slope that falls from 0.3 to 0 makes a more accurate network than any that stays.",
        "continuation, as in Gulcehre, Moczulski, Visin and Bengio, 2016",
    ),
    Claim(
        "It trains better than ReLU from the beginning, though it ends as ReLU.",
        "continuation, as in Gulcehre, Moczulski, Visin and Bengio, 2016",
    ),
    Claim("It leaves fewer units dead than ReLU from the beginning.", "asked here"),
    Claim("How it falls does not matter: in a line, as a cosine, or in four stages.", "asked here"),
)
MARGIN = 0.02  # of accuracy, of the training error and of the units
CONSTANTS = (0.0, 0.01, 0.1, 0.3)
SHAPES = ("Linear", "Cosine", "Steps")
EACH = len(CONSTANTS) + 2 + 3  # comparisons at each learning rate


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    alpha: sweeps.Schedule = sweeps.Linear(0.3, 0.0)
    learning_rate: float = 1e-2
    width: int = 64


class MLP(nnx.Module):
    """Three hidden layers of Leaky ReLU units, whose first weights do not depend on the slope."""

    def __init__(self, config: Any, rngs: nnx.Rngs, *, inputs: int = 40, classes: int = 10):
        sizes = [inputs, *3 * [config.width]]
        self.hidden = nnx.List(
            [
                nnx.Linear(*pair, kernel_init=he_normal(), rngs=rngs)
                for pair in zip(sizes, sizes[1:], strict=False)
            ]
        )
        self.logits = nnx.Linear(config.width, classes, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def layers(self, inputs: jax.Array) -> list[jax.Array]:
        """What each hidden layer puts out, shape (n, width)."""
        signal, found = inputs.reshape(len(inputs), -1), []
        for linear in self.hidden:
            signal = self.activation(linear(signal))
            found.append(signal)
        return found

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Logits (n, classes) of inputs (n, ...)."""
        return self.logits(self.layers(inputs)[-1])


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on this data, MNIST-1D if None."""
    data = data or sweeps.data.mnist_1d()
    measured = on_training(data)

    def inspect(model: MLP, inputs: jax.Array) -> dict[str, Any]:
        dead = jnp.stack([jnp.all(layer == 0, axis=0) for layer in model.layers(inputs)])
        slope = {"slope": jnp.asarray(model.activation.alpha, jnp.float32)}
        return measured(model, inputs) | slope | {"test/dead_units": jnp.mean(dead)}

    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(
            MLP, inputs=math.prod(data.train[0].shape[1:]), classes=sweeps.data.classes(data)
        ),
        optimizer=lambda config: optax.adam(config.learning_rate),
        data=data,
        batch_size=100,
        inspect=inspect,
    )
    space = {
        "alpha": sweeps.grid("Constant", *SHAPES),
        "alpha.value": sweeps.grid(*CONSTANTS),
        "alpha.start": sweeps.grid(0.3),
        "alpha.end": sweeps.grid(0.0),
        "alpha.stages": sweeps.grid(4),
        "learning_rate": sweeps.grid(1e-2, 3e-2),
        "seed": range(48),
    }
    return sweeps.Study(trial, steps=600, metric="test/accuracy", evaluate_every=200, space=space)


study = make()


def constant(value: float) -> dict[str, Any]:
    """How the members whose slope stays are found."""
    return {"alpha": "Constant", "alpha.value": value}


def more(
    results: Results,
    metric: str,
    rate: float,
    one: dict[str, Any],
    other: dict[str, Any],
    claimed: Claimed = MORE,
    label: str = "",
) -> Effect:
    """How much more of a metric the one has than the other at a learning rate."""
    at = {"learning_rate": rate}
    differences = paired(results, metric, {**one, **at}, {**other, **at})
    comparisons = EACH * len(levels(results, "learning_rate"))
    label = f"{label}{', ' if label else ''}rate {rate:g}"
    return effect_of(differences, MARGIN, comparisons, claimed, label, "points", 100)


def against_constants(results: Results, rate: float) -> dict[float, Effect]:
    """The accuracy that the falling slope has over each that stays."""
    falling = {"alpha": "Linear"}
    return {
        value: more(
            results, "test/accuracy", rate, falling, constant(value), label=f"falling over α = {value:g}"
        )
        for value in CONSTANTS
    }


def between_shapes(results: Results, rate: float) -> dict[tuple[str, str], Effect]:
    """The accuracy that each way of falling has over another."""
    pairs = [("Cosine", "Linear"), ("Steps", "Linear"), ("Steps", "Cosine")]
    return {
        (one.lower(), other.lower()): more(
            results,
            "test/accuracy",
            rate,
            {"alpha": one},
            {"alpha": other},
            SAME,
            f"{one.lower()} over {other.lower()}",
        )
        for one, other in pairs
    }


def findings(results: Results) -> tuple[Finding, ...]:
    """What holds of each claim, at both learning rates."""
    rates, relu, falling = levels(results, "learning_rate"), constant(0.0), {"alpha": "Linear"}
    constants = {rate: against_constants(results, rate) for rate in rates}
    trained = {rate: more(results, "train/error", rate, relu, falling) for rate in rates}
    dead = {rate: more(results, "test/dead_units", rate, relu, falling) for rate in rates}
    shapes = {rate: between_shapes(results, rate) for rate in rates}
    judged: list[tuple[list[Verdict], str, list[Effect]]] = [
        (
            [all_of([own.verdict for own in each.values()]) for each in constants.values()],
            "More accurate, " + _each(constants, lambda value: f"than {value:g} by"),
            [own for each in constants.values() for own in each.values()],
        ),
        (
            [own.verdict for own in trained.values()],
            "Training error below ReLU's, " + _single(trained),
            list(trained.values()),
        ),
        (
            [own.verdict for own in dead.values()],
            "Dead units fewer than ReLU's, " + _single(dead),
            list(dead.values()),
        ),
        (
            [all_of([own.verdict for own in each.values()]) for each in shapes.values()],
            "More accurate, " + _each(shapes, lambda pair: f"{pair[0]} than {pair[1]} by"),
            [own for each in shapes.values() for own in each.values()],
        ),
    ]
    found = []
    for claim, (verdicts, words, own) in zip(CLAIMS, judged, strict=True):
        text = f"{words}; less than {100 * MARGIN:g} is too small to matter.{left_out(results)}"
        found.append(Finding(claim, combined(verdicts), text, own[0].comparisons, tuple(own)))
    return tuple(found)


def _each(table: dict[float, dict[Any, Effect]], label: Any) -> str:
    return (
        "; ".join(
            f"at learning rate {rate:g}: "
            + ", ".join(f"{label(name)} {said(own.interval, scale=100)}" for name, own in each.items())
            for rate, each in table.items()
        )
        + " points"
    )


def _single(table: dict[float, Effect]) -> str:
    parts = (f"at learning rate {rate:g}: {said(own.interval, 'points', 100)}" for rate, own in table.items())
    return "; ".join(parts)


def picture(results: Results) -> "Figure":
    """What the falling slope gains over those that stay, and the ways of falling against one another."""
    rates = levels(results, "learning_rate")
    figure, panels = canvas(len(rates))
    for axes, rate in zip(panels, rates, strict=True):
        rows = {f"linear over α = {value:g}": own for value, own in against_constants(results, rate).items()}
        rows |= {" over ".join(pair): own for pair, own in between_shapes(results, rate).items()}
        scaled = [Interval(*(100 * bound for bound in own.interval)) for own in rows.values()]
        effects(axes, list(rows), scaled, 100 * MARGIN, "more test accuracy, percentage points")
        axes.axhline(2.5, color="#999999", linewidth=0.8)
        axes.set_title(f"learning rate {rate:g}")
    caption(
        figure,
        "Above the line: a slope that falls from 0.3 to 0 in a line, against slopes that stay (0: ReLU). "
        "Below: ways of falling. Bars: intervals of the mean difference at equal seeds, which hold "
        f"together at 95 % ({EACH * len(rates)} comparisons); filled: zero is outside.",
    )
    return figure
