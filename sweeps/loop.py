"""`run`: the loop over chunks that ties the parts together."""

import hashlib
import importlib.metadata
import itertools
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa

from sweeps import execute, planning, store
from sweeps.population import Population, populate, traced_columns
from sweeps.progress import Display
from sweeps.results import Results, load
from sweeps.space import StudyError, text
from sweeps.trial import Data, Study, unknown

SPAN_SECONDS = 2.0  # signals, progress and divergence are dealt with at least this often
IN_MEMORY_MEMBERS = 100_000


def run(
    study: Study,
    *,
    samples: int | None = None,
    out: str | Path | None = None,
    root_seed: int = 0,
    devices: Sequence[Any] | None = None,
    members_per_chunk: int | None = None,
    progress: bool = True,
    name: str = "study",
) -> Results:
    """Trains every member of a study and returns what they found.

    Args:
        study: the study.
        samples: how many joint draws of the sampled fields.
        out: a new folder to keep the run in; None keeps it in memory.
        root_seed: what all randomness derives from, a whole number ≥ 0.
        devices: the devices that share the members; None takes all.
        members_per_chunk: how many members run at once; None chooses.
        progress: whether to show progress on standard error.
        name: what the manifest calls the study.

    Returns:
        The results; with `out`, its folder holds them too.

    Raises:
        StudyError: something asked for cannot be done; nothing was trained then.
        KeyboardInterrupt: Ctrl-C; chunks that were finished are kept in `out`.
    """
    if not isinstance(root_seed, int) or not 0 <= root_seed < 2**32:
        raise StudyError(
            f"`root_seed is a whole number from 0 to 2**32 - 1` must hold, but got {root_seed!r}"
        )
    population = populate(study, samples, root_seed)
    if out is None and len(population) > IN_MEMORY_MEMBERS:
        raise StudyError(
            f"`out` must be given above {IN_MEMORY_MEMBERS} members, but got {len(population)} and no out"
        )
    mesh = execute.make_mesh(list(devices) if devices else jax.devices())
    reported = execute.check(study, population.statics[0], traced_columns(population, np.zeros(1, int)))
    if study.metric not in reported:
        raise StudyError(
            f"`metric is reported by the trial` must hold, but got {unknown(study.metric, reported)}"
        )
    chunks = planning.cut(population.groups, mesh.size, members_per_chunk)
    manifest = _describe(study, population, samples, root_seed, mesh, chunks, name)
    directory = None if out is None else store.create(out, manifest)

    tables: list[tuple[pa.Table, pa.Table]] = []
    shared = _share(study, mesh, root_seed)
    pace = Pace()
    with Display(len(population), study.steps, shown=progress) as display:
        try:
            for group, own in itertools.groupby(chunks, key=lambda chunk: chunk.group):
                program = execute.build(study, population.statics[group], mesh)
                for chunk in own:
                    rows = _train(study, population, chunk, program, shared, pace, display)
                    if directory is None:
                        tables.append(rows)
                    else:
                        store.commit(directory, f"{chunk.name}-0-{study.steps}", *rows)
        finally:
            if directory is not None:
                _derive(directory, population)
    if directory is not None:
        return load(directory)
    members, metrics = (
        pa.concat_tables(parts, promote_options="default") for parts in zip(*tables, strict=True)
    )
    return Results(members.sort_by(store.ORDER[:1]), metrics.sort_by(store.ORDER), manifest)


class Shared(NamedTuple):
    """What all members see: the root key, the data, and a batch's shape."""

    root: jax.Array
    train: Any
    evaluation: Any
    example: Any


class Pace:
    """How many steps make a span, by the time that steps were seen to take."""

    def __init__(self):
        self.seconds_per_step: float | None = None

    def span(self, steps: int) -> int:
        """At most so many of these steps; the first span, which compiles, is one step long."""
        if self.seconds_per_step is None:
            return 1
        return max(1, min(steps, int(SPAN_SECONDS / max(self.seconds_per_step, 1e-9))))

    def saw(self, steps: int, seconds: float) -> None:
        """Takes a measurement; the first is of the compiler, so only its absence is remembered."""
        self.seconds_per_step = 0.1 if self.seconds_per_step is None else seconds / steps


def _share(study: Study, mesh: Any, root_seed: int) -> Shared:
    data = study.trial.data or Data(None, None)
    root = jax.random.key(root_seed, impl="threefry2x32")
    root, train, evaluation = execute.place_data(mesh, (root, data.train, data.evaluation))
    return Shared(root, train, evaluation, execute.example_batch(study))


