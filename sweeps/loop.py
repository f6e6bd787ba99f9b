"""`run` and `resume`: what ties the parts together."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sweeps import manifest, store
from sweeps import schedule as schedules
from sweeps.cluster import Ray
from sweeps.course import Alone, run_in_memory, run_on_disk
from sweeps.crew import gathered
from sweeps.dashboard import reachable
from sweeps.lock import Lock, locked
from sweeps.population import baseline, gather, seeds_of
from sweeps.preparation import Began, Examined, Plan, examine, plan_of, prepare, recorded_plan
from sweeps.process_pool import Processes, begun, parse
from sweeps.progress import Display
from sweeps.proposals import Sampling, earlier_points
from sweeps.request import Request, refuse_changes, request, request_again
from sweeps.results import Results, load
from sweeps.signals import Signals, listening
from sweeps.space import StudyError
from sweeps.trial import Study

IN_MEMORY_MEMBERS = 100_000
MAX_SEED = 2**32 - 1


def run(
    study: Study,
    *,
    samples: int | None = None,
    out: str | Path | None = None,
    search: str = "grid",
    schedule: Any = None,
    executor: Any = None,
    root_seed: int = 0,
    devices: Sequence[Any] | None = None,
    members_per_chunk: int | None = None,
    progress: bool = True,
    name: str = "study",
    points_per_batch: int | None = None,
    warm_start: str | Path | None = None,
    confirm: int = 0,
    keep_best: int = 0,
    checkpoint_minutes: float | int = 2,
    storage: str | None = None,
    reference: dict[str, Any] | None = None,
) -> Results:
    """Trains every member of a study and returns what they found.

    Args:
        study: the study.
        samples: how many joint draws of the sampled fields; with another search than `grid`, how many points;
            None takes as many as a grid has, if no field is drawn.
        out: a new folder to keep the run in; None keeps it in memory.
        search: where points come from: `grid`, `random`, `sobol`, or Optuna's `tpe` and `gp`, which propose
            batches of points by what earlier ones scored.
        schedule: which members go on: `halving`, `hyperband` or `pbt`, or what `sweeps.halving(...)`,
            `sweeps.hyperband(...)` and `sweeps.pbt(...)` make; None lets all of them.
        executor: where members are trained: None is this process, `processes` one process per CPU core,
            `ray` a Ray cluster on this machine, and `sweeps.ray(...)` any. All but the first need `out`, on a
            path that all workers share.
        root_seed: what all randomness derives from, a whole number ≥ 0.
        devices: the devices that share the members; None takes all.
        members_per_chunk: how many members run at once; None measures and chooses.
        progress: whether to show progress on standard error.
        name: what the manifest calls the study.
        points_per_batch: how many points an adaptive search proposes at once; None takes 32.
        warm_start: the folder of an earlier run, whose points and scores an adaptive search begins with.
        confirm: on how many fresh seeds the winner and the baseline (every swept field at its default)
            are run again, so that `best` reports figures from seeds that did not choose it.
        keep_best: of how many of the best members the final state is kept; needs `out`.
        checkpoint_minutes: how long to train between two checkpoints of a chunk.
        storage: the URL of an Optuna storage, such as `sqlite:///optuna.db`, that finished members are copied
            into, for `optuna-dashboard` to show; nothing is read from it. Needs `out`.
        reference: what `sweeps resume` finds the study by, as `sweeps.reference` says.

    Returns:
        The results; with `out`, its folder holds them too.

    Raises:
        StudyError: something asked for cannot be done; nothing was trained then.
        KeyboardInterrupt: Ctrl-C; what was done is kept in `out`, and `resume` goes on from there.
        SystemExit: SIGTERM, likewise; the status is 143.
    """
    if not isinstance(root_seed, int) or not 0 <= root_seed <= MAX_SEED:
        raise StudyError(
            f"`root_seed is a whole number from 0 to 2**32 - 1` must hold, but got {root_seed!r}"
        )
    for word, value in (("confirm", confirm), ("keep_best", keep_best)):
        if not isinstance(value, int) or value < 0:
            raise StudyError(f"`0 <= {word}` must hold and be a whole number, but got {value!r}")
    if keep_best and out is None:
        raise StudyError(f"`out` must be given to keep states, but got keep_best={keep_best} and no out")
    if checkpoint_minutes <= 0:
        raise StudyError(f"`0 < checkpoint_minutes` must hold, but got {checkpoint_minutes}")
    executor = parse(executor, devices)
    if executor is not None and out is None:
        raise StudyError(
            "`out` must be given with an executor, a folder that all workers share, but got none"
        )
    known = earlier_points(study, search, None if warm_start is None else load(warm_start))
    sampling = Sampling(search, samples, root_seed, points_per_batch, known)
    thinning = schedules.parse(schedule) if isinstance(schedule, str) else schedule
    wanted = request(
        study, sampling, thinning, name=name, keep_best=keep_best, checkpoint_minutes=checkpoint_minutes
    )
    if out is None and wanted.members > IN_MEMORY_MEMBERS:
        raise StudyError(
            f"`out` must be given above {IN_MEMORY_MEMBERS} members, but got {wanted.members} and no out"
        )
    if out is not None:
        store.check_new(out)
    if storage is not None:
        if out is None:
            raise StudyError(f"`out` must be given with a storage, but got storage={storage!r} and no out")
        reachable(storage)
        wanted = wanted._replace(storage=storage)
    with begun(executor) as executor, listening() as signals:
        options = {"confirm": confirm, "reference": reference}
        results = _begin(wanted, out, executor, devices, members_per_chunk, progress, signals, options)
        return _confirmed(wanted, results, confirm, out, executor, devices, progress, signals)


def resume(
    directory: str | Path,
    study: Study,
    *,
    samples: int | None = None,
    root_seed: int | None = None,
    executor: Any = None,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
    storage: str | None = None,
) -> Results:
    """Goes on with a run that was stopped, in the numerical setting it began in.

    Args:
        directory: the run directory.
        study: the study that it is a run of; a study that differs is refused.
        samples: as the run was started with; None takes that.
        root_seed: as the run was started with; None takes that.
        executor: where to go on, as in `run`; not necessarily where the run began.
        devices: the devices to go on with; None takes as many as the run began with, or all there are.
        progress: whether to show progress on standard error.
        storage: the URL of an Optuna storage, as in `run`.

    Returns:
        The results, of all members.

    Raises:
        StudyError: it is not a run directory, another process runs it, or the study, its space or a seed
            has changed; the message shows what.
        KeyboardInterrupt: Ctrl-C, as in `run`.
        SystemExit: SIGTERM, likewise.
    """
    directory, executor = Path(directory), parse(executor, devices)
    recorded = store.read_manifest(directory)
    asked = request_again(recorded, study, samples, root_seed)
    if storage is not None:
        reachable(storage)
        asked = asked._replace(storage=storage)
    with begun(executor) as executor, listening() as signals:
        results = _go_on(directory, recorded, asked, executor, devices, progress, signals)
        again = recorded["confirm"]
        return _confirmed(asked, results, again, directory, executor, devices, progress, signals)


def _begin(
    wanted: Request,
    out: str | Path | None,
    executor: Ray | Processes | None,
    devices: Sequence[Any] | None,
    members_per_chunk: int | None,
    progress: bool,
    signals: Signals,
    options: dict[str, Any],
) -> Results:
    """A new run, from planning to its results."""
    examined = examine(wanted.study, wanted.population)
    points, scores = wanted.sampling.history
    written = {
        **wanted.asked,
        "history": {"points": list(points), "scores": list(scores)},
        "fingerprint": manifest.fingerprint(wanted.asked, examined.digests),
        "digests": examined.digests,
        "versions": manifest.versions(),
        "members_per_chunk": members_per_chunk,
        "numerical_setting": None,
        "plan": None,
        "keep_best": wanted.keep_best,
        "checkpoint_minutes": wanted.checkpoint_minutes,
        **options,
    }
    with Display(wanted.members, wanted.member_steps, shown=progress) as display:
        _say_budget(wanted, display)
        if out is None and wanted.schedule is None and not wanted.sampling.adaptive:
            prepared = prepare(examined, wanted.sampling.root_seed, devices, members_per_chunk)
            written |= recorded_plan(plan_of(prepared))
            return run_in_memory(prepared, written, display, signals)
        with contextlib.ExitStack() as last:
            temporary = None if out else last.enter_context(tempfile.TemporaryDirectory())
            # The folder is there before the plan is, so that whatever happens from now on, `resume` goes on.
            directory = store.create(out or Path(str(temporary)) / "run", written)
            lock = last.enter_context(locked(directory))
            try:
                trainer = last.enter_context(
                    _trainer(executor, examined, wanted, devices, lock, display, signals)
                )
                plan = trainer.plan(members_per_chunk, None)
            except StudyError:
                store.discard(directory)
                raise
            written |= recorded_plan(plan)
            store.write_manifest(directory, written)
            run_on_disk(plan, wanted, lock, display, trainer.train)
            results = load(directory)
            if temporary is None:
                return results
            return Results(written, tables=(results.members, results.metrics))


def _say_budget(wanted: Request, display: Display) -> None:
    full = wanted.members * wanted.study.steps
    if wanted.schedule is not None:
        display.note(
            f"{schedules.text(wanted.schedule)}: {wanted.member_steps:,} member-steps of the {full:,} of a "
            f"full sweep ({100 * wanted.member_steps / full:.0f} %)"
        )


@contextlib.contextmanager
def _trainer(
    executor: Ray | Processes | None,
    examined: Examined,
    wanted: Request,
    devices: Sequence[Any] | None,
    lock: Lock,
    display: Display,
    signals: Signals,
    cpu_devices: int | None = None,
) -> Iterator[Any]:
    """What plans and trains: this process, or workers."""
    if executor is None:
        yield Alone(examined, wanted, devices, lock, display, signals)
        return
    with gathered(executor, wanted, lock, display, signals, cpu_devices) as crew:
        yield crew


def _go_on(
    directory: Path,
    recorded: dict[str, Any],
    wanted: Request,
    executor: Ray | Processes | None,
    devices: Sequence[Any] | None,
    progress: bool,
    signals: Signals,
) -> Results:
    """The rest of a run."""
    examined = examine(wanted.study, wanted.population)
    if recorded["versions"]["jax"] == manifest.versions()["jax"]:
        refuse_changes(recorded["digests"], examined.digests)
    with locked(directory) as lock, Display(wanted.members, wanted.member_steps, shown=progress) as display:
        for name in store.clean(directory):
            display.note(f"chunk {name} is damaged: it is set aside, and its members are trained again")
        if wanted.schedule is None and (again := store.reopen(directory)):
            display.note(f"{again} members that failed are trained again")
        display.resume(*store.progress(directory, wanted.study.steps))
        before, began = recorded["numerical_setting"], None
        if recorded["plan"] is not None:
            began = Began(before["devices"], recorded["plan"]["members_per_chunk"], before["loop"])
        cores = before["devices"] if began is not None and before["platform"] == "cpu" else None
        with _trainer(executor, examined, wanted, devices, lock, display, signals, cores) as trainer:
            plan = trainer.plan(recorded["members_per_chunk"], began)
            if began is None:
                store.write_manifest(directory, recorded | recorded_plan(plan))
            else:
                _say_setting(before, plan, display)
            run_on_disk(plan, wanted, lock, display, trainer.train)
        return load(directory)


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


def _confirmed(
    wanted: Request,
    results: Results,
    count: int,
    out: str | Path | None,
    executor: Ray | Processes | None,
    devices: Sequence[Any] | None,
    progress: bool,
    signals: Signals,
) -> Results:
    """The results with the winner and the baseline run on fresh seeds; as they are if none are wanted."""
    if not count:
        return results
    study, best = wanted.study, results.best()
    usual = baseline(study)
    points = [best.config] + ([] if usual is None or usual == best.config else [usual])
    first = int(max(seeds_of(study))) + 1
    if first + count > MAX_SEED:
        raise StudyError(f"`{count} seeds above the study's` must exist, but got {first - 1} as its largest")
    population = gather(study, points, range(first, first + count))
    sampling = Sampling("grid", None, wanted.sampling.root_seed)
    asked = manifest.asked(
        study,
        population,
        name=wanted.asked["study"],
        samples=None,
        root_seed=sampling.root_seed,
        members=len(population),
        points=points,
    )
    fresh = Request(study, population, sampling, None, asked, 0, wanted.checkpoint_minutes)
    options: dict[str, Any] = {"confirm": 0, "reference": None}
    if out is None:
        found = _begin(fresh, None, None, devices, None, progress, signals, options)
        return dataclasses.replace(results, confirmation=found)
    folder = Path(out) / store.CONFIRMATION
    if folder.exists():
        recorded = store.read_manifest(folder)
        refuse_changes({key: recorded.get(key) for key in asked}, asked)
        _go_on(folder, recorded, fresh, executor, devices, progress, signals)
    else:
        _begin(fresh, folder, executor, devices, None, progress, signals, options)
    return load(out)
