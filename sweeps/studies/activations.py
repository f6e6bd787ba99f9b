"""Train and test error of ReLU, Leaky ReLU, PReLU, RReLU and ELU in one convolutional network.

The claims are those of He et al. (2015), Xu et al. (2015) and Clevert et al. (2015), each against ReLU in the
same network from He's initialisation for its own slope. Measured: the error on the test images and on the
training images (at most 2,000 of them) at the end, paired over 16 seeds. Half a percentage point is taken as
the smallest difference that matters.

Found here with 130 seeds, 1000 to 1129 (intervals hold together for 10 comparisons): 0.01 lowers the test
error by nothing that matters (+0.07 points, -0.11 to +0.25), 0.18 by less than half a point (+0.26, 0.03 to
0.49); PReLU lowers it (+0.34, 0.10 to 0.57), and ELU most (+0.55, 0.30 to 0.80). PReLU's training error is
0.17 below ReLU's (0.11 to 0.23), and not told from RReLU's (+0.03, -0.00 to +0.06); RReLU's is below ReLU's,
not above it, by 0.14 (0.08 to 0.20), and so is its test error, by 0.28 (0.03 to 0.53). These seeds were taken
after 59, which `--minutes` gives it, could not tell PReLU's test error from ReLU's (+0.32, 0.00 to +0.63).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import sweeps
from lrelu_jax import ELU, LeakyReLU, PReLU, ReLU, RReLU
from lrelu_jax.initializers import he_normal
from sweeps.claims.effects import NO_MORE, Effect, effect_of
from sweeps.claims.verdicts import Claim, Finding, all_of, combined, left_out, paired, said
from sweeps.report.drawing import canvas, caption, effects
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


MARGIN = 0.005  # of the error
MOST_TRAINING_IMAGES = 2000
CLAIMS = (
    Claim("Leaky ReLU with slope 0.01 is no better than ReLU in test error.", "Xu et al., 2015"),
    Claim("Leaky ReLU with slope 0.18 (1/5.5) has a lower test error than ReLU.", "Xu et al., 2015"),
    Claim("PReLU has the lowest training error of ReLU, Leaky ReLU, PReLU and RReLU.", "Xu et al., 2015"),
    Claim("RReLU has a higher training error and a lower test error than ReLU.", "Xu et al., 2015"),
    Claim("PReLU has a lower test error than ReLU.", "He et al., 2015"),
    Claim("ELU has a lower test error than ReLU.", "Clevert et al., 2015"),
)
SLOPES = {"relu": 0.0, "leaky-0.01": 0.01, "leaky-0.18": 1 / 5.5, "prelu": 0.25, "rrelu": 11 / 48, "elu": 0.0}
COMPARISONS = 10  # one each for 0.01, 0.18, PReLU and ELU, four for the training error, two for RReLU
Conditions: TypeAlias = Mapping[str, Mapping[str, Any]]
ANYWHERE: Conditions = {"": {}}  # one condition, that needs no name


def rectifier(name: str, channels: int, rngs: nnx.Rngs) -> Callable[[jax.Array], jax.Array]:
    """The activation of that name, for a layer of so many channels.

    Args:
        name: one of `SLOPES`.
        channels: of the layer.
        rngs: what RReLU draws from.
    """
    if name in ("prelu", "rrelu", "elu", "relu"):
        kinds = {
            "prelu": lambda: PReLU(channels),
            "rrelu": lambda: RReLU(rngs=rngs),
            "elu": ELU,
            "relu": ReLU,
        }
        return kinds[name]()
    return LeakyReLU(SLOPES[name])


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    activation: str = "relu"
    learning_rate: float = 2e-3
    channels: int = 16


class CNN(nnx.Module):
    """Two convolutions with max-pooling, a hidden layer, and a linear one."""

    def __init__(
        self, config: Config, rngs: nnx.Rngs, *, shape: tuple[int, int, int] = (8, 8, 1), classes: int = 10
    ):
        height, width, channels = shape
        sizes = (config.channels, 2 * config.channels, 64)
        flat = sizes[1] * (height // 4) * (width // 4)
        scaled = he_normal(SLOPES[config.activation])
        self.conv1 = nnx.Conv(channels, sizes[0], (3, 3), kernel_init=scaled, rngs=rngs)
        self.conv2 = nnx.Conv(sizes[0], sizes[1], (3, 3), kernel_init=scaled, rngs=rngs)
        self.hidden = nnx.Linear(flat, sizes[2], kernel_init=scaled, rngs=rngs)
        self.logits = nnx.Linear(sizes[2], classes, rngs=rngs)
        self.rectifiers = nnx.List([rectifier(config.activation, size, rngs) for size in sizes])

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (n, classes) of images (n, height, width, channels)."""
        for conv, act in zip((self.conv1, self.conv2), self.rectifiers, strict=False):
            images = sweeps.max_pool(act(conv(images)), (2, 2), (2, 2))
        return self.logits(self.rectifiers[2](self.hidden(images.reshape(len(images), -1))))


