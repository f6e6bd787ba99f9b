"""ReLU'(0) in low precision: how often gradients depend on it, and what that does to training.

The claims: whether the derivative s of ReLU at 0 is set to 0 or 1 changes the gradients of around half of
all runs in 32 bits and of all in 16 bits, but of none in 64 bits, more often in deeper and wider networks;
and training is best with s = 0 (Bertoin, Bolte, Gerchinovitz and Pauwels, 2021). Measured with their
protocol: inputs in [0, 1], weights and biases from U(±1/√fan_in), cross entropy, batches of 256; a run is one
new initialisation, and counts if on any batch of one pass the first layer's gradients for s = 0 and s = 1
differ. Then training by SGD with s = 0, with s = 1, and with a faulty rule that the published code has:
where the input is 0 it assigns s = 1 to the gradient g that is passed back, instead of s g.

Sums are taken in float32 and rounded once to the precision, as matrix units of a GPU do. A pass over the
digits has 1,280 images, one over their MNIST 60,000, so that here fewer runs meet a zero. A twentieth of the
runs, and half a point of accuracy, are the smallest differences that matter.

Found here, in 320 runs of each shape: no run in float32 or float64 depends on ReLU'(0), up to 11 % in
float16 and up to 13 % in bfloat16, more in deeper or wider networks in 4 of 12 comparisons; fewer than in
the paper, whose passes are 47 times as long. Where a batch depends on it, the rule s g changes the gradient
by 0.2 % of its norm and the faulty rule by 40 times its norm. On the accuracy neither had an effect that 16
seeds could show.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import sweeps
from sweeps.claims.effects import FAILS, HOLDS, OPEN, SAME, Effect, effect_of
from sweeps.claims.verdicts import Claim, Finding, binomial_interval, finals, judge_each, levels, paired
from sweeps.models.losses import accuracy
from sweeps.report.drawing import panels
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval
from sweeps.studies._low_precision import RULES, Layers, draw, forward, held, loss, precision, released

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


COLORS = ("#0072B2", "#8F6100", "#009E73", "#CC79A7")
BATCH, PASSES = 256, 20
MARGIN = 0.005  # half a percent of accuracy: less would not matter
RUNS = 0.05  # of the runs: a twentieth of them
AROUND = 0.1  # of the runs: "around half" is 40 % to 60 %


@dataclasses.dataclass(frozen=True)
class Config:
    """The precision, the number of hidden layers and their width, and SGD's rate."""

    dtype: Literal["float16", "bfloat16", "float32", "float64"] = "float32"
    depth: int = 3
    width: int = 128
    learning_rate: float = 0.5


