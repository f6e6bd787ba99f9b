"""A run's way through its chunks: batch after batch, round after round, committed to the disk."""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sweeps.engine import chunks as planning
from sweeps.engine.chunks import Chunk
from sweeps.engine.commit import give_up, keep_stopped
from sweeps.engine.failure import Failure
from sweeps.engine.plan import Plan
from sweeps.engine.rows import pending_rows
from sweeps.errors import StudyError
from sweeps.executors.assignment import Task
from sweeps.executors.executor import Trainer
from sweeps.executors.inline import say_failure
from sweeps.host.progress import Display
from sweeps.members.population import Population, allowed_members, repeats, values_of, with_values
from sweeps.members.request import Request
from sweeps.members.sampling import batches
from sweeps.results.optuna_export import show
from sweeps.schedules import schedule
from sweeps.schedules.decision import Decision, Standing, ending, same
from sweeps.schedules.schedule import EarlyStopping, Halving, Hyperband
from sweeps.store import best_states, checkpoints
from sweeps.store import chunks as store
from sweeps.store.chunks import Interval
from sweeps.store.derived import Extension, announce, derive, withdraw
from sweeps.store.failures import beginnings, failed_members, forget, without_state
from sweeps.store.lock import Lock
from sweeps.store.rungs import read_rung, write_rung
from sweeps.store.scores import judged_by, score_history, scores
from sweeps.store.statuses import LOST


def buildable(
    chunks: list[Chunk],
    failures: Mapping[int, Failure],
    leave: Callable[[Chunk, Failure], None],
    display: Display,
) -> list[Chunk]:
    """The chunks without those of groups that cannot be built, which are given up.

    Args:
        chunks: the chunks.
        failures: the groups that cannot be built, and why.
        leave: gives a chunk up.
        display: what a person sees.
    """
    for chunk in chunks:
        if chunk.group in failures:
            say_failure(display, Task(chunk), failures[chunk.group], [])
            leave(chunk, failures[chunk.group])
    return [chunk for chunk in chunks if chunk.group not in failures]


class _Run(NamedTuple):
    """A run on the disk: how it is cut into chunks, what was asked for, where it is, and what trains."""

    plan: Plan
    request: Request
    directory: Path
    display: Display
    train: Trainer


def run_on_disk(plan: Plan, request: Request, lock: Lock, display: Display, trainer: Trainer) -> None:
    """Trains what is not committed yet, and commits it to the directory whose lock is held.

    Args:
        plan: how members are cut into chunks.
        request: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
        trainer: what trains chunks.
    """
    directory, population = lock.path.parent, request.population
    run = _Run(plan, request, directory, display, trainer)
    extension, through = Extension(directory), _train_intervals if request.schedule is None else _train_rounds
    if request.keep_best and len(request.ends) > 1:
        best_states.forget_others(directory, store.committed_members(directory, Interval(*request.ends[-2:])))
    try:
        for grown, members in batches(request.study, request.sampling, population, directory):
            population = grown
            if members[0] and not _holds(population, members, directory):
                # The search has learned from members that had failed before, and asks for other points now.
                _forget(run, np.arange(members[0], request.members), 0)
                withdraw(directory)
            rows = functools.partial(pending_rows, population)
            announce(directory, len(population), rows)
            committed = functools.partial(extension.commit, len(population), rows)
            through(run, population, members, committed)
        end = request.study.steps if request.keep_states else math.inf
        checkpoints.prune(directory, end, beginnings(directory))
        if request.keep_best:  # once more: a process may have died between its last commit and this
            best_states.prune(directory, request.keep_best, request.study.mode)
    finally:  # also after Ctrl-C: whoever looks finds tables of what was done
        derive(directory, len(population), functools.partial(pending_rows, population))


def _train_intervals(
    run: _Run, population: Population, members: np.ndarray, committed: Callable[[], None]
) -> None:
    """Members from their first step to their last, by way of the ends that the run had before."""
    plan, request, steps_of_all = run.plan, run.request, run.request.study.steps
    chunks = planning.cut(population.groups, plan.devices, plan.members_per_chunk, only=members)
    widths = {chunk.group: chunk.width for chunk in chunks}
    finished = functools.partial(_finished, run, committed)

    for steps in map(Interval, (0, *request.ends), request.ends):
        spans = _left(run, population, chunks, steps)
        if steps.start:
            spans = _from_states(run, spans, steps)
        if spans:
            run.train(population, spans, {}, finished)
        if steps.stop < steps_of_all:
            lost = store.members_with(run.directory, steps.stop, *LOST)
            run.display.expect(-len(np.intersect1d(members, lost)) * (steps_of_all - steps.stop))
            members = np.setdiff1d(members, lost)
            # As wide as before, for the bits that one run of all the steps would have.
            chunks = planning.compact(population.groups, plan.devices, widths, members, narrower=False)


