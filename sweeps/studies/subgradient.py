"""ReLU'(0) in low precision: how often gradients depend on it, and what that does to training.

The claims: whether the derivative s of ReLU at 0 is set to 0 or 1 changes the gradients of around half of
all runs in 32 bits and of all in 16 bits, but of none in 64 bits, more often in deeper and wider networks;
and training is best with s = 0 (Bertoin, Bolte, Gerchinovitz and Pauwels, 2021). Measured with their
protocol: inputs in [0, 1], weights and biases from U(±1/√fan_in), cross entropy, batches of 256; a run is one
new initialisation, and counts if on any batch of one pass the first layer's gradients for s = 0 and s = 1
differ. Then training by SGD with s = 0, with s = 1, and with a faulty rule that the published code has:
where the input is 0 it assigns s = 1 to the gradient g that is passed back, instead of s g.

Sums are taken in float32 and rounded once to the precision, as matrix units of a GPU do. A pass over the
digits has 1,280 images, one over their MNIST 60,000, so that here fewer runs meet a zero: `subgradient-mnist`
holds the shares against theirs at equal numbers of images. A twentieth of the runs, and a point of accuracy,
are the smallest differences that matter.

Networks are trained for 400 steps at a rate that falls from 0.3 to 0 along a cosine, as it falls in the
published code for MNIST. By pilots of 4 seeds, 100 steps, or a rate that stays high, meet networks in the
middle of training: at 0.5 one is at 52 % by one rule and at 91 % by another, and 100 steps later at 96 % and
97 %. That spread, of 20 points, hid any effect. With the cosine a difference deviates by about 0.3 points, so
that 10 seeds tell a point with a power of 90 %; 9 minutes on two cores that had other work.

Found here with 10 seeds and 800 runs of each shape: in float32 at most 0.4 % of runs depend on ReLU'(0), in
float64 none, in float16 up to 12 % and in bfloat16 up to 15 %, more in deeper or wider networks in 4 of 12
comparisons. Where a batch depends on it, the rule s g changes the gradient by 0.2 % of its norm and the
faulty rule by 38 times its norm.

What remains of their training effect is, here, nothing that matters. In float32 and float64 all three rules
end at the same accuracy to the last image. In 16 bits s = 0 is ahead of s = 1 by the rule s g by between -0.4
and +0.4 points, and of the faulty rule by between -0.7 and +0.7 (16 intervals that hold together): less than
a point, with the power to have told one. Their largest effect, of 10 points, is on ImageNet, of which this
says nothing, nor does it of their convolutional networks.
"""

from typing import TYPE_CHECKING

import numpy as np

import sweeps
from sweeps.claims.effects import FAILS, HOLDS, OPEN, SAME, Effect, effect_of
from sweeps.claims.verdicts import Claim, Finding, judge_each, levels, percent, said
from sweeps.report.drawing import panels
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval
from sweeps.studies._bertoin import (
    BERTOIN,
    OTHERS,
    bar,
    compared,
    growth,
    passes,
    protocol,
    share,
    unit_scaled,
)
from sweeps.studies._bertoin import Config as Config

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


