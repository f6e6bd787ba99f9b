"""How many XLA devices a CPU is split into, and whether JAX has begun to use them."""

import math
import os
import warnings
from pathlib import Path
from typing import Any

import jax

from sweeps.errors import StudyError
from sweeps.host.cgroups import own, read

THREADS = (
    "PJRT_NPROC",
    "NPROC",
)  # the environment's names for XLA's number of threads; the first set one counts


def cpu_cores() -> int:
    """How many cores this process may use: its affinity, the limit of its cgroup, and XLA's threads.

    The number of threads is what the environment variable `PJRT_NPROC` says, else `NPROC`.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = [int(said) for name in THREADS if (said := os.environ.get(name, "")).isdigit() and int(said) > 0]
    return max(1, math.ceil(min(affinity, _cgroup_cores(), *asked[:1])))


def limit_threads(count: int) -> None:
    """Has XLA run so many threads, if it has not begun; processes that are started later are told too.

    Args:
        count: how many.
    """
    os.environ.update(dict.fromkeys(THREADS, str(count)))


def jax_is_used() -> bool:
    """Whether JAX has begun to use its devices in this process, so that their number is fixed."""
    before = jax.config.jax_num_cpu_devices  # pyright: ignore[reportAttributeAccessIssue]
    try:
        jax.config.update("jax_num_cpu_devices", before + 1 if before > 0 else 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", before)
    return False


def check_devices() -> None:
    """Begins to use JAX's devices.

    Raises:
        StudyError: JAX has none, or cannot use those that it was told to.
    """
    try:
        jax.devices()
    except (
        Exception
    ) as error:  # a RuntimeError, or an assertion where the installed jaxlib has no such backend
        asked: Any = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
        said = f"{type(error).__name__}: {error}".partition("\n")[0].removesuffix(": ")
        which, cure = (
            (f"the platform {asked}", "; JAX_PLATFORMS=cpu takes the CPU") if asked else ("a device", "")
        )
        raise StudyError(f"`JAX can use {which}` must hold, but got {said}{cure}") from error


def use_cpu_cores() -> int:
    """Splits the CPU into one XLA device per core, which trains a population 2 to 3 times faster.

    Call it once, before JAX is first used; other backends are not affected. A number of devices that
    was chosen by the environment variable `JAX_NUM_CPU_DEVICES` is kept.

    Returns:
        How many CPU devices there will be.

    Warns:
        UserWarning: JAX has been used already, so nothing was changed.

    Example:
        >>> use_cpu_cores() >= 1  # doctest: +SKIP
        True
    """
    cores = int(os.environ.get("JAX_NUM_CPU_DEVICES") or cpu_cores())
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:
        found = jax.local_device_count()
        if found != cores:
            warnings.warn(
                f"`use_cpu_cores() comes before JAX is first used` must hold to split {cores} cores, but "
                f"JAX already runs with {found} device(s), which are kept; call it right after the imports",
                stacklevel=2,
            )
        return found
    return cores


def _cgroup_cores(root: Path = Path("/")) -> float:
    """The least that the groups leave which this process is in; infinity where none has a limit."""
    return min((_quota(folder) for folder in own("cpu", root)), default=math.inf)


def _quota(folder: Path) -> float:
    try:
        quota, period = read(folder / "cpu.max").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        pass
    try:  # the first version of cgroups
        quota = int(read(folder / "cpu.cfs_quota_us"))
        return quota / int(read(folder / "cpu.cfs_period_us")) if quota > 0 else math.inf
    except (ValueError, ZeroDivisionError):
        return math.inf
