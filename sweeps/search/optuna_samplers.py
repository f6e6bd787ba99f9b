"""Points that Optuna's samplers propose, from a study rebuilt in memory for every batch."""

import contextlib
import importlib
import math
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError, imported
from sweeps.search.axes import Axis, place_of
from sweeps.search.branches import exists, outside_in
from sweeps.space.checking import check_value
from sweeps.space.domains import Normal, is_logarithmic
from sweeps.space.whole import IntLogUniform, IntUniform

FURTHEST = 1e-12  # quantiles of a normal distribution are taken between this and 1 minus this
PROPOSALS, ATTEMPTS = 10, 1000  # how many proposals may be refused before points are drawn, and in all
GOOD = 10  # TPE calls one in ten points good


class Observations(NamedTuple):
    """Points and their scores, NaN for one that diverged."""

    points: tuple[dict[str, Any], ...]
    scores: tuple[float, ...]


def load(name: str = "tpe") -> Any:
    """Optuna, imported when it is needed.

    Args:
        name: what needs it; `gp` needs PyTorch too.

    Raises:
        StudyError: a package is not installed.
    """
    optuna = imported("optuna", "'lrelu-jax[optuna]'")
    if name == "gp":
        imported("torch", "torch; search='tpe' does without", " for search='gp'")
    return optuna


def propose(
    name: str,
    axes: Sequence[Axis],
    observations: Observations,
    allowed: Callable[[dict[str, Any]], bool],
    *,
    root_seed: int,
    batch: int,
    count: int,
    mode: str,
) -> list[dict[str, Any]]:
    """A batch of points.

    Args:
        name: `tpe` or `gp`.
        axes: the fields.
        observations: all that is known.
        allowed: whether there is such a point. One that is not counts as one without a score until the next
            batch, and another is proposed; in the end one that is drawn at random.
        root_seed: what the draws depend on, besides the batch.
        batch: the number of the batch.
        count: how many points.
        mode: `max` or `min`.

    Raises:
        StudyError: no point that is allowed was found.
    """
    optuna = load(name)
    seed, other = np.random.SeedSequence([root_seed, batch]).generate_state(2).tolist()
    distributions = {axis.field.name: _distribution(optuna, axis) for axis in axes}
    with quiet(optuna), _one_thread(name):
        samplers = _sampler(optuna, name, seed, axes), optuna.samplers.RandomSampler(seed=other)
        study = optuna.create_study(direction="maximize" if mode == "max" else "minimize")
        study.add_trials(_trials(optuna, name, axes, distributions, observations, mode))
        return [_allowed(study, samplers, axes, distributions, allowed) for _ in range(count)]


def _sampler(optuna: Any, name: str, seed: int, axes: Sequence[Axis]) -> Any:
    if name != "tpe":
        return optuna.samplers.GPSampler(seed=seed)
    apart = {"group": True} if _some_have(axes) else {}
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, **apart)


def _some_have(axes: Sequence[Axis]) -> bool:
    """Whether there are fields that only some points have."""
    return any(axis.field.branches for axis in axes)


def _allowed(
    study: Any,
    samplers: tuple[Any, Any],
    axes: Sequence[Axis],
    distributions: dict[str, Any],
    allowed: Callable[[dict[str, Any]], bool],
) -> dict[str, Any]:
    """The first point that there is among those proposed, and then among those that are drawn."""
    for attempt in range(ATTEMPTS):
        study.sampler = samplers[attempt >= PROPOSALS]
        if _some_have(axes):
            point = _defined_by_run(study.ask(), axes, distributions)
        else:
            params = study.ask(distributions).params
            point = {axis.field.name: _value(axis, params[axis.field.name]) for axis in axes}
        if allowed(point):
            return point
    raise StudyError(
        f"`where lets some point through` must hold, but it leaves out {ATTEMPTS} that were tried"
    )


