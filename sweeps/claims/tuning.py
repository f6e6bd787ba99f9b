"""Whether one hyperparameter must be tuned, or its usual values do: findings and a picture."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from sweeps.claims.effects import FAILS, HOLDS, MORE, NO_MORE, OPEN, Effect, Verdict, effect_of
from sweeps.claims.verdicts import Claim, Finding, all_of, combined, left_out, paired, said
from sweeps.report.drawing import BLUE, GREY, VERMILION, band, canvas, caption, in_percent
from sweeps.results.results import Results
from sweeps.statistics.intervals import student_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # imported where something is drawn: it takes a while


class Question(NamedTuple):
    """What is asked of a run that swept one field, for a metric of which more is better.

    Attributes:
        field: the field.
        usual: its usual values, the default first; all of them are among those swept.
        must_tune: the claim that another value than the default does better.
        usual_do: the claim that hardly any value does better than the usual ones.
        margin: the smallest difference of the metric that matters.
        unit: what differences are said in.
        scale: what they are multiplied by to be in it.
    """

    field: str
    usual: tuple[float, ...]
    must_tune: Claim
    usual_do: Claim
    margin: float
    unit: str
    scale: float | int = 1


def answers(results: Results, question: Question) -> tuple[Finding, Finding]:
    """The findings on both claims.

    All values are compared with the usual ones on the seeds of the run, with intervals that hold together,
    so that the best of them may be named. Its lead over the default is measured on fresh seeds.

    Args:
        results: a run that swept the field alone; its `confirmation` has the fresh seeds.
        question: what is asked.
    """
    field, margin, unit, scale = question.field, question.margin, question.unit, question.scale
    levels = np.unique(results.members[field].to_numpy()).tolist()
    comparisons = len(question.usual) * (len(levels) - 1)
    verdicts: list[Verdict] = []
    words: list[str] = []
    effects: list[list[Effect]] = []
    for usual in question.usual:
        gains = {
            level: effect_of(
                paired(results, None, {field: level}, {field: usual}),
                margin,
                comparisons,
                NO_MORE,
                f"{level:g} over {usual:g}",
                unit,
                scale,
            )
            for level in levels
            if not math.isclose(level, usual)
        }
        best, gain = max(gains.items(), key=lambda item: item[1].interval.mean)
        effects.append(list(gains.values()))
        verdicts.append(all_of([effect.verdict for effect in effects[-1]]))
        words.append(
            f"the best other value, {best:g}, changes that of {usual:g} by {said(gain.interval, unit, scale)}"
        )
    small = f"less than {scale * margin:g} is too small to matter"
    measured = f"Over {len(levels)} values, {', and '.join(words)}; {small}.{left_out(results)}"
    usual_do = Finding(question.usual_do, combined(verdicts), measured, comparisons, tuple(sum(effects, [])))
    default = Finding(
        question.must_tune, verdicts[0], f"{words[0]}; {small}.", comparisons, tuple(effects[0])
    )
    return _tuned(results, question, default, small), usual_do


def _tuned(results: Results, question: Question, default_does: Finding, small: str) -> Finding:
    """Whether another value than the default does better, which is what is found of those on these seeds."""
    field, default, claim = question.field, question.usual[0], question.must_tune
    winner, fresh = results.best().config[field], results.confirmation
    if math.isclose(winner, default):
        verdict = FAILS if default_does.verdict == HOLDS else OPEN
        measured = f"The best value was {default:g} itself: {default_does.measured}"
        turned = tuple(effect._replace(claimed=MORE) for effect in default_does.effects)
        return Finding(claim, verdict, measured, default_does.comparisons, turned)
    if fresh is None:
        text = f"The best value, {winner:g}, was not run again on fresh seeds."
        return Finding(claim, OPEN, text, 0, default_does.effects)
    differences = paired(fresh, None, {field: winner}, {field: default})
    label = f"{winner:g} over {default:g}, on fresh seeds"
    gain = effect_of(differences, question.margin, 1, MORE, label, question.unit, question.scale)
    seeds = len(np.unique(fresh.members["seed"].to_numpy()))
    effect = said(gain.interval, question.unit, question.scale)
    measured = f"The best value, {winner:g}, against {default:g} on {seeds} fresh seeds: {effect}; {small}."
    gain = gain._replace(over="fresh seeds")
    return Finding(claim, gain.verdict, measured + left_out(fresh), 1, (gain,))


def drawn(results: Results, question: Question, xlabel: str, ylabel: str) -> "Figure":
    """The metric against the field, with the winner and the default on fresh seeds.

    Args:
        results: a run.
        question: what is asked of it.
        xlabel: the label of the field's axis.
        ylabel: the label of the metric's.
    """
    figure, (axes,) = canvas()
    levels, table = _by_level(results, question.field)
    scattered = np.repeat(levels, table.shape[1])
    axes.scatter(scattered, table.ravel(), s=10, color=GREY, alpha=0.6, linewidths=0, label="one run")
    seeds = len(np.unique(results.members["seed"].to_numpy()))
    band(axes, levels, table, BLUE, f"mean over {seeds} seeds", marker="o")
    if results.confirmation is not None:
        again, fresh = _by_level(results.confirmation, question.field)
        found = [student_interval(row[np.isfinite(row)]) for row in fresh]
        means = [interval.mean for interval in found]
        reach = [interval.high - interval.mean for interval in found]
        label = f"best and default on {fresh.shape[1]} fresh seeds"
        axes.errorbar(
            again, means, reach, color=VERMILION, fmt="D", markersize=6, capsize=4, label=label, zorder=4
        )
    if question.scale == 100:
        in_percent(axes, decimals=1)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False, fontsize="small")
    caption(
        figure,
        f"After {results.manifest['steps']} steps. Band and bars: 95 % interval of the mean over seeds, for "
        "each value by itself.",
    )
    return figure


def _by_level(results: Results, field: str) -> tuple[np.ndarray, Float[np.ndarray, "levels seeds"]]:
    """The final metric, a row per level of the field and a column per seed."""
    levels, row = np.unique(results.members[field].to_numpy(), return_inverse=True)
    seeds, column = np.unique(results.members["seed"].to_numpy(), return_inverse=True)
    table = np.full((len(levels), len(seeds)), np.nan)
    table[row, column] = results.final()
    return levels, table
