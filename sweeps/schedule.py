"""Which members go on: successive halving, Hyperband and population-based training, as pure functions."""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from sweeps.brackets import Halving as Halving
from sweeps.brackets import Hyperband as Hyperband
from sweeps.brackets import brackets, check_rungs, survivors
from sweeps.brackets import halving as halving
from sweeps.brackets import hyperband as hyperband
from sweeps.evolution import PBT as PBT
from sweeps.evolution import check_evolution, evolve, exchanges
from sweeps.evolution import pbt as pbt
from sweeps.space import Domain, StudyError
from sweeps.standing import Decision as Decision
from sweeps.standing import Standing as Standing
from sweeps.trial import unknown

Schedule: TypeAlias = Halving | Hyperband | PBT
CONSTRUCTORS: dict[str, Callable[..., Schedule]] = {"halving": halving, "hyperband": hyperband, "pbt": pbt}
NAMES: dict[type, str] = {Halving: "halving", Hyperband: "hyperband", PBT: "pbt"}


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
    try:
        node = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        node = ast.Constant(None)
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise StudyError(f"`a schedule such as halving(eta=3)` must hold, but got {source[:80]!r}")
    name = call.func.id
    if name not in CONSTRUCTORS:
        raise StudyError(
            f"`schedule is one of {', '.join(CONSTRUCTORS)}` must hold, but got {unknown(name, CONSTRUCTORS)}"
        )
    known = next(kind for kind, own in NAMES.items() if own == name)._fields  # pyright: ignore[reportAttributeAccessIssue]
    if call.args:
        raise StudyError(
            f"`{name}({known[0]}=…)` must hold, every value with its name, but got {source[:80]!r}"
        )
    given = {}
    for keyword in call.keywords:
        if keyword.arg not in known:
            raise StudyError(
                f"`one of {', '.join(known)}` must hold in {name}, but got {unknown(str(keyword.arg), known)}"
            )
        given[keyword.arg] = _literal(name, keyword.value)
    return CONSTRUCTORS[name](**given)


def text(schedule: Schedule) -> str:
    """The schedule as `parse` reads it, with what differs from the defaults.

    Example:
        >>> text(halving(min_steps=10)), text(hyperband())
        ('halving(min_steps=10)', 'hyperband')
    """
    pairs = zip(schedule._fields, schedule, type(schedule)(), strict=True)
    said = [f"{name}={value!r}" for name, value, default in pairs if value != default]
    return NAMES[type(schedule)] + (f"({', '.join(said)})" if said else "")


def check(
    schedule: Schedule, *, steps: int, configurations: int, swept: Sequence[str], traced: Sequence[str]
) -> None:
    """Refuses a schedule that a run of this size cannot follow.

    Args:
        schedule: the schedule.
        steps: how many steps a whole run has.
        configurations: how many begin.
        swept: the fields that vary, without `seed`.
        traced: those of them that are traced.

    Raises:
        StudyError: it says what must hold.
    """
    CONSTRUCTORS[NAMES[type(schedule)]](*schedule)
    if isinstance(schedule, PBT):
        check_evolution(schedule, steps, swept, traced)
    else:
        check_rungs(schedule, steps, configurations)


def rungs(schedule: Schedule, steps: int, configurations: int) -> tuple[int, ...]:
    """The steps after which something is decided, ascending, all before the last.

    Args:
        schedule: the schedule.
        steps: how many steps a whole run has.
        configurations: how many begin.

    Example:
        >>> rungs(halving(), 81, 27), rungs(pbt(every=30), 81, 27)
        ((3, 9, 27), (30, 60))
    """
    if isinstance(schedule, PBT):
        return exchanges(schedule, steps)
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
    """
    if standing.step not in rungs(schedule, steps, configurations):
        return Decision(standing.members[:0], {}, {})
    if isinstance(schedule, PBT):
        return evolve(
            schedule, standing, mode=mode, root_seed=root_seed, domains=domains, traced=traced, values=values
        )
    return survivors(schedule, standing, mode=mode, steps=steps, configurations=configurations)


def budget(schedule: Schedule | None, steps: int, configurations: int, seeds: int) -> int:
    """The member-steps of a run: exact where no member diverges, an upper bound otherwise.

    Args:
        schedule: the schedule; None trains all to the end.
        steps: how many steps a whole run has.
        configurations: how many begin.
        seeds: members per configuration.

    Example:
        >>> budget(halving(), 81, 27, 1), budget(None, 81, 27, 1)
        (243, 2187)
    """
    if schedule is None or isinstance(schedule, PBT):
        return steps * configurations * seeds
    total = 0
    for bracket in brackets(schedule, steps, configurations):
        marks = (0, *bracket.rungs, steps)
        total += sum(
            size * (end - start)
            for size, start, end in zip(bracket.sizes, marks[:-1], marks[1:], strict=True)
        )
    return total * seeds


def _literal(name: str, node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in ("none", "null"):
        return None
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        raise StudyError(
            f"`literal values` must hold in {name}, but got {ast.unparse(node)[:80]!r}"
        ) from None
