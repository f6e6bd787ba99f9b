"""The `sweeps` command."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jax
from rich.console import Console
from rich.table import Table

from sweeps import __doc__ as summary
from sweeps.devices import use_cpu_cores
from sweeps.grammar import as_domain
from sweeps.loop import prepare, report_plan, run
from sweeps.population import populate
from sweeps.reference import Reference, ready_studies, resolve, with_options
from sweeps.results import Configuration, Results
from sweeps.space import StudyError

MOST_ROWS = 40
USAGE_ERROR, INTERRUPTED = 2, 130

RUN_EXAMPLES = """examples:
  sweeps run digits-mlp
  sweeps run digits-mlp alpha='linspace(0, 0.3, 4)' seed='range(3)' --steps 100
  sweeps run digits-mlp learning_rate='log_uniform(1e-4, 1e-1)' --samples 16
  sweeps run my_module:study --out runs/mine
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
        if options.command not in ("run", "plan") or any(word.startswith("-") for word in rest):
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
        "list", help="list the ready studies", description="List the ready studies."
    )
    command.set_defaults(action=_list)
    return parser


def _add_study(command: argparse.ArgumentParser) -> None:
    """The arguments that say what to train."""
    command.add_argument(
        "study", metavar="STUDY", help="a ready study, module:object, file.py:object or a .toml file"
    )
    command.add_argument(
        "fields",
        metavar="FIELD=DOMAIN",
        nargs="*",
        help="what to sweep, such as alpha='linspace(0, 0.5, 16)'",
    )
    command.add_argument("--steps", type=int, help="training steps per member")
    command.add_argument("--samples", type=int, help="joint draws of the sampled fields")
    command.add_argument(
        "--root-seed", type=int, default=0, help="what all randomness derives from (default: 0)"
    )
    command.add_argument("--members-per-chunk", type=int, help="how many members train at once")


def _named_study(options: argparse.Namespace) -> Reference:
    """The study that the arguments name, with what they change."""
    use_cpu_cores()
    _use_compilation_cache()
    named = resolve(options.study)
    space = dict(_assignment(word) for word in options.fields)
    return named._replace(
        study=with_options(named.study, space, steps=options.steps),
        options=named.options if options.samples is None else {"samples": options.samples},
    )


def _plan(options: argparse.Namespace) -> int:
    named = _named_study(options)
    population = populate(named.study, named.options.get("samples"), options.root_seed)
    prepared = prepare(
        named.study, population, options.root_seed, None, options.members_per_chunk, remember=False
    )
    for label, value in report_plan(prepared):
        print(f"{label:20}{value}")
    return 0


def _run(options: argparse.Namespace) -> int:
    named = _named_study(options)
    out = options.out or _new_folder(named.name)
    try:
        results = run(
            named.study,
            samples=named.options.get("samples"),
            out=out,
            root_seed=options.root_seed,
            members_per_chunk=options.members_per_chunk,
            progress=not options.quiet,
            name=named.name,
        )
    except KeyboardInterrupt:
        print(f"sweeps run: stopped; what was finished is kept in {out}", file=sys.stderr)
        return INTERRUPTED
    _print(results)
    from sweeps.report.figures import save_figures

    figures = save_figures(results, out)
    names = ["manifest.json", "members.parquet", "metrics.parquet", *(path.name for path in figures)]
    print("\n".join(["", f"written to {out}/", *(f"  {name}" for name in names)]))
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


def _print(results: Results) -> None:
    """The table of configurations, and the answer in a sentence."""
    rows = results.configurations()
    metric, console = results.manifest["metric"], Console()
    if not console.is_terminal:
        console = Console(width=1000)  # a file or a pipe has no edge to fold at
    shown = rows[:MOST_ROWS]
    if len(results.swept) == 1 and len(shown) == len(rows):
        shown = sorted(rows, key=lambda row: list(map(_sortable, row.config.values())))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in results.swept:
        table.add_column(name, justify="right")
    table.add_column(metric, justify="right")
    table.add_column("95 % interval", justify="center", no_wrap=True)
    others = [name for name in rows[0].means if name != metric]
    for name in others:
        table.add_column(name, justify="right")
    table.add_column("", justify="left")
    for row in shown:
        table.add_row(
            *(_number(value) for value in row.config.values()),
            f"{row.interval.mean:.4f}",
            "–"
            if row.interval.low != row.interval.low
            else f"{row.interval.low:.4f} to {row.interval.high:.4f}",
            *(f"{row.means[name]:.4g}" for name in others),
            _mark(row, rows[0]),
        )
    console.print(table)
    if len(rows) > len(shown):
        print(f"… and {len(rows) - len(shown)} more in members.parquet")
    _print_answer(results, rows)


def _print_answer(results: Results, rows: list[Configuration]) -> None:
    best, seeds = results.best(), len(rows[0].members)
    print()
    if rows[0].diverged == seeds:
        print("every member diverged")
        return
    figures = f"{best.mean:.4f}" + (f" ({best.low:.4f} to {best.high:.4f})" if seeds > 1 else "")
    print(
        f"best: {_point(best.config)}: {best.metric} {figures}, {seeds} seed{'s' if seeds > 1 else ''}; ",
        end="",
    )
    print("selected on these seeds, so optimistic")
    tied = [row for row in rows[1:] if row.tied]
    if seeds > 1:
        print(
            f"≈ best: {len(tied)} of the other {len(rows) - 1} cannot be told from it "
            f"(paired t-tests over seeds, Holm-corrected, 5 %)"
        )


def _mark(row: Configuration, best: Configuration) -> str:
    marks = [f"{row.diverged} of {len(row.members)} diverged"] if row.diverged else []
    if row is best:
        marks.append("best")
    elif row.tied and len(row.members) > 1:
        marks.append("≈ best")
    return ", ".join(marks)


def _point(config: dict[str, Any]) -> str:
    return (
        ", ".join(f"{name}={_number(value)}" for name, value in config.items()) or "the default configuration"
    )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sortable(value: Any) -> tuple:
    return (value is not None, str(type(value)), value)
