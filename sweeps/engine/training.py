"""Trains one chunk in spans, from its start or its last checkpoint, and what a chunk has found."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa

from sweeps.data.streams import Block, blocks
from sweeps.engine import program as execute
from sweeps.engine.bench import Bench, placed
from sweeps.engine.chunks import Chunk
from sweeps.engine.examples import example_batch
from sweeps.engine.failure import describe
from sweeps.engine.pace import Pace as Pace
from sweeps.engine.plan import Prepared
from sweeps.engine.programs import program_of
from sweeps.engine.rows import member_rows, metric_rows
from sweeps.engine.tracing import as_python_numbers
from sweeps.errors import StudyError
from sweeps.host.leads import Lead
from sweeps.host.progress import Display, Running
from sweeps.host.signals import Signals
from sweeps.host.stopwatch import Stopwatch
from sweeps.members.population import Population
from sweeps.ops.finite import non_finite_allowed
from sweeps.store import checkpoints, manifest
from sweeps.store.arrays import from_host, to_host
from sweeps.store.checkpoints import Checkpoint, Evaluations, Writer
from sweeps.store.heartbeats import Record
from sweeps.store.leading import leading
from sweeps.store.lock import Lock
from sweeps.store.scores import so_far
from sweeps.store.statuses import Status
from sweeps.trial import Study

READING_ERRORS = (OSError, ValueError, KeyError, pa.ArrowException)  # of a damaged checkpoint


class Place(NamedTuple):
    """Where a run is kept.

    Attributes:
        directory: the run directory.
        writer: what writes its checkpoints.
        record: what says to others how far it is: its lock, or a worker's record.
        keeps_states: whether the states after the last step stay.
    """

    directory: Path
    writer: Writer
    record: Lock | Record
    keeps_states: bool = False


class Trained(NamedTuple):
    """A chunk that is done.

    Attributes:
        members: its rows of members.
        metrics: its rows of metrics.
        setting: the numerical setting it ran in.
        final: the score of every member by the evaluations of this interval, NaN where it diverged.
        checkpoint: the states that the next round begins from; after the last step those that stay, or None.
        carry: the stacked states, still on the devices; None before the last step.
        seconds: how long it took to train and evaluate, without compiling; NaN if that is not known.
    """

    members: pa.Table
    metrics: pa.Table
    setting: dict[str, Any]
    final: np.ndarray
    checkpoint: Checkpoint | None
    carry: execute.Carry | None
    seconds: float = math.nan


@non_finite_allowed()
def train(
    prepared: Prepared,
    chunk: Chunk,
    pace: Pace,
    display: Display,
    signals: Signals,
    place: Place | None,
    sources: Mapping[int, int] | None = None,
) -> Trained:
    """Trains one chunk to the end of its interval.

    Args:
        prepared: the study.
        chunk: the members.
        pace: how fast steps are.
        display: what a person sees.
        signals: what is held back; delivered between spans, when a checkpoint has been written.
        place: where checkpoints are; None keeps none, so that the chunk must begin at step 0.
        sources: members that go on from another's state, and whose.

    Raises:
        StudyError: the states that the chunk begins from are gone, or the study's code has changed.
    """
    study, bench, count = prepared.study, prepared.bench, len(chunk.members)
    ready = _ready(prepared, chunk, place)
    step, evaluations, carry, setting, watch = _first(ready, prepared, chunk, place, sources or {}, display)
    feed, loss = _feed(bench), float("nan")
    said = {"chunk": chunk.name, "members": count, "steps": chunk.stop}
    new, program, programs = pace.programs(chunk)

    def say() -> None:
        if place is not None:
            place.record.say(said | {"step": step} | display.figures())

    def compiling() -> None:
        display.compiling(program, programs)
        say()

    def keep() -> Checkpoint:
        host = to_host(carry, count)
        return Checkpoint(step, chunk.members, host, list(evaluations), setting, chunk.start, watch.seconds)

    for target in _targets(study, chunk):
        if target < step or (evaluations and target <= evaluations[-1][0]):
            continue
        if new:
            compiling()
        while step < target:
            batches, last = feed(step)
            stop = step + pace.span(chunk, min(target, last) - step)
            with watch.running():
                carry = ready.program.advance(
                    bench.root, ready.members, carry, batches, np.int32(step), np.int32(stop)
                )
                jax.block_until_ready(carry)
            pace.saw(chunk, stop - step, watch.lap)
            step = stop
            display.chunk(chunk.name, Running(count, step - chunk.after, step, loss))
            say()
            if place is not None and (signals.due or place.writer.due()):
                place.writer.save(checkpoint_name(chunk), keep())
            if signals.due:
                _say_problem(display, place)
                signals.deliver()
        if new:
            compiling()
        if place is not None and isinstance(place.record, Record):  # whoever waits for it is told why
            place.record.say(said | {"step": step, "evaluating": True}, at_once=pace.evaluates_long())
        with watch.running():
            values, carry = ready.program.evaluate(ready.members, carry, bench.evaluation, np.int32(step))
            found = {name: np.asarray(rows)[:count] for name, rows in values.items()}
        pace.evaluated(watch.lap)
        if step > chunk.start:  # otherwise it is there
            evaluations.append((step, found))
            display.lead(_lead(study, ready.population, chunk, carry, evaluations), study.mode)
        if new:
            display.compiled()
        new = False
        say()
        if "train/loss" in found:
            losses = found["train/loss"]
            loss = float(np.mean(losses[np.isfinite(losses)])) if np.isfinite(losses).any() else float("nan")
    _say_problem(display, place)
    state = keep() if place is not None and (chunk.stop < study.steps or place.keeps_states) else None
    trained = _trained(study, ready, chunk, carry, evaluations)
    diverged = trained.members["status"].to_pylist().count(Status.DIVERGED)
    display.finish(chunk.name, count, chunk.steps, diverged, chunk.stop == study.steps)
    return trained._replace(setting=setting, checkpoint=state, seconds=watch.seconds)


class _Ready(NamedTuple):
    """What trains a chunk: its members on the devices, and their program."""

    population: Population
    program: execute.Program
    members: execute.Members
    setting: dict[str, Any]


def _ready(prepared: Prepared, chunk: Chunk, place: Place | None) -> _Ready:
    bench, loop = prepared.bench, prepared.choice.loop
    directory = None if place is None else place.directory
    population, digest = prepared.notice(prepared.population, chunk.group, directory)
    program = program_of(prepared.study, population.statics[chunk.group], bench.mesh, loop, digest)
    ids = np.resize(chunk.members, chunk.width)  # rows past the members repeat them, and are dropped
    members = placed(population, bench.mesh, ids)
    setting = manifest.setting(bench.mesh, loop, chunk.width // bench.mesh.size)
    return _Ready(population, program, members, setting)


def _first(
    ready: _Ready,
    prepared: Prepared,
    chunk: Chunk,
    place: Place | None,
    sources: Mapping[int, int],
    display: Display,
) -> tuple[int, Evaluations, execute.Carry, dict[str, Any], Stopwatch]:
    """The step that a chunk goes on from, its evaluations until then, its states, setting and seconds."""
    bench, setting, found = prepared.bench, ready.setting, None
    if place is not None:
        place.writer.begin()
        found = _find(chunk, place.directory, sources, display)
    if found is None:
        carry = ready.program.init(bench.root, ready.members, example_batch(prepared.study))
        return 0, [], carry, setting, Stopwatch()
    if found.setting != setting:
        setting = setting | {"until_step": {str(found.step): found.setting}}
    carry = _on_devices(found, ready.program, bench, ready.members, chunk.width)
    return found.step, found.evaluations, carry, setting, Stopwatch(found.seconds)


def _trained(
    study: Study, ready: _Ready, chunk: Chunk, carry: execute.Carry, evaluations: Evaluations
) -> Trained:
    """The rows of a chunk at the end of its interval."""
    diverged_at = np.asarray(carry.diverged_at)[: len(chunk.members)]
    alive, last = diverged_at == execute.ALIVE, chunk.stop == study.steps
    status = np.where(alive, Status.DONE if last else Status.RUNNING, Status.DIVERGED)
    return Trained(
        members=member_rows(ready.population, chunk.members, status, diverged_at),
        metrics=metric_rows(chunk.members, diverged_at, evaluations),
        setting=ready.setting,
        final=np.where(alive, _scores(study, evaluations), np.nan),
        checkpoint=None,
        carry=carry if last else None,
    )


def _lead(
    study: Study, population: Population, chunk: Chunk, carry: execute.Carry, evaluations: Evaluations
) -> Lead | None:
    """The best of a chunk's configurations at its last evaluation."""
    step, values = evaluations[-1]
    if study.metric not in values:
        return None
    alive = np.asarray(carry.diverged_at)[: len(chunk.members)] == execute.ALIVE
    swept = {name: population.columns[name][chunk.members] for name in population.swept}
    return leading(chunk.members, swept, np.where(alive, values[study.metric], np.nan), step, study.mode)


