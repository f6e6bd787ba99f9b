"""A claim of the literature, and what a study found of it; verdicts that their intervals carry."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from sweeps.intervals import CONFIDENCE, Interval, student_interval

Verdict = Literal[
    "holds", "holds under these conditions", "does not hold here", "cannot be told at this size"
]
HOLDS: Verdict = "holds"
CONDITIONAL: Verdict = "holds under these conditions"
FAILS: Verdict = "does not hold here"
OPEN: Verdict = "cannot be told at this size"


class Claim(NamedTuple):
    """What someone says.

    Attributes:
        text: the claim, one sentence.
        source: who makes it, with the year.
    """

    text: str
    source: str


class Finding(NamedTuple):
    """What a study found of a claim.

    Attributes:
        claim: the claim.
        verdict: in plain words, never more than the intervals carry.
        measured: what was measured, with its interval, in a sentence or two.
        comparisons: how many comparisons the intervals were widened for.
    """

    claim: Claim
    verdict: Verdict
    measured: str
    comparisons: int


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


def judge(interval: Interval, margin: float | int = 0) -> Verdict:
    """Whether a claimed positive effect holds, by where its interval lies.

    It holds if the whole interval is above zero; it does not if the whole interval is below zero, or below
    the margin, the smallest effect that would matter; otherwise it cannot be told.

    Args:
        interval: of the effect, positive as it is claimed.
        margin: the smallest effect that matters, in the effect's units; 0 accepts no effect as too small.

    Example:
        >>> judge(Interval(0.3, 0.2, 0.4)), judge(Interval(0.1, -0.1, 0.3))
        ('holds', 'cannot be told at this size')
        >>> judge(Interval(0.0, -0.05, 0.05), margin=0.1)
        'does not hold here'
    """
    if interval.low > 0:
        return HOLDS
    return FAILS if interval.high < margin or interval.high < 0 else OPEN