def _train(
    study: Study,
    population: Population,
    chunk: planning.Chunk,
    program: execute.Program,
    shared: Shared,
    pace: Pace,
    display: Display,
) -> tuple[pa.Table, pa.Table]:
    """Trains one chunk from its first step to its last; returns its rows of members and metrics."""
    padding = np.repeat(chunk.members[-1:], chunk.width - len(chunk.members))
    ids = np.concatenate([chunk.members, padding])
    members = execute.place_members(program.mesh, traced_columns(population, ids), population.seeds[ids])
    carry = program.init(shared.root, members, shared.example)
    evaluations: list[tuple[int, dict[str, np.ndarray]]] = []
    step, loss = 0, float("nan")
    for target in study.evaluation_steps:
        while step < target:
            stop = step + pace.span(target - step)
            began = time.monotonic()
            carry = jax.block_until_ready(
                program.advance(shared.root, members, carry, shared.train, step, stop)
            )
            pace.saw(stop - step, time.monotonic() - began)
            step = stop
            display.chunk(len(chunk.members), step, loss)
        values, carry = program.evaluate(members, carry, shared.evaluation)
        evaluations.append(
            (step, {name: np.asarray(rows)[: len(chunk.members)] for name, rows in values.items()})
        )
        if "train/loss" in values:
            loss = _finite_mean(evaluations[-1][1]["train/loss"])
    diverged_at = np.asarray(carry.diverged_at)[: len(chunk.members)]
    display.finish(len(chunk.members), int((diverged_at != execute.ALIVE).sum()))
    status = np.where(diverged_at == execute.ALIVE, "done", "diverged")
    return member_rows(population, chunk.members, status, diverged_at), metric_rows(
        chunk.members, diverged_at, evaluations
    )


def member_rows(
    population: Population, members: np.ndarray, status: np.ndarray, diverged_at: np.ndarray
) -> pa.Table:
    """The rows of `members.parquet`: id, seed, group, status, and every field of the configuration."""
    columns: dict[str, Any] = {
        "member": pa.array(members, pa.int64()),
        "seed": pa.array(population.seeds[members], pa.uint32()),
        "group": pa.array(population.groups[members], pa.int32()),
        "status": pa.array(status, pa.string()),
        "diverged_at": pa.array(diverged_at, pa.int32(), mask=diverged_at == execute.ALIVE),
        "stopped_at": pa.nulls(len(members), pa.int32()),
    }
    for field in population.fields:
        column = population.columns.get(field.name)
        values = [population.fixed[field.name]] * len(members) if column is None else column[members].tolist()
        kind = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}.get(field.kind)
        # A value that Parquet has no type for is kept as what a person would read.
        columns[field.name] = pa.array(values, kind) if kind else pa.array([str(value) for value in values])
    return pa.table(columns)


def metric_rows(
    members: np.ndarray, diverged_at: np.ndarray, evaluations: list[tuple[int, dict[str, np.ndarray]]]
) -> pa.Table:
    """The rows of `metrics.parquet`; a diverged member's end with the first evaluation after it diverged."""
    steps = np.asarray([step for step, _ in evaluations])
    names = list(evaluations[0][1])
    before = np.searchsorted(steps, diverged_at)  # evaluations that came before the divergence
    kept = np.where(diverged_at == execute.ALIVE, len(steps), before + 1)
    mask = np.arange(len(steps)) < kept[:, None]
    columns: dict[str, Any] = {
        "member": pa.array(np.broadcast_to(members[:, None], mask.shape)[mask], pa.int64()),
        "step": pa.array(np.broadcast_to(steps, mask.shape)[mask], pa.int64()),
    }
    for name in names:
        stacked = np.stack([values[name] for _, values in evaluations], axis=1)
        columns[name] = pa.array(stacked[mask], pa.float32())
    return pa.table(columns)


def _derive(directory: Path, population: Population) -> None:
    """Writes the tables of the whole run from its chunks; members that no chunk holds yet are pending."""
    members, metrics = store.read(directory, "members"), store.read(directory, "metrics")
    found = np.zeros(0, int) if members is None else members["member"].to_numpy()
    pending = np.setdiff1d(np.arange(len(population)), found)
    rows = member_rows(
        population, pending, np.full(len(pending), "pending"), np.full(len(pending), execute.ALIVE, np.int32)
    )
    table = rows if members is None else pa.concat_tables([members, rows])
    store.write_table(directory, "members", table.sort_by(store.ORDER[:1]))
    if metrics is not None:
        store.write_table(directory, "metrics", metrics)


def _describe(
    study: Study,
    population: Population,
    samples: int | None,
    root_seed: int,
    mesh: Any,
    chunks: list[planning.Chunk],
    name: str,
) -> dict[str, Any]:
    """The manifest: what was asked for, by what it was run, and how it was planned."""
    packages = ("lrelu-jax", "jax", "jaxlib", "flax", "optax", "numpy")
    device = mesh.devices.flat[0]
    described = {
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
    fingerprint = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    return described | {
        "fingerprint": fingerprint,
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "numerical_setting": {
            "platform": device.platform,
            "device_kind": device.device_kind,
            "devices": mesh.size,
            "members_per_device": sorted({chunk.width // mesh.size for chunk in chunks}),
        },
        "plan": {"groups": len(population.statics), "chunks": len(chunks)},
    }


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
