"""The `sweeps` command."""

import argparse
import contextlib
import errno
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweeps.cli import comparison
from sweeps.cli.arguments import REPORT, USAGE_ERROR, make_parser
from sweeps.cli.places import devices, executor, new_folder, place
from sweeps.cli.reference import Reference, describe, ready_studies, rebuild, resolve, with_options
from sweeps.cli.reproduction import FOREST, PAGE, TABLE, claiming, reproduce
from sweeps.cli.summary import print_replay, print_summary
from sweeps.driver.extension import extend
from sweeps.driver.loop import Origin, Settings, resume, run_as
from sweeps.driver.replay import replay
from sweeps.driver.session import unreached
from sweeps.engine.chunks import SECONDS_ON_DISK
from sweeps.engine.outline import report_plan
from sweeps.engine.plan import examine, prepare
from sweeps.errors import StudyError, printable, quoted, resume_line
from sweeps.executors.choosing import outlook
from sweeps.host.compilation import count_programs, use_cache
from sweeps.host.devices import cpu_cores, limit_threads, use_cpu_cores
from sweeps.host.links import link
from sweeps.members.request import make_request
from sweeps.members.sampling import Sampling
from sweeps.results import export
from sweeps.results.results import Results, load
from sweeps.schedules import schedule as schedules
from sweeps.search.adaptive import Adaptive, checked
from sweeps.space.grammar import as_domain
from sweeps.store.chunks import MANIFEST, read_manifest
from sweeps.store.status import status

DIFFERS, FAILED, INTERRUPTED, UNREAD = 1, 1, 130, 128 + 13

