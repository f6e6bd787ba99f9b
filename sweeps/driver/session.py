"""How a run begins and how it goes on, wherever it is trained."""

import contextlib
import dataclasses
import math
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sweeps.data.streams import check_readings
from sweeps.driver.in_memory import run_in_memory
from sweeps.driver.rounds import run_on_disk
from sweeps.driver.unchanged import refuse_other_code, refuse_other_settings
from sweeps.engine.plan import Examined, Plan, examine, prepare, recorded_plan
from sweeps.engine.rows import failed_rows, pending_rows
from sweeps.errors import StudyError, resume_line
from sweeps.executors.choosing import choosing
from sweeps.executors.executor import Executor, Work
from sweeps.executors.gathering import gathered
from sweeps.executors.inline import Alone
from sweeps.executors.processes import Processes, in_processes, ready
from sweeps.executors.ray_cluster import Ray
from sweeps.host.compilation import use_cache
from sweeps.host.progress import Display
from sweeps.host.signals import Signals, listening
from sweeps.members.request import Request
from sweeps.results.results import Results, load
from sweeps.schedules import schedule as schedules
from sweeps.space.values import stored
from sweeps.store import chunks as store
from sweeps.store import failures, manifest
from sweeps.store.heartbeats import disband
from sweeps.store.leading import committed_lead
from sweeps.store.lock import locked
from sweeps.store.repair import repair
from sweeps.store.statuses import UNFINISHED


class Session(NamedTuple):
    """Where members are trained, and who watches.

    Attributes:
        executor: Ray, or processes of this host; None is this process.
        devices: the devices of this process; None takes all, or as many as the run began with.
        progress: whether to show progress on standard error.
        signals: what is held back while a span runs.
        free: whether nobody has said where to train, so that processes may be taken.
    """

    executor: Ray | Processes | None
    devices: Sequence[Any] | None
    progress: bool
    signals: Signals
    free: bool = False


@contextlib.contextmanager
def opened(
    executor: Ray | Processes | None,
    devices: Sequence[Any] | None,
    progress: bool,
    max_minutes: float | int | None,
    free: bool,
) -> Iterator[Session]:
    """A session, in which programs are cached and signals are held back until the block is left.

    Args:
        executor: Ray, or processes of this host; None is this process.
        devices: the devices of this process, as they were given.
        progress: whether to show progress on standard error.
        max_minutes: after how long to end; None sets no limit.
        free: whether nobody has said where to train.
    """
    use_cache()
    with ready(executor) as executor, listening() as signals:
        signals.limit(max_minutes)
        yield Session(executor, devices, progress, signals, free)


def begin(
    session: Session,
    request: Request,
    out: str | Path | None,
    members_per_chunk: int | None,
    options: dict[str, Any],
) -> Results:
    """A new run, from planning to its results.

    Args:
        session: where it is trained.
        request: the request.
        out: a new folder to keep the run in; None keeps it in memory.
        members_per_chunk: how many members run at once; None measures and chooses.
        options: what else its manifest says.
    """
    if out is None:  # a temporary folder is for what is short
        session = session._replace(free=False)
    examined, request = _examined(request)
    _check_readings(session, examined, request, options["confirm"])
    written = _written(examined, request, members_per_chunk) | options
    with Display(request.members, request.member_steps, shown=session.progress) as display:
        display.weights = examined.weights
        _say_budget(request, display)
        alone = request.schedule is None and not request.sampling.adaptive
        if out is None and alone and session.signals.deadline == math.inf:
            root_seed = request.sampling.root_seed
            prepared = prepare(examined, root_seed, session.devices, members_per_chunk, say=display.doing)
            written |= recorded_plan(prepared.plan, request.population)
            return _ended(run_in_memory(prepared, written, display, session.signals), display)
        with contextlib.ExitStack() as last:
            temporary = None if out else last.enter_context(tempfile.TemporaryDirectory())
            there = store.standing(out or str(temporary))
            # The folder is there before the plan is, so that whatever happens from now on, `resume` goes on.
            directory = store.create(out or Path(str(temporary)) / "run", written)
            lock = last.enter_context(locked(directory))
            try:
                with _trainer(session, Work(examined, request, lock, display, session.signals)) as trainer:
                    plan = trainer.plan(members_per_chunk, None)
                    written |= recorded_plan(plan, request.population)
                    store.write_manifest(directory, written)
                    run_on_disk(plan, request, lock, display, trainer.train)
            except StudyError:
                if written["plan"] is None:
                    store.discard(directory, there)
                raise
            results = _found(directory, written, request)
            if temporary is not None:
                results = _in_memory(results, written, request)
            return _ended(results, display)


