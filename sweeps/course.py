"""A run's way through its chunks: trained one after another, kept in memory or committed to the disk."""

import collections
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from sweeps import checkpoints, kept, planning, store
from sweeps.checkpoints import Writer
from sweeps.lock import Lock
from sweeps.planning import Chunk
from sweeps.preparation import Prepared
from sweeps.progress import Display
from sweeps.request import Request
from sweeps.results import Results, load
from sweeps.signals import Signals
from sweeps.tables import pending_rows
from sweeps.training import Pace, Place, Trained, checkpoint_name, train


def rest(prepared: Prepared, done: np.ndarray) -> list[Chunk]:
    """The chunks that are still to be run; those that nothing was done of stay as they were planned.

    Args:
        prepared: the plan.
        done: the ids of the members that are committed.
    """
    whole, broken = [], []
    for chunk in prepared.chunks:
        missing = chunk.members[~np.isin(chunk.members, done)]
        if len(missing) == len(chunk.members):
            whole.append(chunk)
        elif len(missing):
            broken.append(missing)
    if broken:
        most, devices = prepared.most, prepared.bench.mesh.size
        ids = np.concatenate(broken)
        whole += planning.cut(prepared.population.groups, devices, most, only=ids)
    return sorted(whole, key=lambda chunk: (chunk.group, int(chunk.members[0])))


def run_in_memory(prepared: Prepared, written: dict[str, Any], display: Display, signals: Signals) -> Results:
    """Trains all chunks and keeps their rows in memory.

    Args:
        prepared: the plan.
        written: what a manifest would say.
        display: what a person sees.
        signals: what is held back while a span runs.
    """
    tables: list[tuple[pa.Table, pa.Table]] = []

    def finish(chunk: Chunk, trained: Trained) -> None:
        tables.append((trained.members, trained.metrics))

    _train_all(prepared, prepared.chunks, display, signals, None, finish)
    members, metrics = (
        pa.concat_tables(parts, promote_options="default") for parts in zip(*tables, strict=True)
    )
    return Results(written, tables=(members.sort_by(store.ORDER[:1]), metrics.sort_by(store.ORDER)))


def run_on_disk(
    prepared: Prepared,
    chunks: list[Chunk],
    wanted: Request,
    lock: Lock,
    display: Display,
    signals: Signals,
) -> Results:
    """Trains chunks and commits each to the directory whose lock is held.

    Args:
        prepared: the plan.
        chunks: those that are still to be run.
        wanted: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
        signals: what is held back while a span runs.
    """
    directory, steps, mode = lock.path.parent, wanted.study.steps, wanted.study.mode

    def finish(chunk: Chunk, trained: Trained) -> None:
        if wanted.keep_best:
            leaves = checkpoints.to_host(trained.carry.state, len(chunk.members))
            kept.keep(directory, wanted.keep_best, mode, chunk.members, trained.final, leaves)
        name = f"{chunk.name}-0-{steps}"
        store.commit(directory, name, trained.members, trained.metrics, trained.setting)
        checkpoints.remove(directory, checkpoint_name(chunk))
        if wanted.keep_best:
            kept.prune(directory, wanted.keep_best, mode)

    place = Place(directory, Writer(directory, 60 * wanted.checkpoint_minutes), lock)
    try:
        _train_all(prepared, chunks, display, signals, place, finish)
        checkpoints.clear(directory)
    finally:  # also after Ctrl-C: whoever looks finds tables of what was done
        pending = functools.partial(pending_rows, wanted.population)
        store.derive(directory, len(wanted.population), pending)
    return load(directory)


def _train_all(
    prepared: Prepared,
    chunks: list[Chunk],
    display: Display,
    signals: Signals,
    place: Place | None,
    finish: Callable[[Chunk, Trained], None],
) -> None:
    """Every chunk; one that does not fit the memory is cut in halves, and so are the rest."""
    waiting = collections.deque(chunks)
    pace, devices = Pace(), prepared.bench.mesh.size
    while waiting:
        chunk = waiting.popleft()
        with signals.held():
            try:
                trained = train(prepared, chunk, pace, display, signals, place)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error) or chunk.width <= devices:
                    raise
                display.note(
                    f"out of memory with {chunk.width} members at once; going on with {chunk.width // 2}"
                )
                rest = np.concatenate([chunk.members, *(later.members for later in waiting)])
                most = max(chunk.width // 2, 1)
                waiting = collections.deque(
                    planning.cut(prepared.population.groups, devices, most, only=rest)
                )
                continue
            finish(chunk, trained)