def _from_states(run: _Run, spans: list[Chunk], steps: Interval) -> list[Chunk]:
    """Chunks that begin from states, those members apart whose states are not kept."""
    left = np.concatenate([np.zeros(0, np.int64), *(chunk.members for chunk in spans)])
    lost = without_state(run.directory, left, {}, *steps)
    if not len(lost):
        return spans
    run.display.note(
        f"states of {len(lost)} members at step {steps.start} are not kept: they are trained again from "
        f"step 0, and what was found until then stays"
    )
    run.display.expect(len(lost) * steps.start)
    parts = []
    for chunk in spans:
        gone = np.isin(chunk.members, lost)
        parts += [chunk._replace(members=chunk.members[gone], again=True)] if gone.any() else []
        parts += [chunk._replace(members=chunk.members[~gone])] if not gone.all() else []
    return parts


def _train_rounds(
    run: _Run, population: Population, members: np.ndarray, committed: Callable[[], None]
) -> None:
    """Members from their first step to their last, those excepted that the schedule stops."""
    plan, request, directory, study = run.plan, run.request, run.directory, run.request.study
    batch, points, now = members, len(members) // repeats(study), population
    chunks = planning.cut(population.groups, plan.devices, plan.members_per_chunk, only=members)
    widths = {chunk.group: chunk.width for chunk in chunks}
    ends = [*schedule.rungs(request.schedule, study.steps, points, study.evaluation_steps), study.steps]
    sources: Mapping[int, int] = {}
    finished = functools.partial(_finished, run, committed)

    for start, stop in zip([0, *ends], ends, strict=False):
        if start:
            chunks = planning.compact(population.groups, plan.devices, widths, members)
        spans = _left(run, now, chunks, Interval(start, stop))
        left = np.concatenate([members[:0], *(chunk.members for chunk in spans)])
        lost = without_state(directory, left, sources, start, stop) if start else left[:0]
        if len(lost):
            run.display.note(
                f"states of {len(lost)} members at step {start} are gone: they are trained again"
            )
            own = np.asarray([sources.get(member, member) for member in lost.tolist()])
            _forget(run, np.union1d(lost, own), 0, decisions=False)
            return _train_rounds(run, population, batch, committed)
        if spans:
            run.train(now, spans, sources, finished)
        if stop < study.steps:
            decision = _decide(run, now, batch, members, stop)
            dead = np.intersect1d(members, store.members_with(directory, stop, *LOST))
            gone = np.union1d(decision.stopped, np.setdiff1d(dead, list(decision.sources)))
            run.display.stop(len(np.setdiff1d(decision.stopped, dead)))
            if request.keep_best and isinstance(request.schedule, EarlyStopping):
                keep_stopped(study, now, directory, request.keep_best, decision.stopped, stop)
            members, sources = np.setdiff1d(members, gone), decision.sources
            if len(batch) == len(population):  # of a search that learns, other batches follow
                run.display.go_on(population.groups[members].tolist())
            now = with_values(now, decision.values)  # those of the next round
            checkpoints.prune(directory, stop, beginnings(directory))
            _show_stopped(run, decision.stopped)


def _holds(population: Population, members: np.ndarray, directory: Path) -> bool:
    """Whether what is committed of a batch is of the points that are asked for now."""
    for folder in store.committed(directory):
        if store.interval(folder).start == 0 and int(folder.name.split("-")[1]) in members:
            rows = store.read_chunk(folder)[0]
            asked = pending_rows(population, rows["member"].to_numpy())
            if not rows.select(population.swept).equals(asked.select(population.swept)):
                return False
    return True


def _forget(run: _Run, members: np.ndarray, step: int, decisions: bool = True) -> None:
    """Sets aside what members were trained to after a step, and has the display count it no more."""
    before = store.progress(run.directory, run.request.study.steps)
    forget(run.directory, members, step, decisions)
    after = store.progress(run.directory, run.request.study.steps)
    steps = {group: after[1].get(group, 0) - trained for group, trained in before[1].items()}
    run.display.resume(after[0] - before[0], steps, after[2] - before[2])


def _show_stopped(run: _Run, stopped: np.ndarray) -> None:
    if run.request.storage is not None and len(stopped):
        members, metrics = (store.read(run.directory, kind) for kind in store.KINDS)
        assert members is not None and metrics is not None  # the stopped ones are committed
        of_these = pa.array(np.isin(members["member"].to_numpy(), stopped))
        _show(run, members.filter(of_these), metrics)