def _scores(study: Study, evaluations: Evaluations) -> np.ndarray:
    """The study's metric of every member at the last of some evaluations, or at its best one."""
    values = np.stack([found[study.metric] for _, found in evaluations])
    return so_far(values, study.mode)[-1] if study.select == "best" else values[-1]


def checkpoint_name(chunk: Chunk) -> str:
    """What the chunk's checkpoints are kept under; chunks of another plan have other names.

    Args:
        chunk: the chunk.
    """
    return f"{chunk.name}-{len(chunk.members)}"


def _targets(study: Study, chunk: Chunk) -> list[int]:
    """The steps of the interval after which members are evaluated; its last is one of them.

    Means of step metrics begin anew at an evaluation, so what comes again to the start is evaluated there.
    """
    inside = [step for step in study.evaluation_steps if chunk.start < step < chunk.stop]
    return [*[chunk.start] * chunk.again, *inside, chunk.stop]


def _find(chunk: Chunk, directory: Path, sources: Mapping[int, int], display: Display) -> Checkpoint | None:
    """What the chunk goes on from; None if it begins at step 0."""
    try:
        found = checkpoints.in_flight(directory, chunk.members, chunk.start, chunk.stop, chunk.after)
        if found is not None:
            display.note(f"going on from the checkpoint at step {found.step}")
            return found
    except READING_ERRORS as error:
        display.note(
            f"a checkpoint of chunk {chunk.name} cannot be read, so it starts anew at step {chunk.after}: "
            f"{error}"
        )
    if chunk.after == 0:
        return None
    try:
        wanted = np.asarray([sources.get(member, member) for member in chunk.members.tolist()])
        found = checkpoints.at_rung(directory, wanted, chunk.start)
    except READING_ERRORS as error:
        raise StudyError(_gone(chunk, directory)) from error
    if found is None:
        raise StudyError(_gone(chunk, directory))
    return found._replace(members=chunk.members)


