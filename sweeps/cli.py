"""The `sweeps` command."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jax

from sweeps import __doc__ as summary
from sweeps import export
from sweeps import schedule as schedules
from sweeps.devices import use_cpu_cores
from sweeps.export import FORMATS
from sweeps.grammar import as_domain
from sweeps.loop import resume, run
from sweeps.preparation import examine, prepare, report_plan
from sweeps.proposals import Sampling
from sweeps.reference import Reference, describe, ready_studies, rebuild, resolve, with_options
from sweeps.repetition import replay
from sweeps.report.summary import print_replay, print_summary
from sweeps.request import request
from sweeps.results import Results, load
from sweeps.signals import TERMINATED
from sweeps.space import StudyError
from sweeps.status import status
from sweeps.store import MANIFEST, read_manifest

REPORT = "report.html"
DIFFERS, USAGE_ERROR, INTERRUPTED = 1, 2, 130

RUN_OPTIONS = (  # handed on as they are
    "members_per_chunk", "confirm", "keep_best", "checkpoint_minutes",
    "points_per_batch", "warm_start", "storage",
)  # fmt: skip
RUN_EXAMPLES = """examples:
  sweeps run digits-mlp
  sweeps run digits-mlp alpha='linspace(0, 0.3, 4)' seed='range(3)' --steps 100
  sweeps run digits-mlp learning_rate='log_uniform(1e-4, 1e-1)' --samples 16
  sweeps run digits-mlp --confirm 8 --keep-best 3
  sweeps run digits-mlp alpha='uniform(0, 0.5)' learning_rate='log_uniform(1e-4, 1e-1)' \\
      --search sobol --samples 243 --schedule halving
  sweeps run my_module:study --out runs/mine
"""
RESUME_EXAMPLES = """examples:
  sweeps resume runs/mine
  sweeps resume runs/mine --quiet
