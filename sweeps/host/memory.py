"""How much memory the devices have left."""

from pathlib import Path
from typing import Any

MEMORY_SHARE = 0.9  # of an accelerator's memory; the rest is for what the allocator cannot use


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


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