def _gone(chunk: Chunk, directory: Path) -> str:
    return (
        f"`the states at step {chunk.start} are kept` must hold to go on with chunk {chunk.name}, but got "
        f"none that can be read in {directory / checkpoints.CHECKPOINTS}; `sweeps resume` trains them again"
    )


def _on_devices(
    found: Checkpoint, program: execute.Program, bench: Bench, members: execute.Members, width: int
) -> execute.Carry:
    like = jax.eval_shape(program.init, bench.root, members, example_batch(bench.study))
    rows = np.resize(np.arange(len(found.members)), width)
    carry = from_host([leaf[rows] for leaf in found.leaves], like)
    carry = jax.tree.map(
        lambda leaf, was: as_python_numbers(leaf) if was.weak_type else leaf, carry, like
    )  # what was carried as it came from the configuration
    return jax.device_put(carry, members.seeds.sharding)


def _say_problem(display: Display, place: Place | None) -> None:
    problem = None if place is None else place.writer.finish()
    if problem is not None:
        display.note(f"a checkpoint could not be written: {problem}")


def _feed(bench: Bench) -> Callable[[int], tuple[Any, int]]:
    """What gives `advance` its data from a step on, and says up to which step that lasts."""
    if not isinstance(bench.train, Block):
        return lambda step: (bench.train, 2**31 - 1)
    assert bench.study.trial.data is not None  # a block comes from somewhere
    train = bench.study.trial.data.train
    stream = blocks(train, bench.study.steps, lambda batches: execute.place_data(bench.mesh, batches))
    held: list[Block] = []

    def feed(step: int) -> tuple[Block, int]:
        while not held or step >= _end(held[0]):
            try:
                held[:] = [next(stream)]
            except StudyError:
                raise
            except Exception as error:  # whatever the user's own iterator raises; all members share it
                raise StudyError(
                    f"`the batches can be read` must hold, but got {describe(error).error} at step {step}"
                ) from error
        return held[0], _end(held[0])

    return feed


def _end(block: Block) -> int:
    return int(block.first) + len(jax.tree.leaves(block.batches)[0])
