"""Two runs, or two parts of one, compared at the configurations and seeds that both have."""

import math
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError
from sweeps.results.results import Results
from sweeps.space.values import as_text
from sweeps.statistics.comparisons import holm, paired_p_values, probability_of_improvement
from sweeps.statistics.intervals import Interval, inflation, student_interval
from sweeps.statistics.power import smallest_difference
from sweeps.trial import direction


class Difference(NamedTuple):
    """How much larger a metric is in the second than in the first, over seeds that both have.

    Attributes:
        config: the configuration, of the fields that both vary; empty for the mean over all of them.
        interval: of the mean difference, 95 %, for this configuration by itself.
        seeds: over how many seeds it is; with folds over how many folds, of each the mean over its seeds.
        p: of Student's paired test, two-sided.
        told: whether it is told from zero, with Holm's correction for all configurations with two seeds or
            more.
        smallest: the smallest true difference that so many seeds tell with a probability of 90 %, for this
            configuration by itself; NaN below two seeds.
        better: the share of seeds at which the second is better, ties counted half; NaN where nobody knows
            whether more is better or less.
    """

    config: dict[str, Any]
    interval: Interval
    seeds: int
    p: float
    told: bool
    smallest: float
    better: float


class Comparison(NamedTuple):
    """A comparison.

    Attributes:
        metric: what is compared, at the evaluation that members are scored by.
        mode: `max` or `min`, of this metric; None where neither a study nor its name says.
        common: the fields that tell configurations apart in both.
        differences: one per configuration that both have, in the first one's order.
        mean: over all of these, seed by seed; the configurations that a seed lacks in one of both left out.
        lost: how many pairs were left out, since one of them has no final value.
        first: the values that the first has and that do not vary there, by field, where they differ.
        second: the second's.
        over: what differences are over, `seed` or `fold`.
        extent: the least and the largest final value of the metric in either.
        select: which evaluation members of the first and of the second are scored by, `last` or `best`.
        steps: how many the members of the first and of the second are trained for.
    """

    metric: str
    mode: str | None
    common: tuple[str, ...]
    differences: list[Difference]
    mean: Difference
    lost: int
    first: dict[str, Any]
    second: dict[str, Any]
    over: str = "seed"
    extent: tuple[float, float] = (math.nan, math.nan)
    select: tuple[str, str] = ("last", "last")
    steps: tuple[int, int] = (0, 0)


def compare(first: Results, second: Results, metric: str | None = None) -> Comparison:
    """How a second run, or part of a run, differs from a first, configuration by configuration.

    Members of one configuration and one seed are a pair; with folds, those that hold out the same one, and
    intervals and tests are those of Nadeau and Bengio (2003) over folds. Fields that do not vary in either
    are no part of a configuration: `compare(results.filter(alpha=0.0), results.filter(alpha=0.1))` compares
    two slopes over all else that was swept.

    Args:
        first: a run, or what `filter` left of one.
        second: another.
        metric: what to compare; None takes the first one's.

    Raises:
        StudyError: the metric is not in both, they do not vary the same fields, or they have no configuration
            and seed in common.

    Example:
        >>> import sweeps
        >>> results = sweeps.load("runs/digits")  # doctest: +SKIP
        >>> sweeps.compare(results.filter(alpha=0.0), results.filter(alpha=0.1)).mean  # doctest: +SKIP
    """
    metric = first.check_metric(metric)
    second.check_metric(metric)
    constant = [_constants(each) for each in (first, second)]
    varying = [
        tuple(name for name in each.swept if name not in own)
        for each, own in zip((first, second), constant, strict=True)
    ]
    common = tuple(name for name in varying[0] if name in varying[1])
    _check_fields(varying, constant)
    _check_folds(first, second)
    tables = [_by_configuration(each, metric, common) for each in (first, second)]
    shared = [config for config in tables[0] if config in tables[1]]
    mode = _mode(first, second, metric)
    found, lost, columns = [], 0, []
    for config in shared:
        one, other = (table[config] for table in tables)
        keys = [key for key in one if key in other]
        pairs = np.array([(one[key], other[key]) for key in keys]).reshape(-1, 2)
        whole = np.asarray(np.isfinite(pairs).all(axis=1))
        lost += int((~whole).sum())
        columns.append(_by_draw([key for key, there in zip(keys, whole, strict=True) if there], pairs[whole]))
        own = np.array(list(columns[-1].values())).reshape(-1, 2)
        found.append(_difference(dict(zip(common, config, strict=True)), own, mode, first.overlap))
    if not any(columns):
        raise StudyError(
            "`a configuration and a seed that both trained to the end` must hold to compare, but got none "
            f"among {len(tables[0])} and {len(tables[1])} configurations"
        )
    found = _told(found)
    seeds = sorted({seed for column in columns for seed in column})
    means = [np.mean([column[seed] for column in columns if seed in column], axis=0) for seed in seeds]
    overall = _difference({}, np.array(means), mode, first.overlap)
    apart = [name for name in constant[0] if name in constant[1] and constant[0][name] != constant[1][name]]
    overall = overall._replace(told=overall.seeds > 1 and overall.p < 0.05)
    ours, theirs = ({name: own[name] for name in apart} for own in constant)
    drawn = "fold" if first.folds else "seed"
    values = np.concatenate([each.final(metric) for each in (first, second)])
    extent = float(np.nanmin(values)), float(np.nanmax(values))
    select = first.manifest.get("select", "last"), second.manifest.get("select", "last")
    steps = first.manifest["steps"], second.manifest["steps"]
    return Comparison(metric, mode, common, found, overall, lost, ours, theirs, drawn, extent, select, steps)


