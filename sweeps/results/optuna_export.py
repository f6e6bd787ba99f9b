"""A copy of a run in an Optuna storage, for optuna-dashboard and Optuna's analyses; never read back."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.errors import StudyError
from sweeps.results.scoring import keeps_scores
from sweeps.results.storage import connected, database, masked
from sweeps.space.domains import (
    WIDE,
    Choice,
    Domain,
    LogUniform,
    Normal,
    Uniform,
    is_logarithmic,
    is_number,
    possible_values,
)
from sweeps.space.grammar import as_domain
from sweeps.space.values import stored
from sweeps.space.whole import IntLogUniform, IntUniform
from sweeps.store.manifest import lengths
from sweeps.store.statuses import Status

NUMBER = "member"  # the user attribute that tells what is there already
STATES: dict[str, str] = {
    Status.DONE: "COMPLETE",
    Status.STOPPED: "PRUNED",
    Status.DIVERGED: "FAIL",
    Status.FAILED: "FAIL",
}


def mirror(
    points: Sequence[Mapping[str, Any]],
    scores: Sequence[float | int] | np.ndarray,
    *,
    domains: Mapping[str, Domain],
    mode: str,
    metric: str,
    study_name: str,
    storage: str,
    numbers: Sequence[int] | np.ndarray,
    states: Sequence[str] | None = None,
    intermediate: Sequence[Mapping[int, float]] | None = None,
) -> int:
    """Adds finished points to a study in an Optuna storage; what is there already is left alone.

    Args:
        points: the swept fields' values.
        scores: the metric of each, NaN where there is none.
        domains: the domain of every field.
        mode: `max` or `min`.
        metric: the metric's name, which the dashboard shows.
        study_name: the name of Optuna's study, made if it is not there.
        storage: the storage's URL, such as `sqlite:///runs/digits/optuna.db`.
        numbers: what each is known by, such as the member's id; a number that was mirrored is skipped.
        states: the status of each, of `done`, `stopped`, `diverged`, `failed`; others have not finished and
            are left for the next time. None says `done` where there is a score, otherwise `diverged`.
        intermediate: per point the metric by step.

    Returns:
        How many were added.

    Raises:
        StudyError: Optuna is not installed, the storage cannot be opened, or it holds a study of that name
            with another mode or space.
    """
    states = states or [Status.DONE if np.isfinite(score) else Status.DIVERGED for score in scores]
    curves = intermediate or [{}] * len(scores)
    ended = [place for place, state in enumerate(states) if state in STATES]
    with connected(storage) as opened:
        study = _study(opened, study_name, mode, metric, storage)
        with database(storage, "written") as optuna:
            there = {trial.user_attrs.get(NUMBER) for trial in study.get_trials(deepcopy=False)}
            distributions = {name: _distribution(optuna, domain) for name, domain in domains.items()}
            first = {int(numbers[place]): place for place in reversed(ended)}
            new = sorted(place for number, place in first.items() if number not in there)
            for place in new:
                trial = _trial(
                    optuna, points[place], float(scores[place]), distributions, int(numbers[place]),
                    states[place], curves[place],
                )  # fmt: skip
                try:
                    study.add_trial(trial)
                except ValueError as error:
                    raise StudyError(
                        f"`the study {study_name!r} in {masked(storage)} has this space` must hold, but got: "
                        f"{masked(storage, str(error))}; give it another name"
                    ) from None
    return len(new)


def _study(opened: Any, name: str, mode: str, metric: str, storage: str) -> Any:
    """Optuna's study of that name, made if it is not there."""
    direction = "maximize" if mode == "max" else "minimize"
    with database(storage, "opened") as optuna:
        study = optuna.create_study(storage=opened, study_name=name, direction=direction, load_if_exists=True)
        if study.direction.name.lower() != direction:
            raise StudyError(
                f"`a study of mode {mode!r}` must hold in {masked(storage)}, but got {name!r}, which "
                f"is to {study.direction.name.lower()}; give it another name"
            )
        if not study.metric_names:
            study.set_metric_names([metric])
    return study


