"""Points to members: columns of hyperparameters, seeds, ids, and the static groups they fall into."""

import dataclasses
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError, brief
from sweeps.members.counts import check_count, check_samples
from sweeps.members.folds import membership
from sweeps.members.groups import constructed, static_groups
from sweeps.members.instances import build
from sweeps.members.instances import configure as configure
from sweeps.members.leaving_out import allowed, let_through
from sweeps.search.branches import completed, reduced
from sweeps.search.crossing import crossing
from sweeps.space.checking import check_value
from sweeps.space.domains import Domain, is_sampled, level_column, listed_values, quantile, size, text
from sweeps.space.values import object_column, restored, stored
from sweeps.trial import Field, Study, fields

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
        statics: per group, the values of its static fields, and what `__post_init__` sets.
        folds: the fold that each member holds out, int32; None of a study without folds.
        membership: the fold that each training example is in; None likewise.
    """

    config: type
    fields: tuple[Field, ...]
    swept: tuple[str, ...]
    columns: dict[str, np.ndarray]
    fixed: dict[str, Any]
    seeds: np.ndarray
    groups: np.ndarray
    statics: tuple[dict[str, Any], ...]
    folds: np.ndarray | None = None
    membership: np.ndarray | None = None

    def __len__(self) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return len(self.seeds)


def populate(study: Study, samples: int | None, root_seed: int) -> Population:
    """The members that a study asks for: levels x samples x seeds x folds, folds innermost.

    Args:
        study: the study.
        samples: how many joint draws of the sampled fields; None where no field is sampled.
        root_seed: what the draws depend on, besides the names of the fields.

    Raises:
        StudyError: `samples` is missing or superfluous, a value is not of its field's type, a seed is
            negative, the training data cannot be cut into folds, or the configuration refuses its values.
    """
    check_samples(samples)
    domains = study.swept
    known = reduced(fields(study.trial.config), domains)
    sampled = {name: domain for name, domain in domains.items() if is_sampled(domain)}
    crossed = {name: domain for name, domain in domains.items() if name not in sampled}
    always = {name: domain for name, domain in crossed.items() if not known[name].branches}
    check_count(study, {**{name: size(domain) for name, domain in always.items()}, "samples": samples or 1})
    draws = _draws(sampled, samples, root_seed)
    seeds = seeds_of(study)
    each = repeats(study, len(seeds))

    axes = {name: _values(known[name], level_column(domain)) for name, domain in crossed.items()}
    drawn = {name: _values(known[name], column) for name, column in draws.items()}
    points = crossing(known, axes, drawn, samples or 1)
    check_count(study, {"points": len(points)})

    columns = {name: points.spread(values, axis) for axis, (name, values) in enumerate(axes.items())}
    columns |= {name: points.spread(values, len(axes)) for name, values in drawn.items()}
    kept = let_through(study, {name: columns[name] for name in domains}, len(points))
    if not kept.all():
        columns = {name: column[kept] for name, column in columns.items()}
    columns = {name: np.repeat(columns[name], each) for name in domains}
    return _assemble(study, columns, seeds, int(kept.sum()), root_seed)


def gather(
    study: Study, points: Sequence[Mapping[str, Any]], seeds: Sequence[int], root_seed: int
) -> Population:
    """The members of some points, each with every seed and every fold, folds innermost.

    Args:
        study: the study.
        points: values of the same fields each; fields left out keep their default.
        seeds: whole numbers ≥ 0.
        root_seed: what the folds depend on.

    Raises:
        StudyError: a value is not of its field's type, the training data cannot be cut into folds, or the
            configuration refuses its values.
    """
    known = {field.name: field for field in fields(study.trial.config)}
    columns = {}
    for name in points[0]:
        listed = listed_values(study.domains[name]) if name in study.domains else ()
        values = [restored(point[name], listed) for point in points]
        columns[name] = np.repeat(_values(known[name], values, absent=True), repeats(study, len(seeds)))
    return _assemble(study, columns, seeds, len(points), root_seed)


def baseline(study: Study) -> dict[str, Any] | None:
    """The point where every swept field has its default, as tables have it; None if one has none.

    Args:
        study: the study.
    """
    defaults = completed(fields(study.trial.config), {})
    point = {name: stored(defaults[name]) for name in study.swept}
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
    return _replace(population, columns=columns)


def pinned(population: Population, names: Collection[str], group: int | None = None) -> Population:
    """The population with fields that do not vary among the static ones.

    Args:
        population: the population.
        names: the fields.
        group: the only group in which they become static; None makes them so in all.
    """
    if not names:
        return population
    statics, firsts = list(population.statics), np.unique(population.groups, return_index=True)[1]
    for place in range(len(statics)) if group is None else [group]:
        values = values_of(population, firsts[place])  # those of a group agree in what does not vary
        statics[place] = statics[place] | {name: values[name] for name in names}
    return _replace(population, statics=tuple(statics))


def _replace(population: Population, **changes: Any) -> Population:
    # `population._replace` would take the number of members for that of the fields.
    return Population(**{**population._asdict(), **changes})


def seeds_of(study: Study) -> list[int]:
    """The seeds that every point is trained with.

    Args:
        study: the study.

    Raises:
        StudyError: one is not a whole number ≥ 0.
    """
    return _seeds(study.domains.get("seed", range(1))).tolist()


def repeats(study: Study, seeds: int | None = None) -> int:
    """How many members every point has: one for each seed and fold.

    Args:
        study: the study.
        seeds: how many seeds; None takes the study's.
    """
    seeds = size(study.domains.get("seed", range(1))) if seeds is None else seeds
    return seeds * size(study.domains.get("fold", range(1)))


def _assemble(
    study: Study, columns: dict[str, np.ndarray], seeds: Sequence[int], count: int, root_seed: int
) -> Population:
    """So many points, each with every seed, and with every fold where there are folds."""
    per_point, parts = repeats(study, len(seeds)), membership(study, root_seed)
    folds = repeats(study, 1)
    known = tuple(
        field._replace(
            traced=field.traced and (field.name in columns or field.name not in study.trial.static)
        )
        for field in fields(study.trial.config)
    )
    swept, values = tuple(columns), completed(known, columns)
    _check_required(values)
    columns = {name: values[name] for name in dict.fromkeys((*swept, *values)) if _is_column(values[name])}
    fixed = {name: value for name, value in values.items() if name not in columns}
    groups, statics = static_groups(known, columns, fixed, count * per_point)
    population = Population(
        config=study.trial.config,
        fields=known,
        swept=swept,
        columns=columns,
        fixed=fixed,
        seeds=np.tile(np.repeat(np.asarray(seeds, np.uint32), folds), count),
        groups=groups,
        statics=statics,
        folds=None if parts is None else np.tile(np.arange(folds, dtype=np.int32), count * len(seeds)),
        membership=parts,
    )
    firsts = range(0, len(population), per_point)
    points = ((int(groups[member]), values_of(population, member)) for member in firsts)
    return _replace(population, statics=constructed(study.trial.config, points, statics))


def config_of(population: Population, member: int | np.integer) -> Any:
    """The configuration of one member, built as the user's own code would build it.

    Args:
        population: the population.
        member: the member's id.
    """
    return build(population.config, values_of(population, member))


def values_of(population: Population, member: int | np.integer) -> dict[str, Any]:
    """The value of every field of one member, None for one that it has not.

    Args:
        population: the population.
        member: the member's id.
    """
    values = {name: column[member] for name, column in population.columns.items()}
    values = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()
    }
    return {**population.fixed, **values}


def allowed_members(study: Study, population: Population, members: Iterable[int]) -> set[int]:
    """The members that are let through with the values that they have, and whose configuration takes these.

    Args:
        study: the study.
        population: the population.
        members: ids.
    """
    found = set()
    for member in members:
        values = values_of(population, member)
        try:
            config_of(population, member)
        except Exception:  # whatever a person's own `__post_init__` raises
            continue
        if allowed(study, [{name: values[name] for name in population.swept}])[0]:
            found.add(member)
    return found


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


def _check_required(values: Mapping[str, Any]) -> None:
    missing = [name for name, value in values.items() if value is dataclasses.MISSING]
    if missing:
        raise StudyError(f"Give {' and '.join(missing)} a default, or values in the space.")


def _is_column(value: Any) -> bool:
    return isinstance(value, np.ndarray)  # which no field's value is, for it cannot be hashed


def _draws(sampled: Mapping[str, Domain], samples: int | None, root_seed: int) -> dict[str, np.ndarray]:
    if sampled and samples is None:
        name, domain = next(iter(sampled.items()))
        raise StudyError(
            f"Say how many points are drawn of {name}={text(domain)}: samples=16, or --samples 16."
        )
    if samples is not None and not sampled:
        raise StudyError(f"samples={samples} is for fields that are drawn, as from uniform(0, 1); none is.")
    # A stream per field name, so that another field, or more samples, leaves the first draws as they were.
    return {
        name: quantile(domain, np.random.default_rng([root_seed, zlib.crc32(name.encode())]).random(samples))
        for name, domain in sampled.items()
    }


def _seeds(domain: Domain) -> np.ndarray:
    if is_sampled(domain):
        raise StudyError(f"`seed lists levels` must hold, but got {text(domain)}; range(8) gives eight seeds")
    column = level_column(domain)
    given = (column.min(), column.max()) if column.dtype == np.int64 else column.tolist()
    for seed in given:
        whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
        if not (whole and 0 <= seed <= MAX_SEED):
            raise StudyError(
                f"`seed is a whole number from 0 to {MAX_SEED}` must hold, but got {brief(seed)}"
            )
    return column.astype(np.uint32)


def _values(field: Field, values: Any, absent: bool = False) -> np.ndarray:
    """A column of a field's values; `absent` says that None may stand for a field that a point has not."""
    if field.kind is float and isinstance(values, np.ndarray) and values.dtype == np.float64:
        return values  # computed from bounds that are finite numbers
    checked = [
        None
        if value is None and absent and field.branches
        else check_value(field, value.item() if isinstance(value, np.generic) else value)
        for value in values
    ]
    if field.kind in (float, int) and None not in checked:
        return np.asarray(checked, dtype=np.float64 if field.kind is float else np.int64)
    return object_column(checked)
