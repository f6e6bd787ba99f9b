"""Which members go on: halving, Hyperband, population-based training, early stopping, as pure functions."""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from sweeps.errors import StudyError, brief, quoted, unknown
from sweeps.schedules.decision import Decision as Decision
from sweeps.schedules.decision import Standing as Standing
from sweeps.schedules.early_stopping import EarlyStopping as EarlyStopping
from sweeps.schedules.early_stopping import check_patience, judged_after, stop_stalled
from sweeps.schedules.early_stopping import early_stopping as early_stopping
from sweeps.schedules.halving import Halving as Halving
from sweeps.schedules.halving import Hyperband as Hyperband
from sweeps.schedules.halving import brackets, check_rungs, survivors
from sweeps.schedules.halving import halving as halving
from sweeps.schedules.halving import hyperband as hyperband
from sweeps.schedules.pbt import PBT as PBT
from sweeps.schedules.pbt import check_evolution, evolve, exchanges
from sweeps.schedules.pbt import pbt as pbt
from sweeps.schedules.replay import PBTReplay as PBTReplay
from sweeps.schedules.replay import follow
from sweeps.space.domains import Domain
from sweeps.space.grammar import expression, written

FORMS = "a name, or a name with settings, such as halving(eta=3)"
Schedule: TypeAlias = Halving | Hyperband | PBT | PBTReplay | EarlyStopping
CONSTRUCTORS: dict[str, Callable[..., Schedule]] = {
    "halving": halving, "hyperband": hyperband, "pbt": pbt, "early_stopping": early_stopping,
}  # fmt: skip
NAMES: dict[type, str] = {
    Halving: "halving", Hyperband: "hyperband", PBT: "pbt", PBTReplay: "replay",
    EarlyStopping: "early_stopping",
}  # fmt: skip


def parse(source: str) -> Schedule:
    """Reads a schedule as the command line and TOML say it; nothing is evaluated.

    Args:
        source: a name, or a call with literal keywords: `halving`, `pbt(every=50, factors=(0.5, 2))`.

    Raises:
        StudyError: the text is not of the grammar, or a value is out of bounds.

    Example:
        >>> parse("halving(eta=4, min_steps=10)")
        Halving(eta=4, min_steps=10)
    """
    node = expression(source, FORMS)
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise StudyError(f"Cannot read {quoted(source)}. Write {FORMS}.")
    name = call.func.id
    if name not in CONSTRUCTORS:
        raise StudyError(unknown("Unknown schedule", name, CONSTRUCTORS))
    known = next(kind for kind, own in NAMES.items() if own == name)._fields  # pyright: ignore[reportAttributeAccessIssue]
    if call.args:
        raise StudyError(
            f"{name} takes values by their names: {name}({known[0]}=…). You wrote {quoted(source)}."
        )
    given = {}
    for keyword in call.keywords:
        if keyword.arg not in known:
            raise StudyError(unknown(f"{name} has no setting", keyword.arg or "**", known))
        if keyword.arg in given:
            raise StudyError(f"{keyword.arg} is given twice in {quoted(source)}.")
        given[keyword.arg] = _literal(name, keyword.value, source)
    return CONSTRUCTORS[name](**given)


def text(schedule: Schedule) -> str:
    """The schedule as `parse` reads it, with what differs from the defaults; of a replayed one, its name.

    Example:
        >>> text(halving(min_steps=10)), text(hyperband())
        ('halving(min_steps=10)', 'hyperband')
    """
    if isinstance(schedule, PBTReplay):
        return NAMES[PBTReplay]
    pairs = zip(schedule._fields, schedule, type(schedule)(), strict=True)
    said = [f"{name}={value!r}" for name, value, default in pairs if value != default]
    return NAMES[type(schedule)] + (f"({', '.join(said)})" if said else "")


def check(
    schedule: Any,
    *,
    steps: int,
    configurations: int,
    swept: Sequence[str],
    traced: Sequence[str],
    evaluations: Sequence[int] = (),
) -> None:
    """Refuses a schedule that a run of this size cannot follow.

    Args:
        schedule: the schedule.
        steps: how many steps a whole run has.
        configurations: how many begin.
        swept: the fields that vary, without `seed`.
        traced: those of them that are traced.
        evaluations: the steps after which members are evaluated, which early stopping alone asks for.

    Raises:
        StudyError: it says what must hold.
    """
    if type(schedule) not in NAMES:
        raise StudyError(
            f"`schedule is {', '.join(CONSTRUCTORS)} or None` must hold, but got {brief(schedule)}"
        )
    if isinstance(schedule, PBTReplay):
        return  # made from a run that was finished
    CONSTRUCTORS[NAMES[type(schedule)]](*schedule)
    if isinstance(schedule, PBT):
        check_evolution(schedule, steps, swept, traced)
    elif isinstance(schedule, EarlyStopping):
        check_patience(schedule, evaluations)
    else:
        check_rungs(schedule, steps, configurations)


