"""What ready studies share in reading their results: levels, pairs over seeds, joint verdicts, panels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from sweeps.claim import CONDITIONAL, FAILS, HOLDS, OPEN, Verdict, judge
from sweeps.intervals import CONFIDENCE, Interval
from sweeps.results import Results
from sweeps.statistics import paired_differences


def levels(results: Results, field: str) -> list[Any]:
    """The values that a field takes among the members, in order."""
    return sorted(set(results.members[field].to_pylist()))


def finals(results: Results, metric: str, **conditions: Any) -> Float[np.ndarray, " seeds"]:
    """The metric at the last step of the members that meet the conditions, without those that diverged."""
    values = results.filter(**conditions).final(metric)
    return values[np.isfinite(values)]


def paired(
    results: Results, metric: str, first: Mapping[str, Any], second: Mapping[str, Any]
) -> Float[np.ndarray, " seeds"]:
    """The differences `first - second` of the metric at the last step, seed by seed.

    Args:
        results: a run.
        metric: a metric's name.
        first: the conditions that single out one configuration.
        second: those of the other.
    """
    one, other = results.filter(**first), results.filter(**second)
    seeds = (part.members["seed"].to_numpy() for part in (one, other))
    return paired_differences(one.final(metric), other.final(metric), *seeds)


def binomial_interval(successes: float | int, trials: float | int, comparisons: int) -> Interval:
    """The share of successes with the interval of Clopper and Pearson (1934), which never covers too little.

    Args:
        successes: how many trials succeeded.
        trials: how many independent trials there were.
        comparisons: how many intervals are read together (Bonferroni).

    Example:
        >>> binomial_interval(0, 100, 1).low, round(binomial_interval(0, 100, 1).high, 3)
        (0.0, 0.036)
    """
    from scipy import stats

    tail = (1 - CONFIDENCE) / comparisons / 2
    low = stats.beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = stats.beta.ppf(1 - tail, successes + 1, trials - successes) if successes < trials else 1.0
    return Interval(float(successes / trials), float(low), float(high))


def judge_each(intervals: Sequence[Interval], margin: float | int = 0) -> Verdict:
    """The verdict on a claim that was tested under several conditions.

    It holds if it holds under all of them, under conditions if it holds under some, and does not hold if
    under none of them an effect is left that would matter.

    Args:
        intervals: of the effect, one per condition, widened for their number.
        margin: the smallest effect that matters.

    Example:
        >>> judge_each([Interval(2.0, 1.0, 3.0), Interval(0.0, -1.0, 1.0)])
        'holds under these conditions'
    """
    verdicts = {judge(interval, margin) for interval in intervals}
    if verdicts == {HOLDS} or verdicts == {FAILS}:
        return verdicts.pop()
    return CONDITIONAL if HOLDS in verdicts else OPEN


def percent(interval: Interval) -> str:
    """An interval of shares in words: `12.3% [11.0%, 13.6%]`."""
    return f"{interval.mean:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def panels(number: int, caption: str) -> tuple[Figure, list[Any]]:
    """A figure of panels side by side, with a caption under them.

    Args:
        number: how many panels.
        caption: what dots, lines and bands are.
    """
    figure = Figure(figsize=(1 + 4.2 * number, 4.4), layout="constrained")
    axes = list(np.ravel(figure.subplots(1, number)))
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.25)
    figure.supxlabel(caption, fontsize="small", color="#444444")
    return figure, axes
