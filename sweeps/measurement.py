"""Compiles and times candidate widths on the real study, briefly, and remembers what it chose."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sweeps import execute, planning
from sweeps.checking import example_batch, largest_array
from sweeps.planning import Measurement, Memory
from sweeps.population import Population, traced_columns
from sweeps.streams import Block, is_stream
from sweeps.trial import Data, Study

TIMED_SECONDS = 0.1  # per repetition; the fastest of three is taken


class Choice(NamedTuple):
    """What was chosen, and what it was chosen from.

    Attributes:
        per_device: members per device.
        loop: `scan`, `map` or `host`.
        measurements: the candidates that were tried; empty where the choice was remembered.
        memory: what the program needs per device; None where only one width was compiled.
    """

    per_device: int
    loop: str
    measurements: tuple[Measurement, ...]
    memory: Memory | None


class Bench(NamedTuple):
    """All that a candidate is measured on.

    Attributes:
        study: the study.
        population: its members.
        group: the static group that stands for all.
        mesh: the devices.
        root: the root key, on the devices.
        train: the training data, on the devices.
        evaluation: the evaluation data, on the devices.
        workers: how many processes share the members, each with such devices.
        neighbours: how many of them share this host's memory.
    """

    study: Study
    population: Population
    group: int
    mesh: Any
    root: Any
    train: Any
    evaluation: Any
    workers: int = 1
    neighbours: int = 1


def place(study: Study, population: Population, mesh: Any, root_seed: int) -> Bench:
    """Puts the root key and the data on the devices; the largest group stands for all.

    Args:
        study: the study.
        population: its members.
        mesh: the devices.
        root_seed: what all randomness derives from.
    """
    data = study.trial.data or Data(None, None)
    root = jax.random.key(root_seed, impl="threefry2x32")
    train = data.train
    if is_stream(train):
        train = Block(np.int32(0), jax.tree.map(lambda leaf: leaf[None], example_batch(study)))
    root, train, evaluation = execute.place_data(mesh, (root, train, data.evaluation))
    group = int(np.bincount(population.groups).argmax())
    return Bench(study, population, group, mesh, root, train, evaluation)


def choose(
    bench: Bench, programs: Callable[[str], execute.Program], most: int | None = None, remember: bool = True
) -> Choice:
    """The members per device, by memory and by time.

    Short sweeps take the first width that fits; long ones try others, as `planning.next_width` says. Where
    the compilation cache is on, a choice is remembered beside it.

    Args:
        bench: what to measure on.
        programs: the group's program, by loop mode.
        most: the most members per device wanted; None sets no bound.
        remember: whether an earlier choice will do; False compiles two widths in any case, so that the
            memory per member is known.
    """
    study, devices, shares = bench.study, bench.mesh.size, bench.mesh.size * bench.workers
    members = int((bench.population.groups == bench.group).sum())
    remembered = _memory_file(bench, members) if remember and most is None else None
    if remembered is not None and remembered.exists():
        try:
            found = json.loads(remembered.read_text())
            return Choice(int(found["per_device"]), str(found["loop"]), (), None)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # a damaged note is measured anew and written over
    state = jax.eval_shape(
        programs("scan").init, bench.root, _members(bench, devices), example_batch(study)
    ).state
    member_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) // devices
    accelerator = bench.mesh.devices.flat[0].platform != "cpu"
    step = _lowered(programs("scan"), bench, 1)
    loop = _usual_loop(step, bench, 1)
    if loop == "scan":  # side by side, what a member's operation reads and writes is in the cache at once
        member_bytes += 2 * largest_array(
            study, bench.population.statics[bench.group], _members(bench, devices).values
        )
    width = planning.first_width(member_bytes, members, shares, accelerator)
    limit = min(most or planning.MOST_PER_DEVICE, 2 ** int(np.ceil(np.log2(-(-members // shares)))))
    width, available = min(width, limit), available_bytes(bench.mesh, bench.neighbours)

    compiled = [measure(bench, programs(loop), width, available)]
    while compiled[-1].bytes_per_device > available and width > 1:
        width //= 2
        compiled.append(measure(bench, programs(loop), width, available))
    if compiled[-1].bytes_per_device > available:
        planning.widest(
            Memory(0.0, compiled[-1].bytes_per_device), available
        )  # says that not one member fits
    tried, work = compiled[-1:], members * len(bench.population.statics) * study.steps
    while True:
        memory = planning.fit_memory(compiled)
        limit = min(limit, planning.widest(memory, available)) if memory else limit
        following = planning.next_width(tried, work, shares, limit)
        if following is None:
            break
        tried.append(measure(bench, programs(loop), following, available))
        compiled.append(tried[-1])
    if not remember and len(compiled) == 1:
        other = compiled[0].per_device // 2 or 2
        compiled.append(measure(bench, programs(loop), other, available))
        tried += [measured for measured in compiled[1:] if other <= limit]
        memory = planning.fit_memory(compiled)
    best = planning.fastest(tried)
    if not accelerator:
        # A convolution that is not lowered may be slow in any loop inside a program.
        others = ["host"] if "stablehlo.convolution" in step.as_text() else []
        if planning.worth_trying(tried, work, shares):
            others.append("scan" if loop == "map" else "map")
        tried += [measure(bench, programs(other), best.per_device, available) for other in others]
        best = planning.fastest(tried)
    if remembered is not None:
        _remember(remembered, {"per_device": best.per_device, "loop": best.loop})
    return Choice(best.per_device, best.loop, tuple(tried), memory)


def measure(bench: Bench, program: execute.Program, per_device: int, available: float | int) -> Measurement:
    """Compiles a width, and times a few steps of it if it fits.

    Args:
        bench: what to measure on.
        program: the program.
        per_device: members per device.
        available: bytes that each device has; a program that needs more is not run.
    """
    members = _members(bench, per_device * bench.mesh.size)
    began = time.monotonic()
    carry = program.init(bench.root, members, example_batch(bench.study))
    needed = 0
    if program.loop != "host":
        needed = execute.program_bytes(
            program, bench.root, members, carry, bench.train, np.int32(0), np.int32(1)
        )
    if needed > available:
        return Measurement(per_device, program.loop, float("inf"), time.monotonic() - began, needed)

    def run(carry: Any, steps: int) -> tuple[Any, float]:
        start = time.monotonic()
        carry = program.advance(bench.root, members, carry, bench.train, np.int32(0), np.int32(steps))
        return jax.block_until_ready(carry), time.monotonic() - start

    most = 1 if isinstance(bench.train, Block) else 1000
    carry, _ = run(carry, 1)
    compiled = time.monotonic() - began
    carry, once = run(carry, 1)
    steps = int(np.clip(TIMED_SECONDS / max(once, 1e-6), 1, most))
    times = []
    for _ in range(3):
        carry, seconds = run(carry, steps)
        times.append(seconds / steps)
    return Measurement(per_device, program.loop, min(times), compiled, needed)


def available_bytes(mesh: Any, neighbours: int = 1) -> float:
    """The memory that one device may use: an accelerator's own, or its share of half of the free RAM.

    Args:
        mesh: the devices.
        neighbours: how many processes share the RAM, each with as many devices.
    """
    stats = mesh.devices.flat[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return planning.MEMORY_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return free_ram() / 2 / mesh.size / neighbours


def free_ram(root: Path = Path("/")) -> float:
    """The RAM this process may still take: what the system has free, or what its cgroup leaves it.

    Args:
        root: where `proc` and `sys` are.
    """
    limits = [float("inf")]
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            limits.append(float(line.split()[1]) * 1024)
    for limit, used in (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, taken = _read(root / limit).strip(), _read(root / used).strip()
        if most.isdigit() and taken.isdigit():
            limits.append(float(int(most) - int(taken)))
    found = min(limits)
    return found if found < float("inf") else 4 * 2**30  # a system that says nothing is taken to be small


def usual_loop(bench: Bench, program: execute.Program, per_device: int) -> str:
    """The loop that suits a study as far as its arithmetic tells, with nothing measured.

    Args:
        bench: the study, its members and devices.
        program: the group's program, in the `scan` loop.
        per_device: members per device; those of the run, so that its trace is this one.
    """
    return _usual_loop(_lowered(program, bench, per_device), bench, per_device)


def _usual_loop(step: Any, bench: Bench, per_device: int) -> str:
    accelerator = bench.mesh.devices.flat[0].platform != "cpu"
    return planning.first_loop((step.cost_analysis() or {}).get("flops", 0.0) / per_device, accelerator)


def _members(bench: Bench, width: int) -> execute.Members:
    own = np.flatnonzero(bench.population.groups == bench.group)
    ids = np.resize(own, width)
    return execute.place_members(
        bench.mesh, traced_columns(bench.population, ids), bench.population.seeds[ids]
    )


def _lowered(program: execute.Program, bench: Bench, per_device: int) -> Any:
    """The program of so many members per device, lowered and not compiled."""
    members = _members(bench, per_device * bench.mesh.size)
    carry = jax.eval_shape(program.init, bench.root, members, example_batch(bench.study))
    sharding = members.seeds.sharding
    carry = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), carry)
    return program.advance.lower(bench.root, members, carry, bench.train, np.int32(0), np.int32(1))


def _memory_file(bench: Bench, members: int) -> Path | None:
    """Where the choice for such a study on such devices is remembered; None without a compilation cache."""
    cache = getattr(jax.config, "jax_compilation_cache_dir", None)
    if not cache:
        return None
    device = bench.mesh.devices.flat[0]
    batch = example_batch(bench.study)
    told = [
        device.platform, device.device_kind, bench.mesh.size, bench.workers, jax.__version__, os.cpu_count(),
        bench.population.config.__qualname__, bench.population.config.__module__,
        str(bench.population.statics[bench.group]), sorted(bench.population.columns), members,
        bench.study.steps,
        str(jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), batch)),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:32]
    return Path(cache) / f"sweeps-plan-{digest}.json"


def _remember(path: Path, choice: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(choice))
        temporary.replace(path)
    except OSError:
        pass  # a cache that cannot be written costs time, not the run


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
