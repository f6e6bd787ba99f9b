"""A study, checked, measured and cut into chunks, with nothing trained; what `sweeps plan` prints."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sweeps import execute, manifest, measurement, planning
from sweeps.checking import check, check_data, data_digest
from sweeps.measurement import Bench, Choice
from sweeps.planning import Chunk
from sweeps.population import Population, traced_columns
from sweeps.space import StudyError
from sweeps.streams import Once, check_stream, is_stream
from sweeps.trial import Study, unknown

KEPT_PROGRAMS = 16  # compiled ones; groups come again when a population is searched or thinned out
CHECKED_GROUPS = 8  # whose functions are checked before anything is compiled


class Examined(NamedTuple):
    """A study that can be run, as far as tracing it tells.

    Attributes:
        study: the study.
        population: its members.
        digests: of the data and of the groups' programs, by which a study that was changed is noticed.
    """

    study: Study
    population: Population
    digests: dict[str, Any]


class Prepared(NamedTuple):
    """A study that is checked and planned, with nothing trained.

    Attributes:
        study: the study.
        population: its members.
        bench: the devices, and what all members share on them.
        choice: the width and loop that were chosen.
        most: the members per chunk that the plan was cut to.
        chunks: the plan.
        programs: the program of some static values and a loop mode.
    """

    study: Study
    population: Population
    bench: Bench
    choice: Choice
    most: int
    chunks: list[Chunk]
    programs: Callable[[dict[str, Any], str], execute.Program]


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
    """

    population: Population
    devices: int
    most: int
    setting: dict[str, Any]


def examine(study: Study, population: Population) -> Examined:
    """Checks a study by tracing it, before anything is compiled or written.

    Args:
        study: the study.
        population: its members.

    Raises:
        StudyError: a function of the trial cannot be used, or the metric is not among those it reports.
    """
    check_data(study)
    data = study.trial.data
    if data is not None and is_stream(data.train) and iter(data.train) is data.train:
        # Checking and planning look at a batch; one that can be read only once must not be lost to that.
        trial = study.trial._replace(data=data._replace(train=Once(data.train)))
        study = dataclasses.replace(study, trial=trial)
    digests: dict[str, Any] = {"data": data_digest(study.trial.data), "programs": []}
    for group in range(min(len(population.statics), CHECKED_GROUPS)):
        member = np.flatnonzero(population.groups == group)[:1]
        checked = check(study, population.statics[group], traced_columns(population, member))
        if study.metric not in checked.metrics:
            raise StudyError(
                f"`metric is reported by the trial` must hold, but got "
                f"{unknown(study.metric, checked.metrics)}"
            )
        digests["programs"].append(checked.digest)
    return Examined(study, population, digests)


