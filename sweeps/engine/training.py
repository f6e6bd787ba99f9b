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
from sweeps.engine.resumption import checkpoint_name, find, on_devices
from sweeps.engine.rows import member_rows, metric_rows
from sweeps.errors import StudyError
from sweeps.host.leads import Lead
from sweeps.host.progress import Display, Running
from sweeps.host.signals import Signals
from sweeps.host.stopwatch import Stopwatch
from sweeps.members.population import Population
from sweeps.ops.finite import non_finite_allowed
from sweeps.store import manifest
from sweeps.store.arrays import to_host
from sweeps.store.checkpoints import Checkpoint, Evaluations, Writer
from sweeps.store.heartbeats import Record
from sweeps.store.leading import leading
from sweeps.store.lock import Lock
from sweeps.store.scores import so_far
from sweeps.store.statuses import Status
from sweeps.trial import Study


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
    population: Population,
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
        population: all members so far.
        chunk: those to train.
        pace: how fast steps are.
        display: what a person sees.
        signals: what is held back; delivered between spans, when a checkpoint has been written.
        place: where checkpoints are; None keeps none, so that the chunk must begin at step 0.
        sources: members that go on from another's state, and whose.

    Raises:
        StudyError: the states that the chunk begins from are gone, or the study's code has changed.
    """
    course = _Course(prepared, population, chunk, pace, display, place, sources or {})
    for target in _targets(prepared.bench.study, chunk):
        if target < course.step or (course.evaluations and target <= course.evaluations[-1][0]):
            continue
        course.say_compiling()
        while course.step < target:
            course.span(target)
            if place is not None and (signals.due or place.writer.due()):
                place.writer.save(checkpoint_name(chunk), course.checkpoint())
            if signals.due:
                _say_problem(display, place)
                signals.deliver()
        course.say_compiling()
        course.evaluate()
    _say_problem(display, place)
    return course.trained()


class _Course:
    """A chunk on its way: the step that it has come to, its states, and what was evaluated until then."""

    def __init__(
        self,
        prepared: Prepared,
        population: Population,
        chunk: Chunk,
        pace: Pace,
        display: Display,
        place: Place | None,
        sources: Mapping[int, int],
    ):
        self.bench, self.population, self.chunk = prepared.bench, population, chunk
        self.pace, self.display, self.place = pace, display, place
        self.count, self.study, loop = len(chunk.members), self.bench.study, prepared.plan.loop
        directory = None if place is None else place.directory
        pinned, digest = prepared.notice(population, chunk.group, directory)
        statics, mesh = pinned.statics[chunk.group], self.bench.mesh
        self.program = program_of(self.study, statics, mesh, loop, digest)
        # Rows past the members repeat them, and are dropped.
        self.members = placed(pinned, mesh, np.resize(chunk.members, chunk.width))
        self.setting = manifest.setting(mesh, loop, chunk.width // mesh.size)
        self._begin(sources)
        self.feed, self.loss = _feed(self.bench), float("nan")
        self.new, *self.programs = pace.programs(chunk)

    def _begin(self, sources: Mapping[int, int]) -> None:
        """Takes the states that the chunk goes on from, or makes its first ones."""
        found = None
        if self.place is not None:
            self.place.writer.begin()
            found = find(self.chunk, self.place.directory, sources, self.display)
        if found is None:
            example = example_batch(self.study)
            self.step, self.evaluations, self.watch = 0, [], Stopwatch()
            self.carry = self.program.init(self.bench.root, self.members, example)
            return
        if found.setting != self.setting:
            self.setting = self.setting | {"until_step": {str(found.step): found.setting}}
        self.step, self.evaluations, self.watch = found.step, found.evaluations, Stopwatch(found.seconds)
        self.carry = on_devices(found, self.program, self.bench, self.members, self.chunk.width)

    def say(self) -> None:
        if self.place is not None:
            self.place.record.say(self._said() | self.display.figures())

    def say_compiling(self) -> None:
        if self.new:
            self.display.compiling(*self.programs)
            self.say()

    def _said(self) -> dict[str, Any]:
        chunk = self.chunk
        return {"chunk": chunk.name, "members": self.count, "steps": chunk.stop, "step": self.step}

    def span(self, target: int) -> None:
        """Trains some steps, at most up to the target."""
        chunk, step = self.chunk, self.step
        batches, last = self.feed(step)
        stop = step + self.pace.span(chunk, min(target, last) - step)
        with self.watch.running():
            self.carry = self.program.advance(
                self.bench.root, self.members, self.carry, batches, np.int32(step), np.int32(stop)
            )
            jax.block_until_ready(self.carry)
        self.pace.saw(chunk, stop - step, self.watch.lap)
        self.step = stop
        self.display.chunk(chunk.name, Running(self.count, stop - chunk.after, stop, self.loss))
        self.say()

    def evaluate(self) -> None:
        """Evaluates the members where they are."""
        place, step = self.place, self.step
        if place is not None and isinstance(place.record, Record):  # whoever waits for it is told why
            place.record.say(self._said() | {"evaluating": True}, at_once=self.pace.evaluates_long())
        with self.watch.running():
            values, self.carry = self.program.evaluate(
                self.members, self.carry, self.bench.evaluation, np.int32(step)
            )
            found = {name: np.asarray(rows)[: self.count] for name, rows in values.items()}
        self.pace.evaluated(self.watch.lap)
        if step > self.chunk.start:  # otherwise it is there
            self.evaluations.append((step, found))
            lead = _lead(self.study, self.population, self.chunk, self.carry, self.evaluations)
            self.display.lead(lead, self.study.mode)
        if self.new:
            self.display.compiled()
        self.new = False
        self.say()
        if "train/loss" in found:
            losses = found["train/loss"][np.isfinite(found["train/loss"])]
            self.loss = float(np.mean(losses)) if len(losses) else float("nan")

    def checkpoint(self) -> Checkpoint:
        """The states as they are."""
        host, chunk = to_host(self.carry, self.count), self.chunk
        evaluations, seconds = list(self.evaluations), self.watch.seconds
        return Checkpoint(self.step, chunk.members, host, evaluations, self.setting, chunk.start, seconds)

    def trained(self) -> Trained:
        """The rows of the chunk at the end of its interval, and the states that are needed of it."""
        chunk, study, place = self.chunk, self.study, self.place
        diverged_at = np.asarray(self.carry.diverged_at)[: self.count]
        alive, last = diverged_at == execute.ALIVE, chunk.stop == study.steps
        status = np.where(alive, Status.DONE if last else Status.RUNNING, Status.DIVERGED)
        goes_on = place is not None and (not last or place.keeps_states)
        found = Trained(
            members=member_rows(self.population, chunk.members, status, diverged_at),
            metrics=metric_rows(chunk.members, diverged_at, self.evaluations),
            setting=self.setting,
            final=np.where(alive, _scores(study, self.evaluations), np.nan),
            checkpoint=self.checkpoint() if goes_on else None,
            carry=self.carry if last else None,
            seconds=self.watch.seconds,
        )
        self.display.finish(chunk.name, self.count, chunk.steps, int((~alive).sum()), last)
        return found


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


def _targets(study: Study, chunk: Chunk) -> list[int]:
    """The steps of the interval after which members are evaluated; its last is one of them.

    Means of step metrics begin anew at an evaluation, so what comes again to the start is evaluated there.
    """
    inside = [step for step in study.evaluation_steps if chunk.start < step < chunk.stop]
    return [*[chunk.start] * chunk.again, *inside, chunk.stop]


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
