"""Trains one chunk in spans, from its start or its last checkpoint, and what a chunk has found."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa

from sweeps import checkpoints, execute, manifest
from sweeps.checking import example_batch
from sweeps.checkpoints import Checkpoint, Writer
from sweeps.lock import Lock
from sweeps.measurement import Bench
from sweeps.planning import Chunk
from sweeps.population import traced_columns
from sweeps.preparation import Prepared
from sweeps.progress import Display, Running
from sweeps.roster import Record
from sweeps.signals import Signals
from sweeps.space import StudyError
from sweeps.streams import Block, blocks
from sweeps.tables import member_rows, metric_rows
from sweeps.trial import Study

READING_ERRORS = (OSError, ValueError, KeyError, pa.ArrowException)  # of a damaged checkpoint
SPAN_SECONDS = 2.0  # signals, progress and divergence are dealt with at least this often


class Place(NamedTuple):
    """Where a run is kept.

    Attributes:
        directory: the run directory.
        writer: what writes its checkpoints.
        record: what says to others how far it is: its lock, or a worker's record.
    """

    directory: Path
    writer: Writer
    record: Lock | Record


class Trained(NamedTuple):
    """A chunk that is done.

    Attributes:
        members: its rows of members.
        metrics: its rows of metrics.
        setting: the numerical setting it ran in.
        final: the study's metric of every member at the last step, NaN where it diverged.
        checkpoint: the states that the next round begins from; None after the last step.
        carry: the stacked states, still on the devices; None before the last step.
    """

    members: pa.Table
    metrics: pa.Table
    setting: dict[str, Any]
    final: np.ndarray
    checkpoint: Checkpoint | None
    carry: execute.Carry | None


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
        StudyError: the states that the chunk begins from are gone.
    """
    study, population, bench = prepared.study, prepared.population, prepared.bench
    loop, count = prepared.choice.loop, len(chunk.members)
    program = prepared.programs(population.statics[chunk.group], loop)
    setting = manifest.setting(bench.mesh, loop, chunk.width // bench.mesh.size)
    ids = np.resize(chunk.members, chunk.width)  # rows past the members repeat them, and are dropped
    members = execute.place_members(bench.mesh, traced_columns(population, ids), population.seeds[ids])
    step, evaluations, carry = chunk.start, [], None
    if place is not None:
        place.writer.begin()
        found = _find(chunk, place.directory, sources or {}, display)
        if found is not None:
            step, evaluations = found.step, found.evaluations
            carry = _on_devices(found, program, bench, members, chunk.width)
            if found.setting != setting:
                setting = setting | {"until_step": {str(step): found.setting}}
    if carry is None:
        carry = program.init(bench.root, members, example_batch(study))
    feed, loss = _feed(bench), float("nan")

    def keep() -> Checkpoint:
        host = checkpoints.to_host(carry, count)
        return Checkpoint(step, chunk.members, host, list(evaluations), setting, chunk.start)

    for target in _targets(study, chunk):
        if evaluations and target <= evaluations[-1][0]:
            continue
        while step < target:
            batches, last = feed(step)
            stop = step + pace.span(min(target, last) - step)
            began = time.monotonic()
            carry = program.advance(bench.root, members, carry, batches, np.int32(step), np.int32(stop))
            jax.block_until_ready(carry)
            pace.saw(stop - step, time.monotonic() - began)
            step = stop
            display.chunk(chunk.name, Running(count, step - chunk.start, step, loss))
            if place is not None:
                place.record.say({"chunk": chunk.name, "members": count, "step": step, "steps": chunk.stop})
                if signals.received is not None or place.writer.due():
                    place.writer.save(checkpoint_name(chunk), keep())
            if signals.received is not None:
                _say_problem(display, place)
                signals.deliver()
        values, carry = program.evaluate(members, carry, bench.evaluation)
        evaluations.append((step, {name: np.asarray(rows)[:count] for name, rows in values.items()}))
        if "train/loss" in values:
            losses = evaluations[-1][1]["train/loss"]
            loss = float(np.mean(losses[np.isfinite(losses)])) if np.isfinite(losses).any() else float("nan")
    _say_problem(display, place)
    diverged_at = np.asarray(carry.diverged_at)[:count]
    alive = diverged_at == execute.ALIVE
    last = chunk.stop == study.steps
    display.finish(chunk.name, count, chunk.stop - chunk.start, int((~alive).sum()), last)
    status = np.where(alive, "done" if last else "running", "diverged")
    rows = member_rows(population, chunk.members, status, diverged_at)
    final = np.where(alive, evaluations[-1][1][study.metric], np.nan)
    metrics = metric_rows(chunk.members, diverged_at, evaluations)
    state = keep() if place is not None and not last else None
    return Trained(rows, metrics, setting, final, state, carry if last else None)


def checkpoint_name(chunk: Chunk) -> str:
    """What the chunk's checkpoints are kept under; chunks of another plan have other names.

    Args:
        chunk: the chunk.
    """
    return f"{chunk.name}-{len(chunk.members)}"


def _targets(study: Study, chunk: Chunk) -> list[int]:
    """The steps of the interval after which members are evaluated; its last is one of them."""
    inside = [step for step in study.evaluation_steps if chunk.start < step < chunk.stop]
    return [*inside, chunk.stop]


def _find(chunk: Chunk, directory: Path, sources: Mapping[int, int], display: Display) -> Checkpoint | None:
    """What the chunk goes on from; None if it begins at step 0."""
    try:
        found = checkpoints.in_flight(directory, chunk.members, chunk.start, chunk.stop)
        if found is not None:
            display.note(f"going on from the checkpoint at step {found.step}")
            return found
    except READING_ERRORS as error:
        display.note(
            f"a checkpoint of chunk {chunk.name} cannot be read, so it starts anew at step {chunk.start}: "
            f"{error}"
        )
    if chunk.start == 0:
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
        f"none that can be read in {directory / checkpoints.CHECKPOINTS}; start a new run"
    )


def _on_devices(
    found: Checkpoint, program: execute.Program, bench: Bench, members: execute.Members, width: int
) -> execute.Carry:
    like = jax.eval_shape(program.init, bench.root, members, example_batch(bench.study))
    rows = np.resize(np.arange(len(found.members)), width)
    carry = checkpoints.from_host([leaf[rows] for leaf in found.leaves], like)
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
            held[:] = [next(stream)]
        return held[0], _end(held[0])

    return feed


def _end(block: Block) -> int:
    return int(block.first) + len(jax.tree.leaves(block.batches)[0])
