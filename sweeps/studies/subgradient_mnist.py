"""ReLU'(0) on MNIST, in networks of up to 3 x 1024 units: the published shares of runs beside ours.

The claims are those of `subgradient` on how often gradients depend on ReLU'(0), in figures: of 1,000 runs of
each shape, Bertoin, Bolte, Gerchinovitz and Pauwels (2021) found in 32 bits that 54 do of 1 x 256 units, 163
of 3 x 64, 478 of 3 x 256 and 873 of 3 x 1024; in 16 bits 871 of 1 x 256 and all of the others. (The files
`volume_estimation_by_number_of_layers_MNIST` and `..._of_neurons_MNIST` in the folder paper_results/section_3
of the code that they published, github.com/deel-ai/relu-prime.) Measured with their protocol and, as in that
code, with 1 assigned to the gradient in place of s g; what s g makes of it is said beside.

Their runs pass over 60,000 images; `mnist_5k` has 4,000 to train on, so that ours pass over 3,840. If zeros
fall on images independently, a share P of theirs is one of 1 - (1 - P)^(3,840/60,000) of ours: 0.4 %, 1.1 %,
4.1 % and 12.4 % in 32 bits; in 16 bits 12.3 %, and more than 30 % where all of theirs do. Where not all of
theirs do, the number of ours is held against the sum of these, and twice or half as many is the smallest
difference that matters; elsewhere a tenth of the runs is. 64 bits are left to `subgradient`: no run of the
published tables depends on it there. Sums are taken in float32 and rounded once.

Where 32 bits are as published, a factor of two takes 27 expected runs by Poisson's distribution, so 75 seeds
(Student's, by which the power is said beside the verdict, asks for about 160). The 40 here are a pilot;
`--minutes` went on to 162, 324 runs of each shape, in 49 minutes on two cores that had other work, most of
them for 1,024 units.

Found there: in 32 bits 59 runs depend on it where the published shares give 58.1, between 0.74 and 1.35 times
as many. In 16 bits 49 do of 39.8 at 1 x 256, and 62 % at 3 x 256 and 98 % at 3 x 1024, which all of theirs
allow; but at 3 x 64 only 12 % do, by which over 60,000 images 86 % would. The rules s g and 1 find as many
runs. More differ in deeper or wider networks in 8 of 10 comparisons, fewer in none. How many do depends on
how a processor adds: the pilot's 40 seeds found 15 on one and 9 on another. Nothing is trained here: what
becomes of training is in `subgradient`.
"""

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import sweeps
from sweeps.claims.effects import FAILS, HOLDS, MORE, OPEN, SAME, Effect, Verdict
from sweeps.claims.verdicts import (
    Claim,
    Finding,
    binomial_interval,
    combined,
    finals,
    levels,
    percent,
)
from sweeps.report.drawing import panels
from sweeps.results.results import Results
from sweeps.statistics.intervals import CONFIDENCE, Interval
from sweeps.studies._bertoin import (
    BERTOIN,
    bar,
    compared,
    differing,
    growth,
    passes,
    protocol,
    share,
    unit_scaled,
)
from sweeps.studies._bertoin import Config as Config

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


# Of 1,000 runs over 60,000 images each, those that depend on ReLU'(0), by (depth, width).
PUBLISHED = {
    "float16": {(1, 256): 871, (3, 64): 1000, (3, 256): 1000, (3, 1024): 1000},
    "float32": {(1, 256): 54, (3, 64): 163, (3, 256): 478, (3, 1024): 873},
}
OF, IMAGES = 1000, 60_000
DOUBLED = 1  # in doublings: twice as many runs, or half as many, would matter
MARGIN = 0.1  # of the runs, where shares are compared
PASSES = 2
DATA = "mnist-5k"  # what `make` takes by itself
CLAIMS = (
    Claim(
        "In 32 bits 5 % (1 x 256) to 87 % (3 x 1024) of runs over 60,000 images depend on ReLU'(0).", BERTOIN
    ),
    Claim("In 16 bits 87 % (1 x 256) or all (3 x 64 and larger) of them do.", BERTOIN),
    Claim("Of the networks up to 3 x 1024, deeper and wider ones depend on it more often.", BERTOIN),
)


@functools.cache
def _own() -> sweeps.Study:
    return make()


