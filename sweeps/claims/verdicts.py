"""A claim of the literature, and what a study found of it; verdicts that their intervals carry."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sweeps.claims.effects import CONDITIONAL as CONDITIONAL
from sweeps.claims.effects import FAILS, HOLDS, OPEN, Effect, Verdict
from sweeps.claims.effects import corrected_interval as corrected_interval
from sweeps.errors import StudyError
from sweeps.report.wording import listing
from sweeps.results.results import Results
from sweeps.statistics.intervals import CONFIDENCE, Interval
from sweeps.store.statuses import LOST


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
        effects: what the verdict rests on, in numbers: for the summary picture and the power.
    """

    claim: Claim
    verdict: Verdict
    measured: str
    comparisons: int
    effects: tuple[Effect, ...] = ()


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


def paired(
    results: Results, metric: str | None, first: Mapping[str, Any], second: Mapping[str, Any]
) -> Float[np.ndarray, " seeds"]:
    """How much larger a final metric is for one configuration than for another, at every seed of both.

    Args:
        results: a run.
        metric: a metric; None takes the study's.
        first: fields and values of the one, as `results.filter` takes them.
        second: those of the other.

    Returns:
        The differences by ascending seed, without the seeds at which either diverged.
    """
    differences = at_seeds(results, metric, **first) - at_seeds(results, metric, **second)
    return differences[np.isfinite(differences)]


def at_seeds(results: Results, metric: str | None, **conditions: Any) -> Float[np.ndarray, " seeds"]:
    """A final metric of one configuration at every seed of the run, ascending; NaN where it has no value.

    Args:
        results: a run.
        metric: a metric; None takes the study's.
        **conditions: fields and values of the configuration, as `results.filter` takes them.

    Raises:
        StudyError: no member, or more than one of a seed, meets the conditions.
    """
    part = results.filter(**conditions)
    seeds, own = np.unique(results.members["seed"].to_numpy()), part.members["seed"].to_numpy()
    if len(np.unique(own)) < len(own):
        raise StudyError(
            f"`one member per seed` must hold to compare, but got {len(own)} members of "
            f"{len(np.unique(own))} seeds with {conditions}; name a value of every swept field"
        )
    values = np.full(len(seeds), np.nan)
    values[np.searchsorted(seeds, own)] = part.final(metric)
    return values


def series(
    results: Results, metric: str, **conditions: Any
) -> tuple[np.ndarray, Float[np.ndarray, "steps members"]]:
    """A metric over training, for the members that meet the conditions.

    Args:
        results: a run.
        metric: a metric.
        **conditions: as `results.filter` takes them.

    Returns:
        The steps of the evaluations, and a row of values per step, a column per member by ascending seed;
        NaN where a member has none.
    """
    part = results.filter(**conditions) if conditions else results
    members = part.members["member"].to_numpy()[np.argsort(part.members["seed"].to_numpy(), kind="stable")]
    rows = {int(member): column for column, member in enumerate(members)}
    steps, at = np.unique(part.metrics["step"].to_numpy(), return_inverse=True)
    table = np.full((len(steps), len(members)), np.nan)
    columns = [rows[int(member)] for member in part.metrics["member"].to_numpy()]
    table[at, columns] = part.metrics[metric].to_numpy(zero_copy_only=False)
    return steps, table


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim that was judged under several conditions.

    Args:
        verdicts: one per condition.

    Example:
        >>> combined([HOLDS, OPEN]), combined([FAILS, OPEN]), combined([FAILS, FAILS])
        ('holds under these conditions', 'cannot be told at this size', 'does not hold here')
    """
    for verdict in (HOLDS, FAILS):
        if verdicts and all(one == verdict for one in verdicts):
            return verdict
    return CONDITIONAL if any(one in (HOLDS, CONDITIONAL) for one in verdicts) else OPEN


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim that says several things, all of which must hold.

    Args:
        verdicts: one per thing that is said.

    Example:
        >>> all_of([HOLDS, OPEN]), all_of([FAILS, HOLDS])
        ('cannot be told at this size', 'does not hold here')
    """
    if FAILS in verdicts:
        return FAILS
    return HOLDS if verdicts and all(one == HOLDS for one in verdicts) else OPEN


def said(interval: Interval, unit: str = "", scale: float | int = 1, digits: int = 2) -> str:
    """An effect with its interval as text.

    Args:
        interval: of the effect.
        unit: what it is in.
        scale: what it is multiplied by to be in that unit.
        digits: how many decimals.

    Example:
        >>> said(Interval(0.004, -0.001, 0.009), "points", scale=100)
        '+0.40 points (-0.10 to +0.90)'
    """
    mean, low, high = (f"{scale * value:+.{digits}f}" for value in interval)
    return f"{mean}{f' {unit}' if unit else ''} ({low} to {high})"


def left_out(results: Results) -> str:
    """A sentence that says how many members have no final value, empty if all do; with a space before it.

    Args:
        results: a run.
    """
    missing = np.isnan(results.final())
    status = results.members["status"].to_numpy(zero_copy_only=False)[missing]
    ways = [str(way) for way in LOST if way in status]
    ways += [] if np.isin(status, LOST).all() else ["had no final value"]
    if not ways:
        return ""
    return f" {missing.sum()} of {len(missing)} runs {listing(ways, 'or')} and are left out."


def levels(results: Results, field: str) -> list[Any]:
    """The values that a field takes among the members, in order."""
    return sorted(set(results.members[field].to_pylist()))


def finals(results: Results, metric: str, **conditions: Any) -> Float[np.ndarray, " seeds"]:
    """The metric at the last step of the members that meet the conditions, without those that diverged."""
    values = results.filter(**conditions).final(metric)
    return values[np.isfinite(values)]


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


def judge_each(effects: Sequence[Interval | Effect], margin: float | int = 0) -> Verdict:
    """The verdict on a claim that was measured under several conditions.

    Args:
        effects: one per condition, widened for their number; or their intervals alone.
        margin: the smallest effect that matters, of intervals.

    Example:
        >>> judge_each([Interval(2.0, 1.0, 3.0), Interval(0.0, -1.0, 1.0)])
        'holds under these conditions'
    """
    return combined([one.verdict if isinstance(one, Effect) else judge(one, margin) for one in effects])


def percent(interval: Interval) -> str:
    """An interval of shares in words: `12.3% [11.0%, 13.6%]`."""
    return f"{interval.mean:.1%} [{interval.low:.1%}, {interval.high:.1%}]"
