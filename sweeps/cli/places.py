"""Where a run is trained, as the arguments of the command have it."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any

import jax

from sweeps.errors import StudyError, unknown
from sweeps.executors import ray_cluster
from sweeps.executors.processes import in_processes

EXECUTORS = ("processes", "inline", "ray")


def place(options: argparse.Namespace, recorded: dict[str, Any]) -> dict[str, Any]:
    """Where a run goes on, for how long, and who sees it.

    Args:
        options: the arguments.
        recorded: the manifest of the run.
    """
    return {
        "executor": executor(options, began=recorded["numerical_setting"]),
        "devices": devices(options),
        "max_minutes": options.max_minutes,
        "progress": not options.quiet,
        "storage": options.storage,
    }


def executor(
    options: argparse.Namespace, said: str | None = None, began: dict[str, Any] | None = None
) -> Any:
    """Where to train, as the arguments have it, or else the study's file; None says nothing of it.

    Args:
        options: the arguments.
        said: what the study's file says.
        began: the numerical setting that a run began in, if it goes on.

    Raises:
        StudyError: there is no such executor, or an argument is for another.
    """
    word = options.executor if options.executor is not None else said
    given = {name: getattr(options, name) for name in ("address", "worker_cpus", "worker_gpus")}
    given = {name: value for name, value in given.items() if value is not None}
    if word != "ray" and given:
        raise StudyError(
            f"`--executor ray` must be given with --{next(iter(given)).replace('_', '-')}, but got "
            f"{word or 'none'}"
        )
    if word not in (None, *EXECUTORS):
        raise StudyError(unknown("Unknown executor", word, EXECUTORS))
    if word in ("processes", "ray") or (word is None and options.devices is None and in_processes(began)):
        # This process trains nothing and leaves accelerators to workers.
        jax.config.update("jax_platforms", "cpu")
    return ray_cluster.ray(**given) if word == "ray" else word


def devices(options: argparse.Namespace) -> Any:
    """The first so many devices; None for all.

    Args:
        options: the arguments.

    Raises:
        StudyError: there are not so many.
    """
    if options.devices is None:
        return None
    there = jax.devices()
    if not 1 <= options.devices <= len(there):
        raise StudyError(f"`1 <= devices <= {len(there)}` must hold, but got --devices {options.devices}")
    return there[: options.devices]


def new_folder(name: str) -> Path:
    """A folder for a run that names none, which does not exist yet.

    Args:
        name: what the run is called.
    """
    stem = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    candidates = (stem.with_name(f"{stem.name}-{number}" if number else stem.name) for number in range(1000))
    return next(path for path in candidates if not path.exists())