def _told(found: list[Difference]) -> list[Difference]:
    """Which are told from zero, corrected for those that there is a test of."""
    tested = np.array([each.seeds > 1 for each in found])
    told = np.zeros(len(found), dtype=bool)
    told[tested] = holm(np.array([each.p for each in found])[tested])
    return [each._replace(told=mark) for each, mark in zip(found, told.tolist(), strict=True)]


def _mode(first: Results, second: Results, metric: str) -> str | None:
    """Whether more of the metric is better: as studies that are about it say, or else its name."""
    said = {str(each.manifest["mode"]) for each in (first, second) if each.manifest["metric"] == metric}
    return said.pop() if len(said) == 1 else direction(metric)


def _constants(results: Results) -> dict[str, Any]:
    """The swept fields of which only one value is left, and that value."""
    columns = {name: results.members[name].unique().to_pylist() for name in results.swept}
    return {name: values[0] for name, values in columns.items() if len(values) == 1}


def _check_fields(varying: list[tuple[str, ...]], constant: list[dict[str, Any]]) -> None:
    for own, other, fixed in ((varying[0], varying[1], constant[1]), (varying[1], varying[0], constant[0])):
        alone = [name for name in own if name not in other]
        if alone:
            cure = f"filter({alone[0]}={fixed[alone[0]]!r})" if alone[0] in fixed else f"filter({alone[0]}=…)"
            raise StudyError(
                f"`both vary the same fields` must hold to compare, but got {alone[0]} in one of them alone; "
                f"choose one value of it: {cure}"
            )


def _check_folds(first: Results, second: Results) -> None:
    """Raises unless both were cut into the same folds, or neither into any."""
    cuts = [(each.folds, each.folds and each.manifest["digests"]["data"]) for each in (first, second)]
    if cuts[0] != cuts[1]:
        said = " and ".join(f"{count} folds" if count else "none" for count, _ in cuts)
        alike = ", of other data or another root seed" if first.folds == second.folds else ""
        raise StudyError(f"`both hold out the same folds` must hold to compare, but got {said}{alike}")


def _by_draw(keys: list[tuple[int, int]], pairs: np.ndarray) -> dict[int, np.ndarray]:
    """The pairs by seed, or the mean pair by fold, whose seeds are trained on the same examples."""
    found: dict[int, list[np.ndarray]] = {}
    for (draw, _), pair in zip(keys, pairs, strict=True):
        found.setdefault(draw, []).append(pair)
    return {draw: own[0] if len(own) == 1 else np.mean(own, axis=0) for draw, own in found.items()}


def _by_configuration(
    results: Results, metric: str, fields: tuple[str, ...]
) -> dict[tuple[Any, ...], dict[tuple[int, int], float]]:
    """The final metric by configuration, draw and seed; floats as they read, since levels are computed."""
    columns = [results.members[name].to_pylist() for name in fields]
    keys = zip(*([_level(value) for value in column] for column in columns), strict=True) if columns else None
    rows = list(keys) if keys is not None else [()] * len(results.members)
    found: dict[tuple[Any, ...], dict[tuple[int, int], float]] = {}
    seeds = results.members["seed"].to_pylist()
    draws = results.members["fold"].to_pylist() if results.folds else seeds
    for row, seed, draw, value in zip(rows, seeds, draws, results.final(metric).tolist(), strict=True):
        if (draw, seed) in found.setdefault(row, {}):
            same = ", ".join(f"{name}={as_text(level)}" for name, level in zip(fields, row, strict=True))
            raise StudyError(
                f"`one member per configuration and seed` must hold to compare, but got two of seed {seed} "
                f"with {same}"
            )
        found[row][draw, seed] = value
    return found


def _level(value: Any) -> Any:
    """A value by which levels are told apart: the second of linspace(0, 0.3, 4) is 0.1 but for a rounding."""
    return float(f"{value:.9g}") if isinstance(value, float) and math.isfinite(value) else value


def _difference(config: dict[str, Any], pairs: np.ndarray, mode: str | None, overlap: float) -> Difference:
    one, other = pairs[:, 0], pairs[:, 1]
    differences = other - one
    deviation = float(np.std(differences, ddof=1)) if len(pairs) > 1 else float("nan")
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    return Difference(
        config,
        student_interval(differences, overlap=overlap) if len(pairs) else nothing,
        len(pairs),
        float(paired_p_values(other, one[None], overlap)[0]),
        False,
        smallest_difference(deviation * float(inflation(len(pairs), overlap)), len(pairs)),
        probability_of_improvement(other, one, paired=True, mode=mode) if mode else float("nan"),
    )
