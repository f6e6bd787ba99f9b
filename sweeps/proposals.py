"""The members that a search asks for, batch after batch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sweeps import search, store
from sweeps.population import Population, gather, populate, seeds_of
from sweeps.search import ADAPTIVE, Search
from sweeps.space import StudyError, is_sampled, size
from sweeps.trial import Study, fields

POINTS_PER_BATCH = 32  # of an adaptive search


class Sampling(NamedTuple):
    """Where points come from.

    Attributes:
        search: the search's name.
        samples: how many points; with `grid`, how many joint draws of the sampled fields.
        root_seed: what the draws depend on.
        points_per_batch: how many points an adaptive search proposes at once; None takes 32.
        history: points, and their scores, that the search knows of.
    """

    search: str
    samples: int | None
    root_seed: int
    points_per_batch: int | None = None
    history: tuple[Sequence[Mapping[str, Any]], Sequence[float]] = ((), ())

    @property
    def adaptive(self) -> bool:
        """Whether later points depend on what earlier ones scored."""
        return self.search in ADAPTIVE

    @property
    def batch(self) -> int:
        """How many points are proposed at once."""
        assert self.samples is not None  # a search has them
        return min(self.samples, self.points_per_batch or POINTS_PER_BATCH) if self.adaptive else self.samples


def counted(study: Study, sampling: Sampling) -> Sampling:
    """The sampling with its number of points: as many as a grid has, if none was given and there is a grid.

    Args:
        study: the study.
        sampling: where points come from.
    """
    domains = [domain for name, domain in study.domains.items() if name != "seed"]
    if sampling.search == "grid" or sampling.samples is not None or any(map(is_sampled, domains)):
        return sampling
    return sampling._replace(samples=math.prod(map(size, domains)))


def first_members(study: Study, sampling: Sampling) -> Population:
    """The members that are known before training: all of them, or the first batch of an adaptive search.

    Args:
        study: the study.
        sampling: where points come from.

    Raises:
        StudyError: there is no such search, `samples` is missing, or a value is refused.
    """
    name, samples = sampling.search, sampling.samples
    search.check(name)
    if sampling.points_per_batch is not None and (not sampling.adaptive or sampling.points_per_batch < 1):
        raise StudyError(
            f"`1 <= points_per_batch` must hold, and the search be one of {', '.join(ADAPTIVE)}, but got "
            f"{sampling.points_per_batch} and {name}"
        )
    if name == "grid":
        return populate(study, samples, sampling.root_seed)
    if samples is None:
        raise StudyError(
            f"`samples` must be given to the search {name} where a field is drawn, but got none; samples=64 "
            f"tries 64 points (--samples 64)"
        )
    if not isinstance(samples, int) or samples < 1:
        raise StudyError(f"`1 <= samples` must hold and be a whole number, but got samples={samples!r}")
    return gather(study, _maker(study, sampling).ask(sampling.batch), seeds_of(study))


def batches(
    study: Study, sampling: Sampling, population: Population, directory: Path
) -> Iterator[tuple[Population, np.ndarray]]:
    """The members of a run, a batch at a time, with all members so far.

    A batch must be trained before the next is asked for: an adaptive search learns from what is committed.

    Args:
        study: the study.
        sampling: where points come from.
        population: the first members.
        directory: the run directory.
    """
    yield population, np.arange(len(population))
    if not sampling.adaptive or sampling.samples is None:
        return
    seeds, maker = seeds_of(study), _maker(study, sampling)
    points = maker.ask(sampling.batch)
    members = np.arange(len(population))
    while len(points) < sampling.samples:
        scores = store.scores(directory, members, study.metric).reshape(-1, len(seeds))
        # A point whose seeds diverged, some or all, is told as one that failed.
        maker.tell(points[-len(scores) :], scores.mean(axis=1).tolist())
        points += maker.ask(min(sampling.batch, sampling.samples - len(points)))
        members = np.arange(members[-1] + 1, len(points) * len(seeds))
        yield gather(study, points, seeds), members


def all_members(study: Study, sampling: Sampling, population: Population, directory: Path) -> Population:
    """The members of a run that is finished.

    Args:
        study: the study.
        sampling: where points come from.
        population: the first members.
        directory: the run directory.
    """
    *_, (grown, _) = batches(study, sampling, population, directory)
    return grown


def count(study: Study, sampling: Sampling, population: Population) -> int:
    """How many members a run will have in all.

    Args:
        study: the study.
        sampling: where points come from.
        population: the first members.
    """
    if sampling.adaptive and sampling.samples is not None:
        return sampling.samples * len(seeds_of(study))
    return len(population)


def earlier_points(study: Study, name: str, results: Any) -> tuple[list[dict[str, Any]], list[float]]:
    """The points of an earlier run, and their scores, for a search to begin with.

    Args:
        study: the study.
        name: the search.
        results: the earlier run's `Results`; None is no run.

    Raises:
        StudyError: the search does not learn, or no point of that run lies in the study's space.
    """
    if results is None:
        return [], []
    if name not in ADAPTIVE:
        raise StudyError(
            f"`warm_start` must only be given to a search that learns ({', '.join(ADAPTIVE)}), but got {name}"
        )
    domains = {field: domain for field, domain in study.domains.items() if field != "seed"}
    found = search.history(results, domains, fields(study.trial.config))
    if not found.points:
        raise StudyError(
            f"`a point of the earlier run lies in the space` must hold, but got none of its {found.left_out}"
        )
    return found.points, found.scores


def _maker(study: Study, sampling: Sampling) -> Search:
    domains = {field: domain for field, domain in study.domains.items() if field != "seed"}
    known = [field for field in fields(study.trial.config) if field.name in domains]
    made = search.make(sampling.search, domains, known, root_seed=sampling.root_seed, mode=study.mode)
    if sampling.history[0]:
        made.tell(*sampling.history)
    return made
