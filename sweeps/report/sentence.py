"""The question that a sweep asked, and its answer in a sentence."""

import math

import numpy as np

from sweeps.report.wording import count, figures, is_share, listing, number, point
from sweeps.results import Configuration, Results

MOST_LISTED = 6


def question(results: Results) -> str:
    """What was asked: `Which alpha gives the highest test/accuracy after 500 steps?`.

    Args:
        results: a run.
    """
    manifest, swept = results.manifest, results.swept
    extreme = "highest" if manifest["mode"] == "max" else "lowest"
    after = f"after {count(manifest['steps'], 'step')}"
    if not swept:
        return f"What is {manifest['metric']} {after}?"
    return (
        f"Which {listing(swept)} {'give' if len(swept) > 1 else 'gives'} the {extreme} {manifest['metric']} "
        f"{after}?"
    )


def answer(results: Results, rows: list[Configuration]) -> list[str]:
    """The answer, and what it rests on, a sentence each.

    Args:
        results: a run.
        rows: its configurations, the best first.
    """
    waiting = sum(status in ("pending", "running") for status in results.members["status"].to_pylist())
    everyone = len(results.members)
    if not any(len(row.members) > row.diverged + row.unfinished for row in rows):
        if waiting:
            return [f"No answer yet: {waiting:,} of {count(everyone, 'member')} are not trained yet."]
        return [f"No answer: none of {count(everyone, 'member')} has a finite value at the last step."]
    best, winner, metric = results.best(), rows[0], results.manifest["metric"]
    percent = is_share(metric, results.final())
    lost = f" ({winner.diverged} without a value)" if winner.diverged and not best.confirmed else ""
    subject = point(best.config, symbols=True) if results.swept else f"{metric}"
    on = f" on {metric}" if results.swept else ""
    said = figures(best.mean, best.low, best.high, percent=percent)
    sentences = [f"{subject}: {said}{on}, {count(best.seeds, 'seed')}{lost}{_ties(results, rows)}."]
    if waiting:
        sentences.append(f"So far: {waiting:,} of {count(everyone, 'member')} are not trained yet.")
    if best.confirmed:
        sentences.append("Confirmed: the figures are of fresh seeds, which did not choose it.")
        sentences += _baseline(results, winner, percent)
    elif results.swept and len(rows) > 1:
        sentences.append("Selected on these seeds, so optimistic.")
    if not math.isnan(best.low):
        sentences.append("± is half the 95 % interval of the mean over seeds.")
    return sentences


def _ties(results: Results, rows: list[Configuration]) -> str:
    """Which configurations cannot be told from the best."""
    others, tied = rows[1:], [row for row in rows[1:] if row.tied]
    if not others:
        return ""
    if len(np.unique(results.members["seed"].to_numpy())) < 2:
        return "; with one seed nothing can be told from it"
    noun = "value" if len(results.swept) == 1 else "configuration"
    if not tied:
        return f"; it can be told from {_others(len(others), noun)}"
    if len(tied) == len(others) and len(others) > 1:
        return f"; none of the other {count(len(others), noun)} can be told from it"
    if len(results.swept) > 1:
        return f"; {len(tied):,} of {_others(len(others), noun)} cannot be told from it"
    return f"; {_values(rows)} cannot be told from it"


def _others(amount: int, noun: str) -> str:
    return f"the other {noun}" if amount == 1 else f"the other {count(amount, noun)}"


def _values(rows: list[Configuration]) -> str:
    """The tied values of the one swept field, as a range if there is no gap in it."""
    everything = [next(iter(row.config.values())) for row in rows]
    best, tied = everything[0], [value for value, row in zip(everything, rows, strict=True) if row.tied][1:]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in everything):
        close = sorted([*tied, best])
        between = [value for value in everything if close[0] <= value <= close[-1]]
        if len(between) == len(close) and len(tied) > 1:
            return f"{number(min(tied))} to {number(max(tied))}"
        tied.sort()
    if len(tied) > MOST_LISTED:
        return f"{len(tied):,} of the other {len(rows) - 1:,} values"
    return listing(map(number, tied))


def _baseline(results: Results, winner: Configuration, percent: bool) -> list[str]:
    """What the default configuration reached on the fresh seeds."""
    assert results.confirmation is not None  # else nothing is confirmed
    sentences = []
    for row in results.confirmation.configurations():
        if row.config != winner.config:
            said = figures(*row.interval, percent=percent)
            told = ", which cannot be told from it" if row.tied else ""
            sentences.append(f"The default, {point(row.config, symbols=True)}, reached {said}{told}.")
    return sentences