def _in_memory(results: Results, written: dict[str, Any], request: Request) -> Results:
    """The results of a run whose directory is about to go."""
    lineage = request.schedule and results.lineage
    seconds = dict(zip(results.members["member"].to_pylist(), results.seconds().tolist(), strict=True))
    tables, errors = (results.members, results.metrics), results.errors
    return Results(written, tables=tables, failures=errors, kept_lineage=lineage, kept_seconds=seconds)


def _found(directory: Path, written: dict[str, Any], request: Request) -> Results:
    """What is committed; of a run whose time was up before anything was, that nothing is."""
    if store.committed(directory):
        return load(directory)
    population = request.population
    members = pending_rows(population, np.arange(len(population)))
    _, metrics = failed_rows(population, np.arange(0), request.study.metric)
    return Results(written, directory, tables=(members, metrics))


def unreached(results: Results) -> str | None:
    """What a run has not reached, because its time was up or it was stopped; None if that is nothing.

    Args:
        results: of all its members.
    """
    members = results.manifest["members"]
    waiting = members - int(np.isin(results.members["status"].to_numpy(), UNFINISHED, invert=True).sum())
    if waiting:
        return f"{waiting:,} of {members:,} members are not finished"
    if results.manifest.get("confirm") and results.confirmation is None:
        return "the winner and the baseline are not confirmed"
    return None


def _written(examined: Examined, request: Request, members_per_chunk: int | None) -> dict[str, Any]:
    """What the manifest of a new run says, before there is a plan."""
    points, scores = request.sampling.history
    return {
        **request.record,
        "history": {
            "points": [{name: stored(value) for name, value in point.items()} for point in points],
            "scores": list(scores),
        },
        "fingerprint": manifest.fingerprint(request.record, examined.digests),
        "digests": examined.digests,
        "versions": manifest.versions(),
        "jax_settings": manifest.jax_settings(),
        "members_per_chunk": members_per_chunk,
        "numerical_setting": None,
        "plan": None,
        "keep_best": request.keep_best,
        "keep_states": request.keep_states,
        "checkpoint_minutes": request.checkpoint_minutes,
    }


def _ended(results: Results, display: Display) -> Results:
    """The results of a run that has ended; says how many members failed, and how to see why.

    Raises:
        StudyError: all of them did.
    """
    if not display.failed:
        return results
    errors, there = results.errors, results.directory
    if len(errors) == results.manifest["members"]:
        again = "" if there is None else f"; `{resume_line(there)}` tries them again"
        raise StudyError(
            f"All {len(errors)} members failed, the first with: {next(iter(errors.values()))}{again}"
        )
    where = "results.errors" if there is None else f"`sweeps status {shlex.quote(str(there))}`"
    how = f"{where} says why"
    display.note(f"{len(errors)} of {results.manifest['members']} members failed; {how}")
    return results


def _check_readings(session: Session, examined: Examined, request: Request, confirm: int) -> None:
    """Raises a StudyError if training data that can be read once would be read again."""
    data, sampling = examined.study.trial.data, request.sampling
    again = {
        "by each round of a schedule": request.schedule is not None,
        "again for more steps": len(request.ends) > 1,
        "by each batch of a search": sampling.adaptive and sampling.batch < (sampling.samples or 0),
        "by each worker": session.executor is not None,
        "again to confirm the winner": confirm > 0,
    }
    if data is not None:
        check_readings(data.train, [reader for reader, needed in again.items() if needed])


def _examined(request: Request) -> tuple[Examined, Request]:
    """The study, examined, and the request with the fields static whose values the model asks for."""
    examined = examine(request.study, request.population)
    trial = request.study.trial._replace(static=examined.study.trial.static)
    study = dataclasses.replace(request.study, trial=trial)
    return examined, request._replace(study=study, population=examined.population)


def _say_budget(request: Request, display: Display) -> None:
    full = request.members * request.study.steps
    if request.schedule is not None:
        most = "at most " if isinstance(request.schedule, schedules.EarlyStopping) else ""
        display.note(
            f"{schedules.text(request.schedule)}: {most}{request.member_steps:,} member-steps of the "
            f"{full:,} of a full sweep ({100 * request.member_steps / full:.0f} %)"
        )


