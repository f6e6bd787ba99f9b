"""The question that a sweep asked, and its answer in a sentence."""

import math

from sweeps.report.axes import varying
from sweeps.report.bounds import bounds_of
from sweeps.report.differences import FEW, compared
from sweeps.report.wording import (
    count,
    figures,
    in_words,
    is_share,
    listing,
    losses,
    number,
    over,
    point,
    scored_at,
    title,
)
from sweeps.results.lineage import is_evolved
from sweeps.results.results import Best, Configuration, Results
from sweeps.results.scoring import keeps_scores
from sweeps.statistics.intervals import Interval
from sweeps.store.statuses import UNFINISHED, Status

MOST_LISTED = 6


def question(results: Results) -> str:
    """What was asked: `Which alpha gives the highest test accuracy after 500 steps?`.

    Args:
        results: a run.
    """
    manifest, swept = results.manifest, varying(results)
    extreme = "highest" if manifest["mode"] == "max" else "lowest"
    metric, most = in_words(manifest["metric"]), "at most " if keeps_scores(manifest) else ""
    after = f"after {most}{count(manifest['steps'], 'step')}"
    if manifest.get("select") == "best":
        after = f"at the best evaluation within {count(manifest['steps'], 'step')}"
    one = all(len(results.members[field].unique()) == 1 for field in swept)
    if one and not (swept and is_evolved(manifest)):
        return f"What is the {metric} {after}?"
    return f"Which {listing(swept)} {'give' if len(swept) > 1 else 'gives'} the {extreme} {metric} {after}?"


def answer(results: Results, rows: list[Configuration]) -> list[str]:
    """The answer, and what it rests on, a sentence each.

    Args:
        results: a run.
        rows: its configurations, the best first.
    """
    waiting = sum(status in UNFINISHED for status in results.members["status"].to_pylist())
    everyone = len(results.members)
    if results.tables is None:  # all members of the run, or all that its search has asked for so far
        unasked = results.manifest["members"] - everyone
        waiting, everyone = waiting + unasked, everyone + unasked
    if not any(len(row.members) > row.diverged + row.unfinished for row in rows):
        if waiting:
            return [f"No answer yet: {waiting:,} of {count(everyone, 'member')} are not trained yet."]
        where = scored_at(results.manifest)
        return [f"No answer: none of {count(everyone, 'member')} has a finite value {where}."]
    best, winner, metric = results.best(), rows[0], results.manifest["metric"]
    evolved, said = is_evolved(results.manifest), _figures(results, best)
    lost = _lost(results.on_fresh_seeds(winner) or winner)
    if results.swept and (evolved or len(rows) > 1):
        way = " at the end of its schedule" if evolved else ""
        first = f"{point(best.config, symbols=True)} is best{way} ({said} {in_words(metric)}{lost})"
    else:
        first = f"{title(metric)} is {said}{lost}"
        first += f" at {point(best.config, symbols=True)}" if results.swept else ""
    sentences = [f"{first}{_ties(results, rows)}{_uncompared(results, rows)}."]
    if results.manifest.get("select") == "best":
        sentences.append(f"Each member is taken {scored_at(results.manifest)}.")
    if waiting:
        sentences.append(f"So far: {waiting:,} of {count(everyone, 'member')} are not trained yet.")
    if best.confirmed:
        followed = "the schedule that ends so was followed from its first step; " if evolved else ""
        fresh = "fresh seeds over the same folds" if best.folds else "fresh seeds, which did not choose it"
        sentences.append(f"Confirmed: {followed}the figures are of {fresh}.")
        sentences += _baseline(results, winner)
    elif results.swept and len(rows) > 1:
        cure = "--confirm 8" if results.manifest.get("reference") else "confirm=8"
        same = "folds" if best.folds else "seeds"
        sentences.append(f"Picked on the same {same} it is scored on, so slightly too good; add {cure}.")
    noun = "lineage" if evolved and not best.confirmed else "seed"
    if noun == "lineage":
        sentences.append("Members copied from one another, or begun with the same seed, are one lineage.")
    if not math.isnan(best.low):
        sign = "The range in brackets" if "[" in said else "±"
        corrected = ", corrected for what folds share (Nadeau and Bengio, 2003)" if best.folds else ""
        sentences.append(f"{sign} is the 95 % interval of the mean over {over(best, noun)}{corrected}.")
    if compared_by := comparisons_said(results, rows):
        sentences.append(compared_by)
    noun, draws = ("fold", best.folds) if best.folds else (noun, best.seeds)
    if 2 <= draws <= FEW:
        few = "Two" if draws == 2 else "Three"
        sentences.append(f"{few} {noun}s are unreliable: the interval may be far off; take five or more.")
    return sentences


