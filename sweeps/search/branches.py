"""Fields that only some points have: those of a class that only some points chose."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sweeps.errors import StudyError
from sweeps.space.checking import check_value
from sweeps.space.domains import Domain, listed_values
from sweeps.space.fields import Branch, Field

MISSING = dataclasses.MISSING


def exists(field: Field, values: Mapping[str, Any]) -> Any:
    """Whether a point has a field: a boolean, or an array of them where values are columns.

    Args:
        field: the field.
        values: of the fields that choose, by name.
    """
    found = not field.branches
    for branch in field.branches:
        found = found | _chosen(branch, values)
    return found


def reduced(known: Iterable[Field], domains: Mapping[str, Domain]) -> dict[str, Field]:
    """The swept fields by name, from the outside in; their branches ask for choices that are swept alone.

    Args:
        known: the fields of the configuration.
        domains: the swept fields' domains.

    Raises:
        StudyError: no point has one of them.
    """
    by_name, found = {field.name: field for field in known}, {}
    for name, field in by_name.items():
        if name in domains:
            branches = [_reduced(branch, by_name, domains) for branch in field.branches]
            left = tuple(branch for branch in branches if branch is not None)
            if field.branches and not left:
                raise StudyError(_unreachable(field, by_name, domains))
            always = any(not branch.when for branch in left)
            found[name] = field._replace(branches=() if always else left)
    return found


def conditioned(swept: Iterable[Field], point: Mapping[str, Any]) -> dict[str, Any]:
    """The point with None for the fields that it has not.

    Args:
        swept: its fields, as `reduced` has them.
        point: a value for each.
    """
    found: dict[str, Any] = {}
    for field in outside_in(swept):
        found[field.name] = point[field.name] if exists(field, found) else None
    return {name: found[name] for name in point}


def outside_in(swept: Iterable[Field]) -> list[Field]:
    """The fields in an order in which those that choose come before those of what is chosen."""
    return sorted(swept, key=lambda field: field.name.count("."))


def completed(known: Iterable[Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """All fields: what is given, or their defaults, and None where there is no such field.

    Args:
        known: the fields of the configuration, from the outside in, as `fields` has them.
        given: the values of those that vary, of a point or as columns of many.

    Returns:
        A value or a column by name: of a field that is not given a value, if it is the same everywhere. A
        field that has neither a value nor a default where it exists is `dataclasses.MISSING`.
    """
    found: dict[str, Any] = {}
    for field in known:
        if not field.branches:
            found[field.name] = given[field.name] if field.name in given else _default(field, field.default)
            continue
        parts = [(branch, _chosen(branch, found)) for branch in field.branches]
        parts = [(branch, there) for branch, there in parts if np.any(there)]
        if field.name in given:
            found[field.name] = _where(given[field.name], exists(field, found))
        elif any(branch.default is MISSING for branch, _ in parts):
            found[field.name] = MISSING
        else:
            found[field.name] = _defaults(field, parts)
    return found


def _chosen(branch: Branch, values: Mapping[str, Any]) -> Any:
    found: Any = True
    for name, own in branch.when:
        found = found & (values.get(name) == own)
    return found


def _reduced(branch: Branch, known: Mapping[str, Field], domains: Mapping[str, Domain]) -> Branch | None:
    """The branch with those choices alone that are swept; None if it is never chosen."""
    when = []
    for place, (name, own) in enumerate(branch.when):
        if name in domains:
            if own not in listed_values(domains[name]):
                return None
            when.append((name, own))
        elif _default_under(known[name], branch.when[:place]) != own:
            return None
    return branch._replace(when=tuple(when))


def _default_under(field: Field, when: tuple[tuple[str, str], ...]) -> Any:
    return next((branch.default for branch in field.branches if branch.when == when), field.default)


def _unreachable(field: Field, known: Mapping[str, Field], domains: Mapping[str, Domain]) -> str:
    name = field.branches[0].when[-1][0]
    owners = dict.fromkeys(branch.when[-1][1] for branch in field.branches)
    got = ", ".join(map(str, listed_values(domains[name]))) if name in domains else known[name].default
    got = "its default" if got is MISSING else got
    return (
        f"`some member has {field.name}` must hold, which {' and '.join(owners)} alone "
        f"{'have' if len(owners) > 1 else 'has'}, but got {name}={got}; add {next(iter(owners))} to {name}, "
        f"or leave {field.name} out"
    )


def _where(given: Any, there: Any) -> Any:
    """What is given where there is such a field, None elsewhere."""
    if not isinstance(given, np.ndarray):
        return given if there else None
    if np.all(there):
        return given
    found = np.full(len(given), None, object)
    mask = np.broadcast_to(there, len(given))
    found[mask] = given[mask].astype(object)
    return found


def _default(field: Field, default: Any) -> Any:
    return MISSING if default is MISSING else check_value(field, default)


def _defaults(field: Field, parts: Sequence[tuple[Branch, Any]]) -> Any:
    """The defaults of a field in its branches: one value if all members have it or none, else a column."""
    values = [_default(field, branch.default) for branch, _ in parts]
    if not parts:
        return None
    everywhere = np.logical_or.reduce([there for _, there in parts])
    if np.all(everywhere) and all(value == values[0] for value in values):
        return values[0]
    found = np.full(len(everywhere), None, object)
    for value, (_, there) in zip(values, parts, strict=True):
        box = np.empty((), object)
        box[()] = value  # a tuple, as it is, would be several values
        found[there] = box
    return found
