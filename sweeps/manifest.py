"""What a run is: the study as it was asked for, by what it was run, and how it was planned."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from typing import Any

from sweeps.planning import Chunk
from sweeps.population import Population
from sweeps.space import text
from sweeps.trial import Study

PACKAGES = ("lrelu-jax", "jax", "jaxlib", "flax", "optax", "numpy")


def describe(
    study: Study,
    population: Population,
    *,
    name: str,
    samples: int | None,
    root_seed: int,
    mesh: Any,
    loop: str,
    chunks: Sequence[Chunk],
) -> dict[str, Any]:
    """The manifest of a run.

    Args:
        study: the study.
        population: its members.
        name: what the run is called.
        samples: how many joint draws were asked for.
        root_seed: what all randomness derives from.
        mesh: the devices.
        loop: the loop mode.
        chunks: the plan.
    """
    device = mesh.devices.flat[0]
    asked = {
        "study": name,
        "config": population.config.__name__,
        "fields": [field.name for field in population.fields],
        "swept": list(population.swept),
        "space": {field: text(domain) for field, domain in study.domains.items()},
        "steps": study.steps,
        "metric": study.metric,
        "mode": study.mode,
        "batches": study.batches,
        "batch_size": study.trial.batch_size,
        "evaluation_steps": list(study.evaluation_steps),
        "samples": samples,
        "root_seed": root_seed,
        "members": len(population),
    }
    return asked | {
        "fingerprint": hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest(),
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
        "numerical_setting": {
            "platform": device.platform,
            "device_kind": device.device_kind,
            "devices": mesh.size,
            "members_per_device": sorted({chunk.width // mesh.size for chunk in chunks}),
            "loop": loop,
        },
        "plan": {"groups": len(population.statics), "chunks": len(chunks)},
    }