def _defined_by_run(trial: Any, axes: Sequence[Axis], distributions: dict[str, Any]) -> dict[str, Any]:
    """A point for which the sampler is asked only for what the choices before have made a field."""
    by_name, found = {axis.field.name: axis for axis in axes}, {}
    for field in outside_in(axis.field for axis in axes):
        if not exists(field, found):
            found[field.name] = None
            continue
        own = distributions[field.name]
        if hasattr(own, "choices"):
            suggested = trial.suggest_categorical(field.name, own.choices)
        else:
            suggest = trial.suggest_int if isinstance(own.low, int) else trial.suggest_float
            suggested = suggest(field.name, own.low, own.high, log=own.log)
        found[field.name] = _value(by_name[field.name], suggested)
    return {name: found[name] for name in by_name}


@contextlib.contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Keeps Optuna from reporting every study that is made, and from warning of what it calls experimental.

    Args:
        optuna: the package.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            # The multivariate and batched TPE and the Gaussian process were experimental before Optuna 5.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextlib.contextmanager
def _one_thread(name: str) -> Iterator[None]:
    """One thread for the Gaussian process: its matrices are small, and two took five times as long."""
    if name != "gp":
        yield
        return
    torch = importlib.import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _distribution(optuna: Any, axis: Axis) -> Any:
    """Levels are places in order, choices places without one, a normal distribution its quantiles."""
    kinds = optuna.distributions
    if axis.ordered is not None:
        return kinds.IntDistribution(0, len(axis.ordered) - 1)
    if axis.values is not None:
        return kinds.CategoricalDistribution(tuple(range(len(axis.values))))
    if isinstance(axis.domain, Normal):
        return kinds.FloatDistribution(FURTHEST, 1 - FURTHEST)
    whole = isinstance(axis.domain, IntUniform | IntLogUniform)
    kind = kinds.IntDistribution if whole else kinds.FloatDistribution
    return kind(*axis.domain, log=is_logarithmic(axis.domain))


def _value(axis: Axis, suggested: Any) -> Any:
    values = axis.ordered or axis.values
    if values is not None:
        return values[suggested]
    if isinstance(axis.domain, Normal):
        return statistics.NormalDist(*axis.domain).inv_cdf(suggested)
    return check_value(axis.field, suggested)


def _suggested(axis: Axis, value: Any) -> float | int:
    """What Optuna would have suggested to make this value."""
    if axis.values is not None:
        place = place_of(axis, value)
        assert place is not None  # the search refuses what is outside the space
        return place
    if isinstance(axis.domain, Normal):
        return min(max(statistics.NormalDist(*axis.domain).cdf(value), FURTHEST), 1 - FURTHEST)
    return int(value) if isinstance(axis.domain, IntUniform | IntLogUniform) else float(value)


def _trials(
    optuna: Any,
    name: str,
    axes: Sequence[Axis],
    distributions: dict[str, Any],
    observations: Observations,
    mode: str,
) -> list[Any]:
    """What is known, as Optuna's trials; no sampler ever sees a score that is not finite.

    TPE takes diverged points as pruned ones, which rank below all others, but never so many that one would be
    among the good tenth. The Gaussian process would ignore them and ask there again, so it is told the worst
    score that any point had. Before some point has a score, there is nothing to tell.
    """
    finite = [score for score in observations.scores if math.isfinite(score)]
    if not finite:
        return []
    worst = min(finite) if mode == "max" else max(finite)
    diverged = [place for place, score in enumerate(observations.scores) if not math.isfinite(score)]
    left_out = set(diverged[: -(GOOD - 1) * len(finite)]) if name == "tpe" else set()
    states = optuna.trial.TrialState
    trials = []
    for number, (point, score) in enumerate(zip(observations.points, observations.scores, strict=True)):
        if number in left_out:
            continue
        there = [axis for axis in axes if exists(axis.field, point)]
        params = {axis.field.name: _suggested(axis, point[axis.field.name]) for axis in there}
        pruned = name == "tpe" and not math.isfinite(score)
        trials.append(
            optuna.trial.create_trial(
                state=states.PRUNED if pruned else states.COMPLETE,
                params=params,
                distributions={name: distributions[name] for name in params},
                value=None if pruned else score if math.isfinite(score) else worst,
            )
        )
    return trials
