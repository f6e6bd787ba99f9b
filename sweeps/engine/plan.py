"""A study, checked, measured and cut into chunks, with nothing trained."""

import dataclasses
import math
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
from sweeps.engine.chunks import Chunk, Measurement
from sweeps.engine.examples import check_data, data_digest
from sweeps.engine.failure import Failure, check_group, describe
from sweeps.engine.noticing import Notice, noticing
from sweeps.engine.tracing import where
from sweeps.errors import StudyError
from sweeps.host.devices import check_devices
from sweeps.members.folds import training_size
from sweeps.members.population import Population, pinned
from sweeps.store import manifest
from sweeps.trial import Study

STEP_OPERATIONS = 1e7  # take as long as what a step of an MLP needs beside its products, on two CPU cores
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
        weights: how much a step of a member costs by group, against the mean of all members; of the groups
            that were checked.
    """

    study: Study
    population: Population
    digests: dict[str, Any]
    failures: Mapping[int, Failure]
    group: int
    weights: Mapping[int, float] = {}


class Plan(NamedTuple):
    """How members are cut into chunks and trained, wherever that is.

    Attributes:
        devices: how many devices share a chunk.
        members_per_chunk: the most members of a chunk.
        loop: `scan`, `map` or `host`.
        setting: the numerical setting; empty of a run that goes on, until it is planned again.
        seconds_per_step: of a whole chunk; NaN where none was timed.
        compile_seconds: what compiling its program took; NaN likewise.
        failures: the static groups that cannot be built, and why.
    """

    devices: int
    members_per_chunk: int
    loop: str
    setting: dict[str, Any] = {}
    seconds_per_step: float = math.nan
    compile_seconds: float = math.nan
    failures: Mapping[int, Failure] = {}


class Prepared(NamedTuple):
    """A study that is checked and planned, with nothing trained.

    Attributes:
        bench: the study, its first members, the devices, and what all members share on them.
        choice: what was measured.
        plan: the plan.
        chunks: what it cuts all members into.
        notice: looks at a static group before it is trained.
        weight: what a step of the measured group costs, against the mean of all members.
    """

    bench: Bench
    choice: Choice
    plan: Plan
    chunks: list[Chunk]
    notice: Notice
    weight: float = 1.0


def examine(study: Study, population: Population, most: int = CHECKED_GROUPS) -> Examined:
    """Checks a study by tracing it, before anything is compiled or written.

    Args:
        study: the study.
        population: its members.
        most: how many static groups are checked; more until there is one that can be built.

    Raises:
        StudyError: JAX has no devices, or no group can be built: a function of the trial cannot be used, or
            the metric is not among those it reports.
    """
    check_devices()  # or their lack would be said of the functions that are traced
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
        raise first if isinstance(first, StudyError) else _unusable(population, first) from first
    digests = {"data": data_digest(study.trial.data, population.membership)}
    digests |= {"programs": looked.programs, "divergence": looked.divergence}
    weights = _weights(looked.operations, sizes)
    return Examined(study, population, digests, looked.failures, int(sizes.argmax()), weights)


class _Looked(NamedTuple):
    """What tracing the first groups tells: digests, why some fail, the first error, static fields, work."""

    programs: list[str | None]
    divergence: list[str | None]
    failures: dict[int, Failure]
    first: Exception | None
    static: set[str]
    operations: dict[int, float]


def _look(study: Study, population: Population, most: int) -> _Looked:
    looked = _Looked([], [], {}, None, set(), {})
    for group in range(len(population.statics)):
        if group >= most and len(looked.failures) < group:
            break
        try:
            checked = check_group(study, population, group)
            looked.programs.append(checked.digest)
            looked.divergence.append(checked.divergence)
            looked.static.update(checked.static)
            looked.operations[group] = checked.operations
        except Exception as error:  # whatever the user's own functions raise
            looked.programs.append(None)
            looked.divergence.append(None)
            looked.failures[group] = describe(error)
            looked = looked._replace(first=looked.first or error)
    return looked


def _weights(operations: Mapping[int, float], sizes: np.ndarray) -> dict[int, float]:
    """What a step costs by group, over the mean of the members that there are."""
    costs = {group: STEP_OPERATIONS + each for group, each in operations.items() if sizes[group]}
    mean = np.average([*costs.values()], weights=[sizes[group] for group in costs]) if costs else 1.0
    return {group: float(cost / mean) for group, cost in costs.items()}


def _unusable(population: Population, error: Exception) -> StudyError:
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
    began: Plan | None = None,
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
    study, population, most = examined.study, examined.population, members_per_chunk
    if began is not None:
        devices = list(devices or jax.devices()[: began.devices])
        most = max(1, began.members_per_chunk * len(devices) // began.devices)
    largest = int(_sizes(examined, examined.failures).max())
    mesh = execute.make_mesh(list(devices or jax.devices())[:largest])
    bench = place(study, population, mesh, root_seed)
    bench = bench._replace(workers=workers, neighbours=neighbours, chunk_seconds=chunk_seconds)
    bench = _of_group(bench, examined, examined.group)
    per_device, failures = None if most is None else max(1, most // mesh.size), examined.failures
    if most is not None and per_device is not None and (began is not None or remember):
        loop = _usual_loop(bench, most) if began is None else began.loop
        choice = Choice(Measurement(per_device, loop, math.nan, math.nan, 0))
    else:
        bench, choice, failures = _chosen(bench, examined, per_device, remember, say)
    best = choice.best
    if most is None:
        most = best.per_device * mesh.size
        most = planning.balanced(largest, most, workers) if workers > 1 else most
    chunks = planning.cut(population.groups, mesh.size, most)
    chunks = [chunk._replace(stop=study.steps) for chunk in chunks]
    if study.trial.data is not None and is_stream(study.trial.data.train):
        check_stream(study.trial.data.train, len(chunks))
    setting = manifest.setting(mesh, best.loop, max(chunk.width for chunk in chunks) // mesh.size)
    plan = Plan(mesh.size, most, best.loop, setting, best.seconds_per_step, best.compile_seconds, failures)
    notice = noticing(study, examined.digests["programs"])
    return Prepared(bench, choice, plan, chunks, notice, examined.weights.get(bench.group, 1.0))


def _sizes(examined: Examined, failures: Mapping[int, Failure]) -> np.ndarray:
    """How many members each static group has; none if it cannot be built."""
    sizes = np.bincount(examined.population.groups)
    sizes[list(failures)] = 0
    return sizes


def _usual_loop(bench: Bench, most: int) -> str:
    """The loop that suits chunks of so many members, with nothing measured."""
    planned = planning.cut(bench.population.groups, bench.mesh.size, most)
    width = next(chunk.width for chunk in planned if chunk.group == bench.group)
    return autotune.usual_loop(bench, width // bench.mesh.size)


def _of_group(bench: Bench, examined: Examined, group: int) -> Bench:
    return bench._replace(group=group, digest=examined.digests["programs"][group])


def _chosen(
    bench: Bench, examined: Examined, per_device: int | None, remember: bool, say: Callable[[str], Any]
) -> tuple[Bench, Choice, dict[int, Failure]]:
    """The width and loop of the largest group that can be run here; those that cannot are failures."""
    failures = dict(examined.failures)
    while True:
        try:
            return bench, autotune.choose(bench, per_device, remember, say), failures
        except OSError:
            raise
        except Exception as error:  # one member does not fit, or the compiler refuses
            failures[bench.group] = describe(error)
            sizes = _sizes(examined, failures)[: len(examined.digests["programs"])]
            if not sizes.any():
                refused = _unusable(examined.population, error)
                raise error if isinstance(error, StudyError) else refused from error
            bench = _of_group(bench, examined, int(sizes.argmax()))


def recorded_plan(plan: Plan, population: Population) -> dict[str, Any]:
    """What a manifest says of a plan.

    Args:
        plan: the plan.
        population: the members.
    """
    return {
        "numerical_setting": plan.setting,
        "plan": {
            "groups": len(population.statics),
            "chunks": len(planning.cut(population.groups, plan.devices, plan.members_per_chunk)),
            "members_per_chunk": plan.members_per_chunk,
        },
    }


def predicted_seconds(prepared: Prepared, member_steps: int) -> float:
    """How long training takes by what was measured, with compiling and commits, without evaluations.

    Groups that were not measured take longer by as much as they have more arithmetic in a step.

    Args:
        prepared: a study that was measured.
        member_steps: how many steps the members of the run are trained together.
    """
    bench, population, chosen = prepared.bench, prepared.bench.population, prepared.choice.best
    # A padded row takes as long as a member does.
    rows_trained = sum(chunk.width for chunk in prepared.chunks) / len(population) * member_steps
    per_row = planning.cost(chosen, bench.chunk_seconds / bench.study.steps) / bench.mesh.size
    return rows_trained * per_row / prepared.weight + len(population.statics) * chosen.compile_seconds
