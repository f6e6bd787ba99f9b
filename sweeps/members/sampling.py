"""The members that a search asks for, batch after batch."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError
from sweeps.members.counts import check_count, check_samples
from sweeps.members.extension import Part, arranged, with_space
from sweeps.members.leaving_out import allowed, digest_of, let_through, point_columns
from sweeps.members.population import Population, gather, populate, repeats, seeds_of
from sweeps.search import searches
from sweeps.search.branches import reduced
from sweeps.search.crossing import crossing
from sweeps.search.searches import ADAPTIVE, Search
from sweeps.space.checking import check_value
from sweeps.space.domains import is_sampled, level_column, listed_values
from sweeps.space.values import restored
from sweeps.store.scores import judged_by, scores
from sweeps.trial import Field, Study, fields

PROBES = 1024  # points drawn to tell one `where` from another


class Sampling(NamedTuple):
    """Where points come from.

    Attributes:
        search: the search's name.
        samples: how many points; with `grid`, how many joint draws of the sampled fields.
        root_seed: what the draws depend on.
        points_per_batch: how many points an adaptive search proposes at once.
        history: points, and their scores, that the search knows of.
        earlier: what the run was asked for before each of its extensions, whose members come first.
    """

    search: str
    samples: int | None
    root_seed: int
    points_per_batch: int = 32
    history: tuple[Sequence[Mapping[str, Any]], Sequence[float]] = ((), ())
    earlier: tuple[Part, ...] = ()

    @property
    def adaptive(self) -> bool:
        """Whether later points depend on what earlier ones scored."""
        return self.search in ADAPTIVE

    @property
    def batch(self) -> int:
        """How many points are proposed at once."""
        assert self.samples is not None  # a search has them
        return min(self.samples, self.points_per_batch) if self.adaptive else self.samples


def counted(study: Study, sampling: Sampling) -> Sampling:
    """The sampling with its number of points: as many as a grid has, if none was given and there is a grid.

    Args:
        study: the study.
        sampling: where points come from.
    """
    domains = study.swept
    if sampling.search == "grid" or sampling.samples is not None or any(map(is_sampled, domains.values())):
        return sampling
    levels = {name: level_column(domain) for name, domain in domains.items()}
    return sampling._replace(
        samples=len(crossing(reduced(fields(study.trial.config), domains), levels, {}, 1))
    )


def first_members(study: Study, sampling: Sampling) -> Population:
    """The members that are known before training: all of them, or the first batch of an adaptive search.

    Args:
        study: the study.
        sampling: where points come from.

    Raises:
        StudyError: there is no such search, `samples` is missing, or a value is refused.
    """
    members = _members(study, sampling)
    if sampling.adaptive or not sampling.earlier:
        return members
    before = [
        _members(with_space(study, part.space), sampling._replace(samples=part.samples))
        for part in sampling.earlier
    ]
    return arranged(members, before)


def _members(study: Study, sampling: Sampling) -> Population:
    """The members of one space, as if nothing had been before."""
    name, samples = sampling.search, sampling.samples
    searches.check(name)
    if name == "grid":
        return populate(study, samples, sampling.root_seed)
    if samples is None:
        raise StudyError(
            f"`samples` must be given to the search {name} where a field is drawn, but got none; samples=64 "
            f"tries 64 points (--samples 64)"
        )
    check_samples(samples)
    check_count(study, {"samples": samples})
    points = _maker(study, sampling).ask(sampling.batch)
    if not sampling.adaptive:
        kept = let_through(study, point_columns(points), len(points))
        points = [point for point, there in zip(points, kept, strict=True) if there]
    return gather(study, points, seeds_of(study), sampling.root_seed)


def told_of_where(study: Study, sampling: Sampling, population: Population) -> str:
    """What a manifest says of the points that `where` lets through, so that another one is noticed.

    Args:
        study: the study.
        sampling: where points come from.
        population: the first members.
    """
    if not sampling.adaptive:
        swept = {name: population.columns[name] for name in population.swept if name in population.columns}
        return f"{len(population)} members, {digest_of(swept)}"
    points = _maker(study, sampling._replace(search="random", history=((), ()))).ask(PROBES)
    kept = [point for point, there in zip(points, allowed(study, points), strict=True) if there]
    digest = digest_of(point_columns(kept)) if kept else "none"
    return f"{len(kept)} of {PROBES} points, {digest}"


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
    if not sampling.adaptive or sampling.samples is None:
        ends = [*(part.members for part in sampling.earlier), len(population)]
        for start, stop in zip([0, *ends], ends, strict=False):  # each part is cut into chunks by itself
            if start < stop:
                yield population, np.arange(start, stop)
        return
    yield population, np.arange(len(population))
    ends = [*(part.samples or 0 for part in sampling.earlier), sampling.samples]
    each, maker = repeats(study), _maker(study, sampling)
    points = maker.ask(sampling.batch)
    members = np.arange(len(population))
    while len(points) < sampling.samples:
        told = scores(directory, members, judged_by(study)).reshape(-1, each)
        # A point whose members diverged, some or all, is told as one that failed.
        maker.tell(points[-len(told) :], told.mean(axis=1).tolist())
        end = next(end for end in ends if end > len(points))  # where there was an end once, a batch ends
        points += maker.ask(min(sampling.batch, end - len(points)))
        members = np.arange(members[-1] + 1, len(points) * each)
        yield gather(study, points, seeds_of(study), sampling.root_seed), members


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
        return sampling.samples * repeats(study)
    return len(population)


def earlier_points(study: Study, results: Any) -> tuple[list[dict[str, Any]], list[float]]:
    """The points of an earlier run, and what they scored in the study's metric, for a search to begin with.

    Args:
        study: the study.
        results: the earlier run's `Results`; None is no run.

    Raises:
        StudyError: that run did not report the study's metric, or no point of it lies in the study's space.
    """
    if results is None:
        return [], []
    domains = study.swept
    if study.metric not in results.metric_names:
        raise StudyError(
            f"`the earlier run reports {study.metric}` must hold, but got {', '.join(results.metric_names)}"
        )
    found = searches.history(results, domains, fields(study.trial.config), study.metric)
    if not found.points:
        raise StudyError(
            f"`a point of the earlier run lies in the space` must hold, but got none of its {found.left_out}"
        )
    return found.points, found.scores


def _maker(study: Study, sampling: Sampling) -> Search:
    known = fields(study.trial.config)
    made = searches.make(
        sampling.search, study.swept, known, root_seed=sampling.root_seed, mode=study.mode,
        allowed=lambda point: allowed(study, [point])[0],
    )  # fmt: skip
    points, scores = sampling.history
    if points:

        def known_value(field: Field, value: Any) -> Any:
            if value is None and field.branches:
                return None
            return check_value(field, restored(value, listed_values(study.swept[field.name])))

        swept = [field for field in known if field.name in study.swept]
        told = [{field.name: known_value(field, point[field.name]) for field in swept} for point in points]
        made.tell(told, scores)
    return made