RUN_OPTIONS = (  # handed on as they are
    "root_seed", "members_per_chunk", "confirm", "keep_best", "max_minutes", "checkpoint_minutes", "storage",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the words after `sweeps`; None takes the process's own.

    Returns:
        The exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may have no α
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest:  # argparse takes positionals up to the first option only
        if "fields" not in options or any(word.startswith("-") for word in rest):
            parser.error(f"unknown argument {' '.join(rest)}")
        options.fields += rest
    try:
        with _plain_warnings(options.command):
            status = COMMANDS[options.command](options)
        print(end="", flush=True)
        return status
    except StudyError as error:
        print(f"sweeps {options.command}: {printable(str(error))}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print(f"sweeps {options.command}: stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read what is printed has seen enough
        _print_no_more()
        return UNREAD
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _print_no_more()
        print(
            f"sweeps {options.command}: `what is printed has room where it goes` must hold, but got: "
            f"{error.strerror}; make some",
            file=sys.stderr,
        )
        return FAILED


def _print_no_more() -> None:
    """Leaves what is still to be printed nowhere to go: at the end of the process it would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _named_study(options: argparse.Namespace) -> Reference:
    """The study that the arguments name, with what they change."""
    _start()
    named = resolve(options.study, options.data)
    return named._replace(
        study=with_options(named.study, _space(options), steps=options.steps, samples=options.samples)
    )


def _space(options: argparse.Namespace) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for field, domain in map(_assignment, options.fields):
        if field in given:
            raise StudyError(f"{field} is given twice. List its values in one: {field}='grid(0, 0.1)'.")
        given[field] = domain
    return given


def _start(threads: int | None = None) -> None:
    """Sets JAX up before it is first used, with all cores or with so many."""
    if threads is not None and threads < cpu_cores():
        limit_threads(threads)
    use_cpu_cores()
    use_cache()


@contextlib.contextmanager
def _plain_warnings(command: str) -> Iterator[None]:
    """Says the warnings of this package as its errors are said, without a line of its code."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def shown(message: Any, category: type[Warning], *place: Any, **others: Any) -> None:
            if category is UserWarning:
                print(f"sweeps {command}: {printable(str(message))}", file=sys.stderr)
            else:
                usual(message, category, *place, **others)

        warnings.showwarning = shown
        yield


def _plan(options: argparse.Namespace) -> int:
    named = _named_study(options)
    search, schedule = _thinning(options, named)
    sampling = Sampling(search.name, named.study.samples, options.root_seed, search.points_per_batch)
    request = make_request(
        named.study, sampling, None if schedule is None else schedules.parse(schedule), name=named.name
    )
    examined = examine(named.study, request.population, len(request.population.statics))
    prepared = prepare(
        examined, options.root_seed, None, options.members_per_chunk,
        remember=False, chunk_seconds=SECONDS_ON_DISK * request.commits,
    )  # fmt: skip
    rows = report_plan(prepared, request.members, request.member_steps)
    if "executor" not in named.options and (said := outlook(prepared, request)) is not None:
        rows.append(("processes", said))
    for label, value in rows:
        print(f"{label:20}{printable(value)}")
    return 0


def _thinning(options: argparse.Namespace, named: Reference) -> tuple[Adaptive, str | None]:
    """The search and the schedule that the arguments, or else the study's file, ask for."""
    given = {name: getattr(options, name) for name in ("search", "schedule")}
    given = {name: value for name, value in given.items() if value is not None}
    said = {"search": "grid", "schedule": None} | named.options | given
    settings = {name: getattr(options, name) for name in ("points_per_batch", "warm_start")}
    settings = {name: value for name, value in settings.items() if value is not None}
    return checked(Adaptive(said["search"], **settings)), said["schedule"]


def _run(options: argparse.Namespace) -> int:
    named = _named_study(options)
    out = options.out or new_folder(named.name)
    reference = describe(options.study, _space(options), options.steps, options.data)
    search, schedule = _thinning(options, named)

    def train() -> Results:
        settings = Settings(
            out=out,
            search=search,
            schedule=schedule,
            executor=executor(options, named.options.get("executor")),
            devices=devices(options),
            progress=not options.quiet,
            keep_states=options.keep_states or named.options.get("keep_states", False),
            **{name: getattr(options, name) for name in RUN_OPTIONS},
        )
        return run_as(Origin(named.name, reference), named.study, settings)

    return _train("run", train, out, options.quiet)


def _resume(options: argparse.Namespace) -> int:
    _start()
    recorded = read_manifest(options.directory)
    study = rebuild(
        options.directory, recorded, trust=options.trust, space=_space(options), steps=options.steps
    )

    def train() -> Results:
        given = place(options, recorded)
        return resume(options.directory, study, samples=options.samples, root_seed=options.root_seed, **given)

    return _train("resume", train, options.directory, options.quiet)


def _extend(options: argparse.Namespace) -> int:
    _start()
    recorded = read_manifest(options.directory)
    study = rebuild(options.directory, recorded, trust=options.trust, space={}, steps=None)

    def train() -> Results:
        given = {"space": _space(options), "samples": options.samples, "steps": options.steps}
        given |= {"again": options.again, "keep_states": options.keep_states}
        return extend(options.directory, study, **given, **place(options, recorded))

    return _train("extend", train, options.directory, options.quiet)


def _train(command: str, train: Callable[[], Results], out: Path, quiet: bool) -> int:
    """Trains, and prints and draws what was found; says what is kept if it is stopped."""
    programs = count_programs()
    try:
        results = train()
    except (KeyboardInterrupt, SystemExit) as stopped:
        kept = f"go on with: {resume_line(out)}" if (out / MANIFEST).exists() else "nothing was begun"
        print(f"sweeps {command}: stopped; {kept}", file=sys.stderr)
        return int(stopped.code or 0) if isinstance(stopped, SystemExit) else INTERRUPTED
    try:
        if not quiet:
            print(programs.said(), file=sys.stderr)
        print_summary(results)
    finally:  # there is a report too where whoever reads what is printed has seen enough
        drawn = _drawn(results, out)
    names = ["manifest.json", "members.parquet", "metrics.parquet", *(path.name for path in drawn)]
    print("\n".join(["", f"written to {out}/", *(f"  {name}" for name in names)]))
    if (missing := unreached(results)) is not None:
        print(f"the time is up: {missing}; go on with: {resume_line(out)}")
    print(link(drawn[0], sys.stdout.isatty(), os.environ))
    return 0


def _drawn(results: Results, out: Path) -> list[Path]:
    """The report and the figures, the report first."""
    from sweeps.report.figures import save_figures

    return [results.report(out / REPORT), *save_figures(results, out)]


def _status(options: argparse.Namespace) -> int:
    for label, value in status(options.directory):
        print(f"{label:20}{printable(value)}")
    return 0


def _watch(options: argparse.Namespace) -> int:
    from sweeps.report.watching import Watch

    with Watch(options.directory, options.port) as server:
        print(f"{options.directory} is shown at {server.address} until Ctrl-C", flush=True)
        server.serve_forever()
    return 0


def _replay(options: argparse.Namespace) -> int:
    recorded = read_manifest(options.directory)
    _start((recorded["numerical_setting"] or {}).get("threads"))
    study = rebuild(options.directory, recorded, trust=options.trust, space={}, steps=None)
    found = replay(options.directory, options.member, study, progress=not options.quiet)
    print_replay(found)
    return 0 if found.same else DIFFERS


def _report(options: argparse.Namespace) -> int:
    results = load(options.directory)
    objectives = None if options.pareto is None else _objectives(options.pareto)
    print(results.report(options.out or options.directory / REPORT, pareto=objectives))
    if options.figures:
        from sweeps.report.figures import save_figures

        folder = options.out.parent if options.out else options.directory
        print("\n".join(map(str, save_figures(results, folder, ("png", "pdf")))))
    return 0


def _objectives(word: str) -> dict[str, str]:
    """`test/accuracy:max,test/dead_units:min` as a mapping."""
    pairs = [each.strip().rpartition(":") for each in word.split(",")]
    return {metric or mode: mode if metric else "" for metric, _, mode in pairs}


def _export(options: argparse.Namespace) -> int:
    out = options.out or options.directory
    for path in export.write(load(options.directory), options.to, out):
        print(path)
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    _start()
    modules = claiming(options.only)
    try:
        given = {"data": options.data, "minutes": options.minutes, "progress": not options.quiet}
        outcomes = reproduce(options.out, modules, **given)
    except (KeyboardInterrupt, SystemExit) as stopped:
        print("sweeps reproduce: stopped; run it again to go on where it was", file=sys.stderr)
        return int(stopped.code or 0) if isinstance(stopped, SystemExit) else INTERRUPTED
    drawn = [name for name in (f"{FOREST}.png", f"{FOREST}.svg") if (options.out / name).exists()]
    written = [PAGE, TABLE, *drawn, *(outcome.picture.name for outcome in outcomes if outcome.picture)]
    print("\n".join(["", f"written to {options.out}/", *(f"  {name}" for name in written)]))
    short = [outcome.name for outcome in outcomes if outcome.needs]
    if short:
        print(f"more seeds tell more of {', '.join(short)}: sweeps reproduce --minutes MINUTES runs them")
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
        raise StudyError(f"Say what values {quoted(word)} takes, such as alpha='linspace(0, 0.5, 16)'.")
    return field, as_domain(value, field)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "plan": _plan,
    "resume": _resume,
    "extend": _extend,
    "status": _status,
    "watch": _watch,
    "replay": _replay,
    "report": _report,
    "compare": comparison.run,
    "export": _export,
    "reproduce": _reproduce,
    "list": _list,
}
