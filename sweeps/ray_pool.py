"""Workers of a Ray cluster, and how many it has room for."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.cluster import Ray
from sweeps.pool import Died, Failed
from sweeps.space import StudyError
from sweeps.worker import Worker


class RayPool:
    """Workers of a Ray cluster, as `Pool` has them.

    Args:
        package: Ray.
        wanted: how the run uses it.
        cpu_devices: how many cores a chunk was shared by when the run began; None if it begins now.

    Raises:
        StudyError: no node is large enough.
    """

    def __init__(self, package: Any, wanted: Ray, cpu_devices: int | None):
        self.ray, self.wanted = package, wanted
        self.shape = worker_shape(package, wanted, cpu_devices)
        # One that dies is replaced by a new one, not begun again: it would have lost the study.
        self.actor = package.remote(Worker).options(max_restarts=0, **self.shape)

    def room(self) -> int:
        """How many workers there is room for."""
        return self.wanted.workers or slots(self.ray, self.shape)

    def neighbours(self) -> int:
        """How many of them share the memory of one host."""
        return max([1, *_places(self.ray, self.shape)])

    def wants(self) -> str:
        """What a worker needs."""
        return f"{self.shape['num_cpus']} CPUs and {self.shape['num_gpus']} GPUs; see `ray status`"

    def hire(self, name: str) -> Any:
        """Asks for one more worker."""
        accelerated = bool(self.shape["num_gpus"] or self.shape["resources"].get("TPU"))
        return self.actor.remote(name, self.shape["num_cpus"], accelerated)

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
            raise Died(_cause(error)) from error
        except Exception as error:  # what unpickling the study raises is the study's own
            raise Failed(_last_line(error)) from error

    def dismiss(self, worker: Any) -> None:
        """Ends a worker at once."""
        with contextlib.suppress(Exception):  # it may be dead already
            self.ray.kill(worker)

    def disband(self, workers: Sequence[Any]) -> None:
        """Ends workers."""
        for worker in workers:
            self.dismiss(worker)


def worker_shape(package: Any, wanted: Ray, cpu_devices: int | None) -> dict[str, Any]:
    """What each worker asks the cluster for.

    Args:
        package: Ray.
        wanted: what was asked for.
        cpu_devices: how many devices the run began with, if these were cores; None if it begins now.

    Returns:
        Options of a Ray actor.

    Raises:
        StudyError: no node is large enough.
    """
    nodes = _nodes(package)
    counts = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    cpus = wanted.worker_cpus or cpu_devices or min(counts, default=1)
    gpus = wanted.worker_gpus
    if gpus is None:
        gpus = 0 if cpu_devices else min((int(n["GPU"]) for n in nodes if n.get("GPU", 0) >= 1), default=0)
    shape = {"num_cpus": cpus, "num_gpus": gpus, "resources": dict(wanted.resources or {})}
    if not wanted.workers and not slots(package, shape):
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


def _last_line(error: Exception) -> str:
    """What the worker's own exception said, without the frames around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _cause(error: Exception) -> str:
    """Why a worker died, as far as Ray knows, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "memory" in line.lower()), lines[0] if lines else "")
    return f"{type(error).__name__}: {said}"
