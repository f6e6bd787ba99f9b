"""A run's way through its chunks: batch after batch, round after round, committed to the disk."""

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from sweeps import checkpoints, kept, planning, schedule, store
from sweeps.checkpoints import Writer
from sweeps.dashboard import show
from sweeps.derivation import derive
from sweeps.handover import Handover
from sweeps.lock import Lock
from sweeps.planning import Chunk
from sweeps.population import Population, seeds_of, with_values
from sweeps.preparation import Began, Examined, Plan, Prepared, plan_of, prepare
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
from sweeps.training import Pace, Place, Trained, train

# What is called with a chunk once it is committed, and what trains chunks: (population, chunks, members that
# go on from another's state and whose, what to call) -> nothing, when all are committed.
Finished = Callable[[Chunk], None]
Trainer = Callable[[Population, list[Chunk], Mapping[int, int], Finished], None]


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


class Alone:
    """This process, which trains chunks on its own devices, one after the other.

    Args:
        examined: the study.
        wanted: what was asked for.
        devices: the devices; None takes all, or as many as the run began with.
        lock: the lock of the run directory.
        display: what a person sees.
        signals: what is held back while a span runs.
    """

    def __init__(
        self,
        examined: Examined,
        wanted: Request,
        devices: Sequence[Any] | None,
        lock: Lock,
        display: Display,
        signals: Signals,
    ):
        self.examined, self.wanted, self.devices = examined, wanted, devices
        self.display, self.signals, self.pace = display, signals, Pace()
        directory = lock.path.parent
        self.place = Place(directory, Writer(directory, 60 * wanted.checkpoint_minutes), lock)

    def plan(self, members_per_chunk: int | None, began: Began | None) -> Plan:
        """Measures and cuts.

        Args:
            members_per_chunk: how many members run at once; None measures and chooses.
            began: how the run began, if it goes on.
        """
        self.prepared = prepare(
            self.examined, self.wanted.sampling.root_seed, self.devices, members_per_chunk, began=began
        )
        plan = plan_of(self.prepared)
        if began is None and plan.devices < len(self.devices or jax.devices()):
            self.display.note(f"{plan.devices} of the devices are used: there are no more members in a group")
        return plan

    def train(
        self, population: Population, chunks: list[Chunk], sources: Mapping[int, int], finished: Finished
    ) -> None:
        """Trains chunks; returns when all are committed.

        Args:
            population: all members so far.
            chunks: the chunks.
            sources: members that go on from another's state, and whose.
            finished: called with every chunk that is committed.
        """
        bench = self.prepared.bench._replace(population=population)
        now = self.prepared._replace(population=population, bench=bench)
        train_one = functools.partial(
            train, pace=self.pace, display=self.display, signals=self.signals, place=self.place,
            sources=sources,
        )  # fmt: skip

        handover = Handover(self.wanted.study, self.place.directory, self.wanted.keep_best, finished)
        try:
            _train_all(now, chunks, train_one, handover.add, self.display, self.signals)
        finally:  # also after Ctrl-C
            with self.signals.held():
                handover.flush()


def run_on_disk(plan: Plan, wanted: Request, lock: Lock, display: Display, trainer: Trainer) -> None:
    """Trains what is not committed yet, and commits it to the directory whose lock is held.

    Args:
        plan: how members are cut into chunks.
        wanted: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
        trainer: what trains chunks.
    """
    directory, population = lock.path.parent, plan.population
    try:
        for grown, members in batches(wanted.study, wanted.sampling, population, directory):
            population = grown
            _train_rounds(plan._replace(population=population), wanted, members, directory, display, trainer)
        checkpoints.clear(directory)
        if wanted.keep_best:  # once more: a process may have died between its last commit and this
            kept.prune(directory, wanted.keep_best, wanted.study.mode)
    finally:  # also after Ctrl-C: whoever looks finds tables of what was done
        derive(directory, len(population), functools.partial(pending_rows, population))


def _train_rounds(
    plan: Plan, wanted: Request, members: np.ndarray, directory: Path, display: Display, trainer: Trainer
) -> None:
    """Members from their first step to their last, those that the schedule stops excepted."""
    study, population, groups = wanted.study, plan.population, plan.population.groups
    batch, points = members, len(members) // len(seeds_of(study))
    chunks = planning.cut(groups, plan.devices, plan.most, only=members)
    widths = {chunk.group: chunk.width for chunk in chunks}
    ends = [*_rungs(wanted, points), study.steps]
    sources: Mapping[int, int] = {}
    for start, stop in zip([0, *ends], ends, strict=False):
        if start:
            chunks = planning.compact(groups, plan.devices, widths, members)
        done = store.committed_members(directory, Interval(start, stop))
        spans = [chunk._replace(start=start, stop=stop) for chunk in _remaining(chunks, done)]
        finished = functools.partial(_finished, directory, wanted, display)
        if spans:
            trainer(population, spans, sources, finished)
        if stop < study.steps:
            rung = _decide(population, wanted, batch, members, Interval(start, stop), directory)
            dead = members[np.isnan(store.scores(directory, members, study.metric, stop))]
            gone = np.union1d(rung.stopped, np.setdiff1d(dead, list(rung.sources)))
            display.stop(len(np.setdiff1d(rung.stopped, dead)))
            members, sources = np.setdiff1d(members, gone), rung.sources
            population = with_values(population, rung.values)
            checkpoints.prune(directory, stop)
            _show_stopped(wanted, directory, rung.stopped, display)


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
    population: Population,
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
    study = wanted.study
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


def _finished(directory: Path, wanted: Request, display: Display, chunk: Chunk) -> None:
    """What follows a chunk that is committed."""
    if wanted.keep_best and chunk.stop == wanted.study.steps:
        kept.prune(directory, wanted.keep_best, wanted.study.mode)
    if wanted.storage is not None:
        members, metrics = store.read_chunk(directory / store.CHUNKS / chunk.name)
        _show(wanted, directory, members, metrics, display)


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
