"""Which members were asked for, and whether they are still the same when a run goes on."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sweeps.errors import StudyError
from sweeps.members.extension import as_extended, parts
from sweeps.members.population import Population, repeats
from sweeps.members.sampling import Sampling, count, counted, first_members, told_of_where
from sweeps.schedules import schedule
from sweeps.space.domains import text
from sweeps.store import manifest
from sweeps.trial import Study


class Request(NamedTuple):
    """Members that were asked for, and how.

    Attributes:
        study: the study.
        population: its members; of an adaptive search, those of the first batch.
        sampling: where points come from.
        schedule: which members go on; None lets all of them.
        record: what was asked for, as the manifest has it.
        keep_best: how many of the best members' final states are kept.
        checkpoint_minutes: how long to train between two checkpoints.
        storage: the URL of an Optuna storage that shows the run, or None; not written down, since it may hold
            a password.
        keep_states: whether the final states of all members are kept.
    """

    study: Study
    population: Population
    sampling: Sampling
    schedule: Any
    record: dict[str, Any]
    keep_best: int
    checkpoint_minutes: float | int
    storage: str | None = None
    keep_states: bool = False

    @property
    def members(self) -> int:
        """How many members the run will have in all."""
        return count(self.study, self.sampling, self.population)

    @property
    def ends(self) -> tuple[int, ...]:
        """The steps that members come to: the ends that the run had before it was given more, and its end."""
        earlier = {part.steps or self.study.steps for part in self.sampling.earlier}
        return tuple(sorted(earlier | {self.study.steps}))

    @property
    def configurations(self) -> int:
        """How many configurations a batch has, among which a schedule chooses."""
        return len(self.population) // repeats(self.study)

    @property
    def commits(self) -> float:
        """How often a chunk is committed, per as many steps of training as a whole run has."""
        return schedule.commits(
            self.schedule, self.study.steps, self.configurations, self.study.evaluation_steps
        )

    @property
    def member_steps(self) -> int:
        """How many steps all members are trained together, if none diverges."""
        if self.schedule is None:
            return self.members * self.study.steps
        each = repeats(self.study)
        points = self.members // each
        sizes = [self.configurations] * (points // self.configurations)
        sizes += [points % self.configurations] if points % self.configurations else []
        return sum(schedule.budget(self.schedule, self.study.steps, size, each) for size in sizes)


def make_request(
    study: Study,
    sampling: Sampling,
    thinning: Any = None,
    *,
    name: str,
    keep_best: int = 0,
    checkpoint_minutes: float | int = 2,
    keep_states: bool = False,
    recorded: Mapping[str, Any] | None = None,
) -> Request:
    """Finds the members of a run.

    Args:
        study: the study.
        sampling: where points come from.
        thinning: the schedule, or None.
        name: what the run is called.
        keep_best: how many of the best members' final states are kept.
        checkpoint_minutes: how long to train between two checkpoints.
        keep_states: whether the final states of all members are kept.
        recorded: the manifest of a run that was started earlier, which must have been asked for the same.

    Raises:
        StudyError: something asked for cannot be done, or is not what was asked for earlier.
    """
    sampling = counted(study, sampling)
    population = first_members(study, sampling)
    if population.folds is not None and isinstance(thinning, schedule.PBT):
        raise StudyError(
            "`no population-based training` must hold with folds, but got pbt, in which members take states "
            "that have learned from what they hold out; halving and hyperband compare configurations"
        )
    if thinning is not None:
        schedule.check(
            thinning,
            steps=study.steps,
            configurations=len(population) // repeats(study),
            swept=population.swept,
            evaluations=study.evaluation_steps,
            traced=[
                field.name for field in population.fields if field.traced and field.name in population.swept
            ],
        )
    record = described(
        study,
        population,
        name=name,
        samples=sampling.samples,
        root_seed=sampling.root_seed,
        members=count(study, sampling, population),
        search=sampling.search,
        points_per_batch=sampling.batch if sampling.adaptive else None,
        schedule=None if thinning is None else schedule.text(thinning),
    )
    if study.where is not None:
        record["where"] = told_of_where(study, sampling, population)
    if recorded is not None:
        refuse_changes(recorded, {"where": None} | record)
    found = Request(study, population, sampling, thinning, record, keep_best, checkpoint_minutes)
    return found._replace(keep_states=keep_states)


def request_again(
    recorded: Mapping[str, Any], study: Study, samples: int | None = None, root_seed: int | None = None
) -> Request:
    """The members of a run that was started earlier.

    Args:
        recorded: its manifest.
        study: the study; of a run that was extended, as it was at any time.
        samples: as it was started with; None takes that.
        root_seed: as it was started with; None takes that.

    Raises:
        StudyError: they are no longer the same.
    """
    sampling = Sampling(
        recorded["search"],
        recorded["samples"] if samples is None else samples,
        recorded["root_seed"] if root_seed is None else root_seed,
        recorded["points_per_batch"] or 1,  # nothing is recorded of a search that proposes all at once
        (recorded["history"]["points"], recorded["history"]["scores"]),
        parts(recorded),
    )
    return make_request(
        as_extended(recorded, study),
        sampling,
        None if recorded["schedule"] is None else schedule.parse(recorded["schedule"]),
        name=recorded["study"],
        keep_best=recorded["keep_best"],
        checkpoint_minutes=recorded["checkpoint_minutes"],
        keep_states=recorded.get("keep_states", False),
        recorded=recorded,
    )


def refuse_changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises a StudyError that shows the differences, if there are any.

    Args:
        recorded: the manifest that the run began with.
        now: what it would go on with.
    """
    before = {key: recorded.get(key, manifest.ABSENT.get(key)) for key in now}
    changes = manifest.differences(before, now)
    if changes:
        raise StudyError(
            f"`the study is the one that the run began with` must hold, but got {'; '.join(changes)}; go "
            f"back to it, or start a new run"
        )


def described(
    study: Study,
    population: Population,
    *,
    name: str,
    samples: int | None,
    root_seed: int,
    members: int,
    search: str = "grid",
    points_per_batch: int | None = None,
    schedule: str | None = None,
    points: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """What was asked for: two runs that agree in it have the same members.

    Args:
        study: the study.
        population: its members.
        name: what the run is called.
        samples: how many joint draws were asked for.
        root_seed: what all randomness derives from.
        members: how many members there will be.
        search: where points come from.
        points_per_batch: how many points an adaptive search proposes at once.
        schedule: which members go on, as text.
        points: the points of a run over some points, rather than over a space.
    """
    space = {field: text(domain) for field, domain in study.domains.items()}
    return {
        "study": name,
        "config": population.config.__name__,
        "fields": [field.name for field in population.fields],
        "swept": list(population.swept),
        "space": space if points is None else {"points": json.loads(json.dumps(points, default=str))},
        "steps": study.steps,
        "metric": study.metric,
        "mode": study.mode,
        "select": study.select,
        "batches": study.batches,
        "batch_size": study.trial.batch_size,
        "evaluation_steps": list(study.evaluation_steps),
        "samples": samples,
        "root_seed": root_seed,
        "search": search,
        "points_per_batch": points_per_batch,
        "schedule": schedule,
        "members": members,
        # Said only where there are folds: runs of earlier versions do not know of them.
        **({} if population.folds is None else {"folds": repeats(study, 1)}),
    }
