"""What `sweeps plan` prints of a study that was planned."""

import numpy as np

from sweeps.engine import chunks as planning
from sweeps.engine.bench import state_bytes
from sweeps.engine.plan import Prepared, predicted_seconds
from sweeps.members.population import repeats, values_of


def report_plan(prepared: Prepared, members: int, member_steps: int) -> list[tuple[str, str]]:
    """What `sweeps plan` prints: labels and values.

    Args:
        prepared: a study that was measured.
        members: how many members the run will have in all.
        member_steps: how many steps they are trained together.
    """
    bench, chunks, choice = prepared.bench, prepared.chunks, prepared.choice
    mesh, study, population = bench.mesh, bench.study, bench.population
    full = members * study.steps
    seconds = predicted_seconds(prepared, member_steps)
    seeds, folds = len(np.unique(population.seeds)), repeats(study, 1)
    each = f"{seeds} seeds" + f" x {folds} folds" * (folds > 1)
    values = values_of(population, 0)
    rows = [
        ("members", f"{members}: {members // (seeds * folds)} configurations x {each}"),
        ("static groups", f"{len(population.statics)}, one program each"),
        *(
            (
                f"static {name}",
                f"{values[name]}: the model asks for its value, and the space leaves it out",
            )
            for name in study.trial.static
        ),
        ("devices", f"{mesh.size} x {mesh.devices.flat[0].device_kind}"),
        (
            "members per chunk",
            f"{chunks[0].width}, {chunks[0].width // mesh.size} per device; {len(chunks)} chunks",
        ),
        ("loop", choice.best.loop),
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
    for group, failure in prepared.plan.failures.items():
        static = {
            name: value for name, value in population.statics[group].items() if name in population.swept
        }
        values = ", ".join(f"{name}={value}" for name, value in static.items())
        count = int((population.groups == group).sum())
        rows.append(("cannot be built", f"{values}: {count} members would fail: {failure.error}"))
    rows.append(("member-steps", f"{member_steps:,}{share}"))
    rows.append(("predicted time", f"{seconds:.0f} s, evaluations not counted"))
    return rows
