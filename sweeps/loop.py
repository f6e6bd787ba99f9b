"""`run` and `resume`: what ties the parts together."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from sweeps import manifest, store
from sweeps.course import rest, run_in_memory, run_on_disk
from sweeps.lock import locked
from sweeps.measurement import Choice
from sweeps.population import baseline, gather, populate
from sweeps.preparation import Examined, Prepared, examine, prepare
from sweeps.progress import Display
from sweeps.request import Request, refuse_changes, request
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
    root_seed: int = 0,
    devices: Sequence[Any] | None = None,
    members_per_chunk: int | None = None,
    progress: bool = True,
    name: str = "study",
    confirm: int = 0,
    keep_best: int = 0,
    checkpoint_minutes: float | int = 2,
    reference: dict[str, Any] | None = None,
) -> Results:
    """Trains every member of a study and returns what they found.

    Args:
        study: the study.
        samples: how many joint draws of the sampled fields.
        out: a new folder to keep the run in; None keeps it in memory.
        root_seed: what all randomness derives from, a whole number ≥ 0.
        devices: the devices that share the members; None takes all.
        members_per_chunk: how many members run at once; None measures and chooses.
        progress: whether to show progress on standard error.
        name: what the manifest calls the study.
        confirm: on how many fresh seeds the winner and the baseline (every swept field at its default)
            are run again, so that `best` reports figures from seeds that did not choose it.
        keep_best: of how many of the best members the final state is kept; needs `out`.
        checkpoint_minutes: how long to train between two checkpoints of a chunk.
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
    population = populate(study, samples, root_seed)
    if out is None and len(population) > IN_MEMORY_MEMBERS:
        raise StudyError(
            f"`out` must be given above {IN_MEMORY_MEMBERS} members, but got {len(population)} and no out"
        )
    if out is not None:
        store.check_new(out)
    asked = manifest.asked(study, population, name=name, samples=samples, root_seed=root_seed)
    wanted = Request(study, population, asked, root_seed, keep_best, checkpoint_minutes)
    with listening() as signals:
        options = {"confirm": confirm, "reference": reference}
        results = _begin(wanted, out, devices, members_per_chunk, progress, signals, options)
        return _confirmed(wanted, results, confirm, out, devices, progress, signals)


def resume(
    directory: str | Path,
    study: Study,
    *,
    samples: int | None = None,
    root_seed: int | None = None,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
) -> Results:
    """Goes on with a run that was stopped, in the numerical setting it began in.

    Args:
        directory: the run directory.
        study: the study that it is a run of; a study that differs is refused.
        samples: as the run was started with; None takes that.
        root_seed: as the run was started with; None takes that.
        devices: the devices to go on with; None takes as many as the run began with, or all there are.
        progress: whether to show progress on standard error.

    Returns:
        The results, of all members.

    Raises:
        StudyError: it is not a run directory, another process runs it, or the study, its space or a seed
            has changed; the message shows what.
        KeyboardInterrupt: Ctrl-C, as in `run`.
        SystemExit: SIGTERM, likewise.
    """
    directory = Path(directory)
    recorded = store.read_manifest(directory)
    samples = recorded["samples"] if samples is None else samples
    seed: int = recorded["root_seed"] if root_seed is None else root_seed
    asked = request(recorded, study, samples, seed)
    with listening() as signals:
        results = _go_on(directory, recorded, asked, devices, progress, signals)
        return _confirmed(asked, results, recorded["confirm"], directory, devices, progress, signals)


