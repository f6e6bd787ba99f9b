"""The `sweeps` command."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jax

from sweeps import cluster, export
from sweeps import schedule as schedules
from sweeps.arguments import REPORT, USAGE_ERROR, make_parser
from sweeps.compilation import count_programs, use_cache
from sweeps.devices import cpu_cores, use_cpu_cores
from sweeps.grammar import as_domain
from sweeps.loop import resume, run
from sweeps.preparation import examine, prepare, report_plan
from sweeps.proposals import Sampling
from sweeps.reference import Reference, describe, ready_studies, rebuild, resolve, with_options
from sweeps.repetition import replay
from sweeps.report.summary import print_replay, print_summary
from sweeps.reproduction import PAGE, TABLE, claiming, reproduce
from sweeps.request import request
from sweeps.results import Results, load
from sweeps.signals import TERMINATED
from sweeps.space import StudyError
from sweeps.status import status
from sweeps.store import MANIFEST, read_manifest
from sweeps.trial import unknown

DIFFERS, FAILED, INTERRUPTED = 1, 1, 130
EXECUTORS = ("processes", "inline", "ray")

RUN_OPTIONS = (  # handed on as they are
    "members_per_chunk", "confirm", "keep_best", "checkpoint_minutes",
    "points_per_batch", "warm_start", "storage",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the words after `sweeps`; None takes the process's own.

    Returns:
        The exit status.
    """
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest:  # argparse takes positionals up to the first option only
        if "fields" not in options or any(word.startswith("-") for word in rest):
            parser.error(f"`a known argument` must hold, but got {' '.join(rest)}")
        options.fields += rest
    try:
        return COMMANDS[options.command](options)
    except StudyError as error:
        print(f"sweeps {options.command}: {error}", file=sys.stderr)
        return USAGE_ERROR


def _named_study(options: argparse.Namespace) -> Reference:
    """The study that the arguments name, with what they change."""
    _start()
    named = resolve(options.study, options.data)
    return named._replace(
        study=with_options(named.study, _space(options), steps=options.steps),
        options=named.options | ({} if options.samples is None else {"samples": options.samples}),
    )


def _space(options: argparse.Namespace) -> dict[str, Any]:
    return dict(_assignment(word) for word in options.fields)


def _start(threads: int | None = None) -> None:
    """Sets JAX up before it is first used, with all cores or with so many."""
    if threads is not None and threads < cpu_cores():
        os.environ["NPROC"] = str(threads)
    use_cpu_cores()
    use_cache()


def _plan(options: argparse.Namespace) -> int:
    named = _named_study(options)
    search, schedule, samples = _thinning(options, named)
    sampling = Sampling(search, samples, options.root_seed, options.points_per_batch)
    wanted = request(
        named.study, sampling, None if schedule is None else schedules.parse(schedule), name=named.name
    )
    examined = examine(named.study, wanted.population)
    prepared = prepare(examined, options.root_seed, None, options.members_per_chunk, remember=False)
    for label, value in report_plan(prepared, wanted.members, wanted.member_steps):
        print(f"{label:20}{value}")
    return 0


def _thinning(options: argparse.Namespace, named: Reference) -> tuple[str, str | None, int | None]:
    """The search, the schedule and the samples that the arguments, or else the study's file, ask for."""
    search = options.search or named.options.get("search", "grid")
    return search, options.schedule or named.options.get("schedule"), named.options.get("samples")


def _run(options: argparse.Namespace) -> int:
    named = _named_study(options)
    out = options.out or _new_folder(named.name)
    reference = describe(options.study, _space(options), options.steps, options.data)
    search, schedule, samples = _thinning(options, named)

    def train() -> Results:
        return run(
            named.study,
            samples=samples,
            search=search,
            schedule=schedule,
            out=out,
            executor=_executor(options),
            devices=_devices(options),
            root_seed=options.root_seed,
            progress=not options.quiet,
            name=named.name,
            reference=reference,
            **{name: getattr(options, name) for name in RUN_OPTIONS},
        )

    return _train("run", train, out, options.quiet)


def _resume(options: argparse.Namespace) -> int:
    _start()
    recorded = read_manifest(options.directory)
    study = rebuild(recorded, space=_space(options), steps=options.steps)

    def train() -> Results:
        return resume(
            options.directory,
            study,
            samples=options.samples,
            executor=_executor(options, recorded["numerical_setting"]),
            devices=_devices(options),
            root_seed=options.root_seed,
            progress=not options.quiet,
            storage=options.storage,
        )

    return _train("resume", train, options.directory, options.quiet)


