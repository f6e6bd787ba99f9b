"""Which members were asked for, and whether they are still the same when a run goes on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sweeps import manifest, schedule
from sweeps.population import Population, seeds_of
from sweeps.proposals import Sampling, count, counted, first_members
from sweeps.space import StudyError
from sweeps.trial import Study


class Request(NamedTuple):
    """Members that were asked for, and how.

    Attributes:
        study: the study.
        population: its members; of an adaptive search, those of the first batch.
        sampling: where points come from.
        schedule: which members go on; None lets all of them.
        asked: what was asked for, as the manifest has it.
        keep_best: how many of the best members' final states are kept.
        checkpoint_minutes: how long to train between two checkpoints.
        storage: the URL of an Optuna storage that shows the run, or None; not written down, since it may hold
            a password.
    """

    study: Study
    population: Population
    sampling: Sampling
    schedule: Any
    asked: dict[str, Any]
    keep_best: int
    checkpoint_minutes: float | int
    storage: str | None = None

    @property
    def members(self) -> int:
        """How many members the run will have in all."""
        return count(self.study, self.sampling, self.population)

    @property
    def configurations(self) -> int:
        """How many configurations a batch has, among which a schedule chooses."""
        return len(self.population) // len(seeds_of(self.study))

    @property
    def member_steps(self) -> int:
        """How many steps all members are trained together, if none diverges."""
        if self.schedule is None:
            return self.members * self.study.steps
        seeds = len(seeds_of(self.study))
        points = self.members // seeds
        sizes = [self.configurations] * (points // self.configurations)
        sizes += [points % self.configurations] if points % self.configurations else []
        return sum(schedule.budget(self.schedule, self.study.steps, size, seeds) for size in sizes)


def request(
    study: Study,
    sampling: Sampling,
    thinning: Any = None,
    *,
    name: str,
    keep_best: int = 0,
    checkpoint_minutes: float | int = 2,
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
        recorded: the manifest of a run that was started earlier, which must have been asked for the same.

    Raises:
        StudyError: something asked for cannot be done, or is not what was asked for earlier.
    """
    sampling = counted(study, sampling)
    population = first_members(study, sampling)
    if thinning is not None:
        schedule.check(
            thinning,
            steps=study.steps,
            configurations=len(population) // len(seeds_of(study)),
            swept=population.swept,
            traced=[
                field.name for field in population.fields if field.traced and field.name in population.swept
            ],
        )
    asked = manifest.asked(
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
    if recorded is not None:
        refuse_changes({key: recorded.get(key) for key in asked}, asked)
    return Request(study, population, sampling, thinning, asked, keep_best, checkpoint_minutes)


def request_again(
    recorded: Mapping[str, Any], study: Study, samples: int | None = None, root_seed: int | None = None
) -> Request:
    """The members of a run that was started earlier.

    Args:
        recorded: its manifest.
        study: the study.
        samples: as it was started with; None takes that.
        root_seed: as it was started with; None takes that.

    Raises:
        StudyError: they are no longer the same.
    """
    sampling = Sampling(
        recorded["search"],
        recorded["samples"] if samples is None else samples,
        recorded["root_seed"] if root_seed is None else root_seed,
        recorded["points_per_batch"],
        (recorded["history"]["points"], recorded["history"]["scores"]),
    )
    return request(
        study,
        sampling,
        None if recorded["schedule"] is None else schedule.parse(recorded["schedule"]),
        name=recorded["study"],
        keep_best=recorded["keep_best"],
        checkpoint_minutes=recorded["checkpoint_minutes"],
        recorded=recorded,
    )


def refuse_changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises a StudyError that shows the differences, if there are any.

    Args:
        recorded: what the run began with.
        now: what it would go on with.
    """
    changes = manifest.differences(recorded, now)
    if changes:
        raise StudyError(
            f"`the study is the one that the run began with` must hold, but got {'; '.join(changes)}; go "
            f"back to it, or start a new run"
        )