class State(NamedTuple):
    """What a member carries: networks, and what was counted of those drawn for one pass each."""

    drawn: Layers
    trained: dict[str, Layers]
    batches: jax.Array
    differs: jax.Array
    runs: jax.Array
    differing: jax.Array
    zeros: jax.Array
    changes: dict[str, jax.Array]
    changed: jax.Array


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on other images.

    Args:
        data: pairs (images, class numbers); None takes the digits. Each pixel is scaled to [0, 1].
    """
    data = _unit_scaled(sweeps.data.digits() if data is None else data)
    pixels, classes = data.train[0].shape[1], int(data.train[1].max()) + 1
    size = min(BATCH, len(data.train[0]))
    per_pass = len(data.train[0]) // size

    def fresh(config: Config, key: jax.Array) -> Layers:
        return draw([pixels, *[config.width] * config.depth, classes], config.dtype, key)

    def init(config: Config, key: jax.Array) -> State:
        with precision(config.dtype):
            layers, none = held(fresh(config, key)), jnp.zeros((), jnp.float32)
        changes = {"one": none, "assigned": none}
        trained = dict.fromkeys(RULES, layers)
        return State(layers, trained, jnp.int32(0), jnp.bool_(False), none, none, none, changes, none)

    def step(config: Config, state: State, batch: Any, key: jax.Array) -> tuple[State, dict[str, Any]]:
        with precision(config.dtype):
            gradient = jax.grad(loss, has_aux=True)
            first = state.batches % per_pass == 0
            new = functools.partial(jnp.where, first)
            drawn = jax.tree.map(new, fresh(config, key), released(state.drawn))
            gradients, met = {}, jnp.zeros(())
            for rule in RULES:
                gradients[rule], met = gradient(drawn, rule, *batch)
            differs = jnp.any(gradients["zero"][0][0] != gradients["one"][0][0])
            ended = (state.batches + 1) % per_pass == 0
            hit = differs | (state.differs & ~first)
            changes = {
                rule: state.changes[rule] + jnp.where(differs, _change(gradients, rule), 0)
                for rule in state.changes
            }
            trained = {}
            for rule, layers in state.trained.items():
                own = released(layers)
                update = functools.partial(_updated, rate=config.learning_rate)
                trained[rule] = held(jax.tree.map(update, own, gradient(own, rule, *batch)[0]))
            counted = (state.runs + ended, state.differing + (ended & hit), state.zeros + met)
            changed = state.changed + differs
            return State(held(drawn), trained, state.batches + 1, hit, *counted, changes, changed), {}

    def evaluate(config: Config, state: State, evaluation: Any) -> dict[str, Any]:
        images, targets = evaluation
        units = state.batches.astype(jnp.float32) * (size * config.depth * config.width)
        metrics = {
            "runs/count": state.runs,
            "runs/differ": state.differing / jnp.maximum(state.runs, 1),
            "zeros/per_million": 1e6 * (state.zeros / units),
            "batches/differ": state.changed,
        }
        for rule, total in state.changes.items():
            metrics[f"log10_change/{rule}"] = total / state.changed  # NaN where no batch differed
        for rule, layers in state.trained.items():
            with precision(config.dtype):
                logits = forward(released(layers), images, rule)[0].astype(jnp.float32)
            metrics[f"test/accuracy/{rule}"] = jnp.mean(accuracy(logits, targets))
        return metrics

    # A network that overflowed is a result like any other: its accuracy is that of guessing.
    trial = sweeps.Trial(Config, data, init, step, evaluate, size, lambda config, state, metrics: False)
    return sweeps.Study(
        trial,
        steps=PASSES * per_pass,
        evaluate_every=PASSES * per_pass,
        metric="test/accuracy/zero",
        mode="max",
        space={
            "dtype": sweeps.grid("float16", "bfloat16", "float32", "float64"),
            "depth": sweeps.grid(1, 3),
            "width": sweeps.grid(32, 128),
            "seed": range(16),
        },
    )


def _unit_scaled(data: sweeps.Data) -> sweeps.Data:
    low, high = data.train[0].min(axis=0), data.train[0].max(axis=0)
    span = np.where(high > low, high - low, 1)
    return sweeps.Data(*((((x - low) / span).astype(np.float32).reshape(len(x), -1), y) for x, y in data))


def _change(gradients: dict[str, Layers], rule: str) -> jax.Array:
    """The logarithm of the relative change of the first layer's gradient from s = 0 to the rule."""
    before, after = (gradients[name][0][0].astype(jnp.float32) for name in ("zero", rule))
    tiny = jnp.finfo(jnp.float32).tiny
    size = jnp.linalg.norm(before)
    return jnp.log10(jnp.maximum(jnp.linalg.norm(after - before), tiny) / jnp.maximum(size, tiny))


def _updated(value: jax.Array, slope: jax.Array, rate: Any) -> jax.Array:
    wide = jnp.promote_types(value.dtype, jnp.float32)
    return (value.astype(wide) - rate * slope.astype(wide)).astype(value.dtype)


study = make()

BERTOIN = "Bertoin, Bolte, Gerchinovitz and Pauwels, 2021"
CLAIMS = (
    Claim("In 32 bits, around half of the runs have gradients that depend on ReLU'(0).", BERTOIN),
    Claim("In 16 bits, all runs do.", BERTOIN),
    Claim("In 64 bits, none does.", BERTOIN),
    Claim("Runs of deeper and of wider networks depend on it more often.", BERTOIN),
    Claim("Training with ReLU'(0) = 0 is more accurate than with 1, by the rule s g.", BERTOIN),
    Claim("Training with ReLU'(0) = 0 is more accurate than with 1 assigned to the gradient.", BERTOIN),
)