COLORS = ("#0072B2", "#8F6100", "#009E73", "#CC79A7")
PASSES, RATE = 80, 0.3
MARGIN = 0.01  # a point of accuracy: less would not matter
RUNS = 0.05  # of the runs: a twentieth of them
AROUND = 0.1  # of the runs: "around half" is 40 % to 60 %
NOT = "Not measured."


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on other images.

    Args:
        data: pairs (images, class numbers); None takes the digits. Each pixel is scaled to [0, 1].
    """
    data = unit_scaled(sweeps.data.digits() if data is None else data)
    steps = passes(data, PASSES)
    return sweeps.Study(
        protocol(data, steps),
        steps=steps,
        evaluate_every=steps,
        metric="test/accuracy/zero",
        mode="max",
        space={
            "dtype": sweeps.grid("float16", "bfloat16", "float32", "float64"),
            "depth": sweeps.grid(1, 3),
            "width": sweeps.grid(32, 128),
            "learning_rate": sweeps.grid(RATE),
            "seed": range(10),
        },
    )


study = make()

CLAIMS = (
    Claim("In 32 bits, around half of the runs have gradients that depend on ReLU'(0).", BERTOIN),
    Claim("In 16 bits, all runs do.", BERTOIN),
    Claim("In 64 bits, none does.", BERTOIN),
    Claim("Runs of deeper and of wider networks depend on it more often.", BERTOIN),
    Claim("Training with ReLU'(0) = 0 is more accurate than with 1, by the rule s g.", BERTOIN),
    Claim("Training with ReLU'(0) = 0 is more accurate than with 1 assigned to the gradient.", BERTOIN),
)


def findings(results: Results) -> tuple[Finding, ...]:
    """What the run says of each claim."""
    shapes = _shapes(results)
    cells = len(levels(results, "dtype")) * len(shapes)
    shares = {
        dtype: [share(results, cells, "one", dtype=dtype, **shape) for shape in shapes]
        for dtype in levels(results, "dtype")
    }
    some, none = shares.get("float32", []), shares.get("float64", [])
    half = FAILS if some and all(own.high < 0.4 or own.low > 0.6 for own in some) else OPEN
    half = HOLDS if some and all(0.4 < own.low and own.high < 0.6 for own in some) else half
    low = [own for dtype in ("float16", "bfloat16") for own in shares.get(dtype, [])]
    every = FAILS if low and all(own.high < 0.95 for own in low) else OPEN
    every = HOLDS if low and all(own.low > 0.95 for own in low) else every
    never = (HOLDS if all(own.high < 0.05 for own in none) else FAILS) if none else OPEN
    each = int(results.final("runs/count").sum()) // cells
    pairs = compared(results)
    grown = growth(results, RUNS, "one")
    by_rule = {rule: advantage(results, rule, cells) for rule in OTHERS}

    def about(claimed: float, margin: float, *names: str) -> tuple[Effect, ...]:
        """How far the shares of these precisions are from what is claimed."""
        cases = [(name, *case) for name in names for case in zip(shapes, shares.get(name, []), strict=False)]
        labels = [f"{name}, {at['depth']} x {at['width']}, from {claimed:.0%}" for name, at, _ in cases]
        apart = [Interval(*(value - claimed for value in own)) for *_, own in cases]
        return tuple(
            Effect(interval, margin, each, cells, SAME, label, "points", 100, "runs")
            for interval, label in zip(apart, labels, strict=True)
        )

    listed = {name: _listed(name, shapes, own) for name, own in shares.items()}
    small = " ".join(listed[name] for name in ("float16", "bfloat16") if name in listed)
    return (
        Finding(CLAIMS[0], half, listed.get("float32", NOT), cells, about(0.5, AROUND, "float32")),
        Finding(CLAIMS[1], every, small or NOT, cells, about(1.0, RUNS, "float16", "bfloat16")),
        Finding(CLAIMS[2], never, listed.get("float64", NOT), cells, about(0.0, RUNS, "float64")),
        Finding(
            CLAIMS[3],
            judge_each(grown) if grown else OPEN,
            f"By the intervals, more runs differ in {sum(own.interval.low > 0 for own in grown)} of "
            f"{pairs} comparisons, fewer in {sum(own.interval.high < 0 for own in grown)}.",
            pairs,
            tuple(grown),
        ),
        *(
            Finding(claim, judge_each(own), _said(results, rule, own), cells, tuple(own))
            for claim, (rule, own) in zip(CLAIMS[4:], by_rule.items(), strict=True)
        ),
    )


def advantage(results: Results, rule: str, comparisons: int) -> list[Effect]:
    """The accuracy with s = 0 above that with the rule, per precision, depth and width."""
    found = []
    for dtype in levels(results, "dtype"):
        for shape in _shapes(results):
            part = results.filter(dtype=dtype, **shape)
            gap = part.final("test/accuracy/zero") - part.final(f"test/accuracy/{rule}")
            label = f"{dtype}, {shape['depth']} x {shape['width']}"
            found.append(effect_of(gap, MARGIN, comparisons, label=label, unit="points", scale=100))
    return found


def _shapes(results: Results) -> list[dict[str, int]]:
    """The depths and widths, as conditions."""
    widths = levels(results, "width")
    return [{"depth": depth, "width": width} for depth in levels(results, "depth") for width in widths]


def _listed(dtype: str, shapes: list[dict[str, int]], shares: list[Interval]) -> str:
    """The shares of one precision in words."""
    each = ", ".join(
        f"{percent(own)} at {shape['depth']} x {shape['width']}"
        for shape, own in zip(shapes, shares, strict=True)
    )
    return f"Runs that differ in {dtype}: {each}."


def _said(results: Results, rule: str, gaps: list[Effect]) -> str:
    """The largest difference in accuracy in words, and how large the gradient's change is."""
    widest = max(gaps, key=lambda own: abs(own.interval.mean))
    least, most = min(own.interval.low for own in gaps), max(own.interval.high for own in gaps)
    change, weights = results.final(f"log10_change/{rule}"), results.final(f"batches/differ/{rule}")
    met = np.isfinite(change)
    size = "no batch differed"
    if met.any():
        mean = float(np.average(change[met], weights=weights[met]))
        size = f"{weights.sum():.0f} batches differed, the gradient by a factor of {10**mean:.2g} of its norm"
    return (
        f"Largest difference in accuracy among {len(gaps)}: {said(widest.interval, 'points', 100)}, in "
        f"{widest.label}; all intervals lie between {100 * least:+.2f} and {100 * most:+.2f}, and less than "
        f"{100 * MARGIN:g} is too small to matter; {size} (geometric mean) at initialisation."
    )