def __getattr__(name: str) -> Any:
    """The study on its own images, which are read when it is asked for: they come with an extra."""
    if name == "study":
        return _own()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make(data: sweeps.Data | None = None) -> sweeps.Study:
    """The study on other images.

    Args:
        data: pairs (images, class numbers); None takes `mnist_5k`. All pixels are scaled to [0, 1] alike.
    """
    data = unit_scaled(sweeps.data.mnist_5k() if data is None else data, axis=None)
    return sweeps.Study(
        protocol(data),
        steps=passes(data, PASSES),
        evaluate_every=passes(data, PASSES),
        metric="runs/differ/assigned",
        mode="max",
        space={
            "dtype": sweeps.grid("float16", "float32"),
            "depth": sweeps.grid(1, 3),
            "width": sweeps.grid(64, 256, 1024),
            "seed": range(40),
        },
    )


class Held(NamedTuple):
    """A count of runs that is held against what the published shares give.

    Attributes:
        met: how many runs there were that differ.
        expected: how many there would be.
        effect: the logarithm of their ratio, in doublings.
        verdict: whether they agree, by two one-sided tests of Poisson's distribution.
    """

    met: int
    expected: float
    effect: Effect
    verdict: Verdict


def expected_share(published: int, images: float | int) -> float:
    """The share of runs over so many images that a published number of 1,000 gives.

    Where all 1,000 differ it is the least that they allow, by the bound of their binomial interval.

    Args:
        published: how many of 1,000 runs over 60,000 images differ.
        images: over how many images ours go.

    Example:
        >>> round(expected_share(873, 60_000), 3), round(expected_share(873, 3_840), 3)
        (0.873, 0.124)
    """
    whole = published / OF if published < OF else binomial_interval(published, OF, 1).low
    return 1 - (1 - whole) ** (images / IMAGES)


def held_against(results: Results, dtype: str, comparisons: int, rule: str = "assigned") -> Held | None:
    """The runs that differ against those expected, over all shapes for which published shares are below 1."""
    met, runs, expected = 0, 0, 0.0
    for shape, published in _known(results, dtype).items():
        if published < OF:
            differ, count = differing(results, rule, dtype=dtype, depth=shape[0], width=shape[1])
            met, runs = met + differ, runs + count
            expected += count * expected_share(published, _images(results))
    if not expected:
        return None
    wide, narrow = (_ratio(met, expected, times * (1 - CONFIDENCE) / comparisons) for times in (1, 2))
    effect = Effect(wide, DOUBLED, runs, comparisons, SAME, f"{dtype}, doublings", "doublings", 1, "runs")
    verdict: Verdict = HOLDS if -DOUBLED < narrow.low and narrow.high < DOUBLED else OPEN
    verdict = FAILS if wide.low > DOUBLED or wide.high < -DOUBLED else verdict
    return Held(met, expected, effect, verdict)


def _ratio(met: int, expected: float, error: float) -> Interval:
    """The ratio of a count to what is expected in doublings, with the exact interval of Garwood (1936)."""
    from scipy import stats

    low = stats.chi2.ppf(error / 2, 2 * met) / 2 if met else 0.0
    high = stats.chi2.ppf(1 - error / 2, 2 * met + 2) / 2
    # None at all is shown as half a run, and no bound lies below a thousandth of what is expected.
    mean, low, high = (np.log2(max(value / expected, 2.0**-10)) for value in (max(met, 0.5), low, high))
    return Interval(float(mean), float(low), float(high))


def all_differ(results: Results, dtype: str, rule: str = "assigned") -> list[Effect]:
    """How far our shares are above the least that the published allow, where all of those runs differ."""
    shapes = [shape for shape, published in _known(results, dtype).items() if published == OF]
    least = expected_share(OF, _images(results))
    found = []
    for depth, width in shapes:
        at = {"dtype": dtype, "depth": depth, "width": width}
        own = share(results, len(shapes), rule, **at)
        apart = Interval(*(value - least for value in own))
        count = differing(results, rule, **at)[1]
        label = f"{dtype}, {depth} x {width}, above {least:.0%}"
        found.append(Effect(apart, MARGIN, count, len(shapes), MORE, label, "points", 100, "runs"))
    return found