def _executor(options: argparse.Namespace, began: dict[str, Any] | None = None) -> Any:
    """Where to train, as the arguments have it, or else as the run began."""
    given = {name: getattr(options, name) for name in ("address", "worker_cpus", "worker_gpus")}
    given = {name: value for name, value in given.items() if value is not None}
    if options.executor != "ray" and given:
        raise StudyError(
            f"`--executor ray` must be given with --{next(iter(given)).replace('_', '-')}, but got "
            f"{options.executor or 'none'}"
        )
    if options.executor not in (None, *EXECUTORS):
        raise StudyError(
            f"`--executor is {', '.join(EXECUTORS)}` must hold, but got "
            f"{unknown(options.executor, EXECUTORS)}"
        )
    if options.executor is None:
        setting = began or {}
        one_core = (setting.get("platform"), setting.get("devices"), setting.get("threads")) == ("cpu", 1, 1)
        return "processes" if one_core and cpu_cores() > 1 and options.devices is None else None
    if options.executor == "inline":
        return None
    # This process trains nothing and leaves accelerators to workers.
    jax.config.update("jax_platforms", "cpu")
    return cluster.ray(**given) if options.executor == "ray" else "processes"


def _devices(options: argparse.Namespace) -> Any:
    """The first so many devices; None for all."""
    if options.devices is None:
        return None
    there = jax.devices()
    if not 1 <= options.devices <= len(there):
        raise StudyError(f"`1 <= devices <= {len(there)}` must hold, but got --devices {options.devices}")
    return there[: options.devices]


def _train(command: str, train: Callable[[], Results], out: Path, quiet: bool) -> int:
    """Trains, and prints and draws what was found; says what is kept if it is stopped."""
    programs = count_programs()
    try:
        results = train()
    except (KeyboardInterrupt, SystemExit) as stopped:
        kept = f"go on with: sweeps resume {out}" if (out / MANIFEST).exists() else "nothing was begun"
        print(f"sweeps {command}: stopped; {kept}", file=sys.stderr)
        return INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else TERMINATED
    if not quiet:
        print(programs.said(), file=sys.stderr)
    print_summary(results)
    from sweeps.report.figures import save_figures

    drawn = [results.report(out / REPORT), *save_figures(results, out)]
    names = ["manifest.json", "members.parquet", "metrics.parquet", *(path.name for path in drawn)]
    print("\n".join(["", f"written to {out}/", *(f"  {name}" for name in names)]))
    return 0


def _status(options: argparse.Namespace) -> int:
    for label, value in status(options.directory):
        print(f"{label:20}{value}")
    return 0


def _replay(options: argparse.Namespace) -> int:
    recorded = read_manifest(options.directory)
    _start((recorded["numerical_setting"] or {}).get("threads"))
    study = rebuild(recorded, space={}, steps=None)
    found = replay(options.directory, options.member, study, progress=not options.quiet)
    print_replay(found)
    return 0 if found.same else DIFFERS


def _report(options: argparse.Namespace) -> int:
    results = load(options.directory)
    print(results.report(options.out or options.directory / REPORT))
    if options.figures:
        from sweeps.report.figures import save_figures

        folder = options.out.parent if options.out else options.directory
        print("\n".join(map(str, save_figures(results, folder, ("png", "pdf")))))
    return 0


def _export(options: argparse.Namespace) -> int:
    out = options.out or options.directory
    for path in export.write(load(options.directory), options.to, out):
        print(path)
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    _start()
    modules = claiming(options.only)
    try:
        outcomes = reproduce(options.out, modules, data=options.data, progress=not options.quiet)
    except (KeyboardInterrupt, SystemExit) as stopped:
        print("sweeps reproduce: stopped; run it again to go on where it was", file=sys.stderr)
        return INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else TERMINATED
    written = [PAGE, TABLE, *(outcome.picture.name for outcome in outcomes if outcome.picture)]
    print("\n".join(["", f"written to {options.out}/", *(f"  {name}" for name in written)]))
    failed = [outcome.name for outcome in outcomes if outcome.error is not None]
    if failed:
        print(f"sweeps reproduce: failed: {', '.join(failed)}; the page says why", file=sys.stderr)
    return FAILED if failed else 0


def _list(options: argparse.Namespace) -> int:
    studies = ready_studies()
    width = max(map(len, studies))
    for name, line in studies.items():
        print(f"{name:{width}}  {line}")
    return 0


def _assignment(word: str) -> tuple[str, Any]:
    field, equals, value = word.partition("=")
    if not equals:
        raise StudyError(f"`FIELD=DOMAIN` must hold, but got {word!r}; write alpha='linspace(0, 0.5, 16)'")
    return field, as_domain(value, field)


def _new_folder(name: str) -> Path:
    stem = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    candidates = (stem.with_name(f"{stem.name}-{number}" if number else stem.name) for number in range(1000))
    return next(path for path in candidates if not path.exists())


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "plan": _plan,
    "resume": _resume,
    "status": _status,
    "replay": _replay,
    "report": _report,
    "export": _export,
    "reproduce": _reproduce,
    "list": _list,
}
