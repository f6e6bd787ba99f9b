"""How much memory the devices have left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.host.cgroups import own, read

MEMORY_SHARE = 0.9  # of an accelerator's memory; the rest is for what the allocator cannot use
# What a cgroup may take and has taken, and, in `memory.stat`, how much of that the kernel gives back when it
# is asked for: files that were read, a data set for one.
LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes(mesh: Any, neighbours: int = 1) -> float:
    """The memory that one device may use: an accelerator's own, or its share of half of the free RAM.

    Args:
        mesh: the devices.
        neighbours: how many processes share the RAM, each with as many devices.
    """
    stats = mesh.devices.flat[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return MEMORY_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return free_ram() / 2 / mesh.size / neighbours


def free_ram(root: Path = Path("/")) -> float:
    """The RAM this process may still take: what the system has free, or what its cgroup leaves it.

    Args:
        root: where `proc` and `sys` are.
    """
    limits = [float("inf")]
    for line in read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            limits.append(float(line.split()[1]) * 1024)
    limits += [left for folder in own("memory", root) for left in _left(folder)]
    found = min(limits)
    return found if found < float("inf") else 4 * 2**30  # a system that says nothing is taken to be small


def _left(folder: Path) -> Iterator[float]:
    """What a cgroup leaves, by the files of either version; nothing where it has no limit."""
    for limit, used, unused in LIMITS:
        most, taken = read(folder / limit).strip(), read(folder / used).strip()
        if most.isdigit() and taken.isdigit():
            lines = [line.partition(" ") for line in read(folder / "memory.stat").splitlines()]
            files = [int(count) for name, _, count in lines if name == unused and count.isdigit()]
            yield float(int(most) - int(taken) + sum(files))
