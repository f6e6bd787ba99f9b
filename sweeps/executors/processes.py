"""Workers that are processes of this host, one for each of its cores."""

import contextlib
import itertools
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from sweeps.errors import StudyError, unknown
from sweeps.executors.fork_server import ForkServer, serving
from sweeps.executors.pickling import not_found_again, pickled
from sweeps.executors.pool import Died, Failed
from sweeps.executors.ray_cluster import Ray, ray
from sweeps.host.devices import cpu_cores

PATIENCE_SECONDS = 5.0  # for workers to keep what they have when the run is stopped


class Processes(NamedTuple):
    """How a run uses processes of this host.

    Attributes:
        server: what workers are forked off; None until the run begins.
        attempts: how often a chunk is tried before its members are given up as failed.
        time_limit: after how many seconds without a sign of life a worker is given up; None derives it from
            the plan, as `sweeps.ray` does.
    """

    server: ForkServer | None = None
    attempts: int = 3
    time_limit: float | int | None = None


class Hired:
    """A worker's process.

    Args:
        name: what it is called.
        connection: to it.
        pid: its process id.

    Attributes:
        keys: of the values that it has from the last call.
    """

    def __init__(self, name: str, connection: Connection, pid: int):
        self.name, self.connection, self.pid = name, connection, pid
        self.keys: set[int] = set()


class Shared(NamedTuple):
    """A value that travels to each worker once.

    Attributes:
        key: what it is known by.
        pickled: the value.
    """

    key: int
    pickled: bytes


class ProcessPool:
    """Workers on the cores of this host, as `Pool` has them.

    Args:
        executor: what they are forked off.
    """

    def __init__(self, executor: Processes):
        assert executor.server is not None  # the run has begun
        self.server, self.keys = executor.server, itertools.count()
        # Copies of this process have all modules that it has.
        self.whole = [] if self.server.copied else list(not_found_again())

    def room(self) -> int:
        """One worker for each core that this process may use."""
        return cpu_cores()

    def neighbours(self) -> int:
        """All of them share the memory of this host."""
        return self.room()

    def wants(self) -> str:
        """What a worker needs."""
        return "this host"

    def hire(self, name: str) -> Hired:
        """Forks one more worker."""
        connection, pid = self.server.fork()
        with contextlib.suppress(OSError):  # who asks for an answer sees that it has died
            connection.send_bytes(name.encode())
        return Hired(name, connection, pid)

    def share(self, value: Any) -> Shared:
        """Pickles a value once, however many workers it goes to."""
        try:
            return Shared(next(self.keys), pickled(value, self.whole))
        except Exception as error:  # whatever the user's own objects raise
            raise StudyError(
                f"`the study can be pickled` must hold for workers that are processes, but got {error}; "
                f"leave executor out (--executor inline), which trains in this process"
            ) from error

    def call(self, worker: Hired, method: str, *arguments: Any) -> Hired:
        """Sends a call, without the values that the worker has from the one before."""
        shared = [each if isinstance(each, Shared) else self.share(each) for each in arguments]
        sent = [(each.key, None if each.key in worker.keys else each.pickled) for each in shared]
        worker.keys = {each.key for each in shared}
        with contextlib.suppress(OSError):  # who asks for the answer sees that it has died
            worker.connection.send_bytes(pickle.dumps((method, sent)))
        return worker

    def ready(self, calls: Sequence[Hired], seconds: float | int) -> list[Hired]:
        """The calls that have an answer."""
        found = wait([each.connection for each in calls], seconds)
        return [each for each in calls if each.connection in found]

    def answer(self, call: Hired) -> Any:
        """The answer to a call, or how the worker ended."""
        try:
            good, found = pickle.loads(call.connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise Died(f"{call.name} {self.server.ended(call.pid)}") from error
        if not good:
            raise Failed(found)
        return found

    def dismiss(self, worker: Hired) -> None:
        """Ends a worker at once."""
        with contextlib.suppress(OSError):
            os.kill(worker.pid, signal.SIGKILL)
        worker.connection.close()

    def disband(self, workers: Sequence[Hired]) -> None:
        """Gives workers a few seconds to keep what they train, and ends them."""
        until = time.monotonic() + PATIENCE_SECONDS
        for worker in workers:
            with contextlib.suppress(OSError):
                worker.connection.send_bytes(b"")  # it ends as soon as it has kept what it trains
        left = list(workers)
        while left and (seconds := until - time.monotonic()) > 0:
            for worker in self.ready(left, seconds):
                try:
                    worker.connection.recv_bytes()
                except (EOFError, OSError):
                    left.remove(worker)
        for worker in workers:
            self.dismiss(worker)


def parse(executor: Any, devices: Sequence[Any] | None) -> Ray | Processes | None:
    """An executor as `run` takes it: None, `inline`, `processes`, `ray`, or what `sweeps.ray` made.

    Args:
        executor: what was given.
        devices: the devices that were given with it, or None.

    Raises:
        StudyError: it is none of these, or has devices of its own.
    """
    known = {"inline": lambda: None, "processes": Processes, "ray": ray}
    found = known[executor]() if isinstance(executor, str) and executor in known else executor
    if found is not None and not isinstance(found, Ray | Processes):
        raise StudyError(unknown("Unknown executor", executor, (*known, "sweeps.ray(...)")))
    if isinstance(found, Processes) and devices is not None:
        raise StudyError(
            f"`devices is None` must hold with executor='processes', whose workers take a core each, but got "
            f"{len(devices)} devices"
        )
    return found


def in_processes(setting: Mapping[str, Any] | None) -> bool:
    """Whether a run goes on in a process per core where nothing else is said.

    Args:
        setting: the numerical setting that it began in; None if it has none yet.
    """
    began = setting or {}
    one_core = (began.get("platform"), began.get("devices"), began.get("threads")) == ("cpu", 1, 1)
    return one_core and sys.platform == "linux" and cpu_cores() > 1


def going_on(
    executor: Any, devices: Sequence[Any] | None, recorded: Mapping[str, Any]
) -> tuple[Ray | Processes | None, bool]:
    """Where a run goes on, and whether nobody has said where.

    Args:
        executor: what was given.
        devices: the devices that were given with it, or None.
        recorded: the manifest of the run.

    Raises:
        StudyError: it is no executor, or has devices of its own.
    """
    free = executor is None and devices is None
    where = "processes" if free and in_processes(recorded["numerical_setting"]) else executor
    return parse(where, devices), free


@contextlib.contextmanager
def ready(executor: Any) -> Iterator[Any]:
    """An executor that is ready; of processes, what they are forked off is there until the block is left.

    Args:
        executor: an executor, or None.

    Raises:
        StudyError: this system has no such processes.
    """
    if not isinstance(executor, Processes) or executor.server is not None:
        yield executor
        return
    if sys.platform != "linux":
        raise StudyError(
            f"`executor='processes' is for Linux` must hold, but got {sys.platform}; leave it out"
        )
    with serving() as server:
        yield executor._replace(server=server)
