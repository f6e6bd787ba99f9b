"""A run's way through its chunks: batch after batch, round after round, committed to the disk."""

import collections
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from sweeps import checkpoints, kept, planning, schedule, store
from sweeps.checkpoints import Writer
from sweeps.dashboard import show
from sweeps.lock import Lock
from sweeps.planning import Chunk
from sweeps.population import seeds_of, with_values
from sweeps.preparation import Prepared
from sweeps.progress import Display
from sweeps.proposals import batches
from sweeps.request import Request
from sweeps.results import Results
from sweeps.rungs import Rung, read_rung, write_rung
from sweeps.schedule import Standing
from sweeps.signals import Signals
from sweeps.space import StudyError
from sweeps.store import Interval
from sweeps.tables import pending_rows
from sweeps.training import Pace, Place, Trained, checkpoint_name, train


def run_in_memory(prepared: Prepared, written: dict[str, Any], display: Display, signals: Signals) -> Results:
    """Trains all chunks from beginning to end and keeps their rows in memory.

    Args:
        prepared: the plan.
        written: what a manifest would say.
        display: what a person sees.
        signals: what is held back while a span runs.
    """
    tables: list[tuple[pa.Table, pa.Table]] = []

    def finish(chunk: Chunk, trained: Trained) -> None:
        tables.append((trained.members, trained.metrics))

    train_one = functools.partial(train, pace=Pace(), display=display, signals=signals, place=None)
    _train_all(prepared, prepared.chunks, train_one, finish, display, signals)
    members, metrics = (
        pa.concat_tables(parts, promote_options="default") for parts in zip(*tables, strict=True)
    )
    return Results(written, tables=(members.sort_by(store.ORDER[:1]), metrics.sort_by(store.ORDER)))


def run_on_disk(prepared: Prepared, wanted: Request, lock: Lock, display: Display, signals: Signals) -> None:
    """Trains what is not committed yet, and commits it to the directory whose lock is held.

    Args:
        prepared: the plan.
        wanted: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
        signals: what is held back while a span runs.
    """
    directory, population = lock.path.parent, prepared.population
    place, pace = Place(directory, Writer(directory, 60 * wanted.checkpoint_minutes), lock), Pace()
    try:
        for grown, members in batches(wanted.study, wanted.sampling, population, directory):
            population = grown
            bench = prepared.bench._replace(population=population)
            now = prepared._replace(population=population, bench=bench)
            _train_rounds(now, wanted, members, place, pace, display, signals)
        checkpoints.clear(directory)
        if wanted.keep_best:  # once more: a process may have died between its last commit and this
            kept.prune(directory, wanted.keep_best, wanted.study.mode)
    finally:  # also after Ctrl-C: whoever looks finds tables of what was done
        store.derive(directory, len(population), functools.partial(pending_rows, population))


def _train_rounds(
    prepared: Prepared,
    wanted: Request,
    members: np.ndarray,
    place: Place,
    pace: Pace,
    display: Display,
    signals: Signals,
) -> None:
    """Members from their first step to their last, those that the schedule stops excepted."""
    study, groups, devices = prepared.study, prepared.population.groups, prepared.bench.mesh.size
    batch, points = members, len(members) // len(seeds_of(wanted.study))
    chunks = planning.cut(groups, devices, prepared.most, only=members)
    widths = {chunk.group: chunk.width for chunk in chunks}
    ends = [*_rungs(wanted, points), study.steps]
    sources: Mapping[int, int] = {}
    for start, stop in zip([0, *ends], ends, strict=False):
        if start:
            chunks = planning.compact(groups, devices, widths, members)
        done = store.committed_members(place.directory, Interval(start, stop))
        spans = [chunk._replace(start=start, stop=stop) for chunk in _remaining(chunks, done)]
        train_one = functools.partial(
            train, pace=pace, display=display, signals=signals, place=place, sources=sources
        )
        finish = functools.partial(_commit, place.directory, wanted, display)
        _train_all(prepared, spans, train_one, finish, display, signals)
        if stop < study.steps:
            rung = _decide(prepared, wanted, batch, members, Interval(start, stop), place.directory)
            dead = members[np.isnan(store.scores(place.directory, members, study.metric, stop))]
            gone = np.union1d(rung.stopped, np.setdiff1d(dead, list(rung.sources)))
            display.stop(len(np.setdiff1d(rung.stopped, dead)))
            members, sources = np.setdiff1d(members, gone), rung.sources
            prepared = prepared._replace(population=with_values(prepared.population, rung.values))
            checkpoints.prune(place.directory, stop)
            _show_stopped(wanted, place.directory, rung.stopped, display)