def _show(run: _Run, members: pa.Table, metrics: pa.Table) -> None:
    """Copies members to the storage that was asked for; a run does not fail because its copy does."""
    if run.request.storage is not None:
        try:
            show(members, metrics, store.read_manifest(run.directory), run.request.storage)
        except StudyError as error:
            run.display.note(f"not copied to the storage: {error}")


def _decide(run: _Run, population: Population, batch: np.ndarray, members: np.ndarray, step: int) -> Decision:
    """Who goes on, as it was decided or, the first time, as the committed scores have it.

    It is decided anew once a member that had failed then has been trained.
    """
    first, directory = int(batch[0]), run.directory
    failed = np.intersect1d(members, failed_members(directory, step))
    found = read_rung(directory, first, step)
    if found is not None and np.isin(found.failed, failed).all():
        return found
    decision = _by_scores(run.request, population, batch, _standing(run, population, batch, members, step))
    decision = ending(decision, failed)
    if found is not None and not same(found, decision):
        run.display.note(f"members that had failed are trained: who goes on from step {step} is decided anew")
        _forget(run, batch, step)
        for member in np.setdiff1d(found.stopped, decision.stopped).tolist():  # whose end was not its end
            best_states.forget(directory, member)
    write_rung(directory, first, step, decision)
    return decision


def _standing(
    run: _Run, population: Population, batch: np.ndarray, members: np.ndarray, step: int
) -> Standing:
    """Members at the step of a decision, by what is committed."""
    judged, early = judged_by(run.request.study), isinstance(run.request.schedule, EarlyStopping)
    each = repeats(run.request.study)
    points = (members - batch[0]) // each
    losses = None
    if isinstance(run.request.schedule, Halving | Hyperband):  # who is replaced, or judged alone, has none
        ends = {store.interval(folder).stop for folder in store.committed(run.directory)}
        lost = [store.members_with(run.directory, end, *LOST) for end in ends if end < step]
        before = np.intersect1d(np.setdiff1d(batch, members), np.concatenate([members[:0], *lost]))
        losses = np.bincount((before - batch[0]) // each, minlength=len(batch) // each)[points]
    return Standing(
        step=step,
        members=members,
        points=points,
        scores=scores(run.directory, members, judged, step),
        groups=population.groups[members],
        history=score_history(run.directory, members, judged, step) if early else None,
        lost=np.isin(members, store.members_with(run.directory, step, *LOST)),
        losses=losses,
    )


def _by_scores(request: Request, population: Population, batch: np.ndarray, standing: Standing) -> Decision:
    study = request.study
    traced = [field.name for field in population.fields if field.traced and field.name in population.swept]
    decision = schedule.decide(
        request.schedule,
        standing,
        mode=study.mode,
        steps=study.steps,
        configurations=len(batch) // repeats(study),
        root_seed=request.sampling.root_seed,
        domains=study.swept,
        traced=traced,
        values={name: population.columns[name][standing.members] for name in traced},
        evaluations=study.evaluation_steps,
    )
    own = {}
    for member, source in decision.sources.items():
        values = values_of(population, source)
        own[member] = {name: values[name] for name in decision.values.get(member, {})}
    refused = set(own) - allowed_members(study, with_values(population, decision.values), own)
    return decision._replace(values=decision.values | {member: own[member] for member in refused})


def _left(run: _Run, population: Population, chunks: list[Chunk], steps: Interval) -> list[Chunk]:
    """What of an interval is left to train, each chunk as wide as it was; what cannot be built, given up."""

    def leave(chunk: Chunk, why: Failure) -> None:
        metric, setting = run.request.study.metric, run.plan.setting
        give_up(run.directory, population, chunk, metric, setting, why)

    done = store.committed_members(run.directory, steps)
    left = [chunk._replace(members=chunk.members[~np.isin(chunk.members, done)]) for chunk in chunks]
    left = [chunk._replace(start=steps.start, stop=steps.stop) for chunk in left if len(chunk.members)]
    return buildable(left, run.plan.failures, leave, run.display)


def _finished(run: _Run, committed: Callable[[], None], chunk: Chunk) -> None:
    """What follows a chunk that is committed."""
    directory, request = run.directory, run.request
    if request.schedule is None:
        committed()
    if request.keep_best and chunk.stop == request.study.steps:
        best_states.prune(directory, request.keep_best, request.study.mode)
    if request.storage is not None:
        members, metrics = store.read_chunk(directory / store.CHUNKS / chunk.name)
        if chunk.start:  # with what was found before
            metrics = store.read(directory, "metrics")
            assert metrics is not None  # this chunk is committed
        _show(run, members, metrics)
