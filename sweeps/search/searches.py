"""Where points come from: a grid, random draws, Sobol's sequence, or a search that learns from scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np

from sweeps.errors import StudyError, unknown
from sweeps.search import optuna_samplers
from sweeps.search.axes import Axis, axis_of, contains
from sweeps.search.branches import completed, conditioned, exists, outside_in, reduced
from sweeps.search.crossing import crossing
from sweeps.search.optuna_samplers import Observations
from sweeps.space.checking import check_value
from sweeps.space.domains import Domain, is_sampled, quantile, text
from sweeps.space.values import as_text, object_column, restored
from sweeps.store.statuses import Status
from sweeps.trial import Field

Point: TypeAlias = dict[str, Any]
NAMES = ("grid", "random", "sobol", "tpe", "gp")
ADAPTIVE = ("tpe", "gp")
ENDED = (Status.DONE, Status.DIVERGED)


class Search:
    """Points in batches: `ask` for some, `tell` how good they were.

    What is asked depends only on what `make` was given, the counts asked before, and the observations: to
    resume, make it anew and repeat the calls.

    Args:
        axes: the fields, of which a point has those of the classes that it chose; others are None.
        propose: a pure function of the counts so far, the observations, and the count that is wanted.
    """

    def __init__(
        self, axes: Sequence[Axis], propose: Callable[[tuple[int, ...], Observations, int], list[Point]]
    ):
        self._axes = axes
        self._propose = propose
        self._counts: tuple[int, ...] = ()
        self._observations = Observations((), ())

    def ask(self, count: int) -> list[Point]:
        """The next points.

        Args:
            count: how many, a whole number ≥ 1.

        Raises:
            StudyError: `count` is less than 1, or a grid does not hold as many.
        """
        if count < 1:
            raise StudyError(f"`1 <= count` must hold in ask, but got count={count}")
        points = self._propose(self._counts, self._observations, count)
        self._counts = (*self._counts, count)
        return [self._conditioned(point) for point in points]

    def tell(self, points: Sequence[Mapping[str, Any]], scores: Sequence[float | int] | np.ndarray) -> None:
        """Takes the scores of points, asked here or known from elsewhere.

        Args:
            points: values by field, within the domains.
            scores: one per point, NaN for one that diverged.

        Raises:
            StudyError: a point is outside the domains.
        """
        for axis in self._axes:
            for point in points:
                value = point.get(axis.field.name)
                if exists(axis.field, point) and not contains(axis, value):
                    raise StudyError(
                        f"`{axis.field.name} is in {text(axis.domain)}` must hold in tell, but got {value!r}"
                    )
        pairs = [
            (self._conditioned(point), float(score)) for point, score in zip(points, scores, strict=True)
        ]
        self._observations = Observations(
            (*self._observations.points, *(point for point, _ in pairs)),
            (*self._observations.scores, *(score for _, score in pairs)),
        )

    def _conditioned(self, point: Mapping[str, Any]) -> Point:
        if not any(axis.field.branches for axis in self._axes):
            return dict(point)
        return conditioned([axis.field for axis in self._axes], point)


class History(NamedTuple):
    """What an earlier run says of the points of this one.

    Attributes:
        points: values by field.
        scores: the mean of the metric over the seeds of each, NaN where a member diverged.
        left_out: how many configurations of that run are not among them.
    """

    points: list[Point]
    scores: list[float]
    left_out: int


def check(name: str) -> None:
    """Raises a StudyError with the nearest name if there is no such search.

    Args:
        name: the name.
    """
    if name not in NAMES:
        raise StudyError(unknown("Unknown search", name, NAMES))


def make(
    name: str,
    domains: Mapping[str, Domain],
    fields: Sequence[Field],
    *,
    root_seed: int,
    mode: str,
    allowed: Callable[[Point], bool] = lambda point: True,
) -> Search:
    """A search over a space.

    - `grid`: every combination of the levels, in the order of the members of a grid.
    - `random`: independent draws (Bergstra & Bengio, 2012), the same as a grid's sampled fields; a stream per
      field name, so that another field or more points leave the first as they were.
    - `sobol`: a scrambled Sobol sequence (Owen, 1998) with a dimension per field, mapped through quantiles.
    - `tpe`: Optuna's tree-structured Parzen estimator (Bergstra et al., 2011), the points of a batch kept
      apart by counting those without a score among the bad ones.
    - `gp`: Optuna's Gaussian process with expected improvement; it costs seconds per point.

    With any but `grid`, levels are values to choose among, each equally likely at first.

    Args:
        name: one of these.
        domains: the swept fields without `seed`, in the order of the space.
        fields: the fields of the configuration, which say the types.
        root_seed: what all draws derive from.
        mode: `max` or `min`, which scores are better.
        allowed: whether there is such a point; `tpe` and `gp` propose others instead, what is drawn or
            enumerated is left to whoever asks.

    Raises:
        StudyError: there is no such search, it needs a package that is not installed, nothing is swept, or a
            value is not of its field's type.

    Example:
        >>> from sweeps.space.domains import grid
        >>> from sweeps.trial import Field
        >>> domains = {"alpha": grid(0.0, 0.1), "width": grid(8, 16)}
        >>> own = [Field("alpha", True, float, False, 0.0), Field("width", False, int, False, 8)]
        >>> make("grid", domains, own, root_seed=0, mode="max").ask(2)
        [{'alpha': 0.0, 'width': 8}, {'alpha': 0.0, 'width': 16}]
    """
    check(name)
    if not domains:
        raise StudyError(f"`a field is swept` must hold for search={name!r}, but got none besides the seed")
    axes = _axes(domains, fields)
    if name in ADAPTIVE:
        optuna_samplers.load(name)
        return Search(
            axes,
            lambda counts, observations, count: optuna_samplers.propose(
                name,
                axes,
                observations,
                allowed,
                root_seed=root_seed,
                batch=len(counts),
                count=count,
                mode=mode,
            ),  # fmt: skip
        )
    if name == "grid":
        sampled = [axis for axis in axes if is_sampled(axis.domain)]
        if sampled:
            raise StudyError(
                f"`every field lists levels` must hold to enumerate a grid, but got "
                f"{sampled[0].field.name}={text(sampled[0].domain)}; search='random' draws it"
            )
        return Search(axes, lambda counts, observations, count: _grid(axes, sum(counts), count))
    fractions = _random_fractions if name == "random" else _sobol_fractions
    return Search(
        axes,
        lambda counts, observations, count: _drawn(
            axes, fractions(axes, root_seed, sum(counts), sum(counts) + count)
        ),
    )


def history(results: Any, domains: Mapping[str, Domain], fields: Sequence[Field], metric: str) -> History:
    """The points and scores of an earlier run, to be told before the first `ask`.

    A configuration is left out if a value is outside the present domain, if a field that is not swept now had
    another value than its default, or if a member of it neither finished nor diverged (one that halving
    stopped has no final score; one that early stopping did has).

    Args:
        results: the `Results` of the earlier run.
        domains: the present swept fields, without `seed`.
        fields: the present fields.
        metric: the metric, which that run need not have been ranked by.
    """
    members = results.members
    kept = [field for field in fields if field.name in members.column_names]
    rows_of: dict[tuple, list[int]] = {}
    for row, values in enumerate(zip(*(members[field.name].to_pylist() for field in kept), strict=True)):
        rows_of.setdefault(values, []).append(row)
    finals, status = results.final(metric), members["status"].to_pylist()
    axes = {axis.field.name: axis for axis in _axes(domains, fields)}
    found = History([], [], 0)
    for values, rows in rows_of.items():
        given = {field.name: _restored(field, axes, value) for field, value in zip(kept, values, strict=True)}
        config = completed(fields, given)
        usual = completed(fields, {name: given[name] for name in axes if name in given})
        comparable = all(
            contains(axes[field.name], config[field.name])
            if field.name in axes
            else config[field.name] in (usual[field.name], as_text(usual[field.name]))
            for field in fields
            if exists(field, config)
        )
        if comparable and all(status[row] in ENDED or np.isfinite(finals[row]) for row in rows):
            found.points.append({name: config[name] for name in axes})
            found.scores.append(float(np.mean(finals[rows])))  # NaN if a member diverged
        else:
            found = found._replace(left_out=found.left_out + 1)
    return found


def _restored(field: Field, axes: Mapping[str, Axis], value: Any) -> Any:
    """A value from a table, which keeps as text what it has no type for."""
    return restored(value, axes[field.name].values or () if field.name in axes else ())


def _axes(domains: Mapping[str, Domain], fields: Sequence[Field]) -> tuple[Axis, ...]:
    known = reduced(fields, domains)
    return tuple(axis_of(known[name], domain) for name, domain in domains.items())


def _grid(axes: Sequence[Axis], start: int, count: int) -> list[Point]:
    levels = {axis.field.name: axis.values or () for axis in axes}
    swept = {field.name: field for field in outside_in(axis.field for axis in axes)}
    points = crossing(swept, levels, {}, 1)
    if start + count > len(points):
        before = f" after {start}" if start else ""
        raise StudyError(
            f"`at most {len(points)} points` must hold for the grid "
            f"{' x '.join(str(len(own)) for own in levels.values())}, but got {count} asked{before}"
        )
    columns = [points.spread(object_column(own), axis) for axis, own in enumerate(levels.values())]
    return _rows(axes, [column[start : start + count].tolist() for column in columns])


def _random_fractions(axes: Sequence[Axis], root_seed: int, start: int, end: int) -> np.ndarray:
    streams = [np.random.default_rng([root_seed, crc32(axis.field.name.encode())]) for axis in axes]
    return np.stack([stream.random(end)[start:] for stream in streams], axis=1)


def _sobol_fractions(axes: Sequence[Axis], root_seed: int, start: int, end: int) -> np.ndarray:
    from scipy.stats import qmc

    # Powers of two from the beginning: SciPy warns of other counts, and the first points are the same.
    sequence = qmc.Sobol(len(axes), scramble=True, rng=root_seed)
    return sequence.random_base2((end - 1).bit_length())[start:end]


def _rows(axes: Sequence[Axis], columns: Sequence[Sequence[Any]]) -> list[Point]:
    names = [axis.field.name for axis in axes]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _drawn(axes: Sequence[Axis], fractions: np.ndarray) -> list[Point]:
    return _rows(axes, [_values(axis, fractions[:, place]) for place, axis in enumerate(axes)])


def _values(axis: Axis, fraction: np.ndarray) -> list[Any]:
    if axis.values is None:
        return [check_value(axis.field, value) for value in quantile(axis.domain, fraction).tolist()]
    places = np.minimum((fraction * len(axis.values)).astype(int), len(axis.values) - 1)
    return [axis.values[place] for place in places.tolist()]