def rungs(
    schedule: Schedule, steps: int, configurations: int, evaluations: Sequence[int] = ()
) -> tuple[int, ...]:
    """The steps after which something is decided, ascending, all before the last.

    Args:
        schedule: the schedule.
        steps: how many steps a whole run has.
        configurations: how many begin.
        evaluations: the steps after which members are evaluated, which early stopping alone asks for.

    Example:
        >>> rungs(halving(), 81, 27), rungs(pbt(every=30), 81, 27)
        ((3, 9, 27), (30, 60))
    """
    if isinstance(schedule, PBT):
        return exchanges(schedule, steps)
    if isinstance(schedule, PBTReplay):
        return schedule.steps
    if isinstance(schedule, EarlyStopping):
        return judged_after(schedule, evaluations)
    found = brackets(schedule, steps, configurations)
    return tuple(sorted({rung for bracket in found for rung in bracket.rungs}))


def decide(
    schedule: Schedule,
    standing: Standing,
    *,
    mode: str,
    steps: int,
    configurations: int,
    root_seed: int,
    domains: Mapping[str, Domain],
    traced: Sequence[str],
    values: Mapping[str, np.ndarray],
    evaluations: Sequence[int] = (),
) -> Decision:
    """What happens to members after a step; nothing where the step is no rung.

    Args:
        schedule: the schedule.
        standing: the members.
        mode: `max` or `min`.
        steps: how many steps a whole run has.
        configurations: how many began; points are numbered from 0 below it.
        root_seed: what PBT draws from, besides the step.
        domains: the domain of every swept field.
        traced: the swept fields that are traced.
        values: per traced field the current value of every member, in the order of `standing.members`; NaN or
            None where it is not set.
        evaluations: the steps after which members are evaluated, which early stopping alone asks for.
    """
    if standing.step not in rungs(schedule, steps, configurations, evaluations):
        return Decision(standing.members[:0])
    if isinstance(schedule, PBT):
        return evolve(
            schedule, standing, mode=mode, root_seed=root_seed, domains=domains, traced=traced, values=values
        )
    if isinstance(schedule, PBTReplay):
        return follow(schedule, standing)
    if isinstance(schedule, EarlyStopping):
        return stop_stalled(schedule, standing, mode)
    return survivors(schedule, standing, mode=mode, steps=steps, configurations=configurations)


def budget(schedule: Schedule | None, steps: int, configurations: int, seeds: int) -> int:
    """The member-steps of a run: exact where no member diverges, an upper bound otherwise.

    Early stopping may end none, and its bound is that all are trained to the end.

    Args:
        schedule: the schedule; None trains all to the end.
        steps: how many steps a whole run has.
        configurations: how many begin.
        seeds: members per configuration.

    Example:
        >>> budget(halving(), 81, 27, 1), budget(None, 81, 27, 1)
        (243, 2187)
    """
    if schedule is None or isinstance(schedule, PBT | PBTReplay | EarlyStopping):
        return steps * configurations * seeds
    total = 0
    for bracket in brackets(schedule, steps, configurations):
        marks = (0, *bracket.rungs, steps)
        total += sum(
            size * (end - start)
            for size, start, end in zip(bracket.sizes, marks[:-1], marks[1:], strict=True)
        )
    return total * seeds


def commits(
    schedule: Schedule | None, steps: int, configurations: int, evaluations: Sequence[int] = ()
) -> float:
    """How often what is trained is committed, per as many steps as a whole run has: after every round.

    Args:
        schedule: the schedule; None has one round.
        steps: how many steps a whole run has.
        configurations: how many begin.
        evaluations: the steps after which members are evaluated, which early stopping alone asks for.

    Example:
        >>> commits(None, 81, 27), commits(pbt(every=27), 81, 27), commits(halving(), 81, 27)
        (1.0, 3.0, 13.333333333333334)
    """
    if schedule is None:
        return 1.0
    starts = (0, *rungs(schedule, steps, configurations, evaluations))
    if isinstance(schedule, PBT | PBTReplay | EarlyStopping):
        return float(len(starts))
    # Every bracket is committed at the rungs of all.
    rounds = sum(
        bracket.sizes[sum(rung <= start for rung in bracket.rungs)]
        for bracket in brackets(schedule, steps, configurations)
        for start in starts
    )
    return rounds * steps / budget(schedule, steps, configurations, 1)


def _literal(name: str, node: ast.expr, source: str) -> Any:
    if isinstance(node, ast.Name) and node.id in ("none", "null"):
        return None
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        raise StudyError(
            f"{name} takes numbers and words, but {quoted(written(node, source))} is neither."
        ) from None
