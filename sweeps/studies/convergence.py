"""Steps that ReLU, Leaky ReLU, PReLU and ELU take to a given training loss in a deep MLP.

The claims: Leaky ReLU converges slightly faster than ReLU (Maas, Hannun and Ng, 2013), PReLU faster (He et
al., 2015), ELU faster (Clevert et al., 2015). Measured: the first evaluation, every other step, at which the
cross-entropy on the training images is at most a tenth of that of guessing, log(classes): a target that
depends on no result. Two learning rates, 16 seeds, paired; a run that does not get there counts with the
last step, and the curves show how many those are. A twentieth of ReLU's mean is the smallest gain that
matters.

Found here (intervals hold together for 6 comparisons): ELU saves 34.0 steps (29.6 to 38.4) of ReLU's 200 at
learning rate 0.0003 and 9.5 (8.2 to 10.8) of 28 at 0.003; PReLU saves 21.6 (18.1 to 25.1) and 5.6 (4.6 to
6.6); 0.01 saves 1.2 (0.5 to 2.0) at 0.0003, which is too few to matter, and at 0.003 none that could be told
(0.1, -0.3 to 0.5). All runs got there.
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
from flax import nnx
from jaxtyping import Float

import sweeps
from lrelu_jax.initializers import he_normal
from sweeps.claims.effects import effect_of
from sweeps.claims.verdicts import Claim, Finding, judge_each, said, series
from sweeps.report.drawing import COLORS, canvas, caption
from sweeps.results.results import Results
from sweeps.studies.activations import SLOPES, on_training, rectifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


CLAIMS = (
    Claim("Leaky ReLU with slope 0.01 converges slightly faster than ReLU.", "Maas, Hannun and Ng, 2013"),
    Claim("PReLU converges faster than ReLU.", "He et al., 2015"),
    Claim("ELU learns faster than ReLU.", "Clevert et al., 2015"),
)
NAMES = ("relu", "leaky-0.01", "prelu", "elu")
SHARE = 0.1  # of the loss of guessing, that is to be reached
MARGIN = 0.05  # of ReLU's mean steps


@dataclasses.dataclass(frozen=True)
class Config:
    """The hyperparameters, all of which can be swept."""

    activation: str = "relu"
    learning_rate: float = 1e-3
    width: int = 64


class MLP(nnx.Module):
    """Four hidden layers."""

    def __init__(self, config: Config, rngs: nnx.Rngs, *, pixels: int = 64, classes: int = 10):
        sizes = [pixels, *4 * [config.width]]
        scaled = he_normal(SLOPES[config.activation])
        self.hidden = nnx.List(
            [nnx.Linear(*pair, kernel_init=scaled, rngs=rngs) for pair in zip(sizes, sizes[1:], strict=False)]
        )
        self.rectifiers = nnx.List([rectifier(config.activation, size, rngs) for size in sizes[1:]])
        self.logits = nnx.Linear(config.width, classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (n, classes) of images (n, ...)."""
        hidden = images.reshape(len(images), -1)
        for linear, act in zip(self.hidden, self.rectifiers, strict=True):
            hidden = act(linear(hidden))
        return self.logits(hidden)


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on these images, digits if None."""
    data = data or sweeps.data.digits()
    classes = sweeps.data.classes(data)
    measured, target = on_training(data), SHARE * math.log(classes)

    def inspect(model: Any, images: jax.Array) -> dict[str, jax.Array]:
        return {"train/share_of_guessing": measured(model, images)["train/cross_entropy"] * SHARE / target}

    trial = sweeps.supervised(
        config=Config,
        model=functools.partial(MLP, pixels=math.prod(data.train[0].shape[1:]), classes=classes),
        optimizer=lambda config: optax.adam(config.learning_rate),
        data=data,
        batch_size=128,
        inspect=inspect,
    )
    space = {
        "activation": sweeps.grid(*NAMES),
        "learning_rate": sweeps.grid(3e-4, 3e-3),
        "seed": range(16),
    }
    return sweeps.Study(
        trial, steps=300, evaluate_every=2, metric="train/share_of_guessing", mode="min", space=space
    )


study = make()


def steps_to_target(
    results: Results, activation: str, learning_rate: float
) -> tuple[Float[np.ndarray, " seeds"], np.ndarray]:
    """The step at which each seed's run first met the target, and whether it did; the last step if not."""
    steps, table = series(
        results, "train/share_of_guessing", activation=activation, learning_rate=learning_rate
    )
    met = table <= SHARE
    there = np.asarray(met.any(axis=0))
    return np.where(there, steps[met.argmax(axis=0)], steps[-1]).astype(np.float64), there


def findings(results: Results) -> tuple[Finding, ...]:
    """Whether each activation gets to the target in fewer steps than ReLU, at both learning rates."""
    rates = np.unique(results.members["learning_rate"].to_numpy()).tolist()
    comparisons = len(rates) * len(CLAIMS)
    found = []
    for claim, name in zip(CLAIMS, NAMES[1:], strict=True):
        effects, words = [], []
        for rate in rates:
            usual, usual_there = steps_to_target(results, "relu", rate)
            steps, there = steps_to_target(results, name, rate)
            margin, label = MARGIN * float(usual.mean()), f"learning rate {rate:g}"
            effects.append(effect_of(usual - steps, margin, comparisons, label=label, unit="steps"))
            missed = int((~there).sum() + (~usual_there).sum())
            late = f", where {missed} runs did not get there" if missed else ""
            effect = said(effects[-1].interval, "steps", digits=1)
            words.append(f"at learning rate {rate:g}, {effect} saved of {usual.mean():.0f}{late}")
        measured = "; ".join(words)
        measured = measured[0].upper() + measured[1:] + "."
        found.append(Finding(claim, judge_each(effects), measured, comparisons, tuple(effects)))
    return tuple(found)


def picture(results: Results) -> "Figure":
    """The share of runs that have not met the target yet, against steps."""
    rates = np.unique(results.members["learning_rate"].to_numpy()).tolist()
    figure, panels = canvas(len(rates))
    last = int(results.manifest["steps"])
    for axes, rate in zip(panels, rates, strict=True):
        for name, color in zip(NAMES, COLORS, strict=False):
            steps, there = steps_to_target(results, name, rate)
            at = np.unique(np.concatenate([[0], steps[there], [last]]))
            left = [float(np.mean(~there | (steps > step))) for step in at]
            axes.step(
                at,
                np.array(left),
                where="post",
                color=color,
                label=name,
                linewidth=1.6,
                linestyle="--" if name == "leaky-0.01" else "-",
            )
        axes.set(title=f"learning rate {rate:g}", xlabel="training steps", ylim=(-0.02, 1.02))
    panels[0].set_ylabel("share of runs that are not there yet")
    panels[0].legend(frameon=False, fontsize="small")
    seeds = len(np.unique(results.members["seed"].to_numpy()))
    caption(
        figure,
        f"There: training cross-entropy at most {SHARE:g} of that of guessing. {seeds} seeds per line; "
        f"first looked at after {results.metrics['step'].to_numpy().min()} steps, and as often.",
    )
    return figure