def runs(results: Results, comparisons: int, **conditions: Any) -> Interval:
    """The share of runs that differ, with its interval."""
    count = finals(results, "runs/count", **conditions)
    differ = np.rint(finals(results, "runs/differ", **conditions) * count)
    return binomial_interval(differ.sum(), count.sum(), comparisons)


def findings(results: Results) -> tuple[Finding, ...]:
    """What the run says of each claim."""
    dtypes, depths, widths = (levels(results, field) for field in ("dtype", "depth", "width"))
    shapes = [{"depth": depth, "width": width} for depth in depths for width in widths]
    cells = len(dtypes) * len(shapes)
    shares = {dtype: [runs(results, cells, dtype=dtype, **shape) for shape in shapes] for dtype in dtypes}
    some = shares.get("float32", [])
    half = FAILS if some and all(share.high < 0.4 or share.low > 0.6 for share in some) else OPEN
    half = HOLDS if some and all(0.4 < share.low and share.high < 0.6 for share in some) else half
    low = [share for dtype in ("float16", "bfloat16") for share in shares.get(dtype, [])]
    every = FAILS if low and all(share.high < 0.95 for share in low) else OPEN
    every = HOLDS if low and all(share.low > 0.95 for share in low) else every
    deep, wide = (_growth(results, field) for field in ("depth", "width"))
    pairs = len(deep) + len(wide)
    grown = [
        effect_of(values, RUNS, pairs, label=label, unit="points", scale=100)
        for label, values in (deep | wide).items()
        if values.any()
    ]
    right, faulty = (_advantage(results, rule, cells) for rule in ("one", "assigned"))
    none = shares.get("float64", [])
    each = int(finals(results, "runs/count", dtype=dtypes[0], **shapes[0]).sum())

    def about(claimed: float, margin: float, *names: str) -> tuple[Effect, ...]:
        """How far the shares of these precisions are from what is claimed."""
        cases = [(n, *case) for n in names for case in zip(shapes, shares.get(n, []), strict=False)]
        labels = [f"{n}, {at['depth']} x {at['width']}, from {claimed:.0%}" for n, at, _ in cases]
        apart = [Interval(*(value - claimed for value in share)) for *_, share in cases]
        return tuple(
            Effect(interval, margin, each, cells, SAME, label, "points", 100, "runs")
            for interval, label in zip(apart, labels, strict=True)
        )

    return (
        Finding(CLAIMS[0], half, _listed("float32", shapes, some), cells, about(0.5, AROUND, "float32")),
        Finding(
            CLAIMS[1],
            every,
            " ".join(_listed(name, shapes, shares.get(name, [])) for name in ("float16", "bfloat16")),
            cells,
            about(1.0, RUNS, "float16", "bfloat16"),
        ),
        Finding(
            CLAIMS[2],
            (HOLDS if all(share.high < 0.05 for share in none) else FAILS) if none else OPEN,
            _listed("float64", shapes, none),
            cells,
            about(0.0, RUNS, "float64"),
        ),
        Finding(
            CLAIMS[3],
            judge_each(grown) if grown else OPEN,
            f"By the intervals, more runs differ in {sum(own.interval.low > 0 for own in grown)} of "
            f"{pairs} comparisons, fewer in {sum(own.interval.high < 0 for own in grown)}.",
            pairs,
            tuple(grown),
        ),
        *(
            Finding(
                claim, judge_each(list(own.values())), _said(results, rule, own), cells, tuple(own.values())
            )
            for claim, rule, own in zip(CLAIMS[4:], ("one", "assigned"), (right, faulty), strict=True)
        ),
    )


def _growth(results: Results, field: str) -> dict[str, np.ndarray]:
    """How many more runs differ, seed by seed, at the largest depth or width than at the smallest."""
    other = "width" if field == "depth" else "depth"
    ends = levels(results, field)
    return {
        f"{field} {ends[-1]} above {ends[0]}, {dtype}, {other} {same}": paired(
            results,
            "runs/differ",
            {"dtype": dtype, other: same, field: ends[-1]},
            {"dtype": dtype, other: same, field: ends[0]},
        )
        for dtype in levels(results, "dtype")
        if dtype != "float64"
        for same in levels(results, other)
    }