def prepare(
    examined: Examined,
    root_seed: int,
    devices: Sequence[Any] | None = None,
    members_per_chunk: int | None = None,
    remember: bool = True,
    began: Began | None = None,
    workers: int = 1,
    neighbours: int = 1,
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

    Raises:
        StudyError: not one member fits into the memory, or the data cannot be read once per chunk.
    """
    study, population, _ = examined
    choice: Choice | None = None
    if began is not None:
        devices = list(devices or jax.devices()[: began.devices])
        members_per_chunk = max(1, began.most * len(devices) // began.devices)
        choice = Choice(max(1, members_per_chunk // len(devices)), began.loop, (), None)
    largest = int(np.bincount(population.groups).max())
    mesh = execute.make_mesh(list(devices or jax.devices())[:largest])
    cache: dict[str, execute.Program] = {}

    def programs(statics: dict[str, Any], loop: str) -> execute.Program:
        key = repr((sorted(statics.items(), key=str), loop))
        found = cache.pop(key, None) or execute.build(study, statics, mesh, loop)
        cache[key] = found  # the last is the one that was used last
        while len(cache) > KEPT_PROGRAMS:
            del cache[next(iter(cache))]
        return found

    bench = measurement.place(study, population, mesh, root_seed)
    bench = bench._replace(workers=workers, neighbours=neighbours)
    most = members_per_chunk
    if choice is not None:
        most = most or choice.per_device * mesh.size
    elif most is not None and remember:
        planned = planning.cut(population.groups, mesh.size, most)
        width = next(chunk.width for chunk in planned if chunk.group == bench.group)
        program = programs(population.statics[bench.group], "scan")
        loop = measurement.usual_loop(bench, program, width // mesh.size)
        choice = Choice(max(1, most // mesh.size), loop, (), None)
    else:
        per_device = None if most is None else max(1, most // mesh.size)
        statics = population.statics[bench.group]
        choice = measurement.choose(bench, lambda loop: programs(statics, loop), per_device, remember)
    if most is None:
        most = choice.per_device * mesh.size
        most = planning.balanced(largest, most, workers) if workers > 1 else most
    chunks = planning.cut(population.groups, mesh.size, most)
    chunks = [chunk._replace(stop=study.steps) for chunk in chunks]
    if study.trial.data is not None and is_stream(study.trial.data.train):
        check_stream(study.trial.data.train, len(chunks))
    return Prepared(study, population, bench, choice, most, chunks, programs)


def plan_of(prepared: Prepared) -> Plan:
    """The plan of a study that was measured.

    Args:
        prepared: the study.
    """
    mesh = prepared.bench.mesh
    widest = max(chunk.width for chunk in prepared.chunks) // mesh.size
    setting = manifest.setting(mesh, prepared.choice.loop, widest)
    return Plan(prepared.population, mesh.size, prepared.most, setting)


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


def report_plan(prepared: Prepared, members: int, member_steps: int) -> list[tuple[str, str]]:
    """What `sweeps plan` prints: labels and values.

    Args:
        prepared: a study that was measured.
        members: how many members the run will have in all.
        member_steps: how many steps they are trained together.
    """
    population, chunks, choice = prepared.population, prepared.chunks, prepared.choice
    mesh, study = prepared.bench.mesh, prepared.study
    best = planning.fastest(choice.measurements)
    full = members * study.steps
    # A padded row takes as long as a member does.
    rows_trained = sum(chunk.width for chunk in chunks) / len(population) * member_steps
    per_row = best.seconds_per_step / (best.per_device * mesh.size)
    seconds = rows_trained * per_row + len(population.statics) * best.compile_seconds
    seeds = len(np.unique(population.seeds))
    rows = [
        ("members", f"{members}: {members // seeds} configurations x {seeds} seeds"),
        ("static groups", f"{len(population.statics)}, one program each"),
        ("devices", f"{mesh.size} x {mesh.devices.flat[0].device_kind}"),
        (
            "members per chunk",
            f"{chunks[0].width}, {chunks[0].width // mesh.size} per device; {len(chunks)} chunks",
        ),
        ("loop", choice.loop),
    ]
    if choice.memory is not None:
        rows.append(("memory per member", f"{choice.memory.per_member / 2**10:.1f} KiB on its device"))
    # Only the scan is one program whose memory the compiler counts; a step from the host needs no more.
    needed = max(each.bytes_per_device for each in choice.measurements if each.per_device == best.per_device)
    rows.append(("memory per device", f"{needed / 2**20:.1f} MiB"))
    for measured in choice.measurements:
        cost = planning.cost(measured) / mesh.size * 1e6
        label = f"{measured.per_device} per device, {measured.loop}"
        rows.append(
            (
                "measured",
                f"{label}: {cost:.1f} µs per member and step, compiled in {measured.compile_seconds:.1f} s",
            )
        )
    share = f" of {full:,} ({100 * member_steps / full:.0f} %)" if member_steps < full else ""
    rows.append(("member-steps", f"{member_steps:,}{share}"))
    rows.append(("predicted time", f"{seconds:.0f} s, evaluations not counted"))
    return rows
