"""What `sweeps plan` prints of a study that was planned."""

import numpy as np

from sweeps.engine import chunks as planning
from sweeps.engine.bench import state_bytes
from sweeps.engine.chunks import Measurement
from sweeps.engine.plan import Prepared, predicted_seconds
from sweeps.members.population import repeats, values_of


def report_plan(prepared: Prepared, members: int, member_steps: int) -> list[tuple[str, str]]:
    """What `sweeps plan` prints: labels and values.

    Args:
        prepared: a study that was measured.
        members: how many members the run will have in all.
        member_steps: how many steps they are trained together.
    """
    bench, choice = prepared.bench, prepared.choice
    rows = [
        *_members(prepared, members),
        ("devices", f"{bench.mesh.size} x {bench.mesh.devices.flat[0].device_kind}"),
        *_chunks(prepared),
    ]
    if choice.memory is not None:
        rows.append(("memory per member", f"{choice.memory.per_member / 2**10:.1f} KiB on its device"))
    state = state_bytes(bench) * members / 2**20
    rows.append(("states of all", f"up to {state:.1f} MiB on the disk, if they are kept (--keep-states)"))
    # Only the scan is one program whose memory the compiler counts; a step from the host needs no more.
    needed = max(
        each.bytes_per_device for each in choice.measurements if each.per_device == choice.best.per_device
    )
    rows.append(("memory per device", f"{needed / 2**20:.1f} MiB"))
    rows += [("measured", _measured(each, bench.mesh.size)) for each in choice.measurements]
    rows += _failures(prepared)
    full, seconds = members * bench.study.steps, predicted_seconds(prepared, member_steps)
    share = f" of {full:,} ({100 * member_steps / full:.0f} %)" if member_steps < full else ""
    rows.append(("member-steps", f"{member_steps:,}{share}"))
    rows.append(("predicted time", f"{seconds:.0f} s, evaluations not counted"))
    return rows


def _members(prepared: Prepared, members: int) -> list[tuple[str, str]]:
    """How many members and static groups there are, and which fields are static that nobody varies."""
    study, population = prepared.bench.study, prepared.bench.population
    seeds, folds = len(np.unique(population.seeds)), repeats(study, 1)
    each = f"{seeds} seeds" + f" x {folds} folds" * (folds > 1)
    values = values_of(population, 0)
    static = [
        (f"static {name}", f"{values[name]}: the model asks for its value, and the space leaves it out")
        for name in study.trial.static
    ]
    return [
        ("members", f"{members}: {members // (seeds * folds)} configurations x {each}"),
        ("static groups", f"{len(population.statics)}, one program each"),
        *static,
    ]


def _chunks(prepared: Prepared) -> list[tuple[str, str]]:
    width, devices = prepared.chunks[0].width, prepared.plan.devices
    cut = f"{width}, {width // devices} per device; {len(prepared.chunks)} chunks"
    return [("members per chunk", cut), ("loop", prepared.plan.loop)]


def _measured(candidate: Measurement, devices: int) -> str:
    cost, compiled = planning.cost(candidate) / devices * 1e6, candidate.compile_seconds
    label = f"{candidate.per_device} per device, {candidate.loop}"
    return f"{label}: {cost:.1f} µs per member and step, compiled in {compiled:.1f} s"


def _failures(prepared: Prepared) -> list[tuple[str, str]]:
    """The static groups that cannot be built, by the values of the fields that vary."""
    population, rows = prepared.bench.population, []
    for group, failure in prepared.plan.failures.items():
        static = population.statics[group]
        values = ", ".join(f"{name}={value}" for name, value in static.items() if name in population.swept)
        count = int((population.groups == group).sum())
        rows.append(("cannot be built", f"{values}: {count} members would fail: {failure.error}"))
    return rows