def _advantage(results: Results, rule: str, comparisons: int) -> dict[tuple[str, int, int], Effect]:
    """The accuracy with s = 0 above that with the rule, per precision, depth and width."""
    found = {}
    for dtype in levels(results, "dtype"):
        for depth in levels(results, "depth"):
            for width in levels(results, "width"):
                part = results.filter(dtype=dtype, depth=depth, width=width)
                gap = part.final("test/accuracy/zero") - part.final(f"test/accuracy/{rule}")
                label = f"{dtype}, {depth} x {width}"
                found[dtype, depth, width] = effect_of(
                    gap, MARGIN, comparisons, label=label, unit="points", scale=100
                )
    return found


def _listed(dtype: str, shapes: list[dict[str, int]], shares: list[Interval]) -> str:
    """The shares of one precision in words."""
    each = ", ".join(
        f"{i.mean:.1%} [{i.low:.1%}, {i.high:.1%}] at {shape['depth']} x {shape['width']}"
        for shape, i in zip(shapes, shares, strict=False)
    )
    return f"Runs that differ in {dtype}: {each or 'not measured'}."


def _said(results: Results, rule: str, gaps: dict[tuple[str, int, int], Effect]) -> str:
    widest = max(gaps, key=lambda case: abs(gaps[case].interval.mean))
    gap, change = gaps[widest].interval, results.final(f"log10_change/{rule}")
    weights = results.final("batches/differ")
    met = np.isfinite(change)
    size = "no batch differed"
    if met.any():
        mean = float(np.average(change[met], weights=weights[met]))
        size = f"{weights.sum():.0f} batches differed, the gradient by a factor of {10**mean:.2g} of its norm"
    return (
        f"Largest difference in accuracy among {len(gaps)}: {gap.mean:.2%} [{gap.low:.2%}, {gap.high:.2%}], "
        f"in {widest[0]} at {widest[1]} x {widest[2]}; {size} (geometric mean) at initialisation."
    )


def picture(results: Results) -> "Figure":
    """How often gradients depend on ReLU'(0), and the accuracy that it costs, for each precision."""
    shapes = [(d, w) for d in levels(results, "depth") for w in levels(results, "width")]
    dtypes = levels(results, "dtype")
    each = finals(results, "runs/count", dtype=dtypes[0], depth=shapes[0][0], width=shapes[0][1])
    figure, (left, right) = panels(
        2,
        f"Left: share of {each.sum():.0f} runs each, with binomial 95 % intervals. Right: mean over "
        f"{len(each)} seeds of the accuracy with s = 0 less that with s = 1,\nfilled by the rule s g, hollow "
        "with s assigned to g; 95 % intervals. No interval here is widened for the number of comparisons.",
    )
    gaps = {rule: _advantage(results, rule, 1) for rule in ("one", "assigned")}
    for place, (dtype, color) in enumerate(zip(dtypes, COLORS, strict=False)):
        shift = 0.16 * (place - (len(dtypes) - 1) / 2)
        for at, (depth, width) in enumerate(shapes):
            share = runs(results, 1, dtype=dtype, depth=depth, width=width)
            left.errorbar(at + shift, **_bar(share), fmt="o", color=color, label=dtype if not at else None)
            for rule, fill, aside in (("one", color, -0.03), ("assigned", "white", 0.03)):
                bar = _bar(gaps[rule][dtype, depth, width].interval)
                right.errorbar(at + shift + aside, **bar, fmt="s", color=color, mfc=fill, markersize=4)
    for axes in (left, right):
        axes.set_xticks(range(len(shapes)), [f"{depth} x {width}" for depth, width in shapes])
        axes.set_xlabel("hidden layers x units")
    left.set(title="runs whose gradients depend on ReLU'(0)", ylabel="share of runs")
    right.set(title="accuracy lost with s = 1", ylabel="difference in test accuracy")
    left.legend(frameon=False, fontsize="small", loc="upper left")
    return figure


def _bar(interval: Interval) -> dict[str, Any]:
    reach = [[interval.mean - interval.low], [interval.high - interval.mean]]
    return {"y": interval.mean, "yerr": np.clip(reach, 0, None), "capsize": 2}
