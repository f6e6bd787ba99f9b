"""Successive halving, alone or in the brackets of Hyperband: rungs, and how many go on at each."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError
from sweeps.schedules.decision import Decision, Standing, rank_points
from sweeps.space.bounds import whole_number
from sweeps.space.domains import Scalar

MOST_RUNGS = 4
GOLDEN = (math.sqrt(5) - 1) / 2


class Halving(NamedTuple):
    """Successive halving; made by `halving`."""

    eta: int = 3
    min_steps: int | None = None


class Hyperband(NamedTuple):
    """Hyperband; made by `hyperband`."""

    eta: int = 3
    min_steps: int | None = None


class Bracket(NamedTuple):
    """Configurations that are halved together.

    Attributes:
        sizes: how many are left after each rung; the first is how many begin.
        rungs: the steps after which is halved, one less than `sizes`.
    """

    sizes: tuple[int, ...]
    rungs: tuple[int, ...]


def halving(eta: Scalar = 3, min_steps: Scalar = None) -> Halving:
    """Successive halving (Jamieson & Talwalkar, 2016): after each rung the best of every `eta` go on.

    The rungs are `min_steps`, `min_steps * eta`, … as long as the survivors can be trained `eta` times as
    long within the run. Of n configurations the ceil(n / eta) with the best mean over their seeds go on.

    Args:
        eta: one in how many goes on, a whole number ≥ 2.
        min_steps: the first rung. None takes `steps // eta**k` with the largest k ≤ 4 that leaves at least
            one step and one of n // eta**k configurations. At most four rungs, because at η = 3 they bring
            the cost to 4.5 % of the full sweep's; a fifth would save another 2.7 %, and judge members after
            a 243rd of their training.

    Raises:
        StudyError: a value is out of bounds.

    Example:
        >>> halving(eta=4)
        Halving(eta=4, min_steps=None)
    """
    return Halving(*_check("halving", eta, min_steps))


def hyperband(eta: Scalar = 3, min_steps: Scalar = None) -> Hyperband:
    """Hyperband (Li et al., 2018): brackets of successive halving that begin at different rungs.

    The configurations are dealt to the brackets in the proportions of the paper, all in one population.
    Bracket s has the rungs `steps // eta**s`, …, `steps // eta`; bracket 0 trains its configurations to the
    end. As in the paper floor(n / eta), but at least one, of n configurations go on.

    Args:
        eta: one in how many goes on, a whole number ≥ 2.
        min_steps: no rung is earlier. None takes the same as in `halving`.

    Raises:
        StudyError: a value is out of bounds.

    Example:
        >>> hyperband()
        Hyperband(eta=3, min_steps=None)
    """
    return Hyperband(*_check("hyperband", eta, min_steps))


def brackets(schedule: Halving | Hyperband, steps: int, configurations: int) -> tuple[Bracket, ...]:
    """The brackets of a schedule, the one with the earliest rung first; `halving` has one.

    Args:
        schedule: the schedule.
        steps: how many steps a whole run has.
        configurations: how many begin.

    Example:
        >>> brackets(halving(), 81, 27)
        (Bracket(sizes=(27, 9, 3, 1), rungs=(3, 9, 27)),)
    """
    eta = schedule.eta
    first = schedule.min_steps or _default_min_steps(eta, steps, configurations)
    most = _halvings(eta, first, steps)
    if isinstance(schedule, Halving):
        return (_bracket([first * eta**i for i in range(most)], configurations, lambda n: -(-n // eta)),)
    shares = [-(-(most + 1) * eta**s // (s + 1)) for s in range(most, -1, -1)]
    return tuple(
        _bracket([steps // eta**j for j in range(s, 0, -1)], size, lambda n: max(1, n // eta))
        for s, size in zip(range(most, -1, -1), _deal(configurations, shares), strict=True)
    )


def bracket_of(schedule: Halving | Hyperband, steps: int, configurations: int) -> np.ndarray:
    """The bracket of every configuration.

    Configurations are dealt in the order of the fractional parts of number x golden ratio: every stretch of
    numbers is spread over the brackets in proportion, and no period of a grid falls in step with it.

    Args:
        schedule: the schedule.
        steps: how many steps a whole run has.
        configurations: how many there are.
    """
    sizes = [bracket.sizes[0] for bracket in brackets(schedule, steps, configurations)]
    order = np.argsort(np.arange(configurations) * GOLDEN % 1, kind="stable")
    found = np.empty(configurations, dtype=np.int64)
    found[order] = np.repeat(np.arange(len(sizes)), sizes)
    return found


def survivors(
    schedule: Halving | Hyperband, standing: Standing, *, mode: str, steps: int, configurations: int
) -> Decision:
    """Halves every bracket that has a rung at this step.

    Args:
        schedule: the schedule.
        standing: the members.
        mode: `max` or `min`.
        steps: how many steps a whole run has.
        configurations: how many began.
    """
    found = brackets(schedule, steps, configurations)
    own = bracket_of(schedule, steps, configurations)[standing.points]
    goes_on = np.ones(len(standing.members), dtype=bool)
    for place, bracket in enumerate(found):
        here = own == place
        if standing.step in bracket.rungs and here.any():
            inside = standing._replace(
                members=standing.members[here],
                points=standing.points[here],
                scores=standing.scores[here],
                lost=standing.gone[here],
                losses=None if standing.losses is None else standing.losses[here],
            )
            ranked = rank_points(inside, mode)
            count = len(ranked)
            keep = -(-count // schedule.eta) if isinstance(schedule, Halving) else count // schedule.eta
            if not np.isfinite(inside.scores).any():
                keep = count  # where nobody has a score nobody is worse
            goes_on[here] = np.isin(inside.points, ranked[: max(1, keep)]) & ~inside.gone
    return Decision(standing.members[~goes_on])


def check_rungs(schedule: Halving | Hyperband, steps: int, configurations: int) -> None:
    """Raises a StudyError if the schedule decides nothing in a run of this size.

    Args:
        schedule: the schedule.
        steps: how many steps a whole run has.
        configurations: how many begin.
    """
    eta, first = schedule.eta, schedule.min_steps
    name = "halving" if isinstance(schedule, Halving) else "hyperband"
    if configurations < eta:
        hint = f"; eta={configurations} would do" if configurations > 1 else ""
        raise StudyError(
            f"`eta <= configurations` must hold in {name}, but got eta={eta}, "
            f"configurations={configurations}{hint}"
        )
    if first is not None and first > steps:
        raise StudyError(
            f"`min_steps <= steps` must hold in {name}, but got min_steps={first}, steps={steps}"
        )
    if (first or 1) * eta > steps:
        hint = f"; min_steps={steps // eta} would do" if steps >= eta else f"; train for {eta} steps or more"
        raise StudyError(
            f"`min_steps * eta <= steps` must hold in {name}, so that the second rung is not longer than the "
            f"run, but got min_steps={first or 1}, eta={eta}, steps={steps}{hint}"
        )


def _check(name: str, eta: Any, min_steps: Any) -> tuple[int, int | None]:
    eta = whole_number("eta", eta, 2, name)
    return eta, None if min_steps is None else whole_number("min_steps", min_steps, where=name)


def _halvings(eta: int, first: int, steps: int) -> int:
    """The largest k with first * eta**k <= steps, in whole numbers."""
    count = 0
    while first * eta ** (count + 1) <= steps:
        count += 1
    return count


def _default_min_steps(eta: int, steps: int, configurations: int) -> int:
    return steps // eta ** min(MOST_RUNGS, _halvings(eta, 1, steps), _halvings(eta, 1, configurations))


def _bracket(rungs: list[int], size: int, shrink: Callable[[int], int]) -> Bracket:
    sizes, kept = [size], []
    for rung in rungs:
        if sizes[-1] <= 1:
            break  # nothing is left to decide
        kept.append(rung)
        sizes.append(shrink(sizes[-1]))
    return Bracket(tuple(sizes), tuple(kept))


def _deal(count: int, shares: list[int]) -> list[int]:
    """Whole numbers that add up to count in proportion to shares, by the largest remainders."""
    total = sum(shares)
    dealt = [count * share // total for share in shares]
    remainders = [count * share % total for share in shares]
    for place in sorted(range(len(shares)), key=lambda place: -remainders[place])[: count - sum(dealt)]:
        dealt[place] += 1
    return dealt
