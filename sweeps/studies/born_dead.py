"""Deep ReLU networks are born dead: the share that is zero everywhere, against depth and width.

The claims: a ReLU network without biases, of L layers of N units, whose weights are symmetric, maps one
nonzero input to zero with probability 1 - (1 - 2^-N)^(L-1) exactly; it is zero for all inputs, born dead,
with a probability between a bound and that law; so deep narrow networks die (Lu, Shin, Su and Karniadakis,
2019). Leaky ReLU networks are never born dead, as their slope is nowhere zero.

Measured: 4,096 networks per member with normal weights and one real input, of which only the sign matters,
so that the inputs 1 and -1 stand for all. A step adds one layer: one program for each width has all depths.
A hundredth of the networks is the smallest difference that matters.

Found with 65,536 networks of each width, 2, 3, 4 and 6, of 2 to 20 layers: the law holds, no share differing
from it by more than 0.35 points, and none of 76 corrected intervals leaves it out; none lies outside Lu's
bounds. At 20 layers 99.3 %, 89.1 %, 62.7 % and 17.6 % of the networks were born dead; of as many with
α = 0.01, none.
"""

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

import sweeps
from lrelu_jax import leaky_relu
from sweeps.claims.effects import FAILS, HOLDS, MORE, NO_MORE, OPEN, SAME, Claimed, Effect, Verdict
from sweeps.claims.verdicts import Claim, Finding, binomial_interval, judge_each, levels
from sweeps.report.drawing import panels
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


