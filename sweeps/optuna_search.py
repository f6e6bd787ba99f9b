"""Points that Optuna's samplers propose, from a study rebuilt in memory for every batch."""

import contextlib
import importlib
import math
import statistics
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.axes import Axis, place_of
from sweeps.space import LogUniform, Normal, StudyError, Uniform

FURTHEST = 1e-12  # quantiles of a normal distribution are taken between this and 1 minus this
GOOD = 10  # TPE calls one in ten points good


class Told(NamedTuple):
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
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise StudyError(
            "`optuna is installed` must hold, but it is not: pip install 'lrelu-jax[optuna]'"
        ) from error
    if name == "gp":
        try:
            importlib.import_module("torch")
        except ImportError as error:
            raise StudyError(
                "`torch is installed` must hold for search='gp', but it is not: pip install torch; "
                "search='tpe' does without"
            ) from error
    return optuna


def propose(
    name: str, axes: Sequence[Axis], told: Told, *, root_seed: int, batch: int, count: int, mode: str
) -> list[dict[str, Any]]:
    """A batch of points.

    Args:
        name: `tpe` or `gp`.
        axes: the fields.
        told: all that is known.
        root_seed: what the draws depend on, besides the batch.
        batch: the number of the batch.
        count: how many points.
        mode: `max` or `min`.
    """
    optuna = load(name)
    seed = int(np.random.SeedSequence([root_seed, batch]).generate_state(1)[0])
    distributions = {axis.field.name: _distribution(optuna, axis) for axis in axes}
    with quiet(optuna), _one_thread(name):
        if name == "tpe":
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        else:
            sampler = optuna.samplers.GPSampler(seed=seed)
        study = optuna.create_study(sampler=sampler, direction="maximize" if mode == "max" else "minimize")
        study.add_trials(_trials(optuna, name, axes, distributions, told, mode))
        asked = [study.ask(distributions).params for _ in range(count)]
    return [{axis.field.name: _value(axis, params[axis.field.name]) for axis in axes} for params in asked]


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
    assert isinstance(axis.domain, Uniform | LogUniform)  # all others have values
    return kinds.FloatDistribution(*axis.domain, log=isinstance(axis.domain, LogUniform))


def _value(axis: Axis, suggested: Any) -> Any:
    values = axis.ordered or axis.values
    if values is not None:
        return values[suggested]
    if isinstance(axis.domain, Normal):
        return statistics.NormalDist(*axis.domain).inv_cdf(suggested)
    return float(suggested)


def _suggested(axis: Axis, value: Any) -> float | int:
    """What Optuna would have suggested to make this value."""
    if axis.values is not None:
        place = place_of(axis, value)
        assert place is not None  # the search refuses what is outside the space
        return place
    if isinstance(axis.domain, Normal):
        return min(max(statistics.NormalDist(*axis.domain).cdf(value), FURTHEST), 1 - FURTHEST)
    return float(value)


def _trials(
    optuna: Any, name: str, axes: Sequence[Axis], distributions: dict[str, Any], told: Told, mode: str
) -> list[Any]:
    """What was told, as Optuna's trials; no sampler ever sees a score that is not finite.

    TPE takes diverged points as pruned ones, which rank below all others, but never so many that one would be
    among the good tenth. The Gaussian process would ignore them and ask there again, so it is told the worst
    score that any point had. Before some point has a score, there is nothing to tell.
    """
    finite = [score for score in told.scores if math.isfinite(score)]
    if not finite:
        return []
    worst = min(finite) if mode == "max" else max(finite)
    diverged = [place for place, score in enumerate(told.scores) if not math.isfinite(score)]
    left_out = set(diverged[: -(GOOD - 1) * len(finite)]) if name == "tpe" else set()
    states = optuna.trial.TrialState
    trials = []
    for number, (point, score) in enumerate(zip(told.points, told.scores, strict=True)):
        if number in left_out:
            continue
        params = {axis.field.name: _suggested(axis, point[axis.field.name]) for axis in axes}
        pruned = name == "tpe" and not math.isfinite(score)
        trials.append(
            optuna.trial.create_trial(
                state=states.PRUNED if pruned else states.COMPLETE,
                params=params,
                distributions=distributions,
                value=None if pruned else score if math.isfinite(score) else worst,
            )
        )
    return trials