def on_training(data: sweeps.Data) -> Callable[[Any, jax.Array], dict[str, jax.Array]]:
    """An `inspect` that measures a classifier on the training images: their error and cross-entropy.

    Of more than 2,000 it takes every second, third, …: sets are often in the order of their classes.

    Args:
        data: pairs (inputs, targets).
    """
    every = math.ceil(len(data.train[1]) / MOST_TRAINING_IMAGES)
    images, targets = (part[::every] for part in data.train)

    def measured(model: Any, _: jax.Array) -> dict[str, jax.Array]:
        logits = model(jnp.asarray(images))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(targets))
        wrong = jnp.argmax(logits, axis=-1) != targets
        return {"train/error": jnp.mean(wrong), "train/cross_entropy": jnp.mean(losses)}

    return measured


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on these images, digits if None."""
    data = data or sweeps.data.digits(image=True)
    shape, classes = sweeps.data.image_shape(data), sweeps.data.classes(data)
    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(CNN, shape=shape, classes=classes),
        optimizer=lambda config: optax.adam(config.learning_rate),
        data=data,
        batch_size=64,
        metrics={"error": lambda logits, targets: (jnp.argmax(logits, -1) != targets).astype(jnp.float32)},
        inspect=on_training(data),
    )
    space = {"activation": sweeps.grid(*SLOPES), "seed": range(16)}
    return sweeps.Study(trial, steps=200, metric="test/error", mode="min", space=space)


study = make()


def gains(
    results: Results,
    metric: str,
    condition: str = "",
    conditions: Conditions = ANYWHERE,
    margin: float = MARGIN,
) -> Mapping[tuple[str, str], Effect]:
    """How much lower the first one's error is than the second's, for the pairs that claims are about.

    Args:
        results: a run.
        metric: one of the errors.
        condition: under which of the conditions.
        conditions: those that are read together.
        margin: the smallest difference that matters.
    """
    pairs = [(name, "relu") for name in SLOPES if name != "relu"]
    pairs += [("prelu", name) for name in SLOPES if name not in ("prelu", "elu")]
    own, where = conditions[condition], f", {condition}" if condition else ""
    return {
        (one, other): effect_of(
            -paired(results, metric, {"activation": one, **own}, {"activation": other, **own}),
            margin,
            COMPARISONS * len(conditions),
            label=f"{metric}, {one} below {other}{where}",
            unit="points",
            scale=100,
        )
        for one, other in pairs
    }


def judged(
    results: Results, conditions: Conditions = ANYWHERE, margin: float = MARGIN
) -> tuple[Finding, ...]:
    """What holds of each claim, and under which conditions.

    Args:
        results: a run.
        conditions: fields and their values, by what they are called; intervals hold together over all.
        margin: the smallest difference that matters.
    """
    each = [_under(results, condition, conditions, margin) for condition in conditions]
    found = []
    for claim, *parts in zip(CLAIMS, *each, strict=True):
        verdict = combined([all_of([one.verdict for one in own]) for own, _ in parts])
        measured = " ".join(text for _, text in parts) + left_out(results)
        together = tuple(effect for own, _ in parts for effect in own)
        found.append(Finding(claim, verdict, measured, COMPARISONS * len(conditions), together))
    return tuple(found)


def _under(
    results: Results, condition: str, conditions: Conditions, margin: float
) -> list[tuple[tuple[Effect, ...], str]]:
    """For each claim the effects that it is judged by under a condition, and what they are in words."""
    test, train = (
        gains(results, metric, condition, conditions, margin) for metric in ("test/error", "train/error")
    )
    small, more, slope, elu = (test[name, "relu"] for name in ("leaky-0.01", "leaky-0.18", "prelu", "elu"))
    small = small._replace(claimed=NO_MORE)
    others = ("relu", "leaky-0.01", "leaky-0.18", "rrelu")
    lower = test["rrelu", "relu"]
    raised = _turned(
        train["rrelu", "relu"], lower.label.replace("test/error, rrelu below", "train/error, rrelu above")
    )
    words = "; ".join(f"than {name} {points(train['prelu', name].interval)}" for name in others)
    found = [
        ((small,), f"test error lower than ReLU's by {points(small.interval)}."),
        ((more,), f"test error lower than ReLU's by {points(more.interval)}."),
        (tuple(train["prelu", name] for name in others), f"PReLU's training error is lower {words}."),
        (
            (raised, lower),
            f"training error higher by {points(raised.interval)}, "
            f"test error lower by {points(lower.interval)}.",
        ),
        ((slope,), f"test error lower than ReLU's by {points(slope.interval)}."),
        ((elu,), f"test error lower than ReLU's by {points(elu.interval)}."),
    ]
    beginning = f"{condition}: " if condition else ""
    return [(own, _capital(beginning + text)) for own, text in found]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def findings(results: Results) -> tuple[Finding, ...]:
    """What holds of each claim."""
    return judged(results)


def _turned(effect: Effect, label: str) -> Effect:
    """The effect of the opposite sign."""
    mean, low, high = effect.interval
    return effect._replace(interval=Interval(-mean, -high, -low), label=label)


def points(interval: Interval) -> str:
    """An error in percentage points, with its interval."""
    return said(interval, "points", 100)


def drawn(results: Results, conditions: Conditions = ANYWHERE, margin: float = MARGIN) -> "Figure":
    """How much lower each activation's errors are than ReLU's, under each condition.

    Args:
        results: a run.
        conditions: as for `judged`.
        margin: the smallest difference that matters.
    """
    figure, panels = canvas(2)
    names = [name for name in SLOPES if name != "relu"]
    for axes, metric in zip(panels, ("test/error", "train/error"), strict=True):
        rows = {}
        for condition in conditions:
            found = gains(results, metric, condition, conditions, margin)
            for name in names:
                scaled = Interval(*(100 * value for value in found[name, "relu"].interval))
                rows[f"{name}, {condition}".removesuffix(", ")] = scaled
        effects(axes, list(rows), list(rows.values()), 100 * margin, f"{metric} below ReLU's, points")
        for line in range(1, len(conditions)):
            axes.axhline(line * len(names) - 0.5, color="#999999", linewidth=0.8)
    caption(
        figure,
        "Right of zero: a lower error than ReLU, in percentage points. Bars: intervals of the mean "
        "difference at equal seeds, which hold together at 95 % "
        f"({COMPARISONS * len(conditions)} comparisons); filled: zero is outside.",
    )
    return figure


def picture(results: Results) -> "Figure":
    """How much lower each activation's errors are than ReLU's."""
    return drawn(results)