"""


class _Parser(argparse.ArgumentParser):
    """Wrong input ends in one message and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: the words after `sweeps`; None takes the process's own.

    Returns:
        The exit status.
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest:  # argparse takes positionals up to the first option only
        if "fields" not in options or any(word.startswith("-") for word in rest):
            parser.error(f"`a known argument` must hold, but got {' '.join(rest)}")
        options.fields += rest
    try:
        return options.action(options)
    except StudyError as error:
        print(f"sweeps {options.command}: {error}", file=sys.stderr)
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sweeps", description=summary)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "run",
        help="train every member of a study",
        description="Train every member of a study as one population, and print and draw what it found.",
        epilog=RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_study(command)
    command.add_argument("--out", type=Path, help="a new folder for the run (default: runs/STUDY-TIME)")
    command.add_argument(
        "--confirm",
        type=int,
        default=0,
        metavar="SEEDS",
        help="run the winner and the baseline again on so many fresh seeds, and report those",
    )
    command.add_argument(
        "--keep-best", type=int, default=0, metavar="K", help="keep the final states of the K best members"
    )
    command.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=2.0,
        metavar="MINUTES",
        help="how long to train between two checkpoints (default: 2)",
    )
    _add_storage(command)
    command.add_argument("--quiet", action="store_true", help="print nothing but the results")
    command.set_defaults(action=_run)
    command = commands.add_parser(
        "plan",
        help="say how a study would run, and train nothing",
        description="Compile and time a study briefly; print groups, programs, widths, memory and time.",
    )
    _add_study(command)
    command.set_defaults(action=_plan)
    command = commands.add_parser(
        "resume",
        help="go on with a run that was stopped, however it was",
        description="Go on with a run that was stopped or killed. Its study, space and seeds must be what "
        "they were; what is given here is checked against them.",
        epilog=RESUME_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_directory(command)
    _add_changes(command)
    command.add_argument("--root-seed", type=int, help="what all randomness derives from")
    _add_storage(command)
    command.add_argument("--quiet", action="store_true", help="print nothing but the results")
    command.set_defaults(action=_resume)
    command = commands.add_parser(
        "status",
        help="say how far a run is",
        description="Say how far a run is; works from another shell while it runs, and changes nothing.",
    )
    _add_directory(command)
    command.set_defaults(action=_status)
    command = commands.add_parser(
        "replay",
        help="train one member again and compare every bit",
        description="Train one member of a run again, in the numerical setting it was trained in, and "
        "compare. The exit status is 0 if every bit is the same, 1 if not.",
    )
    _add_directory(command)
    command.add_argument("member", metavar="MEMBER", type=int, help="the member's id")
    command.add_argument("--quiet", action="store_true", help="print nothing but the comparison")
    command.set_defaults(action=_replay)
    command = commands.add_parser(
        "report",
        help="write the report of a run: one HTML file",
        description="Write the report of a run, finished or not: one HTML file that opens without a network.",
    )
    _add_directory(command)
    command.add_argument("--out", type=Path, help=f"the file to write (default: DIR/{REPORT})")
    command.add_argument(
        "--figures", action="store_true", help="write the figures for a paper beside it, as PDF and PNG"
    )
    command.set_defaults(action=_report)
    command = commands.add_parser(
        "export",
        help="write a run's tables in another format",
        description="Write a run's tables as CSV, as labelled arrays in netCDF, or as an Optuna study.",
    )
    _add_directory(command)
    command.add_argument("--to", required=True, metavar="FORMAT", help=f"one of {', '.join(FORMATS)}")
    command.add_argument("--out", type=Path, help="the folder to write to (default: DIR)")
    command.set_defaults(action=_export)
    command = commands.add_parser(
        "list", help="list the ready studies", description="List the ready studies."
    )
    command.set_defaults(action=_list)
    return parser


def _add_storage(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--storage",
        metavar="URL",
        help="copy finished members into an Optuna storage, such as sqlite:///optuna.db, for its dashboard",
    )


def _add_directory(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", metavar="DIR", type=Path, help="the folder of the run")


def _add_study(command: argparse.ArgumentParser) -> None:
    """The arguments that say what to train."""
    command.add_argument(
        "study", metavar="STUDY", help="a ready study, module:object, file.py:object or a .toml file"
    )
    _add_changes(command)
    command.add_argument(
        "--root-seed", type=int, default=0, help="what all randomness derives from (default: 0)"
    )
    command.add_argument("--members-per-chunk", type=int, help="how many members train at once")
    command.add_argument(
        "--search",
        help="where points come from: grid (default), random, sobol, tpe or gp; all but grid need --samples",
    )
    command.add_argument(
        "--schedule",
        help="which members go on: halving, hyperband or pbt, or 'halving(eta=4, min_steps=20)'",
    )
    command.add_argument(
        "--points-per-batch",
        type=int,
        metavar="N",
        help="points that tpe or gp propose at once (default: 32)",
    )
    command.add_argument(
        "--warm-start", type=Path, metavar="DIR", help="an earlier run, whose points tpe or gp begin with"
    )


def _add_changes(command: argparse.ArgumentParser) -> None:
    """The arguments that change a study."""
    command.add_argument(
        "fields",
        metavar="FIELD=DOMAIN",
        nargs="*",
        help="what to sweep, such as alpha='linspace(0, 0.5, 16)'",
    )
    command.add_argument("--steps", type=int, help="training steps per member")
    command.add_argument("--samples", type=int, help="joint draws of the sampled fields")


def _named_study(options: argparse.Namespace) -> Reference:
    """The study that the arguments name, with what they change."""
    _start()
    named = resolve(options.study)
    return named._replace(
        study=with_options(named.study, _space(options), steps=options.steps),
        options=named.options | ({} if options.samples is None else {"samples": options.samples}),
    )


def _space(options: argparse.Namespace) -> dict[str, Any]:
    return dict(_assignment(word) for word in options.fields)


def _start() -> None:
    """Sets JAX up before it is first used."""
    use_cpu_cores()
    _use_compilation_cache()


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
    reference = describe(options.study, _space(options), options.steps)
    search, schedule, samples = _thinning(options, named)

    def train() -> Results:
        return run(
            named.study,
            samples=samples,
            search=search,
            schedule=schedule,
            out=out,
            root_seed=options.root_seed,
            progress=not options.quiet,
            name=named.name,
            reference=reference,
            **{name: getattr(options, name) for name in RUN_OPTIONS},
        )

    return _train("run", train, out)


def _resume(options: argparse.Namespace) -> int:
    _start()
    recorded = read_manifest(options.directory)
    study = rebuild(recorded, space=_space(options), steps=options.steps)

    def train() -> Results:
        return resume(
            options.directory,
            study,
            samples=options.samples,
            root_seed=options.root_seed,
            progress=not options.quiet,
            storage=options.storage,
        )

    return _train("resume", train, options.directory)


def _train(command: str, train: Callable[[], Results], out: Path) -> int:
    """Trains, and prints and draws what was found; says what is kept if it is stopped."""
    try:
        results = train()
    except (KeyboardInterrupt, SystemExit) as stopped:
        kept = f"go on with: sweeps resume {out}" if (out / MANIFEST).exists() else "nothing was begun"
        print(f"sweeps {command}: stopped; {kept}", file=sys.stderr)
        return INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else TERMINATED
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
    _start()
    study = rebuild(read_manifest(options.directory), space={}, steps=None)
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


def _use_compilation_cache() -> None:
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "lrelu-jax" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
