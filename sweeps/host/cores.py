"""CPU cores that one worker has to itself: held by file locks, which die with their holder."""

import os
import socket
import stat
import tempfile
import time
from pathlib import Path

from sweeps.host.compilation import cache_folder
from sweeps.host.devices import cpu_cores

PATIENCE_SECONDS = 30.0  # for a worker that is just ending


def claim(count: int, folder: Path | None = None, patience: float | int = PATIENCE_SECONDS) -> list[int]:
    """Takes cores of this host that no other worker has, and keeps this process and its threads on them.

    They are free again when the process ends, however it does. Where the system gives a share of time
    rather than cores (a container's quota), or is not Linux, nothing is taken.

    Args:
        count: how many cores.
        folder: where the locks are; None takes a folder of this user's on this host.
        patience: how many seconds to wait for cores to come free.

    Returns:
        The cores; empty where they cannot be told apart, or fewer than `count` came free.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if cpu_cores() < len(cores) or len(cores) < count:
        return []
    place = _own_folder([folder] if folder else _places())
    if place is None:
        return []
    end = time.monotonic() + patience
    while True:
        held = _lock(cores, count, place)
        if len(held) == count:
            os.sched_setaffinity(0, held)
            return sorted(held)
        for descriptor in held.values():  # so that two that wait for one another do not wait forever
            os.close(descriptor)
        if time.monotonic() > end:
            return []
        time.sleep(0.1)


def _places() -> list[Path]:
    """Where a folder of this user's may be; homes are often shared between hosts, so that names one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    cache = cache_folder()
    own = [] if cache is None else [cache / socket.gethostname()]
    return [*([Path(runtime)] if runtime else []), *own, Path(tempfile.gettempdir())]


def _own_folder(places: list[Path]) -> Path | None:
    """A folder for locks that is this user's and no link; in a shared place, another's may be there."""
    for place in places:
        own = place / f"sweeps-cores-{os.getuid()}"
        try:
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = own.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            return own
    return None


def _lock(cores: list[int], count: int, place: Path) -> dict[int, int]:
    """Up to so many cores that nobody holds, and the open files that hold them now."""
    import fcntl

    held: dict[int, int] = {}
    for core in cores:
        if len(held) == count:
            break
        try:
            descriptor = os.open(place / str(core), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:  # a link is there, or what this user may not open
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held[core] = descriptor
        except OSError:
            os.close(descriptor)
    return held
