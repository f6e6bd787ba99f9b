"""Results of runs that were never trained, of any size and with any misfortune."""

import itertools
import math

import numpy as np
import pyarrow as pa

from sweeps.results.results import Results

MANIFEST = {
    "study": "synthetic",
    "metric": "test/accuracy",
    "mode": "max",
    "steps": 100,
    "root_seed": 0,
    "samples": None,
    "batch_size": 32,
    "batches": "shared",
    "versions": {"python": "3.11.7", "jax": "0.10.2"},
    "numerical_setting": {
        "platform": "cpu",
        "device_kind": "cpu",
        "devices": 2,
        "members_per_device": 3,
        "loop": "scan",
        "threads": 2,
    },
    "fingerprint": "0123",
    "reference": None,
}


def run_of(
    space,
    seeds=8,
    *,
    levels=None,
    extra=(),
    diverged=(),
    stopped=None,
    pending=(),
    evaluations=10,
    **manifest,
):
    """A run whose metric is best near alpha = 0.1 and learning_rate = 1e-3.

    Args:
        space: a field to the text of its domain.
        seeds: how many.
        levels: a field to its values, which cross.
        extra: names of further metrics.
        diverged: ids of members that diverged at half the steps.
        stopped: ids to the step that they were stopped at.
        pending: ids of members that were not trained yet.
        evaluations: how many there are.
        **manifest: what the manifest says otherwise.
    """
    levels, stopped = levels or {}, stopped or {}
    points = list(itertools.product(*levels.values(), range(seeds)))
    count = len(points)
    columns = {name: [point[place] for point in points] for place, name in enumerate(levels)}
    seed = np.asarray([point[-1] for point in points])
    status = np.full(count, "done", object)
    diverged_at = np.full(count, np.nan)
    stopped_at = np.full(count, np.nan)
    said = MANIFEST | {"swept": list(levels), "fields": [*levels, "momentum"], "members": count} | manifest
    steps = np.linspace(said["steps"] / evaluations, said["steps"], evaluations).round().astype(int)
    status[list(diverged)], diverged_at[list(diverged)] = "diverged", said["steps"] // 2
    for member, step in stopped.items():
        status[member], stopped_at[member] = "stopped", step
    status[list(pending)] = "pending"
    members = pa.table(
        {
            "member": np.arange(count),
            "seed": pa.array(seed, pa.uint32()),
            "group": pa.array(np.zeros(count), pa.int32()),
            "status": pa.array(status, pa.string()),
            "diverged_at": pa.array(diverged_at, pa.int32(), from_pandas=True),
            "stopped_at": pa.array(stopped_at, pa.int32(), from_pandas=True),
            **{name: pa.array(values) for name, values in columns.items()},
            "momentum": np.full(count, 0.9),
        }
    )
    noise = np.random.default_rng(0).normal(0, 1, (count, 2))
    final = 0.96 + 0.004 * noise[:, 0] + 0.003 * np.random.default_rng(1).normal(0, 1, seeds)[seed]
    final -= sum(_penalty(name, values) for name, values in columns.items())
    final = np.clip(final, 0, 1)
    ends = np.where(
        np.isfinite(diverged_at), diverged_at, np.where(np.isfinite(stopped_at), stopped_at, said["steps"])
    )
    ends[list(pending)] = 0
    there = steps <= ends[:, None]
    curve = final[:, None] * (1 - np.exp(-5 * steps / said["steps"]))
    metrics = {said["metric"]: curve, "train/loss": 3 * np.exp(-4 * curve) + 0.01 * noise[:, 1:]}
    for place, name in enumerate(extra):
        metrics[name] = np.clip(0.02 * (place + 1) + 0.01 * noise[:, 1:] + 0 * curve, 0, 1)
    rows = {name: values[there].astype(np.float32) for name, values in metrics.items()}
    table = {"member": np.nonzero(there)[0], "step": np.broadcast_to(steps, there.shape)[there]}
    return Results(
        said | {"space": {**space, "seed": f"range(0, {seeds})"}}, tables=(members, pa.table(table | rows))
    )


def _penalty(name, values):
    best = {"alpha": 0.1, "learning_rate": 1e-3, "width": 128}.get(name)
    numbers = [value if isinstance(value, float | int) else 0.0 for value in values]
    if best is None:
        return np.asarray([0.01 * (len(str(value)) % 3) for value in values])
    if name == "alpha":
        return 0.3 * (np.asarray(numbers) - best) ** 2
    return 0.02 * np.asarray([abs(math.log10(max(number, 1e-9) / best)) for number in numbers])