def _begin(
    wanted: Request,
    out: str | Path | None,
    devices: Sequence[Any] | None,
    members_per_chunk: int | None,
    progress: bool,
    signals: Signals,
    options: dict[str, Any],
) -> Results:
    """A new run, from planning to its results."""
    examined = examine(wanted.study, wanted.population)
    written = {
        **wanted.asked,
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
    with Display(len(wanted.population), wanted.study.steps, shown=progress) as display:
        if out is None:
            prepared = prepare(examined, wanted.root_seed, devices, members_per_chunk)
            return run_in_memory(prepared, written | _plan(prepared), display, signals)
        # The folder is there before the plan is, so that whatever happens from now on, `resume` goes on.
        directory = store.create(out, written)
        with locked(directory) as lock:
            try:
                prepared = prepare(examined, wanted.root_seed, devices, members_per_chunk)
            except StudyError:
                store.discard(directory)
                raise
            store.write_manifest(directory, written | _plan(prepared))
            if prepared.bench.mesh.size < len(devices or jax.devices()):
                used = prepared.bench.mesh.size
                display.note(f"{used} of the devices are used: there are no more members in a group")
            return run_on_disk(prepared, prepared.chunks, wanted, lock, display, signals)


def _plan(prepared: Prepared) -> dict[str, Any]:
    """What the manifest says of the plan."""
    mesh, loop = prepared.bench.mesh, prepared.choice.loop
    widths = sorted({chunk.width // mesh.size for chunk in prepared.chunks})
    return {
        "numerical_setting": manifest.setting(mesh, loop, widths[-1]),
        "plan": {
            "groups": len(prepared.population.statics),
            "chunks": len(prepared.chunks),
            "members_per_chunk": prepared.most,
        },
    }


def _go_on(
    directory: Path,
    recorded: dict[str, Any],
    wanted: Request,
    devices: Sequence[Any] | None,
    progress: bool,
    signals: Signals,
) -> Results:
    """The rest of a run."""
    examined = examine(wanted.study, wanted.population)
    if recorded["versions"]["jax"] == manifest.versions()["jax"]:
        refuse_changes(recorded["digests"], examined.digests)
    with (
        locked(directory) as lock,
        Display(len(wanted.population), wanted.study.steps, shown=progress) as display,
    ):
        for name in store.clean(directory):
            display.note(f"chunk {name} is damaged: it is set aside, and its members are trained again")
        done = store.committed_members(directory)
        display.resume(len(done))
        if recorded["plan"] is None:
            prepared = prepare(examined, wanted.root_seed, devices, recorded["members_per_chunk"])
            store.write_manifest(directory, recorded | _plan(prepared))
        else:
            prepared = _as_planned(examined, recorded, wanted.root_seed, devices, display)
        return run_on_disk(prepared, rest(prepared, done), wanted, lock, display, signals)


def _as_planned(
    examined: Examined,
    recorded: dict[str, Any],
    root_seed: int,
    devices: Sequence[Any] | None,
    display: Display,
) -> Prepared:
    """The plan that a run began with, on the devices that there are now."""
    began = recorded["numerical_setting"]
    used = list(devices or jax.devices()[: began["devices"]])
    most = max(1, recorded["plan"]["members_per_chunk"] * len(used) // began["devices"])
    choice = Choice(max(1, most // len(used)), began["loop"], (), None)
    prepared = prepare(examined, root_seed, used, most, choice=choice)
    now = manifest.setting(prepared.bench.mesh, choice.loop, began["members_per_device"])
    changes = manifest.differences(began, now)
    if changes:
        display.note(
            f"going on in another numerical setting ({'; '.join(changes)}): what is trained from here on "
            f"agrees with the first setting to float32 rounding, not bit for bit"
        )
    return prepared


def _confirmed(
    wanted: Request,
    results: Results,
    count: int,
    out: str | Path | None,
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
    first = int(wanted.population.seeds.max()) + 1
    if first + count > MAX_SEED:
        raise StudyError(f"`{count} seeds above the study's` must exist, but got {first - 1} as its largest")
    population = gather(study, points, range(first, first + count))
    asked = manifest.asked(
        study,
        population,
        name=wanted.asked["study"],
        samples=None,
        root_seed=wanted.root_seed,
        points=points,
    )
    fresh = Request(study, population, asked, wanted.root_seed, 0, wanted.checkpoint_minutes)
    options: dict[str, Any] = {"confirm": 0, "reference": None}
    if out is None:
        found = _begin(fresh, None, devices, None, progress, signals, options)
        return dataclasses.replace(results, confirmation=found)
    folder = Path(out) / store.CONFIRMATION
    if folder.exists():
        recorded = store.read_manifest(folder)
        refuse_changes({key: recorded[key] for key in asked}, asked)
        _go_on(folder, recorded, fresh, devices, progress, signals)
    else:
        _begin(fresh, folder, devices, None, progress, signals, options)
    return load(out)
