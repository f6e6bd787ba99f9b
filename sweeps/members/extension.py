"""A run that was extended: what it was asked for before, and the members of all its parts, in their order."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError
from sweeps.members.groups import numbered
from sweeps.members.population import Population
from sweeps.space.domains import Domain, Grid, listed_values, text
from sweeps.space.grammar import as_domain
from sweeps.space.values import object_column, restored
from sweeps.store.manifest import lengths
from sweeps.trial import Study


class Part(NamedTuple):
    """What a run was asked for before it was extended.

    Attributes:
        space: the domain of every field, as text.
        samples: how many joint draws, or points; None where nothing was drawn.
        members: how many members it had.
        steps: how many steps each of them; None, of an earlier version, is as many as afterwards.
    """

    space: Mapping[str, str]
    samples: int | None
    members: int
    steps: int | None = None


def parts(recorded: Mapping[str, Any]) -> tuple[Part, ...]:
    """What a run was asked for before each of its extensions, the first first.

    Args:
        recorded: its manifest.
    """
    return tuple(Part(**part) for part in recorded.get("earlier", ()))


def with_space(study: Study, space: Mapping[str, str]) -> Study:
    """The study over the space of a manifest.

    Args:
        study: the study, which knows values that text does not tell.
        space: the domain of every field, as text.
    """
    known = study.domains

    def domain(name: str, said: str) -> Domain:
        own = known.get(name)
        if own is not None and text(own) == said:
            return own
        found, listed = as_domain(said, name), () if own is None else listed_values(own)
        return (
            Grid(tuple(restored(value, listed) for value in found.values)) if type(found) is Grid else found
        )

    return dataclasses.replace(study, space={name: domain(name, said) for name, said in space.items()})


def as_extended(recorded: Mapping[str, Any], study: Study) -> Study:
    """The study that a run was extended to, if this is one that it was before; otherwise the study as it is.

    Args:
        recorded: the run's manifest.
        study: the study.
    """
    said, before = {name: text(domain) for name, domain in study.domains.items()}, parts(recorded)
    if any(said == part.space for part in before):
        study = with_space(study, recorded["space"])
    earlier = lengths(recorded)[:-1]
    if not earlier:
        return study
    steps = recorded["steps"] if study.steps in earlier else study.steps
    ends = tuple(sorted({*earlier, *study.earlier_steps}))
    return dataclasses.replace(study, steps=steps, earlier_steps=tuple(end for end in ends if end < steps))


def arranged(whole: Population, earlier: Sequence[Population]) -> Population:
    """A population with the members of earlier ones first, each with the id and the group that it had.

    Args:
        whole: all members, in any order.
        earlier: what there was before each extension, the first first.

    Raises:
        StudyError: a member of an earlier one is not among them.
    """
    *before, now = _keys([*earlier, whole])
    place = np.full(1 + max(int(own.max()) for own in (*before, now)), -1)
    place[now] = np.arange(len(now))
    taken, order = np.zeros(len(now), bool), []
    for own in before:
        found = place[own]
        if (found < 0).any():
            raise StudyError(
                f"`every member that the run has is among those that are asked for` must hold, but got "
                f"{int((found < 0).sum())} that are not; add to the space, and take nothing away"
            )
        order.append(found[~taken[found]])
        taken[found] = True
    return _reordered(whole, np.concatenate([*order, np.flatnonzero(~taken)]))


def _keys(populations: Sequence[Population]) -> list[np.ndarray]:
    """A number for each member, the same in two populations where configuration, seed and fold are.

    Where several members of a population agree in these, as draws of whole numbers may, the first has the
    number of the first of another population, and so on.
    """
    names = dict.fromkeys(name for population in populations for name in population.columns)
    count = sum(map(len, populations))
    codes = numbered(np.concatenate([population.seeds for population in populations]))
    for column in [_joined(populations, name) for name in names] + _folds(populations):
        codes = numbered(codes * count + numbered(column))
    ends = np.cumsum([len(population) for population in populations])[:-1]
    again = np.concatenate([_occurrences(own) for own in np.split(codes, ends)])
    return np.split(numbered(codes * count + again), ends)


def _folds(populations: Sequence[Population]) -> list[np.ndarray]:
    folds = [population.folds for population in populations if population.folds is not None]
    return [np.concatenate(folds)] if len(folds) == len(populations) else []


def _joined(populations: Sequence[Population], name: str) -> np.ndarray:
    """The values of a field in all populations, one after the other, also where it does not vary in one."""
    found = []
    for population in populations:
        column = population.columns.get(name)
        found.append(object_column([population.fixed[name]] * len(population)) if column is None else column)
    kinds = {column.dtype for column in found}
    return np.concatenate(found if len(kinds) == 1 else [column.astype(object) for column in found])


def _occurrences(codes: np.ndarray) -> np.ndarray:
    """How often each number came before.

    Example:
        >>> _occurrences(np.array([5, 3, 5, 5])).tolist()
        [0, 0, 1, 2]
    """
    order = np.argsort(codes, kind="stable")
    ordered, found = codes[order], np.empty(len(codes), np.int64)
    found[order] = np.arange(len(codes)) - np.searchsorted(ordered, ordered)
    return found


def _reordered(population: Population, order: np.ndarray) -> Population:
    """The members in another order, their groups numbered as they come."""
    groups = numbered(population.groups[order])
    firsts = np.unique(groups, return_index=True)[1]
    return Population(
        **{
            **population._asdict(),
            "columns": {name: column[order] for name, column in population.columns.items()},
            "seeds": population.seeds[order],
            "folds": None if population.folds is None else population.folds[order],
            "groups": groups.astype(np.int32),
            "statics": tuple(population.statics[group] for group in population.groups[order[firsts]]),
        }
    )
