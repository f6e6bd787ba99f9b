"""An effect that a claim is judged by: its interval, what would matter, and what so many seeds could tell."""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from sweeps.statistics.intervals import CONFIDENCE, Interval, student_interval
from sweeps.statistics.power import (
    MOST_SEEDS,
    Equivalence,
    equivalence_seeds,
    power,
    seeds_needed,
    smallest_difference,
    two_one_sided,
)

Verdict = Literal[
    "holds", "holds under these conditions", "does not hold here", "cannot be told at this size"
]
HOLDS: Verdict = "holds"
CONDITIONAL: Verdict = "holds under these conditions"
FAILS: Verdict = "does not hold here"
OPEN: Verdict = "cannot be told at this size"

Claimed = Literal["more", "no more", "the same", "other"]
MORE: Claimed = "more"  # the effect is above zero
NO_MORE: Claimed = "no more"  # it is below the margin
SAME: Claimed = "the same"  # it is within the margin on both sides
OTHER: Claimed = "other"  # it is not zero


class Effect(NamedTuple):
    """A mean difference that a claim is about, with all that its verdict rests on.

    Attributes:
        interval: of the difference, widened for the number of comparisons.
        margin: the smallest difference that matters, said beforehand, in the same units; above 0.
        seeds: over how many seeds it is, or over how many of what `over` says.
        comparisons: how many intervals are read together (Bonferroni).
        claimed: where the claim says that the difference lies.
        label: under which condition it was measured; empty where there is one.
        unit: what it is said in.
        scale: what it is multiplied by to be in that unit.
        over: what these are, if not seeds.
    """

    interval: Interval
    margin: float | int
    seeds: int
    comparisons: int = 1
    claimed: Claimed = MORE
    label: str = ""
    unit: str = ""
    scale: float | int = 1
    over: str = "seeds"

    @property
    def confidence(self) -> float:
        """The confidence of the interval by itself, by which all of them together hold at 95 %."""
        return 1 - (1 - CONFIDENCE) / self.comparisons

    @property
    def error(self) -> float:
        """The standard error of the difference, which Student's interval tells; NaN below two seeds."""
        from scipy import special

        if self.seeds < 2:
            return float("nan")
        reach = float(special.stdtrit(self.seeds - 1, (1 + self.confidence) / 2))
        return (self.interval.high - self.interval.low) / 2 / reach

    @property
    def deviation(self) -> float:
        """The standard deviation of single differences."""
        return self.error * math.sqrt(self.seeds)

    @property
    def equivalence(self) -> Equivalence:
        """The two one-sided tests of whether the difference is within the margin."""
        return two_one_sided(self.interval.mean, self.error, self.seeds, self.margin, self.confidence)

    @property
    def verdict(self) -> Verdict:
        """What the interval, and the two one-sided tests, say of the claim.

        A difference that is there holds, however small: seeds may find it that were too few to do more than
        show that it is too small to matter.

        Example:
            >>> Effect(Interval(0.3, 0.1, 0.5), 0.5, 16).verdict
            'holds'
            >>> Effect(Interval(0.1, -0.1, 0.3), 0.5, 16, claimed=NO_MORE).verdict
            'holds'
            >>> Effect(Interval(0.3, -0.1, 0.7), 0.5, 16, claimed=NO_MORE).verdict
            'cannot be told at this size'
        """
        (_, low, high), margin, small = self.interval, self.margin, self.equivalence
        less = small.interval.high < margin
        holds, fails = {
            MORE: (low > 0, less),
            NO_MORE: (less, low > margin),
            SAME: (small.within, low > margin or high < -margin),
            OTHER: (low > 0 or high < 0, small.within),
        }[self.claimed]
        return HOLDS if holds else FAILS if fails else OPEN

    @property
    def power(self) -> float:
        """The probability that so many seeds tell a difference of the margin from zero."""
        return power(self.margin, self.deviation, self.seeds, self.confidence) if self.bounded else math.nan

    @property
    def smallest(self) -> float:
        """The smallest true difference that so many seeds tell from zero with a power of 90 %; or NaN."""
        return smallest_difference(self.deviation, self.seeds, self.confidence)

    @property
    def needed(self) -> int | None:
        """How many seeds a power of 90 % takes: to tell the margin from zero, or zero from the margin.

        It depends on the spread alone, not on the difference that was found. None where that is not known.
        """
        if not self.bounded or not self.margin > 0:
            return None
        both = self.claimed in (SAME, OTHER)
        shown = equivalence_seeds(self.margin, self.deviation, self.confidence) if both else 0
        return max(shown, seeds_needed(self.margin, self.deviation, self.confidence))

    @property
    def needed_as_measured(self) -> int | None:
        """How many seeds give a verdict with a power of 90 % if the difference is what was measured."""
        if not self.bounded or not self.margin > 0:
            return None
        mean, side = self.interval.mean, abs(self.interval.mean)
        apart = {
            MORE: [mean, self.margin - mean],
            NO_MORE: [self.margin - mean],
            SAME: [self.margin - side],
            OTHER: [mean, self.margin - side],
        }[self.claimed]
        furthest = max(map(abs, apart))
        return seeds_needed(furthest, self.deviation, self.confidence) if furthest else MOST_SEEDS

    @property
    def bounded(self) -> bool:
        """Whether the interval has bounds, so that the spread is known."""
        return math.isfinite(self.deviation)


