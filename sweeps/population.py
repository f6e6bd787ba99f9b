"""Points to members: columns of hyperparameters, seeds, ids, and the static groups they fall into."""

import dataclasses
import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.space import Domain, StudyError, is_sampled, levels, quantile, size, text
from sweeps.trial import Field, Study, check_value, fields

MAX_MEMBERS = 2**31 - 1
MAX_SEED = 2**32 - 1
KINDS = {int: np.int64, bool: np.bool_}


class Population(NamedTuple):
    """All members of a sweep, as columns; a member's id is its place in them.

    Attributes:
        config: the dataclass of the configuration.
        fields: its fields.
        swept: the names of the fields that vary, in the order of the space.
        columns: per field that varies, one value per member: float64 for traced numbers, objects otherwise.
        fixed: the value of every field that does not vary.
        seeds: one uint32 per member.
        groups: one static group per member.
        statics: per group, the values of its static fields.
    """

    config: type
    fields: tuple[Field, ...]
    swept: tuple[str, ...]
    columns: dict[str, np.ndarray]
    fixed: dict[str, Any]
    seeds: np.ndarray
    groups: np.ndarray
    statics: tuple[dict[str, Any], ...]

    def __len__(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return len(self.seeds)


def populate(study: Study, samples: int | None, root_seed: int) -> Population:
    """The members that a study asks for: levels x samples x seeds, seeds innermost.

    Args:
        study: the study.
        samples: how many joint draws of the sampled fields; None where no field is sampled.
        root_seed: what the draws depend on, besides the names of the fields.

    Raises:
        StudyError: `samples` is missing or superfluous, a value is not of its field's type, a seed is
            negative, or the configuration refuses its values.
    """
    known = {field.name: field for field in fields(study.trial.config)}
    domains = {name: domain for name, domain in study.domains.items() if name != "seed"}
    _check_required(known.values(), domains)
    sampled = {name: domain for name, domain in domains.items() if is_sampled(domain)}
    crossed = {name: domain for name, domain in domains.items() if name not in sampled}
    sizes = [*map(size, crossed.values()), samples or 1, size(study.domains.get("seed", range(1)))]
    if math.prod(sizes) > MAX_MEMBERS:
        raise StudyError(f"`at most {MAX_MEMBERS} members` must hold, but got {' x '.join(map(str, sizes))}")
    draws = _draws(sampled, samples, root_seed)
    seeds = _seeds(study.domains.get("seed", range(1)))

    axes = {name: _values(known[name], levels(domain)) for name, domain in crossed.items()}
    drawn = {name: _values(known[name], column) for name, column in draws.items()}
    shape = (*(len(values) for values in axes.values()), samples or 1, len(seeds))
    count = math.prod(shape)

    def spread(values: np.ndarray, axis: int) -> np.ndarray:
        along = values.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return np.broadcast_to(along, shape).reshape(count)

    columns = {name: spread(values, axis) for axis, (name, values) in enumerate(axes.items())}
    columns |= {name: spread(values, len(axes)) for name, values in drawn.items()}
    columns = {name: columns[name] for name in domains}
    return _assemble(study, columns, spread(seeds, len(shape) - 1), len(seeds))


def gather(study: Study, points: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> Population:
    """The members of some points, each with every seed, seeds innermost.

    Args:
        study: the study.
        points: values of the same fields each; fields left out keep their default.
        seeds: whole numbers ≥ 0.

    Raises:
        StudyError: a value is not of its field's type, or the configuration refuses its values.
    """
    known = {field.name: field for field in fields(study.trial.config)}
    columns = {
        name: np.repeat(_values(known[name], [point[name] for point in points]), len(seeds))
        for name in points[0]
    }
    return _assemble(study, columns, np.tile(np.asarray(seeds, np.uint32), len(points)), len(seeds))


def baseline(study: Study) -> dict[str, Any] | None:
    """The point where every swept field has its default; None if one has none.

    Args:
        study: the study.
    """
    defaults = {field.name: field.default for field in fields(study.trial.config)}
    point = {name: defaults[name] for name in study.domains if name != "seed"}
    return None if dataclasses.MISSING in point.values() else point


def with_values(population: Population, values: Mapping[int, Mapping[str, float]]) -> Population:
    """The population with other hyperparameters for some members.

    Args:
        population: the population.
        values: the member's id to the fields that change.
    """
    columns = dict(population.columns)
    for name in {name for changed in values.values() for name in changed}:
        columns[name] = np.array(columns[name])
        for member, changed in values.items():
            if name in changed:
                columns[name][member] = changed[name]
    # `_replace` would take the number of members for that of the fields.
    return Population(**{**population._asdict(), "columns": columns})


def seeds_of(study: Study) -> list[int]:
    """The seeds that every point is trained with.

    Args:
        study: the study.

    Raises:
        StudyError: one is not a whole number ≥ 0.
    """
    return _seeds(study.domains.get("seed", range(1))).tolist()


def _assemble(study: Study, columns: dict[str, np.ndarray], seeds: np.ndarray, per_point: int) -> Population:
    known = fields(study.trial.config)
    fixed = {field.name: check_value(field, field.default) for field in known if field.name not in columns}
    groups, statics = _groups(known, columns, fixed, len(seeds))
    population = Population(
        config=study.trial.config,
        fields=known,
        swept=tuple(columns),
        columns=columns,
        fixed=fixed,
        seeds=seeds,
        groups=groups,
        statics=statics,
    )
    _construct_each(population, per_point)
    return population


def config_of(population: Population, member: int | np.integer) -> Any:
    """The configuration of one member, built as the user's own code would build it.

    Args:
        population: the population.
        member: the member's id.
    """
    values = {name: column[member] for name, column in population.columns.items()}
    values = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()
    }
    return population.config(**population.fixed, **values)


def configure(config: type, statics: dict[str, Any], values: dict[str, Any]) -> Any:
    """A configuration with traced values; `__post_init__` has seen the concrete ones and does not run.

    Args:
        config: the dataclass.
        statics: the static fields' values.
        values: the traced fields' values.
    """
    instance = object.__new__(config)
    for name, value in (statics | values).items():
        object.__setattr__(instance, name, value)
    return instance


def traced_columns(population: Population, members: np.ndarray) -> dict[str, np.ndarray]:
    """The traced hyperparameters of these members of one group, one array per field.

    Args:
        population: the population.
        members: ids, all of one group.

    Returns:
        Field name to a float64 or int64 array, one value per id; fields that are None are left out.
    """
    group = population.statics[population.groups[members[0]]]
    found = {}
    for field in population.fields:
        if field.name not in group:
            column = population.columns.get(field.name)
            values = (
                [population.fixed[field.name]] * len(members) if column is None else column[members].tolist()
            )
            found[field.name] = np.asarray(values, dtype=KINDS.get(field.kind, np.float64))
    return found


def _check_required(known: Any, domains: Mapping[str, Domain]) -> None:
    missing = [
        field.name for field in known if field.default is dataclasses.MISSING and field.name not in domains
    ]
    if missing:
        raise StudyError(
            f"`every field has a default or is in the space` must hold, but got neither for {missing}"
        )


def _draws(sampled: Mapping[str, Domain], samples: int | None, root_seed: int) -> dict[str, np.ndarray]:
    if sampled and samples is None:
        name, domain = next(iter(sampled.items()))
        raise StudyError(
            f"`samples` must be given where a field is sampled, but got none for {name}={text(domain)}; "
            f"samples=16 draws 16 points (--samples 16)"
        )
    if samples is not None and (not isinstance(samples, int) or samples < 1):
        raise StudyError(f"`1 <= samples` must hold, but got samples={samples!r}")
    if samples is not None and not sampled:
        raise StudyError(
            f"`samples` must only be given where a field is sampled, but got samples={samples} and levels"
        )
    # A stream per field name, so that another field, or more samples, leaves the first draws as they were.
    return {
        name: quantile(domain, np.random.default_rng([root_seed, zlib.crc32(name.encode())]).random(samples))
        for name, domain in sampled.items()
    }


def _seeds(domain: Domain) -> np.ndarray:
    if is_sampled(domain):
        raise StudyError(f"`seed lists levels` must hold, but got {text(domain)}; range(8) gives eight seeds")
    for seed in levels(domain):
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
            raise StudyError(f"`seed is a whole number from 0 to {MAX_SEED}` must hold, but got {seed!r}")
    return np.asarray(levels(domain), dtype=np.uint32)


def _values(field: Field, values: Any) -> np.ndarray:
    checked = [
        check_value(field, value.item() if isinstance(value, np.generic) else value) for value in values
    ]
    if field.kind in (float, int) and None not in checked:
        return np.asarray(checked, dtype=np.float64 if field.kind is float else np.int64)
    column = np.empty(len(checked), dtype=object)
    column[:] = checked
    return column


def _groups(
    known: tuple[Field, ...], columns: Mapping[str, np.ndarray], fixed: Mapping[str, Any], count: int
) -> tuple[np.ndarray, tuple[dict[str, Any], ...]]:
    """Which members share a program: those that agree in every static field, and in which are None."""
    codes = np.zeros(count, dtype=np.int64)
    choices: list[list[Any]] = []
    names: list[str] = []
    always = {}
    for field in known:
        column = columns.get(field.name)
        if column is None:
            if not field.traced or fixed[field.name] is None:
                always[field.name] = fixed[field.name]
        elif not field.traced or column.dtype == object:
            keys = [value if not field.traced or value is None else _SET for value in column.tolist()]
            distinct = {key: place for place, key in enumerate(dict.fromkeys(keys))}
            codes = codes * len(distinct) + np.asarray([distinct[key] for key in keys])
            names.append(field.name)
            choices.append(list(distinct))
    used, places, groups = np.unique(codes, return_index=True, return_inverse=True)
    # Numbered as they come, so that members that are added later leave the groups of the first as they were.
    order = np.argsort(places, kind="stable")
    used, groups = used[order], np.argsort(order)[groups]
    combinations = list(itertools.product(*choices)) if choices else [()]
    statics = [always | dict(zip(names, combinations[code], strict=True)) for code in used]
    # A field that is traced where it is set belongs to the columns there, not to the group.
    statics = [{name: value for name, value in static.items() if value is not _SET} for static in statics]
    return groups.astype(np.int32), tuple(statics)


_SET = object()


def _construct_each(population: Population, seeds: int) -> None:
    """Builds every configuration once, so that what its __post_init__ refuses is refused before training."""
    for member in range(0, len(population), seeds):
        try:
            config_of(population, member)
        except (ValueError, TypeError) as error:
            name = population.config.__name__
            values = {key: population.columns[key][member] for key in population.swept}
            raise StudyError(f"`{name}({values})` must be a valid configuration, but got: {error}") from error
