"""What a run is: the study as it was asked for, by what it was run, and how it was planned."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

from sweeps.devices import cpu_cores
from sweeps.population import Population
from sweeps.space import text
from sweeps.trial import Study

PACKAGES = ("lrelu-jax", "jax", "jaxlib", "flax", "optax", "numpy")
NUMERICAL = ("jax", "jaxlib")  # whose versions are part of the numerical setting


def asked(
    study: Study,
    population: Population,
    *,
    name: str,
    samples: int | None,
    root_seed: int,
    members: int,
    search: str = "grid",
    points_per_batch: int | None = None,
    schedule: str | None = None,
    points: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """What was asked for: two runs that agree in it have the same members.

    Args:
        study: the study.
        population: its members.
        name: what the run is called.
        samples: how many joint draws were asked for.
        root_seed: what all randomness derives from.
        members: how many members there will be.
        search: where points come from.
        points_per_batch: how many points an adaptive search proposes at once.
        schedule: which members go on, as text.
        points: the points of a run over some points, rather than over a space.
    """
    space = {field: text(domain) for field, domain in study.domains.items()}
    return {
        "study": name,
        "config": population.config.__name__,
        "fields": [field.name for field in population.fields],
        "swept": list(population.swept),
        "space": space if points is None else {"points": json.loads(json.dumps(points, default=str))},
        "steps": study.steps,
        "metric": study.metric,
        "mode": study.mode,
        "batches": study.batches,
        "batch_size": study.trial.batch_size,
        "evaluation_steps": list(study.evaluation_steps),
        "samples": samples,
        "root_seed": root_seed,
        "search": search,
        "points_per_batch": points_per_batch,
        "schedule": schedule,
        "members": members,
    }


def fingerprint(asked: Mapping[str, Any], digests: Mapping[str, Any]) -> str:
    """One word for what was asked for, the data and the programs.

    Args:
        asked: what was asked for.
        digests: of the data and of the programs.
    """
    return hashlib.sha256(json.dumps([asked, digests], sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that matter."""
    found = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version(), **found}


def setting(mesh: Any, loop: str, per_device: int) -> dict[str, Any]:
    """A numerical setting: within one, equal members have equal bits.

    Args:
        mesh: the devices.
        loop: the loop mode.
        per_device: members per device.
    """
    device = mesh.devices.flat[0]
    return {
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": mesh.size,
        "members_per_device": per_device,
        "loop": loop,
        "threads": cpu_cores(),
        **{package: importlib.metadata.version(package) for package in NUMERICAL},
    }


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two descriptions, one line each: `steps: 100, now 200`.

    Args:
        recorded: the earlier one.
        now: the later one.
    """
    found = []
    for name in dict.fromkeys([*recorded, *now]):
        before, after = recorded.get(name), now.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += [f"{name}.{line}" for line in differences(before, after)]
        elif before != after:
            found.append(f"{name}: {_said(before)}, now {_said(after)}")
    return found


def _said(value: Any) -> str:
    return "nothing" if value is None else str(value)
