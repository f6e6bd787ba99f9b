"""The crew of a run, gathered from a Ray cluster or from processes of this host."""

import contextlib
from collections.abc import Iterator

from sweeps.executors.dispatcher import Crew
from sweeps.executors.executor import Work
from sweeps.executors.processes import Processes, ProcessPool
from sweeps.executors.ray_cluster import Ray, RayPool, connected


@contextlib.contextmanager
def gathered(executor: Ray | Processes, work: Work, cpu_devices: int | None = None) -> Iterator[Crew]:
    """A crew, which is disbanded when the block is left.

    Args:
        executor: Ray, or processes of this host.
        work: the run.
        cpu_devices: how many cores a chunk was shared by when the run began; None if it begins now.

    Raises:
        StudyError: there is no Ray, no cluster, or no node that is large enough.
    """
    with contextlib.ExitStack() as last:
        if isinstance(executor, Ray):
            package = last.enter_context(connected(executor, work.request.study, work.display.note))
            pool = RayPool(package, executor, cpu_devices)
        else:
            pool = ProcessPool(executor)
        crew = Crew(pool, executor, work)
        try:
            yield crew
        finally:
            crew.disband()
