"""`run` and `resume`: what a person calls."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sweeps.driver.confirmation import MAX_SEED, confirmed, fresh_seeds
from sweeps.driver.session import begin, go_on, opened, unreached
from sweeps.errors import StudyError, brief
from sweeps.executors.processes import going_on, parse
from sweeps.host.signals import in_ipython
from sweeps.members.request import Request, make_request, request_again
from sweeps.members.sampling import Sampling, earlier_points
from sweeps.results.lineage import is_evolved
from sweeps.results.results import Results, load
from sweeps.results.storage import masked, reachable
from sweeps.schedules import schedule as schedules
from sweeps.search import adaptive
from sweeps.search.adaptive import Adaptive
from sweeps.space.bounds import finite, whole_number
from sweeps.store import chunks as store
from sweeps.trial import Study

IN_MEMORY_MEMBERS = 100_000


class Settings(NamedTuple):
    """How a study is run; each is explained at `run`."""

    out: str | Path | None = None
    search: str | Adaptive = "grid"
    schedule: Any = None
    executor: Any = None
    root_seed: int = 0
    devices: Sequence[Any] | None = None
    members_per_chunk: int | None = None
    confirm: int = 0
    keep_best: int = 0
    max_minutes: float | int | None = None
    checkpoint_minutes: float | int = 2
    storage: str | None = None
    samples: int | None = None
    progress: bool = True
    keep_states: bool = False


class Origin(NamedTuple):
    """Where a study comes from.

    Attributes:
        name: what the manifest calls it.
        reference: what `sweeps resume` finds it by; None for a study that was made in Python.
    """

    name: str = "study"
    reference: dict[str, Any] | None = None


def run(
    study: Study,
    *,
    out: str | Path | None = None,
    search: str | Adaptive = "grid",
    schedule: Any = None,
    executor: Any = None,
    root_seed: int = 0,
    devices: Sequence[Any] | None = None,
    members_per_chunk: int | None = None,
    confirm: int = 0,
    keep_best: int = 0,
    max_minutes: float | int | None = None,
    checkpoint_minutes: float | int = 2,
    storage: str | None = None,
    samples: int | None = None,
    progress: bool = True,
    keep_states: bool = False,
) -> Results:
    """Trains every member of a study and returns what they found.

    Compiled programs are kept: in the process, so that a second run of a study compiles nothing, and in the
    user's cache folder, for other processes. `jax_compilation_cache_dir` chooses another folder, and
    `jax_enable_compilation_cache` off keeps none.

    Args:
        study: the study.
        out: a new folder to keep the run in; None keeps it in memory.
        search: where points come from: `grid`, `random`, `sobol`, or Optuna's `tpe` and `gp`, which propose
            batches of points by what earlier ones scored, or what `sweeps.tpe(...)` and `sweeps.gp(...)`
            make.
        schedule: which members go on: `halving`, `hyperband`, `pbt` or `early_stopping`, or what
            `sweeps.halving(...)`, `sweeps.hyperband(...)`, `sweeps.pbt(...)` and
            `sweeps.early_stopping(...)` make; None lets all of them.
        executor: where members are trained: `inline` is this process, `processes` one process per CPU core,
            `ray` a Ray cluster on this machine, and `sweeps.ray(...)` any. All but the first need `out`, on a
            path that all workers share. None is this process too, but for sweeps of five minutes and up with
            `out` on Linux, which measure a process per core when they begin, and take that if it is faster.
        root_seed: what all randomness derives from, a whole number ≥ 0.
        devices: the devices that share the members; None takes all.
        members_per_chunk: how many members run at once; None measures and chooses.
        confirm: on how many fresh seeds the winner and the baseline (every swept field at its default)
            are run again, so that `best` reports figures from seeds that did not choose it.
        keep_best: of how many of the best members the final state is kept; needs `out`.
        max_minutes: after how long the run ends, planning included, whatever it has reached: within a span
            (two seconds of training at most, or one evaluation) of the limit, its checkpoints kept, with the
            results of what is finished; compiling is not interrupted. Members that are not finished are
            `pending` or `running`, and `resume` goes on; without `out` they are lost. None sets no limit.
        checkpoint_minutes: how long to train between two checkpoints of a chunk.
        storage: the URL of an Optuna storage, such as `sqlite:///optuna.db`, that finished members are copied
            into, for `optuna-dashboard` to show; nothing is read from it. Needs `out`.
        samples: how many joint draws of the sampled fields, or points of a search, instead of the study's.
        progress: whether to show progress on standard error.
        keep_states: whether the states of all members that come to the last step are kept, from which
            `extend` goes on to more steps; needs `out`, and the disk that `sweeps plan` says.

    Returns:
        The results; with `out`, its folder holds them too.

    Raises:
        StudyError: something asked for cannot be done; nothing was trained then.
        KeyboardInterrupt: Ctrl-C; what was done is kept in `out`, and `resume` goes on from there. Without
            `out`, in a notebook or another IPython, the results of what was finished are returned instead,
            if anything was; the other members are `pending`.
        SystemExit: SIGTERM, likewise; the status is 143.
    """
    settings = Settings(
        out, search, schedule, executor, root_seed, devices, members_per_chunk, confirm, keep_best,
        max_minutes, checkpoint_minutes, storage, samples, progress, keep_states,
    )  # fmt: skip
    return run_as(Origin(), study, settings)


def run_as(origin: Origin, study: Study, settings: Settings) -> Results:
    """Runs a study that has a name, as `run` does.

    Args:
        origin: where the study comes from.
        study: the study.
        settings: how it is run.
    """
    executor = parse(settings.executor, settings.devices)
    request = _request(origin, study, settings, executor)
    options = {"confirm": settings.confirm, "reference": origin.reference}
    free = settings.executor is None and settings.devices is None
    with opened(executor, settings.devices, settings.progress, settings.max_minutes, free) as session:
        signals = session.signals
        signals.keeps = settings.out is None and in_ipython()
        results = begin(session, request, settings.out, settings.members_per_chunk, options)
        results = confirmed(session, request, results, settings.confirm, settings.out)
        if signals.stopped and not len(results.metrics):
            raise KeyboardInterrupt("Ctrl-C")  # nothing is lost by it, and cells that follow do not run
        if signals.stopped and (left := unreached(results)):
            print(f"Ctrl-C: {left}; the results are those of what is", file=sys.stderr)
        return results


def _request(origin: Origin, study: Study, settings: Settings, executor: Any) -> Request:
    """The members, with all that can be refused refused."""
    _check_numbers(settings)
    if executor is not None and settings.out is None:
        raise StudyError(
            "`out` must be given with an executor, a folder that all workers share, but got none"
        )
    name, points_per_batch, earlier = adaptive.checked(settings.search)
    before = None if earlier is None else load(earlier)
    if before is not None and is_evolved(before.manifest):
        raise StudyError(
            "`warm_start is a run whose members kept their values` must hold, but got one of "
            "population-based training, where a score belongs to a schedule of values; begin without it"
        )
    known = earlier_points(study, before)
    samples = study.samples if settings.samples is None else settings.samples
    sampling = Sampling(name, samples, settings.root_seed, points_per_batch, known)
    text = settings.schedule
    request = make_request(
        study,
        sampling,
        schedules.parse(text) if isinstance(text, str) else text,
        name=origin.name,
        keep_best=settings.keep_best,
        checkpoint_minutes=settings.checkpoint_minutes,
        keep_states=settings.keep_states,
    )
    if settings.confirm:
        fresh_seeds(study, settings.confirm)
    _check_places(settings, request.members)
    return request._replace(storage=settings.storage)


def _check_numbers(settings: Settings) -> None:
    """Raises a StudyError if a number is none that a run can have."""
    root_seed = settings.root_seed
    if settings.members_per_chunk is not None:
        whole_number("members_per_chunk", settings.members_per_chunk)
    if not isinstance(root_seed, int) or not 0 <= root_seed <= MAX_SEED:
        raise StudyError(
            f"`root_seed is a whole number from 0 to 2**32 - 1` must hold, but got {brief(root_seed)}"
        )
    for word in ("confirm", "keep_best"):
        value = getattr(settings, word)
        if not isinstance(value, int) or value < 0:
            raise StudyError(f"`0 <= {word}` must hold and be a whole number, but got {brief(value)}")
    for word in ("keep_best", "keep_states"):
        if (value := getattr(settings, word)) and settings.out is None:
            raise StudyError(f"`out` must be given to keep states, but got {word}={value} and no out")
    if (finite(settings.checkpoint_minutes) or 0) <= 0:
        raise StudyError(
            f"`0 < checkpoint_minutes` must hold and be a finite number, but got "
            f"{brief(settings.checkpoint_minutes)}"
        )
    check_minutes(settings.max_minutes)


def _check_places(settings: Settings, members: int) -> None:
    """Raises a StudyError if so many members cannot be kept, or copied, where they are to be."""
    out, storage = settings.out, settings.storage
    if out is None and members > IN_MEMORY_MEMBERS:
        raise StudyError(
            f"`out` must be given above {IN_MEMORY_MEMBERS} members, but got {members} and no out"
        )
    if out is not None:
        store.check_new(out)
    if storage is not None:
        if out is None:
            raise StudyError(f"`out` must be given with a storage, but got {masked(storage)} and no out")
        reachable(storage)


def check_minutes(minutes: Any) -> None:
    """Raises a StudyError unless it is a time, or None.

    Args:
        minutes: what was given as `max_minutes`.
    """
    if minutes is not None and (finite(minutes) or 0) <= 0:
        raise StudyError(
            f"`0 < max_minutes` must hold and be a finite number, but got {brief(minutes)}; leave it out for "
            f"no limit"
        )


def resume(
    directory: str | Path,
    study: Study,
    *,
    samples: int | None = None,
    root_seed: int | None = None,
    executor: Any = None,
    devices: Sequence[Any] | None = None,
    max_minutes: float | int | None = None,
    progress: bool = True,
    storage: str | None = None,
) -> Results:
    """Goes on with a run that was stopped, in the numerical setting it began in.

    Args:
        directory: the run directory.
        study: the study that it is a run of; a study that differs is refused.
        samples: as the run was started with; None takes that.
        root_seed: as the run was started with; None takes that.
        executor: where to go on, as in `run`; None is where the run began, processes or this process.
        devices: the devices to go on with; None takes as many as the run began with, or all there are.
        max_minutes: after how long to end again, as in `run`.
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
    check_minutes(max_minutes)
    directory = Path(directory)
    recorded = store.read_manifest(directory)
    executor, free = going_on(executor, devices, recorded)
    request = request_again(recorded, study, samples, root_seed)
    if storage is not None:
        reachable(storage)
        request = request._replace(storage=storage)
    with opened(executor, devices, progress, max_minutes, free) as session:
        results = go_on(session, directory, recorded, request)
        return confirmed(session, request, results, recorded["confirm"], directory)
