"""A copy of a run in an Optuna storage, for optuna-dashboard and Optuna's analyses; never read back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweeps.axes import is_number
from sweeps.optuna_search import load, quiet
from sweeps.space import Choice, Domain, LogUniform, Normal, StudyError, Uniform, is_logarithmic, levels

NUMBER = "member"  # the user attribute that tells what is there already
WIDE = 8  # standard deviations that stand for the whole of a normal distribution
STATES = {"done": "COMPLETE", "stopped": "PRUNED", "diverged": "FAIL", "failed": "FAIL"}


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
    optuna = load()
    scores = np.asarray(scores, np.float64)
    states = states or ["done" if np.isfinite(score) else "diverged" for score in scores]
    curves = intermediate or [{}] * len(scores)
    direction = "maximize" if mode == "max" else "minimize"
    with quiet(optuna):
        try:
            study = optuna.create_study(
                storage=storage, study_name=study_name, direction=direction, load_if_exists=True
            )
        except Exception as error:  # every database has errors of its own
            raise StudyError(
                f"`storage is the URL of a database that can be opened` must hold, but got {storage!r} "
                f"({type(error).__name__}: {str(error).splitlines()[0]}); sqlite:///optuna.db is a file"
            ) from error
        if study.direction.name.lower() != direction:
            raise StudyError(
                f"`a study of mode {mode!r}` must hold in {storage}, but got {study_name!r}, which is to "
                f"{study.direction.name.lower()}; give it another name"
            )
        if not study.metric_names:
            study.set_metric_names([metric])
        there = {trial.user_attrs.get(NUMBER) for trial in study.get_trials(deepcopy=False)}
        distributions = {name: _distribution(optuna, domain) for name, domain in domains.items()}
        added = 0
        for place, (point, score, number) in enumerate(zip(points, scores, numbers, strict=True)):
            if states[place] not in STATES or int(number) in there:
                continue
            state = STATES[states[place]]
            if state == "COMPLETE" and not np.isfinite(score):
                state = "FAIL"  # Optuna takes no trial without a score for complete
            trial = optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                value=None if state == "FAIL" or not np.isfinite(score) else float(score),
                params={name: point[name] for name in distributions},
                distributions=distributions,
                user_attrs={NUMBER: int(number), "status": states[place]},
                intermediate_values={
                    int(step): float(value) for step, value in curves[place].items() if np.isfinite(value)
                },
            )
            try:
                study.add_trial(trial)
            except ValueError as error:
                raise StudyError(
                    f"`the study {study_name!r} in {storage} has this space` must hold, but got: {error}; "
                    f"give it another name"
                ) from error
            there.add(int(number))
            added += 1
    return added


def _distribution(optuna: Any, domain: Domain) -> Any:
    """Numbers as an axis of numbers, so that the dashboard draws them on one; the rest as categories."""
    kinds = optuna.distributions
    match domain:
        case Uniform() | LogUniform():
            return kinds.FloatDistribution(*domain, log=is_logarithmic(domain))
        case Normal(mean, std):
            return kinds.FloatDistribution(mean - WIDE * std, mean + WIDE * std)
    listed = domain.values if isinstance(domain, Choice) else levels(domain)
    numbers = [level for level in listed if is_number(level)]
    if isinstance(domain, Choice) or len(numbers) < len(listed):
        return kinds.CategoricalDistribution(listed)
    if all(isinstance(number, int) for number in numbers):
        return kinds.IntDistribution(min(numbers), max(numbers))
    return kinds.FloatDistribution(float(min(numbers)), float(max(numbers)), log=is_logarithmic(domain))
