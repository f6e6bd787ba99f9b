"""Which members were asked for, and whether they are still the same when a run goes on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sweeps import manifest
from sweeps.population import Population, populate
from sweeps.space import StudyError
from sweeps.trial import Study


class Request(NamedTuple):
    """Members that were asked for, and how.

    Attributes:
        study: the study.
        population: its members.
        asked: what was asked for, as the manifest has it.
        root_seed: what all randomness derives from.
        keep_best: how many of the best members' final states are kept.
        checkpoint_minutes: how long to train between two checkpoints.
    """

    study: Study
    population: Population
    asked: dict[str, Any]
    root_seed: int
    keep_best: int
    checkpoint_minutes: float | int


def request(recorded: dict[str, Any], study: Study, samples: int | None, root_seed: int) -> Request:
    """The members of a run that was started earlier.

    Args:
        recorded: the manifest.
        study: the study.
        samples: how many joint draws.
        root_seed: what all randomness derives from.

    Raises:
        StudyError: they are no longer the same.
    """
    population = populate(study, samples, root_seed)
    asked = manifest.asked(study, population, name=recorded["study"], samples=samples, root_seed=root_seed)
    refuse_changes({key: recorded[key] for key in asked}, asked)
    return Request(study, population, asked, root_seed, recorded["keep_best"], recorded["checkpoint_minutes"])


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