def findings(results: Results) -> tuple[Finding, ...]:
    """What the run says of each claim."""
    dtypes = [dtype for dtype in PUBLISHED if dtype in levels(results, "dtype")]
    held = {dtype: held_against(results, dtype, len(dtypes)) for dtype in dtypes}
    saturated = {dtype: all_differ(results, dtype) for dtype in dtypes}
    grown = growth(results, MARGIN, "assigned")
    pairs = compared(results)
    judged = []
    for dtype in ("float32", "float16"):
        own, above = held.get(dtype), saturated.get(dtype, [])
        verdicts: list[Verdict] = [effect.verdict for effect in above]
        if own:
            verdicts.append(own.verdict)
        effects = ([own.effect] if own else []) + above
        judged.append((combined(verdicts), _said(results, dtype, own), len(dtypes), tuple(effects)))
    judged.append(
        (
            combined([effect.verdict for effect in grown]),
            f"By the intervals, more runs differ in {sum(own.interval.low > 0 for own in grown)} of {pairs} "
            f"comparisons, fewer in {sum(own.interval.high < 0 for own in grown)}.",
            pairs,
            tuple(grown),
        )
    )
    return tuple(Finding(claim, *rest) for claim, rest in zip(CLAIMS, judged, strict=True))


def _known(results: Results, dtype: str) -> dict[tuple[int, int], int]:
    """The published numbers of the shapes that were run."""
    depths, widths = levels(results, "depth"), levels(results, "width")
    return {at: n for at, n in PUBLISHED[dtype].items() if at[0] in depths and at[1] in widths}


def _images(results: Results) -> float:
    """How many images a run passes over."""
    return float(finals(results, "runs/images").max())


def _said(results: Results, dtype: str, held: Held | None) -> str:
    """The shares of one precision in words, beside the published ones and what these give here."""
    if held is None:
        return "Not measured."
    known, parts, cells = _known(results, dtype), [], len(_shapes(results))
    for depth, width in _shapes(results):
        at = {"dtype": dtype, "depth": depth, "width": width}
        own = percent(share(results, cells, "assigned", **at))
        given = ""
        if (depth, width) in known:
            published = known[depth, width]
            given = expected_share(published, _images(results))
            given = f" ({'more than ' if published == OF else ''}{given:.1%} by their {published / OF:.0%})"
        parts.append(f"{own}{given} at {depth} x {width}")
    by_product = held_against(results, dtype, 1, "one")
    low, high = (2.0**bound for bound in held.effect.interval[1:])
    return (
        f"Runs over {_images(results):,.0f} images that differ in {dtype}: {', '.join(parts)}. Where fewer "
        f"than all of theirs do, {held.met} of ours against {held.expected:.1f} expected, {low:.2f} to "
        f"{high:.2f} times as many; by the rule s g {by_product.met if by_product else 0}."
    )


def _shapes(results: Results) -> list[tuple[int, int]]:
    return [(depth, width) for depth in levels(results, "depth") for width in levels(results, "width")]


def picture(results: Results) -> "Figure":
    """Our shares of runs beside those that the published ones give, for both precisions."""
    dtypes, shapes = list(PUBLISHED), _shapes(results)
    count = differing(
        results, "one", dtype=levels(results, "dtype")[0], depth=shapes[0][0], width=shapes[0][1]
    )
    figure, both = panels(
        2,
        f"Filled: share of {count[1]} runs over {_images(results):,.0f} images that depend on ReLU'(0), with "
        "binomial 95 % intervals, not widened for their\nnumber; hollow: what the published share of 1,000 "
        "runs over 60,000 images gives, or, as a triangle, the least that it gives.",
    )
    for axes, dtype in zip(both, dtypes, strict=True):
        known = _known(results, dtype)
        for at, (depth, width) in enumerate(shapes):
            if dtype in levels(results, "dtype"):
                own = share(results, 1, "assigned", dtype=dtype, depth=depth, width=width)
                axes.errorbar(at, **bar(own), fmt="o", color="#0072B2")
            if (depth, width) in known:
                published = known[depth, width]
                given = expected_share(published, _images(results))
                axes.plot(at + 0.2, given, "^" if published == OF else "s", color="#8F6100", mfc="white")
        axes.set_xticks(range(len(shapes)), [f"{depth} x {width}" for depth, width in shapes])
        axes.set(title=dtype, xlabel="hidden layers x units", ylabel="share of runs", ylim=(-0.05, 1.05))
    return figure
