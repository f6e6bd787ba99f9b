"""The same chunks through Ray: where workers run, and what the driver asks of them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sweeps.engine.failure import describe
from sweeps.errors import StudyError, imported
from sweeps.executors.pool import Died, Failed
from sweeps.executors.shipping import pack, shipment
from sweeps.executors.worker import SETTINGS, Worker, settings_of
from sweeps.trial import Study

REACH_SECONDS = 10.0  # to open a connection
ANSWER_SECONDS = 15.0  # for the cluster behind it
# In a process of its own, since nothing ends the wait of Ray itself, which begins after a line is printed.
PROBE = """import sys, ray
print(flush=True)
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
"""


class Ray(NamedTuple):
    """How a run uses Ray; made by `sweeps.ray`, where each is explained."""

    address: str | None = None
    worker_cpus: int | None = None
    worker_gpus: int | None = None
    resources: Mapping[str, float | int] | None = None
    workers: int | None = None
    attempts: int = 3
    time_limit: float | int | None = None
    runtime_env: Mapping[str, Any] | None = None


def ray(
    address: str | None = None,
    *,
    worker_cpus: int | None = None,
    worker_gpus: int | None = None,
    resources: Mapping[str, float | int] | None = None,
    workers: int | None = None,
    attempts: int = 3,
    time_limit: float | int | None = None,
    runtime_env: Mapping[str, Any] | None = None,
) -> Ray:
    """Runs the chunks of a sweep on the workers of a Ray cluster: `sweeps.run(..., executor=sweeps.ray())`.

    Each worker is a JAX process with devices of its own. All of them read and write the run directory, which
    must be on a path that they share.

    Args:
        address: of the cluster, `auto` or `HOST:PORT`; None starts one on this machine, or uses what the
            process is connected to.
        worker_cpus: cores of each worker; None takes all of the smallest node.
        worker_gpus: GPUs of each worker; None takes all of the smallest node that has any.
        resources: others that each worker needs, such as `{"TPU": 4}`.
        workers: how many workers to ask for at once, for clusters that grow when asked; None asks for as
            many as there is room for, and for more when there is more.
        attempts: how often a chunk is tried before its members are given up as `failed`.
        time_limit: after how many seconds without a sign of life a worker is given up; None derives it from
            the plan: a minute, and ten times what the chunk should take.
        runtime_env: Ray's runtime environment; None ships what git tracks beside the study's module,
            and what is imported from there.

    Raises:
        StudyError: a number is out of bounds.

    Example:
        >>> ray("auto", worker_cpus=8).worker_cpus
        8
    """
    for name, value, least in (
        ("worker_cpus", worker_cpus, 1),
        ("worker_gpus", worker_gpus, 0),
        ("workers", workers, 1),
        ("attempts", attempts, 1),
    ):
        if value is not None and (not isinstance(value, int) or value < least):
            raise StudyError(f"`{least} <= {name}` must hold and be a whole number, but got {value!r}")
    if time_limit is not None and time_limit <= 0:
        raise StudyError(f"`0 < time_limit` must hold, but got {time_limit!r}")
    return Ray(address, worker_cpus, worker_gpus, resources, workers, attempts, time_limit, runtime_env)


@contextlib.contextmanager
def connected(executor: Ray, study: Study, say: Callable[[str], Any]) -> Iterator[Any]:
    """Ray, connected to the cluster.

    Args:
        executor: which.
        study: the study, whose module is shipped.
        say: called with what is shipped.

    Raises:
        StudyError: Ray is not installed, or there is no cluster at the address.
    """
    package = imported("ray", "'lrelu-jax[ray]'", " for this executor")
    if package.is_initialized():
        yield package
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as later versions of Ray have it
    if executor.address is not None:
        _check_reachable(executor.address)
        _check_answers(executor.address)
    with _environment(executor, study, say) as environment:
        _connect(package, executor, environment)
        try:
            yield package
        finally:
            package.shutdown()


def _connect(package: Any, executor: Ray, environment: dict[str, Any]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"address": executor.address, "runtime_env": environment}
    options |= {"log_to_driver": False, "logging_level": "error"}
    if executor.address is None:
        options |= {"include_dashboard": False}
    try:
        with warnings.catch_warnings():
            # What Ray forks runs another program at once, and never JAX's threads.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            package.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise StudyError(
            f"`a Ray cluster at {executor.address or 'this machine'}` must be there, but got: "
            f"{str(error).splitlines()[0]}; start one with `ray start --head`"
        ) from error
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _environment(executor: Ray, study: Study, say: Callable[[str], Any]) -> Iterator[dict[str, Any]]:
    """Ray's runtime environment, as it was given, or with what the study needs."""
    shipped = shipment(study) if executor.runtime_env is None else None
    if shipped is None:
        yield dict(executor.runtime_env or {})
        return
    with tempfile.TemporaryDirectory(prefix="sweeps-") as place:
        say(pack(shipped, Path(place)))
        yield {"working_dir": place}