COLORS = ("#0072B2", "#8F6100", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
DECISIVE = 0.01  # an interval that reaches further from the measured share says too little of a law


@dataclasses.dataclass(frozen=True)
class Config:
    """The slope, the number of units of each layer, and how many networks a member is."""

    alpha: float = 0.0
    width: int = 2
    networks: int = 4096


def inputs(config: Config, key: jax.Array) -> jax.Array:
    """The inputs 1 and -1 of every network, (networks, 2, width): the first unit has them, the rest is zero.

    A layer of `width` inputs is then one of a single input, and all layers are of one shape.
    """
    signs = jnp.zeros((2, config.width)).at[:, 0].set(jnp.array([1.0, -1.0]))
    return jnp.tile(signs, (config.networks, 1, 1))


def add_layer(config: Config, state: jax.Array, batch: Any, key: jax.Array) -> tuple[jax.Array, dict]:
    """What one more hidden layer of every network makes of its inputs."""
    weights = jax.random.normal(key, (config.networks, config.width, config.width))
    signals = leaky_relu(jnp.einsum("nsi,nio->nso", state, weights), config.alpha)
    # The networks are positively homogeneous: keeping signals at size 1 changes nothing but underflow.
    size = jnp.max(jnp.abs(signals), axis=-1, keepdims=True)
    return signals / jnp.where(size > 0, size, 1), {}


def dead_shares(config: Config, state: jax.Array, data: Any) -> dict[str, jax.Array]:
    """The shares of networks whose last hidden layer is zero, for the input 1 and for both."""
    zero = jnp.all(state == 0, axis=-1)
    return {"dead/one_input": jnp.mean(zero[:, 0]), "dead/all_inputs": jnp.mean(jnp.all(zero, axis=-1))}


study = sweeps.Study(
    sweeps.Trial(Config, None, inputs, add_layer, dead_shares),
    steps=19,
    metric="dead/all_inputs",
    mode="min",
    space={"alpha": sweeps.grid(0.0, 0.01), "width": sweeps.grid(2, 3, 4, 6), "seed": range(16)},
    evaluate_every=1,
)

LU = "Lu, Shin, Su and Karniadakis, 2019"
CLAIMS = (
    Claim("A ReLU network maps one nonzero input to zero with probability 1 - (1 - 2^-N)^(L-1).", LU),
    Claim("It is born dead with a probability between Lu's lower bound and that law.", LU),
    Claim("Deeper ReLU networks are born dead more often, and wider ones less often.", LU),
    Claim("Leaky ReLU networks are not born dead.", LU),
)


def law(width: int, layers: Integer[np.ndarray, " depths"]) -> Float[np.ndarray, " depths"]:
    """The probability that a ReLU network without biases maps one nonzero input to zero."""
    return 1 - (1 - 0.5**width) ** (layers - 1.0)


def lower_bound(width: int, layers: Integer[np.ndarray, " depths"]) -> Float[np.ndarray, " depths"]:
    """Lu's lower bound on the probability that a network of one input is born dead."""
    none, one = 0.5**width, (width - 1) * 0.25**width
    first, second = 1 - none, 1 - 2 * none - one
    factor = (1 - 2 * none) * (1 - none) / (1 + (width - 1) * none)
    return 1 - first ** (layers - 2.0) + factor * (second ** (layers - 2.0) - first ** (layers - 2.0))


def shares(results: Results, metric: str, comparisons: int, **conditions: Any) -> np.ndarray:
    """Depths L, shares of dead networks and their intervals' bounds: a row each, a column per depth.

    The bounds are those of Clopper and Pearson (1934), widened for the number of comparisons.
    """
    some = results.filter(**conditions)
    step, value = some.metrics["step"].to_numpy(), some.metrics[metric].to_numpy()
    networks = some.members["networks"].to_pylist()[0]
    rows = []
    for last in np.unique(step):
        dead = np.rint(value[step == last].astype(float) * networks)
        rows.append([last + 1, *binomial_interval(dead.sum(), networks * len(dead), comparisons)])
    return np.asarray(rows).T


def findings(results: Results) -> tuple[Finding, ...]:
    """What the run says of each claim."""
    relu, widths = results.filter(alpha=0.0), levels(results, "width")
    cells = len(widths) * len(np.unique(relu.metrics["step"].to_numpy()))
    by_width = [shares(relu, "dead/all_inputs", cells, width=width) for width in widths]
    one = np.hstack([shares(relu, "dead/one_input", cells, width=width) for width in widths])
    both, depths = np.hstack(by_width), by_width[0][0].astype(int)
    laws = np.hstack([law(width, depths) for width in widths])
    bounds = np.hstack([lower_bound(width, depths) for width in widths])
    inside = int(np.sum((both[2] > bounds) & (both[3] < laws)))
    grown = [_gap(rows[:, -1], rows[:, 0]) for rows in by_width]
    wider = [_gap(some[:, -1], more[:, -1]) for some, more in itertools.pairwise(by_width)]
    leaky = [alpha for alpha in levels(results, "alpha") if alpha]
    rows = np.hstack([shares(results, "dead/all_inputs", cells, alpha=alpha) for alpha in leaky])
    deepest = ", ".join(f"{rows[1, -1]:.2%} at N = {n}" for n, rows in zip(widths, by_width, strict=True))
    networks = sum(relu.members["networks"].to_pylist())
    each = networks // len(widths)

    def effect(interval: Interval, claimed: Claimed, label: str, count: int = each) -> Effect:
        return Effect(interval, DECISIVE, count, cells, claimed, label, "points", 100, "networks")

    far, above, below = one[1:] - laws, both[1:] - laws, bounds - both[[1, 3, 2]]
    return (
        Finding(
            CLAIMS[0],
            _between(one, laws, laws),
            f"Over {networks:,} networks the largest difference from the law, among {cells} pairs of depth "
            f"and width, is {np.abs(one[1] - laws).max():.2%}; {_outside(one, laws, laws)} of the intervals, "
            f"at most {np.max(one[3] - one[2]):.2%} wide, leave it out.",
            cells,
            (effect(_column(far, np.abs(far[0])), SAME, "the furthest from the law"),),
        ),
        Finding(
            CLAIMS[1],
            _between(both, bounds, laws),
            f"{_outside(both, bounds, laws)} of {cells} intervals lie outside the bounds and {inside} wholly "
            f"inside; the others, at most {np.max(both[3] - both[2]):.2%} wide, reach over one.",
            cells,
            (
                effect(_column(above, above[0]), NO_MORE, "the furthest above the law"),
                effect(_column(below, below[0]), NO_MORE, "the furthest below the bound"),
            ),
        ),
        Finding(
            CLAIMS[2],
            judge_each([*grown, *wider]),
            f"Born dead at {depths[-1]} layers: {deepest}.",
            cells,
            tuple(
                effect(gap, MORE, label)
                for label, gap in zip(
                    [f"{depths[-1]} layers above {depths[0]}, N = {n}" for n in widths]
                    + [f"N = {some} above {more}" for some, more in itertools.pairwise(widths)],
                    [*grown, *wider],
                    strict=True,
                )
            ),
        ),
        Finding(
            CLAIMS[3],
            FAILS if rows[1].any() else HOLDS,
            f"Largest share for α = {', '.join(map(str, leaky))} at any depth: {rows[1].max():.2%} of "
            f"{networks:,} networks, its interval up to {rows[3].max():.3%}.",
            cells,
            (effect(_column(rows[1:], rows[3]), NO_MORE, "the most, at any depth", networks),),
        ),
    )


def _column(rows: np.ndarray, largest: np.ndarray) -> Interval:
    """The mean and its bounds where something is the largest."""
    return Interval(*rows[:, int(np.argmax(largest))].tolist())


def _gap(more: np.ndarray, less: np.ndarray) -> Interval:
    """The difference of two shares; bounds that hold where those of both shares do."""
    return Interval(float(more[1] - less[1]), float(more[2] - less[3]), float(more[3] - less[2]))


def _between(rows: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> Verdict:
    if _outside(rows, lowest, highest):
        return FAILS
    return HOLDS if np.max(rows[3] - rows[2]) < 2 * DECISIVE else OPEN


def _outside(rows: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> int:
    # The formulas themselves are rounded: 1 - (1 - p) is not p.
    return int(np.sum((rows[3] < lowest - 1e-12) | (rows[2] > highest + 1e-12)))


def picture(results: Results) -> "Figure":
    """The shares of dead networks against depth, on top of the law and its bounds."""
    widths, leaky = levels(results, "width"), [a for a in levels(results, "alpha") if a]
    networks = sum(results.filter(alpha=0.0, width=widths[0]).members["networks"].to_pylist())
    figure, (left, right) = panels(
        2,
        f"Dots: share of {networks:,} ReLU networks of each width, 95 % intervals smaller than the dots.\n"
        "Lines: 1 - (1 - 2^(-N))^(L-1). Shaded: between Lu's lower bound and that law.",
    )
    for width, color in zip(widths, COLORS, strict=False):
        for axes, metric in ((left, "dead/one_input"), (right, "dead/all_inputs")):
            depth, share, low, high = shares(results, metric, 1, alpha=0.0, width=width)
            reach = np.clip([share - low, high - share], 0, None)
            axes.errorbar(depth, share, reach, fmt="o", markersize=3.5, color=color, label=f"N = {width}")
            fine = depth.astype(int)
            if axes is left:
                axes.plot(depth, law(width, fine), color=color, linewidth=1)
            else:
                axes.fill_between(
                    depth, lower_bound(width, fine), law(width, fine), color=color, alpha=0.2, lw=0
                )
    for alpha in leaky:
        for axes, metric in ((left, "dead/one_input"), (right, "dead/all_inputs")):
            depth, share, *_ = shares(results, metric, 1, alpha=alpha)
            axes.plot(depth, share, "x", color="#555555", markersize=4, label=f"leaky, α = {alpha:g}")
    left.set(title="zero for the input 1", ylabel="share of networks", xlabel="layers L", ylim=(-0.03, 1.03))
    right.set(title="zero for all inputs: born dead", xlabel="layers L", ylim=(-0.03, 1.03))
    for axes in (left, right):
        axes.locator_params(axis="x", integer=True)
    right.legend(frameon=True, fontsize="x-small", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure
