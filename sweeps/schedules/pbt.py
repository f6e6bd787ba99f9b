"""Population-based training: losers take a winner's state, and change its hyperparameters a little."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sweeps.errors import StudyError, brief
from sweeps.schedules.decision import Decision, Standing, rank_members
from sweeps.space.bounds import finite, whole_number
from sweeps.space.domains import (
    Domain,
    LogUniform,
    Scalar,
    Uniform,
    is_number,
    possible_values,
)
from sweeps.space.whole import IntLogUniform, IntUniform

LINEAGE = (
    "member",
    "step",
    "source",
    "ancestor",
    "ancestor_seed",
)  # columns of its table, besides the fields


class PBT(NamedTuple):
    """Population-based training; made by `pbt`."""

    every: int | None = None
    fraction: float = 0.25
    factors: tuple[float, float] = (0.8, 1.25)


def pbt(
    every: Scalar = None, fraction: Scalar = 0.25, factors: Sequence[Scalar] | Scalar = (0.8, 1.25)
) -> PBT:
    """Population-based training (Jaderberg et al., 2017), exploiting by truncation selection.

    Every so often the worst members take the state and the hyperparameters of one of the best, and each swept
    traced field is multiplied by one of two factors; a field with levels goes to the neighbouring level. New
    values that the study's `where`, or the configuration itself, does not take are the winner's own instead.
    Static fields never mix: a member learns only from its own static group. No healthy member is stopped.

    What is found is a schedule of hyperparameters, of which `best().config` has the last values and
    `results.lineage` all. Members whose states descend from one ancestor are one run, not several: `best` and
    the report average them first, and count the seeds of the ancestors. `confirm` trains the schedule of the
    best member again from its first step, on fresh seeds.

    Args:
        every: the steps between two decisions; None makes at most ten intervals of the run.
        fraction: the share of members that is replaced, and the share that they learn from, in (0, 0.5].
        factors: what a value is multiplied by, one below and one above 1.

    Raises:
        StudyError: a value is out of bounds.

    Example:
        >>> pbt(every=50).fraction
        0.25
    """
    every = None if every is None else whole_number("every", every, where="pbt")
    if not (is_number(fraction) and 0 < fraction <= 0.5):
        raise StudyError(f"`0 < fraction <= 0.5` must hold in pbt, but got fraction={brief(fraction)}")
    numbers = [finite(factor) for factor in factors] if isinstance(factors, Sequence) else []
    pair = [number for number in numbers if number is not None]
    if not (len(pair) == 2 and 0 < min(pair) < 1 < max(pair)):
        raise StudyError(
            f"`factors are one in (0, 1) and one above 1` must hold in pbt, but got "
            f"factors={brief(factors)}; "
            f"(0.8, 1.25) is usual"
        )
    return PBT(every, float(fraction), (min(pair), max(pair)))


def exchanges(schedule: PBT, steps: int) -> tuple[int, ...]:
    """The steps after which members learn from one another.

    Args:
        schedule: the schedule.
        steps: how many steps a whole run has.

    Example:
        >>> exchanges(pbt(every=30), 100)
        (30, 60, 90)
    """
    every = schedule.every or -(-steps // 10)
    return tuple(range(every, steps, every))


def evolve(
    schedule: PBT,
    standing: Standing,
    *,
    mode: str,
    root_seed: int,
    domains: Mapping[str, Domain],
    traced: Sequence[str],
    values: Mapping[str, np.ndarray],
) -> Decision:
    """Exploits by truncation, explores by perturbing.

    Of n members of a static group the worst floor(fraction * n), at least one, learn from the best as many;
    those without a score, as diverged ones are, are always among the worst, however many they are, and never
    learned from. A diverged member whose group has nobody to learn from ends.

    Args:
        schedule: the schedule.
        standing: the members.
        mode: `max` or `min`.
        root_seed: what the draws depend on, besides the step.
        domains: the domain of every swept field.
        traced: the swept fields that are traced.
        values: per traced field the current value of every member, in the order of `standing.members`; NaN or
            None where it is not set.
    """
    random = np.random.default_rng([root_seed, standing.step])
    best: dict[int, np.ndarray] = {}  # loser's place -> the places that it may learn from
    stopped = []
    ranked = rank_members(standing, mode)
    groups = np.zeros(len(ranked), np.int64) if standing.groups is None else standing.groups
    for group in np.unique(groups):
        order = ranked[groups[ranked] == group]
        unscored = int((~np.isfinite(standing.scores[order])).sum())
        # The tiny number keeps a product such as 0.29 x 100 from falling below the whole number it means.
        share = max(1, math.floor(schedule.fraction * len(order) + 1e-9)) if len(order) > 1 else 0
        winners = order[: min(share, len(order) - unscored)]
        losers = order[len(order) - max(share, unscored) :]
        if len(winners):
            best |= {int(place): winners for place in losers}
        else:
            stopped += standing.members[order[standing.gone[order]]].tolist()
    ladders = {name: _ladder(domains[name]) for name in traced}
    sources, changed = {}, {}
    for place in sorted(best):
        source = int(best[place][random.integers(len(best[place]))])
        member = int(standing.members[place])
        sources[member] = int(standing.members[source])
        changed[member] = {}
        for name in traced:
            factor = schedule.factors[random.integers(2)]
            value = values[name][source]
            if not (value is None or math.isnan(value)):
                changed[member][name] = _moved(domains[name], ladders[name], float(value), factor)
    return Decision(np.asarray(sorted(stopped), standing.members.dtype), sources, changed)


def perturbed(domain: Domain, value: float, factor: float) -> float:
    """The value times the factor, within the domain; of levels, the next one in the factor's direction.

    Args:
        domain: the field's domain.
        value: the value.
        factor: below 1 goes down, above 1 goes up.

    Example:
        >>> from sweeps.space.domains import grid, uniform
        >>> perturbed(uniform(0, 1), 0.9, 1.25), perturbed(grid(8, 16, 32), 16.0, 0.8)
        (1.0, 8.0)
    """
    return _moved(domain, _ladder(domain), value, factor)


def check_evolution(schedule: PBT, steps: int, swept: Sequence[str], traced: Sequence[str]) -> None:
    """Raises a StudyError if members cannot learn from one another in such a run.

    Args:
        schedule: the schedule.
        steps: how many steps a whole run has.
        swept: the fields that vary.
        traced: those of them that are traced.
    """
    taken = sorted({*swept} & {*LINEAGE})
    if taken:
        raise StudyError(
            f"`no swept field is named as a column of the lineage` must hold in pbt, but got {taken[0]}; the "
            f"columns are {', '.join(LINEAGE)}"
        )
    if not traced:
        got = f"static fields only: {', '.join(swept)}" if swept else "no swept field"
        raise StudyError(
            f"`a swept field is traced` must hold in pbt, which changes it while training, but got {got}; "
            f"float fields are traced, Annotated[int, sweeps.traced] too"
        )
    if not exchanges(schedule, steps):
        raise StudyError(
            f"`every < steps` must hold in pbt, but got every={schedule.every or 1}, steps={steps}"
        )


def _ladder(domain: Domain) -> np.ndarray | None:
    """The numbers of a domain that lists its values, ascending; None if it lists none."""
    listed = possible_values(domain)
    if listed is None:
        return None
    switches = [level for level in listed if isinstance(level, bool)]
    if switches:
        return np.asarray(sorted(switches))
    return np.asarray(sorted(float(level) for level in listed if is_number(level)))


def _moved(domain: Domain, ladder: np.ndarray | None, value: float, factor: float) -> float:
    if ladder is not None:
        nearest = int(np.argmin(np.abs(ladder - value)))
        return ladder[min(max(nearest + (1 if factor > 1 else -1), 0), len(ladder) - 1)].item()
    if isinstance(domain, IntUniform | IntLogUniform):  # rounding must not keep a small number where it is
        step = round(value * factor) - value or math.copysign(1, (factor - 1) * value)
        return float(min(max(value + step, domain.low), domain.high))
    if isinstance(domain, Uniform | LogUniform):
        return min(max(value * factor, domain.low), domain.high)
    return value * factor