def picture(results: Results) -> "Figure":
    """How often gradients depend on ReLU'(0), and the accuracy that it costs, for each precision."""
    shapes, dtypes = _shapes(results), levels(results, "dtype")
    each = results.filter(dtype=dtypes[0], **shapes[0]).final("runs/count")
    figure, (left, right) = panels(
        2,
        f"Left: share of {each.sum():.0f} runs each, with binomial 95 % intervals. Right: mean over "
        f"{len(each)} seeds of the accuracy with s = 0 less that with s = 1,\nfilled by the rule s g, hollow "
        "with s assigned to g; 95 % intervals. No interval here is widened for the number of comparisons.",
    )
    for place, (dtype, color) in enumerate(zip(dtypes, COLORS, strict=False)):
        shift = 0.16 * (place - (len(dtypes) - 1) / 2)
        for at, shape in enumerate(shapes):
            own = share(results, 1, "one", dtype=dtype, **shape)
            left.errorbar(at + shift, **bar(own), fmt="o", color=color, label=dtype if not at else None)
    for rule, filled, aside in (("one", True, -0.03), ("assigned", False, 0.03)):
        for case, own in enumerate(advantage(results, rule, 1)):
            place, at = divmod(case, len(shapes))
            color = COLORS[place % len(COLORS)]
            shift = 0.16 * (place - (len(dtypes) - 1) / 2) + aside
            fill = color if filled else "white"
            right.errorbar(at + shift, **bar(own.interval), fmt="s", color=color, mfc=fill, markersize=4)
    for axes in (left, right):
        axes.set_xticks(range(len(shapes)), [f"{shape['depth']} x {shape['width']}" for shape in shapes])
        axes.set_xlabel("hidden layers x units")
    left.set(title="runs whose gradients depend on ReLU'(0)", ylabel="share of runs")
    right.set(title="accuracy lost with s = 1", ylabel="difference in test accuracy")
    left.legend(frameon=False, fontsize="small", loc="upper left")
    return figure
