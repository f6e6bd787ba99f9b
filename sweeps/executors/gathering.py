"""The crew of a run, gathered from a Ray cluster or from processes of this host."""

import contextlib
from collections.abc import Iterator

from sweeps.engine.plan import Examined
from sweeps.executors.dispatcher import Crew
from sweeps.executors.processes import Processes, ProcessPool
from sweeps.executors.ray_cluster import Ray, RayPool, connected
from sweeps.host.progress import Display
from sweeps.host.signals import Signals
from sweeps.members.request import Request
from sweeps.store.lock import Lock


@contextlib.contextmanager
def gathered(
    executor: Ray | Processes,
    examined: Examined,
    request: Request,
    lock: Lock,
    display: Display,
    signals: Signals,
    cpu_devices: int | None = None,
) -> Iterator[Crew]:
    """A crew, which is disbanded when the block is left.

    Args:
        executor: Ray, or processes of this host.
        examined: the study.
        request: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
        signals: what says that the run's time is over.
        cpu_devices: how many cores a chunk was shared by when the run began; None if it begins now.

    Raises:
        StudyError: there is no Ray, no cluster, or no node that is large enough.
    """
    with contextlib.ExitStack() as last:
        if isinstance(executor, Ray):
            package = last.enter_context(connected(executor, request.study, display.note))
            pool = RayPool(package, executor, cpu_devices)
        else:
            pool = ProcessPool(executor)
        crew = Crew(pool, executor, examined, request, lock, display, signals)
        try:
            yield crew
        finally:
            crew.disband()