def comparisons_said(results: Results, rows: list[Configuration]) -> str:
    """How the others were compared with the best, in a sentence; empty if they could not be.

    Args:
        results: a run.
        rows: its configurations, the best first.
    """
    others = [row for row in compared(rows) if not row.diverged and not row.unfinished]
    if not others or rows[0].draws < 2 or rows[0].diverged:
        return ""
    noun = "lineages" if is_evolved(results.manifest) else "folds" if results.folds else "seeds"
    corrected = f", corrected for {count(len(others), 'comparison')}" if len(others) > 1 else ""
    return f"Compared by paired t-tests over {noun} at 5 %{corrected}."


def _figures(results: Results, row: Best | Interval) -> str:
    metric, values = results.manifest["metric"], results.final()
    return figures(
        row.mean, row.low, row.high, percent=is_share(metric, values), bounds=bounds_of(metric, values)
    )


def _lost(row: Configuration) -> str:
    """How many members the mean leaves out."""
    return "".join(f"; {count(lost, 'more member')} {word}" for word, lost in losses(row).items())


def _uncompared(results: Results, rows: list[Configuration]) -> str:
    """How many configurations did not come to the end with a value, and so are compared with nothing."""
    status = dict(zip(*(results.members[name].to_pylist() for name in ("member", "status")), strict=True))
    unscored = [row for row in rows if not row.seeds]
    stopped = sum(all(status[member] == Status.STOPPED for member in row.members) for row in unscored)
    lost = [row for row in unscored if row.diverged]
    said = ""
    if stopped:
        were = "was" if stopped == 1 else "were"
        said = f"; {sum(row.seeds > 0 for row in rows):,} of {len(rows):,} finished"
        said += f"; {stopped:,} {were} stopped early and not compared"
    if lost:
        said += f"; {len(lost):,} {_ways(lost)}"
    return said


def _ways(rows: list[Configuration]) -> str:
    """In which ways members of configurations ended without a finite score."""
    return " or ".join(dict.fromkeys(word for row in rows for word in losses(row)))


def _ties(results: Results, rows: list[Configuration]) -> str:
    """Which configurations are not measurably worse than the best."""
    others = compared(rows)
    tied = [row for row in others if row.tied]
    if not others:
        return ""
    if rows[0].draws < 2:
        return (
            f"; with one {'lineage' if is_evolved(results.manifest) else 'seed'}, differences may be chance"
        )
    noun = "value" if len(results.swept) == 1 else "configuration"
    left = "" if len(others) == len(rows) - 1 else " that finished"
    if not tied:
        worse = " or ".join(filter(None, ("is measurably worse", _ways(others))))
        return f"; {'the other' if len(others) == 1 else 'every other'} {noun}{left} {worse}"
    if len(tied) == len(others):
        if len(others) == 1:
            return f"; the other {noun}{left} is not measurably worse"
        return f"; none of the other {count(len(others), noun)}{left} is measurably worse"
    are = "is" if len(tied) == 1 else "are"
    if len(results.swept) > 1 or left or len(tied) > MOST_LISTED:
        which = f"{len(tied):,} of the other {count(len(others), noun)}{left}"
    else:
        which = _values(rows, tied)
    return f"; {which} {are} not measurably worse"


def _values(rows: list[Configuration], tied: list[Configuration]) -> str:
    """The tied values of the one swept field, as a range if there is no gap in it."""
    everything = [next(iter(row.config.values())) for row in rows]
    best, values = everything[0], [next(iter(row.config.values())) for row in tied]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in everything):
        close = sorted([*values, best])
        between = [value for value in everything if close[0] <= value <= close[-1]]
        if len(between) == len(close) and len(values) > 1:
            return f"{number(min(values))} to {number(max(values))}"
        values.sort()
    return listing(map(number, values))


def _baseline(results: Results, winner: Configuration) -> list[str]:
    """What the default configuration reached on the fresh seeds."""
    again, sentences = results.on_fresh_seeds(winner), []
    for row in results.fresh:
        if again is None or row.members != again.members:
            told = ", which is not measurably worse" if row.tied else ""
            said = _figures(results, row.interval)
            sentences.append(f"The default, {point(row.config, symbols=True)}, reached {said}{told}.")
    if len(results.fresh) == 1:
        sentences.append("The best is the default configuration.")
    return sentences
