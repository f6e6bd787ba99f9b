"""A study, checked, measured and cut into chunks, with nothing trained."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sweeps.data.streams import check_stream, is_stream, peekable
from sweeps.engine import autotune
from sweeps.engine import chunks as planning
from sweeps.engine import program as execute
from sweeps.engine.autotune import Choice
from sweeps.engine.bench import Bench, place
from sweeps.engine.chunks import Chunk
from sweeps.engine.examples import check_data, data_digest
from sweeps.engine.failure import Failure, check_group, describe
from sweeps.engine.noticing import Notice, noticing
from sweeps.engine.tracing import where
from sweeps.errors import StudyError
from sweeps.members.folds import training_size
from sweeps.members.population import Population, pinned
from sweeps.store import manifest
from sweeps.trial import Study

CHECKED_GROUPS = 8  # whose functions are checked before anything is compiled; others, when they are reached


class Examined(NamedTuple):
    """A study that can be run, as far as tracing it tells.

    Attributes:
        study: the study, its trial with the fields that are static because the model asks for their values.
        population: its members.
        digests: of the data and of the groups' programs, by which a study that was changed is noticed; None
            for a group that cannot be built.
        failures: the static groups that cannot be built, as far as they were checked, and why.
        group: the largest of those that can, which stands for all.
    """

    study: Study
    population: Population
    digests: dict[str, Any]
    failures: Mapping[int, Failure]
    group: int


class Prepared(NamedTuple):
    """A study that is checked and planned, with nothing trained.

    Attributes:
        study: the study.
        population: its members.
        bench: the devices, and what all members share on them.
        choice: the width and loop that were chosen.
        most: the members per chunk that the plan was cut to.
        chunks: the plan.
        failures: the static groups that cannot be built, and why.
        notice: looks at a static group before it is trained.
    """

    study: Study
    population: Population
    bench: Bench
    choice: Choice
    most: int
    chunks: list[Chunk]
    failures: Mapping[int, Failure]
    notice: Notice


class Began(NamedTuple):
    """What a run that goes on was planned with.

    Attributes:
        devices: how many devices shared a chunk.
        most: the most members of a chunk.
        loop: the loop.
    """

    devices: int
    most: int
    loop: str


class Plan(NamedTuple):
    """How members are cut into chunks, wherever these are trained.

    Attributes:
        population: the members.
        devices: how many devices share a chunk.
        most: the most members of a chunk.
        setting: the numerical setting.
        failures: the static groups that cannot be built, and why.
    """

    population: Population
    devices: int
    most: int
    setting: dict[str, Any]
    failures: Mapping[int, Failure]


def examine(study: Study, population: Population, most: int = CHECKED_GROUPS) -> Examined:
    """Checks a study by tracing it, before anything is compiled or written.

    Args:
        study: the study.
        population: its members.
        most: how many static groups are checked; more until there is one that can be built.

    Raises:
        StudyError: no group can be built: a function of the trial cannot be used, or the metric is not among
            those it reports.
    """
    check_data(study, population.membership)
    data = study.trial.data
    if data is not None and (train := peekable(data.train)) is not data.train:
        # Checking and planning look at a batch; one that can be read only once must not be lost to that.
        trial = study.trial._replace(data=data._replace(train=train))
        study = dataclasses.replace(study, trial=trial)
    if population.membership is not None and study.trial.batch_size is None:
        # As much as every fold leaves, so that all members share a program: each step is an epoch.
        trial = study.trial._replace(batch_size=training_size(population.membership))
        study = dataclasses.replace(study, trial=trial)
    looked = _look(study, population, most)
    if looked.static:  # the same fields in every group
        kept = tuple(field.name for field in population.fields if field.name in looked.static)
        study = dataclasses.replace(study, trial=study.trial._replace(static=(*study.trial.static, *kept)))
        population = pinned(population, kept)
        looked = _look(study, population, most)
    sizes = np.bincount(population.groups)[: len(looked.programs)]
    sizes[list(looked.failures)] = 0
    if (first := looked.first) is not None and not sizes.any():
        raise first if isinstance(first, StudyError) else _unusable(study, population, first) from first
    digests = {"data": data_digest(study.trial.data, population.membership), "programs": looked.programs}
    return Examined(study, population, digests, looked.failures, int(sizes.argmax()))


class _Looked(NamedTuple):
    """What tracing the first groups tells: digests, why some fail and the first error, and static fields."""

    programs: list[str | None]
    failures: dict[int, Failure]
    first: Exception | None
    static: set[str]


def _look(study: Study, population: Population, most: int) -> _Looked:
    looked = _Looked([], {}, None, set())
    for group in range(len(population.statics)):
        if group >= most and len(looked.failures) < group:
            break
        try:
            checked = check_group(study, population, group)
            looked.programs.append(checked.digest)
            looked.static.update(checked.static)
        except Exception as error:  # whatever the user's own functions raise
            looked.programs.append(None)
            looked.failures[group] = describe(error)
            looked = looked._replace(first=looked.first or error)
    return looked


def _unusable(study: Study, population: Population, error: Exception) -> StudyError:
    """What is said of a study whose functions raise for every configuration."""
    groups = len(population.statics)
    every = f" in each of {groups} static groups" if groups > 1 else ""
    said = f"{describe(error).error}{where(error)}{every}"
    return StudyError(f"`init, step and evaluate can be traced` must hold, but got {said}")


def prepare(
    examined: Examined,
    root_seed: int,
    devices: Sequence[Any] | None = None,
    members_per_chunk: int | None = None,
    remember: bool = True,
    began: Began | None = None,
    workers: int = 1,
    neighbours: int = 1,
    chunk_seconds: float = planning.SECONDS_IN_MEMORY,
    say: Callable[[str], None] = lambda phase: None,
) -> Prepared:
    """Plans the chunks of a study.

    Args:
        examined: the study and its members.
        root_seed: what all randomness derives from.
        devices: the devices that share the members; None takes all.
        members_per_chunk: how many members run at once; None measures and chooses.
        remember: whether an earlier choice will do; False measures at two widths in any case.
        began: what the run was planned with, if it goes on: as many devices, or all there are, with as many
            members each. Overrules the members per chunk.
        workers: how many processes share the members, each with such devices.
        neighbours: how many of them share this host's memory.
        chunk_seconds: what a chunk takes beside its steps.
        say: told what is measured, before it is.

    Raises:
        StudyError: not one member fits into the memory, or the data cannot be read once per chunk.
    """
    study, population, failures = examined.study, examined.population, dict(examined.failures)
    choice: Choice | None = None
    if began is not None:
        devices = list(devices or jax.devices()[: began.devices])
        members_per_chunk = max(1, began.most * len(devices) // began.devices)
        choice = Choice(max(1, members_per_chunk // len(devices)), began.loop, (), None)
    sizes = np.bincount(population.groups)
    sizes[list(failures)] = 0
    largest = int(sizes.max())
    mesh = execute.make_mesh(list(devices or jax.devices())[:largest])
    bench = place(study, population, mesh, root_seed)
    bench = bench._replace(workers=workers, neighbours=neighbours, chunk_seconds=chunk_seconds)
    bench = _of_group(bench, examined, examined.group)
    most = members_per_chunk
    if choice is not None:
        most = most or choice.per_device * mesh.size
    elif most is not None and remember:
        planned = planning.cut(population.groups, mesh.size, most)
        width = next(chunk.width for chunk in planned if chunk.group == bench.group)
        loop = autotune.usual_loop(bench, width // mesh.size)
        choice = Choice(max(1, most // mesh.size), loop, (), None)
    else:
        per_device = None if most is None else max(1, most // mesh.size)
        bench, choice, failures = _chosen(bench, examined, per_device, remember, say)
    if most is None:
        most = choice.per_device * mesh.size
        most = planning.balanced(largest, most, workers) if workers > 1 else most
    chunks = planning.cut(population.groups, mesh.size, most)
    chunks = [chunk._replace(stop=study.steps) for chunk in chunks]
    if study.trial.data is not None and is_stream(study.trial.data.train):
        check_stream(study.trial.data.train, len(chunks))
    notice = noticing(study, examined.digests["programs"])
    return Prepared(study, population, bench, choice, most, chunks, failures, notice)


def _of_group(bench: Bench, examined: Examined, group: int) -> Bench:
    return bench._replace(group=group, digest=examined.digests["programs"][group])


def _chosen(
    bench: Bench, examined: Examined, per_device: int | None, remember: bool, say: Callable[[str], Any]
) -> tuple[Bench, Choice, dict[int, Failure]]:
    """The width and loop of the largest group that can be run here; those that cannot are failures."""
    failures = dict(examined.failures)
    sizes = np.bincount(examined.population.groups)[: len(examined.digests["programs"])]
    while True:
        try:
            return bench, autotune.choose(bench, per_device, remember, say), failures
        except OSError:
            raise
        except Exception as error:  # one member does not fit, or the compiler refuses
            failures[bench.group] = describe(error)
            sizes[list(failures)] = 0
            if not sizes.any():
                refused = _unusable(examined.study, examined.population, error)
                raise error if isinstance(error, StudyError) else refused from error
            bench = _of_group(bench, examined, int(sizes.argmax()))


def plan_of(prepared: Prepared) -> Plan:
    """The plan of a study that was measured.

    Args:
        prepared: the study.
    """
    mesh = prepared.bench.mesh
    widest = max(chunk.width for chunk in prepared.chunks) // mesh.size
    setting = manifest.setting(mesh, prepared.choice.loop, widest)
    return Plan(prepared.population, mesh.size, prepared.most, setting, prepared.failures)


def recorded_plan(plan: Plan) -> dict[str, Any]:
    """What a manifest says of a plan.

    Args:
        plan: the plan.
    """
    return {
        "numerical_setting": plan.setting,
        "plan": {
            "groups": len(plan.population.statics),
            "chunks": len(planning.cut(plan.population.groups, plan.devices, plan.most)),
            "members_per_chunk": plan.most,
        },
    }


def predicted_seconds(prepared: Prepared, member_steps: int) -> float:
    """How long training takes by what was measured, with compiling and commits, without evaluations.

    Args:
        prepared: a study that was measured.
        member_steps: how many steps the members of the run are trained together.
    """
    study, population, chosen = prepared.study, prepared.population, prepared.choice.candidate
    # A padded row takes as long as a member does.
    rows_trained = sum(chunk.width for chunk in prepared.chunks) / len(population) * member_steps
    per_row = planning.cost(chosen, prepared.bench.chunk_seconds / study.steps) / prepared.bench.mesh.size
    return rows_trained * per_row + len(population.statics) * chosen.compile_seconds
