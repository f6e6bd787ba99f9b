"""A run's members as the trials of an Optuna study, which `optuna-dashboard` shows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.grammar import as_domain
from sweeps.optuna_mirror import mirror
from sweeps.optuna_search import load, quiet
from sweeps.space import StudyError


def reachable(storage: str) -> None:
    """Raises a StudyError unless there is an Optuna storage there, or one can be made.

    Args:
        storage: its URL.
    """
    optuna = load()
    try:
        with quiet(optuna):
            optuna.storages.get_storage(storage)
    except Exception as error:  # every database has errors of its own
        raise StudyError(
            f"`storage is the URL of a database that can be opened` must hold, but got {storage!r} "
            f"({type(error).__name__}: {str(error).splitlines()[0]}); sqlite:///optuna.db is a file"
        ) from error


def show(members: pa.Table, metrics: pa.Table, manifest: Mapping[str, Any], storage: str) -> int:
    """Adds members to the study in an Optuna storage; those that are there, or still run, are left out.

    Args:
        members: rows of members.
        metrics: their rows of metrics.
        manifest: what the run is.
        storage: the storage's URL, such as `sqlite:///runs/mine/optuna.db`.

    Returns:
        How many were added.

    Raises:
        StudyError: Optuna is not installed, the storage cannot be opened, or it holds another study of that
            name.
    """
    metric, last = manifest["metric"], manifest["steps"]
    curves: dict[int, dict[int, float]] = {member: {} for member in members["member"].to_pylist()}
    columns = (metrics[name].to_pylist() for name in ("member", "step", metric))
    for member, step, value in zip(*columns, strict=True):
        if value is not None and member in curves:
            curves[member][step] = value
    swept = manifest["swept"]
    return mirror(
        members.select(swept).to_pylist(),
        np.asarray([curve.get(last, np.nan) for curve in curves.values()]),
        domains={name: as_domain(text, name) for name, text in manifest["space"].items() if name in swept},
        mode=manifest["mode"],
        metric=metric,
        study_name=manifest["study"],
        storage=storage,
        numbers=members["member"].to_numpy(),
        states=members["status"].to_pylist(),
        intermediate=list(curves.values()),
    )