def _show_stopped(wanted: Request, directory: Path, stopped: np.ndarray, display: Display) -> None:
    if wanted.storage is not None and len(stopped):
        members, metrics = (store.read(directory, kind) for kind in store.KINDS)
        assert members is not None and metrics is not None  # the stopped ones are committed
        of_these = pa.array(np.isin(members["member"].to_numpy(), stopped))
        _show(wanted, directory, members.filter(of_these), metrics, display)


def _show(wanted: Request, directory: Path, members: pa.Table, metrics: pa.Table, display: Display) -> None:
    """Copies members to the storage that was asked for; a run does not fail because its copy does."""
    if wanted.storage is not None:
        try:
            show(members, metrics, store.read_manifest(directory), wanted.storage)
        except StudyError as error:
            display.note(f"not copied to the storage: {error}")


def _rungs(wanted: Request, points: int) -> tuple[int, ...]:
    """The steps after which a batch of so many points is thinned out."""
    return () if wanted.schedule is None else schedule.rungs(wanted.schedule, wanted.study.steps, points)


def _decide(
    prepared: Prepared,
    wanted: Request,
    batch: np.ndarray,
    members: np.ndarray,
    steps: Interval,
    directory: Path,
) -> Rung:
    """Who goes on, as it was decided or, the first time, as the committed scores have it."""
    first, seeds = int(batch[0]), len(seeds_of(wanted.study))
    found = read_rung(directory, first, steps.stop)
    if found is not None:
        return found
    study, population = prepared.study, prepared.population
    traced = [field.name for field in population.fields if field.traced and field.name in population.columns]
    decision = schedule.decide(
        wanted.schedule,
        Standing(
            step=steps.stop,
            members=members,
            points=(members - first) // seeds,
            scores=store.scores(directory, members, study.metric, steps.stop),
            groups=population.groups[members],
        ),
        mode=study.mode,
        steps=study.steps,
        configurations=len(batch) // seeds,
        root_seed=wanted.sampling.root_seed,
        domains={name: domain for name, domain in study.domains.items() if name != "seed"},
        traced=traced,
        values={name: population.columns[name][members] for name in traced},
    )
    rung = Rung(decision.stopped, decision.sources, decision.values)
    write_rung(directory, first, steps.stop, rung)
    return rung


def _remaining(chunks: list[Chunk], done: np.ndarray) -> list[Chunk]:
    """The chunks with those members alone that are not done; each keeps its width."""
    left = [chunk._replace(members=chunk.members[~np.isin(chunk.members, done)]) for chunk in chunks]
    return [chunk for chunk in left if len(chunk.members)]


def _commit(directory: Path, wanted: Request, display: Display, chunk: Chunk, trained: Trained) -> None:
    """Keeps what a chunk has found, and the states of its best members."""
    last, mode = chunk.stop == wanted.study.steps, wanted.study.mode
    if wanted.keep_best and last:
        leaves = checkpoints.to_host(trained.carry.state, len(chunk.members))
        kept.keep(directory, wanted.keep_best, mode, chunk.members, trained.final, leaves)
    store.commit(directory, chunk.name, trained.members, trained.metrics, trained.setting)
    if last:  # otherwise the next round begins from it
        checkpoints.remove(directory, checkpoint_name(chunk))
    if wanted.keep_best and last:
        kept.prune(directory, wanted.keep_best, mode)
    _show(wanted, directory, trained.members, trained.metrics, display)


def _train_all(
    prepared: Prepared,
    chunks: list[Chunk],
    train_one: Callable[[Prepared, Chunk], Trained],
    finish: Callable[[Chunk, Trained], None],
    display: Display,
    signals: Signals,
) -> None:
    """Every chunk; one that does not fit the memory is cut in halves, and so are the rest."""
    waiting, devices = collections.deque(chunks), prepared.bench.mesh.size
    while waiting:
        chunk = waiting.popleft()
        with signals.held():
            try:
                trained = train_one(prepared, chunk)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error) or chunk.width <= devices:
                    raise
                display.note(
                    f"out of memory with {chunk.width} members at once; going on with {chunk.width // 2}"
                )
                rest = np.concatenate([chunk.members, *(later.members for later in waiting)])
                most = max(chunk.width // 2, 1)
                halves = planning.cut(prepared.population.groups, devices, most, only=rest)
                waiting = collections.deque(
                    half._replace(start=chunk.start, stop=chunk.stop) for half in halves
                )
                continue
            finish(chunk, trained)
