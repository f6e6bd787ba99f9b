"""A run that is kept in memory: all chunks from beginning to end."""

from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.driver.rounds import buildable
from sweeps.engine.chunks import Chunk
from sweeps.engine.failure import Failure
from sweeps.engine.plan import Prepared
from sweeps.engine.rows import failed_rows, pending_rows
from sweeps.engine.training import Pace, Trained, train
from sweeps.executors.inline import train_all
from sweeps.host.progress import Display
from sweeps.host.signals import Signals
from sweeps.results.results import Results
from sweeps.store import chunks as store


def run_in_memory(prepared: Prepared, written: dict[str, Any], display: Display, signals: Signals) -> Results:
    """Trains all chunks from beginning to end and keeps their rows in memory; what is left out is pending.

    Args:
        prepared: the plan.
        written: what a manifest would say.
        display: what a person sees.
        signals: what is held back while a span runs.
    """
    tables: list[tuple[pa.Table, pa.Table]] = []
    errors: dict[int, str] = {}
    seconds: dict[int, float] = {}
    population, metric = prepared.bench.population, prepared.bench.study.metric

    def finish(chunk: Chunk, trained: Trained) -> None:
        tables.append((trained.members, trained.metrics))
        seconds.update(dict.fromkeys(chunk.members.tolist(), trained.seconds / len(chunk.members)))

    def leave(chunk: Chunk, why: Failure) -> None:
        tables.append(failed_rows(population, chunk.members, metric))
        errors.update(dict.fromkeys(chunk.members.tolist(), why.error))

    chunks = buildable(prepared.chunks, prepared.plan.failures, leave, display)
    pace = Pace(chunk.group for chunk in chunks)

    def train_one(chunk: Chunk) -> Trained:
        return train(prepared, population, chunk, pace, display, signals, None)

    with signals.ending(display.note):
        train_all(prepared, population, chunks, train_one, finish, leave, display, signals)
    there = np.concatenate([np.arange(0), *(rows["member"].to_numpy() for rows, _ in tables)])
    left = np.setdiff1d(np.arange(len(population)), there)
    if len(left):
        tables.append((pending_rows(population, left), failed_rows(population, left[:0], metric)[1]))
    members, metrics = (
        pa.concat_tables(parts, promote_options="permissive") for parts in zip(*tables, strict=True)
    )
    ordered = members.sort_by(store.ORDER[:1]), metrics.sort_by(store.ORDER)
    return Results(written, tables=ordered, failures=errors, kept_seconds=seconds)
