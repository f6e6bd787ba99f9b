"""Whether a study is still the one that a run began with, which tracing it tells."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sweeps.engine.failure import check_group
from sweeps.engine.tracing import Checked, coloured_digest
from sweeps.errors import StudyError
from sweeps.members.population import Population, pinned, traced_columns
from sweeps.space.values import as_text
from sweeps.store.programs import first_digest
from sweeps.trial import Study

Notice: TypeAlias = Callable[[Population, int, Path | None], tuple[Population, str | None]]


def noticing(study: Study, digests: Sequence[str | None]) -> Notice:
    """What looks at a static group before any of it is trained in this process.

    Tracing a group takes a tenth of what compiling it does. A study of many groups is not kept waiting for
    all of that before it begins: past the first, each is traced when it is reached.

    Args:
        study: the study.
        digests: of the groups, the first, that have been looked at already.

    Returns:
        A function of the population, a group and the run directory. It returns the population with those
        fields of the group static whose values the model asks for, and the digest of the program of one of
        its members; it raises a StudyError if members of the group were trained with other code.
    """
    known: dict[int, Checked] = {}

    def notice(population: Population, group: int, directory: Path | None) -> tuple[Population, str | None]:
        if group < len(digests):
            return population, digests[group]
        if group not in known:
            known[group] = check_group(study, population, group)
            if directory is not None:
                first = first_digest(directory, group, known[group].digest)
                if first != known[group].digest:
                    raise StudyError(code_changed(population, group))
        return pinned(population, known[group].static, group), known[group].digest

    return notice


def refuse_other_programs(study: Study, population: Population, changed: Mapping[int, str]) -> None:
    """Raises a StudyError if the program of a static group is not the recorded one.

    Args:
        study: the study.
        population: its members.
        changed: static groups whose digest is not the recorded one, and that one.
    """
    for group, digest in changed.items():
        member = np.flatnonzero(population.groups == group)[:1]
        if digest != coloured_digest(study, population.statics[group], traced_columns(population, member)):
            raise StudyError(code_changed(population, group))


def code_changed(population: Population, group: int) -> str:
    """What is said where the program of a group is another than it was.

    Args:
        population: the members.
        group: the group.
    """
    static = population.statics[group]
    told = [f"{name}={as_text(static[name])}" for name in population.swept if name in static]
    which = f" for {', '.join(told)}" if told else ""
    return (
        f"`the study's code is what it was when this run began` must hold, but got another program{which}: "
        f"the model, the optimiser, the loss or a package that they use has changed since; go back to it, or "
        f"start a new run"
    )