@contextlib.contextmanager
def _trainer(session: Session, work: Work, cpu_devices: int | None = None) -> Iterator[Executor]:
    """What plans and trains: this process, or workers."""
    with work.signals.ending(work.display.note):  # what is committed are the results
        if session.executor is None:
            alone = Alone(work, session.devices)
            with choosing(alone) if session.free else contextlib.nullcontext(alone) as trainer:
                yield trainer
            return
        with gathered(session.executor, work, cpu_devices) as crew:
            yield crew


@contextlib.contextmanager
def _as_it_began(session: Session, setting: dict[str, Any] | None) -> Iterator[Session]:
    """Where nobody has said where to train: in processes what began so, in this process everything else."""
    if not session.free or setting is None:
        yield session
        return
    with ready((session.executor or Processes()) if in_processes(setting) else None) as executor:
        yield session._replace(executor=executor)


def go_on(
    session: Session,
    directory: Path,
    recorded: dict[str, Any],
    request: Request,
    changes: dict[str, Any] | None = None,
) -> Results:
    """The rest of a run.

    Args:
        session: where it is trained.
        directory: the run directory.
        recorded: its manifest.
        request: the request, made again.
        changes: what its manifest is to say from now on, of a run that is extended; None leaves it.
    """
    refuse_other_settings(recorded)
    examined, request = _examined(request)
    refuse_other_code(recorded, examined)
    _check_readings(session, examined, request, recorded["confirm"])
    with (
        _as_it_began(session, recorded["numerical_setting"]) as session,
        locked(directory) as lock,
        Display(request.members, request.member_steps, shown=session.progress) as display,
    ):
        display.weights = examined.weights
        if changes is not None:
            recorded = _extended(directory, recorded, changes, examined)
        disband(directory)  # workers of a process that was killed, which nobody runs any more
        for line in repair(directory, recorded):
            display.note(line)
        if again := failures.reopen(directory):
            display.note(f"{again} members that failed are trained again")
        display.resume(*store.progress(directory, request.study.steps))
        display.lead(committed_lead(directory, recorded), request.study.mode)
        before, began = recorded["numerical_setting"], None
        if recorded["plan"] is not None:
            began = Plan(before["devices"], recorded["plan"]["members_per_chunk"], before["loop"])
        cores = before["devices"] if began is not None and before["platform"] == "cpu" else None
        work = Work(examined, request, lock, display, session.signals)
        with _trainer(session, work, cores) as trainer:
            plan = trainer.plan(recorded["members_per_chunk"], began)
            if began is None:
                store.write_manifest(directory, recorded | recorded_plan(plan, request.population))
            else:
                _say_setting(before, plan, display)
            run_on_disk(plan, request, lock, display, trainer.train)
        return _ended(_found(directory, recorded, request), display)


def _extended(
    directory: Path, recorded: dict[str, Any], changes: dict[str, Any], examined: Examined
) -> dict[str, Any]:
    """The manifest of a run that is extended, written; from then on `resume` goes on with the extension."""
    if store.read_manifest(directory) != recorded:
        raise StudyError(
            f"`nobody else extends the run meanwhile` must hold, but got another manifest of {directory}; "
            f"extend it again"
        )
    digests = dict(recorded["digests"])
    for kind in ("programs", "divergence"):
        if kind in digests:  # an earlier version took down one alone
            digests[kind] = [*digests[kind], *examined.digests[kind][len(digests[kind]) :]]
    written = recorded | changes | {"digests": digests}
    if recorded["plan"] is not None:
        written["plan"] = recorded["plan"] | {"groups": len(examined.population.statics)}
    asked = {name: written[name] for name in changes if name not in ("earlier", "keep_states")}
    written["fingerprint"] = manifest.fingerprint(asked, digests)
    store.write_manifest(directory, written)
    return written


def _say_setting(before: dict[str, Any], plan: Plan, display: Display) -> None:
    """Says what a run goes on with, if that is not what it began with."""
    changes = manifest.differences(
        before, plan.setting | {"members_per_device": before["members_per_device"]}
    )
    if changes:
        display.note(
            f"going on in another numerical setting ({'; '.join(changes)}): what is trained from here on "
            f"agrees with the first setting to float32 rounding, not bit for bit"
        )
