"""The same chunks through Ray: where workers run, and what the driver asks of them."""

import contextlib
import os
import signal
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sweeps.signals import Signals
from sweeps.space import StudyError
from sweeps.trial import Study

NOT_SHIPPED = ["runs/", ".git/", ".venv/", "venv/", "__pycache__/", "*.parquet"]


class Ray(NamedTuple):
    """How a run uses Ray; made by `sweeps.ray`.

    Attributes:
        address: of the cluster; None starts one on this machine, or uses what the process is connected to.
        worker_cpus: cores of each worker; None takes all of the smallest node.
        worker_gpus: GPUs of each worker; None takes all of the smallest node that has any.
        resources: others that each worker needs, such as `{"TPU": 4}`.
        workers: how many workers to ask for at once; None asks for as many as there is room for.
        attempts: how often a chunk is tried before its members are given up as failed.
        time_limit: after how many seconds without a sign of life a worker is given up; None derives it from
            the plan: a minute, and ten times what the chunk should take.
        runtime_env: Ray's runtime environment; None ships the folder that the study's module is in.
    """

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
        runtime_env: Ray's runtime environment; None ships the folder that the study's module is in.

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
def connected(wanted: Ray, study: Study, signals: Signals) -> Iterator[Any]:
    """Ray, connected to the cluster.

    Args:
        wanted: which.
        study: the study, whose module is shipped.
        signals: what handles SIGTERM, which Ray would take over.

    Raises:
        StudyError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray as package  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise StudyError(
            "`ray is installed` must hold for this executor, but it is not; pip install 'lrelu-jax[ray]'"
        ) from error
    if package.is_initialized():
        yield package
        return
    environment = dict(wanted.runtime_env) if wanted.runtime_env is not None else shipped(study)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as later versions of Ray have it
    before = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"address": wanted.address, "runtime_env": environment}
    options |= {"log_to_driver": False, "logging_level": "error"}
    if wanted.address is None:
        options |= {"include_dashboard": False}
    try:
        with warnings.catch_warnings():
            # What Ray forks runs another program at once, and never JAX's threads.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            package.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise StudyError(
            f"`a Ray cluster at {wanted.address or 'this machine'}` must be there, but got: "
            f"{str(error).splitlines()[0]}; start one with `ray start --head`"
        ) from error
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)
    try:
        yield package
    finally:
        package.shutdown()


def shipped(study: Study) -> dict[str, Any]:
    """The runtime environment that brings the study's module to the workers.

    A module that is installed is taken to be installed there too; one of a script's own travels with the
    functions themselves.

    Args:
        study: the study.
    """
    name = study.trial.config.__module__.partition(".")[0]
    module = sys.modules.get(name)
    found = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    if name in ("__main__", "sweeps") or found is None:
        return {}
    path = Path(found)
    folder = path.parent.parent if path.name == "__init__.py" or path.is_dir() else path.parent
    installed = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib")]
    if any(folder.is_relative_to(place) for place in installed):
        return {}
    return {"working_dir": str(folder), "excludes": NOT_SHIPPED}