def _trial(
    optuna: Any,
    point: Mapping[str, Any],
    score: float,
    distributions: Mapping[str, Any],
    number: int,
    status: str,
    curve: Mapping[int, float],
) -> Any:
    """A member as Optuna has it, which takes no trial without a score for complete."""
    there = {  # a field that the member's class has not is none of Optuna's parameters either
        name: distribution
        for name, distribution in distributions.items()
        if point[name] is not None or None in getattr(distribution, "choices", ())
    }
    state = "FAIL" if STATES[status] == "COMPLETE" and not np.isfinite(score) else STATES[status]
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[state],
        value=None if state == "FAIL" or not np.isfinite(score) else score,
        params={name: point[name] for name in there},
        distributions=there,
        user_attrs={NUMBER: number, "status": status},
        intermediate_values={int(step): float(value) for step, value in curve.items() if np.isfinite(value)},
    )


def _distribution(optuna: Any, domain: Domain) -> Any:
    """Numbers as an axis of numbers, so that the dashboard draws them on one; the rest as categories."""
    kinds = optuna.distributions
    match domain:
        case Uniform() | LogUniform():
            return kinds.FloatDistribution(*domain, log=is_logarithmic(domain))
        case IntUniform() | IntLogUniform():
            return kinds.IntDistribution(*domain, log=is_logarithmic(domain))
        case Normal(mean, std):
            return kinds.FloatDistribution(mean - WIDE * std, mean + WIDE * std)
    listed = possible_values(domain) or ()
    numbers = [level for level in listed if is_number(level) and math.isfinite(level)]
    if isinstance(domain, Choice) or len(numbers) < len(listed):
        return kinds.CategoricalDistribution([stored(value) for value in listed])
    if all(isinstance(number, int) for number in numbers):
        return kinds.IntDistribution(min(numbers), max(numbers))
    return kinds.FloatDistribution(float(min(numbers)), float(max(numbers)), log=is_logarithmic(domain))


def _score(curve: Mapping[int, float], mode: str, select: str) -> float:
    """The last value of a curve, or its best finite one."""
    values = [value for _, value in sorted(curve.items())]
    if select == "best":
        values = sorted(filter(math.isfinite, values), reverse=mode == "min")
    return values[-1] if values else math.nan


def show(members: pa.Table, metrics: pa.Table, manifest: Mapping[str, Any], storage: str) -> int:
    """Adds members to the study in an Optuna storage; those that are there, or still run, are left out.

    Args:
        members: rows of members.
        metrics: their rows of metrics.
        manifest: what the run is.
        storage: the storage's URL, such as `sqlite:///runs/mine/optuna.db`.

    Returns:
        How many were added.

    Raises:
        StudyError: Optuna is not installed, the storage cannot be opened, or it holds another study of that
            name.
    """
    metric, mode, select = manifest["metric"], manifest["mode"], manifest.get("select", "last")
    name = manifest["study"]
    if len(lengths(manifest)) > 1:  # what Optuna was told once stays, so more steps are another study there
        name += f", {manifest['steps']} steps"
    curves: dict[int, dict[int, float]] = {member: {} for member in members["member"].to_pylist()}
    columns = (metrics[name].to_pylist() for name in ("member", "step", metric))
    for member, step, value in zip(*columns, strict=True):
        if value is not None and member in curves:
            curves[member][step] = value
    swept, scored = manifest["swept"], [Status.DONE, *[Status.STOPPED] * keeps_scores(manifest)]
    # What has a score is complete for Optuna, whoever ended it.
    states = [Status.DONE if each in scored else each for each in members["status"].to_pylist()]
    return mirror(
        members.select(swept).to_pylist(),
        np.asarray(
            [
                _score(curve, mode, select) if state == Status.DONE else np.nan
                for curve, state in zip(curves.values(), states, strict=True)
            ]
        ),
        domains={name: as_domain(text, name) for name, text in manifest["space"].items() if name in swept},
        mode=mode,
        metric=metric,
        study_name=name,
        storage=storage,
        numbers=members["member"].to_numpy(),
        states=states,
        intermediate=list(curves.values()),
    )