def corrected_interval(differences: Float[np.ndarray, " seeds"], comparisons: int) -> Interval:
    """Student's interval of a mean difference, widened so that all comparisons hold together (Bonferroni).

    Args:
        differences: one difference per seed.
        comparisons: how many intervals are read together, at least 1.

    Example:
        >>> one = corrected_interval(np.array([1.0, 2.0, 3.0]), 1)
        >>> ten = corrected_interval(np.array([1.0, 2.0, 3.0]), 10)
        >>> ten.low < one.low < one.high < ten.high
        True
    """
    return student_interval(differences, 1 - (1 - CONFIDENCE) / comparisons)


def effect_of(
    differences: Float[np.ndarray, " seeds"],
    margin: float | int,
    comparisons: int = 1,
    claimed: Claimed = MORE,
    label: str = "",
    unit: str = "",
    scale: float | int = 1,
) -> Effect:
    """The effect that differences have, one per seed.

    Args:
        differences: one per seed; those that are not finite are left out.
        margin: the smallest mean difference that matters.
        comparisons: how many intervals are read together.
        claimed: where the claim says that the difference lies.
        label: under which condition it was measured.
        unit: what it is said in.
        scale: what it is multiplied by to be in that unit.

    Example:
        >>> effect_of(np.array([0.1, -0.1, 0.2, 0.0]), 1.0, claimed=NO_MORE).verdict
        'holds'
    """
    finite = np.asarray(differences, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    interval = corrected_interval(finite, comparisons)
    return Effect(interval, margin, len(finite), comparisons, claimed, label, unit, scale)


def growth(effects: Iterable[Effect]) -> float:
    """How many times the seeds that there are a power of 90 % takes for all of the effects; at least 1.

    Args:
        effects: of a claim; those whose spread is not known say nothing.

    Example:
        >>> growth([]), growth([Effect(Interval(0.0, -1.0, 1.0), 0.1, 16)]) > 100
        (1.0, True)
    """
    known = [(effect.needed, effect.seeds) for effect in effects]
    return max([1.0, *(needed / seeds for needed, seeds in known if needed is not None)])


def in_unit(effect: Effect, value: float | int) -> str:
    """A value of an effect in its unit, as text without a sign.

    Args:
        effect: the effect.
        value: in the units of its interval.

    Example:
        >>> in_unit(Effect(Interval(0, -1, 1), 0.005, 8, unit="points", scale=100), 0.005)
        '0.5 points'
    """
    shown = float(effect.scale * value)
    text = f"{shown:.2f}".rstrip("0").rstrip(".") if abs(shown) >= 0.1 else f"{shown:.2g}"
    return f"{text} {effect.unit}".rstrip()


def size_of(effects: Iterable[Effect], verdict: Verdict = HOLDS) -> str:
    """Which difference could be told, and what the margin takes, of the effect that takes the most.

    A claim can be open though the seeds have the power: where the difference is between none and the margin.

    Args:
        effects: of a claim.
        verdict: on the claim.

    Example:
        >>> size_of([Effect(Interval(0.0, -0.4, 0.4), 0.2, 16, unit="points")])
        '16 seeds tell a difference of 0.65 points with a power of 90 %; 0.2, the smallest that matters,
        takes 150.'
    """
    effects = tuple(effects)
    if not effects:
        return "The study states no effect by which to say which difference could be told."
    known = [effect for effect in effects if effect.bounded and effect.margin > 0]
    if not known:
        return "Too few runs have a value to say which difference could be told."
    known = [effect for effect in known if effect.verdict == OPEN or verdict != OPEN] or known
    worst = max(known, key=lambda effect: (growth([effect]), effect.smallest / effect.margin))
    where = f" ({worst.label})" if worst.label and len(known) > 1 else ""
    between = ""
    if verdict == OPEN and growth([worst]) == 1:
        between = f" If it is as measured, between none and that, {worst.needed_as_measured:,} tell it."
    if worst.deviation == 0:
        return f"All {worst.seeds:,} {worst.over} agree, so that any difference would have been told."
    least = in_unit(worst, worst.margin).removesuffix(worst.unit).rstrip()
    return (
        f"{worst.seeds:,} {worst.over} tell a difference of {in_unit(worst, worst.smallest)} with a power of "
        f"90 %{where}; {least}, the smallest that matters, takes {worst.needed:,}.{between}"
    )