def _check_reachable(address: str) -> None:
    """Raises a StudyError where nobody answers; Ray itself would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # `auto`, or a name that Ray knows
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise StudyError(
            f"`a Ray cluster at {address}` must be there, but got: {error}; start one with `ray start --head`"
        ) from error


def _check_answers(address: str) -> None:
    """Raises a StudyError where something listens that never answers; what else is wrong, Ray itself says."""
    command, null = [sys.executable, "-c", PROBE, address], subprocess.DEVNULL
    with subprocess.Popen(command, stdin=null, stdout=subprocess.PIPE, stderr=null) as probe:
        try:
            assert probe.stdout is not None
            probe.stdout.readline()
            probe.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StudyError(
                f"`a Ray cluster at {address}` must be there, but got no answer in {ANSWER_SECONDS:.0f} s; "
                f"`ray status --address {address}` shows whether it is up, `ray start --head` starts one"
            ) from error
        finally:
            probe.kill()


class RayPool:
    """Workers of a Ray cluster, as `Pool` has them.

    Args:
        package: Ray.
        executor: how the run uses it.
        cpu_devices: how many cores a chunk was shared by when the run began; None if it begins now.

    Raises:
        StudyError: no node is large enough.
    """

    def __init__(self, package: Any, executor: Ray, cpu_devices: int | None):
        self.ray, self.executor = package, executor
        self.shape = worker_shape(package, executor, cpu_devices)
        # One that dies is replaced by a new one, not begun again: it would have lost the study.
        self.actor = package.remote(Worker).options(max_restarts=0, **self.shape)

    def room(self) -> int:
        """How many workers there is room for."""
        return self.executor.workers or slots(self.ray, self.shape)

    def neighbours(self) -> int:
        """How many of them share the memory of one host."""
        return max([1, *_places(self.ray, self.shape)])

    def wants(self) -> str:
        """What a worker needs."""
        return f"{self.shape['num_cpus']} CPUs and {self.shape['num_gpus']} GPUs; see `ray status`"

    def hire(self, name: str) -> Any:
        """Asks for one more worker."""
        accelerated = bool(self.shape["num_gpus"] or self.shape["resources"].get("TPU"))
        settings = settings_of(SETTINGS)
        return self.actor.remote(name, self.shape["num_cpus"], accelerated, settings=settings)

    def share(self, value: Any) -> Any:
        """Sends a value ahead."""
        return self.ray.put(value)

    def call(self, worker: Any, method: str, *arguments: Any) -> Any:
        """Has a worker do something."""
        return getattr(worker, method).remote(*arguments)

    def ready(self, calls: Sequence[Any], seconds: float | int) -> list[Any]:
        """The calls that have an answer."""
        found, _ = self.ray.wait(list(calls), num_returns=len(calls), timeout=0)
        if not found:
            found, _ = self.ray.wait(list(calls), num_returns=1, timeout=seconds)
        return found

    def answer(self, call: Any) -> Any:
        """The answer to a call."""
        try:
            return self.ray.get(call)
        except self.ray.exceptions.RayActorError as error:
            raise Died(_cause(error), memory="NODE_OUT_OF_MEMORY" in str(error)) from error
        except self.ray.exceptions.OutOfMemoryError as error:
            raise Died(_cause(error), memory=True) from error
        except Exception as error:  # what unpickling the study raises is the study's own
            raise Failed(_said(error)) from error

    def dismiss(self, worker: Any) -> None:
        """Ends a worker at once."""
        with contextlib.suppress(Exception):  # it may be dead already
            self.ray.kill(worker)

    def disband(self, workers: Sequence[Any]) -> None:
        """Ends workers."""
        for worker in workers:
            self.dismiss(worker)


def worker_shape(package: Any, executor: Ray, cpu_devices: int | None) -> dict[str, Any]:
    """What each worker asks the cluster for.

    Args:
        package: Ray.
        executor: what was asked for.
        cpu_devices: how many devices the run began with, if these were cores; None if it begins now.

    Returns:
        Options of a Ray actor.

    Raises:
        StudyError: no node is large enough.
    """
    nodes = _nodes(package)
    counts = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    cpus = executor.worker_cpus or cpu_devices or min(counts, default=1)
    gpus = executor.worker_gpus
    if gpus is None:
        gpus = 0 if cpu_devices else min((int(n["GPU"]) for n in nodes if n.get("GPU", 0) >= 1), default=0)
    shape = {"num_cpus": cpus, "num_gpus": gpus, "resources": dict(executor.resources or {})}
    if not executor.workers and not slots(package, shape):
        largest = max(nodes, key=lambda node: node.get("CPU", 0), default={})
        got = ", ".join(f"{name} {largest.get(name, 0):g}" for name in ("CPU", "GPU", *shape["resources"]))
        raise StudyError(
            f"`a node has room for a worker of {cpus} CPUs and {gpus} GPUs` must hold, but got {got} in the "
            f"largest; lower worker_cpus (--worker-cpus) or worker_gpus (--worker-gpus)"
        )
    return shape


def slots(package: Any, shape: Mapping[str, Any]) -> int:
    """How many workers the cluster has room for, those that run among them.

    Args:
        package: Ray.
        shape: what each asks for.
    """
    return sum(_places(package, shape))


def _places(package: Any, shape: Mapping[str, Any]) -> list[int]:
    """How many workers each node has room for."""
    needs = {"CPU": shape["num_cpus"], "GPU": shape["num_gpus"], **shape["resources"]}
    needs = {name: value for name, value in needs.items() if value}
    return [int(min(node.get(name, 0) // value for name, value in needs.items())) for node in _nodes(package)]


def _nodes(package: Any) -> list[dict[str, float]]:
    return [node["Resources"] for node in package.nodes() if node["Alive"]]


def _said(error: Exception) -> str:
    """What the worker's own exception said, in one line, without the frames around it."""
    cause = getattr(error, "cause", None)  # which may not travel; then there is its text alone
    if isinstance(cause, Exception):
        return describe(cause).error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _cause(error: Exception) -> str:
    """Why a worker died, as far as Ray knows, in one line.

    Ray lists what else it might have been, memory among it: that is no knowledge, and is left out.
    """
    said, *_ = str(error).partition("Some common causes")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"
