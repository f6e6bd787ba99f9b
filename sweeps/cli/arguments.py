"""The words of the `sweeps` command, and the help that goes with them."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from sweeps import __doc__ as summary
from sweeps.cli.options import (
    add_changes,
    add_data,
    add_devices,
    add_directory,
    add_limit,
    add_states,
    add_storage,
    add_study,
    add_trust,
    path,
    real,
    whole,
)
from sweeps.results.export import FORMATS

REPORT = "report.html"
REPRODUCTION = Path("runs/reproduction")
USAGE_ERROR = 2
RUN_EXAMPLES = """examples:
  sweeps run digits-mlp
  sweeps run digits-mlp alpha='linspace(0, 0.3, 4)' seed='range(3)' --steps 100
  sweeps run digits-mlp learning_rate='log_uniform(1e-4, 1e-1)' --samples 16
  sweeps run digits-mlp --confirm 8 --keep-best 3
  sweeps run digits-mlp alpha='uniform(0, 0.5)' learning_rate='log_uniform(1e-4, 1e-1)' \\
      --search sobol --samples 243 --schedule halving
  sweeps run my_module:study --out runs/mine
  sweeps run my_module:study --out /shared/mine --executor ray --address auto
"""
REPRODUCE_EXAMPLES = """examples:
  sweeps reproduce
  sweeps reproduce --minutes 60
  sweeps reproduce --only digits-mlp activations
  sweeps reproduce --data fashion-mnist=data/fashion-mnist --out runs/fashion
"""
RESUME_EXAMPLES = """examples:
  sweeps resume runs/mine
  sweeps resume runs/mine --quiet
"""
EXTEND_EXAMPLES = """examples:
  sweeps extend runs/mine seed='range(16)'
  sweeps extend runs/mine alpha='grid(0, 0.1, 0.2, 0.3)' --samples 128
  sweeps extend runs/mine --steps 2000
"""


class Parser(argparse.ArgumentParser):
    """Wrong input ends in one message and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong, and ends the process."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command; wrong input ends in one message and exit status 2."""
    parser = Parser(prog="sweeps", description=summary)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_resume(commands)
    _add_extend(commands)
    _add_watching(commands)
    _add_reading(commands)
    _add_studies(commands)
    return parser


def _add_run(commands: Any) -> None:
    """`run` and `plan`: what is new."""
    command = commands.add_parser(
        "run",
        help="train every member of a study",
        description="Train every member of a study as one population, and print and draw what it found.",
        epilog=RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_study(command)
    command.add_argument("--out", type=path, help="a new folder for the run (default: runs/STUDY-TIME)")
    command.add_argument(
        "--confirm",
        type=whole,
        default=0,
        metavar="SEEDS",
        help="run the winner and the baseline again on so many fresh seeds, and report those",
    )
    command.add_argument(
        "--keep-best", type=whole, default=0, metavar="K", help="keep the final states of the K best members"
    )
    add_states(command)
    command.add_argument(
        "--checkpoint-minutes",
        type=real,
        default=2.0,
        metavar="MINUTES",
        help="how long to train between two checkpoints (default: 2)",
    )
    add_limit(command)
    add_storage(command)
    add_devices(command)
    command.add_argument("--quiet", action="store_true", help="print nothing but the results")
    command = commands.add_parser(
        "plan",
        help="say how a study would run, and train nothing",
        description="Compile and time a study briefly; print groups, programs, widths, memory and time.",
    )
    add_study(command)


def _add_resume(commands: Any) -> None:
    """`resume` and `replay`: what has begun."""
    command = commands.add_parser(
        "resume",
        help="go on with a run that was stopped, however it was",
        description="Go on with a run that was stopped or killed. Its study, space and seeds must be what "
        "they were; what is given here is checked against them.",
        epilog=RESUME_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_directory(command)
    add_trust(command)
    add_changes(command)
    command.add_argument("--root-seed", type=whole, help="what all randomness derives from")
    add_limit(command)
    add_storage(command)
    add_devices(command)
    command.add_argument("--quiet", action="store_true", help="print nothing but the results")
    command = commands.add_parser(
        "replay",
        help="train one member again and compare every bit",
        description="Train one member of a run again, in the numerical setting it was trained in, and "
        "compare. The exit status is 0 if every bit is the same, 1 if not.",
    )
    add_directory(command)
    add_trust(command)
    command.add_argument("member", metavar="MEMBER", type=whole, help="the member's id")
    command.add_argument("--quiet", action="store_true", help="print nothing but the comparison")


def _add_extend(commands: Any) -> None:
    """`extend`: what is to have more members, or more steps."""
    command = commands.add_parser(
        "extend",
        help="add seeds, levels, samples or steps to a run",
        description="Add members to a run, finished or stopped: more seeds, more levels of a field, more "
        "samples. Name all values, those that there are too. Or give its members more steps, from the states "
        "that --keep-states kept. What is there is not trained again. Stopped, the extension goes on with "
        "resume.",
        epilog=EXTEND_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_directory(command)
    add_trust(command)
    add_changes(command)
    command.add_argument(
        "--again",
        action="store_true",
        help="for more steps, train members again from step 0 whose states were not kept",
    )
    add_states(command)
    add_limit(command)
    add_storage(command)
    add_devices(command)
    command.add_argument("--quiet", action="store_true", help="print nothing but the results")


def _add_watching(commands: Any) -> None:
    """`status` and `watch`: how far a run is."""
    command = commands.add_parser(
        "status",
        help="say how far a run is",
        description="Say how far a run is; works from another shell while it runs, and changes nothing.",
    )
    add_directory(command)
    command = commands.add_parser(
        "watch",
        help="show a run as a page that goes on with it",
        description="Show a run in a browser while it goes on, wherever it is trained: a page on this "
        "machine alone, at an address with a token that is printed. Changes nothing. From another machine: "
        "ssh -L PORT:localhost:PORT HOST.",
    )
    add_directory(command)
    command.add_argument(
        "--port", type=whole, default=0, metavar="N", help="the port (default: one that is free)"
    )


def _add_reading(commands: Any) -> None:
    """`report`, `compare` and `export`: what is there."""
    command = commands.add_parser(
        "report",
        help="write the report of a run: one HTML file",
        description="Write the report of a run, finished or not: one HTML file that opens without a network.",
    )
    add_directory(command)
    command.add_argument("--out", type=path, help=f"the file to write (default: DIR/{REPORT})")
    command.add_argument(
        "--figures", action="store_true", help="write the figures for a paper beside it, as PDF and PNG"
    )
    command.add_argument(
        "--pareto",
        metavar="METRIC:MODE,…",
        help="add the Pareto front of two metrics or more, such as test/accuracy:max,test/loss:min",
    )
    command = commands.add_parser(
        "compare",
        help="compare two runs, or two values of a field, at the seeds that both have",
        description="Compare two runs (DIR DIR), or two values of a field of one (DIR alpha=0 alpha=0.1), "
        "configuration by configuration at the seeds that both have.",
    )
    add_directory(command)
    command.add_argument(
        "others", metavar="DIR | FIELD=VALUE", nargs="+", help="another run, or two values of a field of this"
    )
    command.add_argument("--metric", help="what to compare (default: what the first run is about)")
    command.add_argument("--out", type=path, metavar="FILE", help="write a page that opens without a network")
    command = commands.add_parser(
        "export",
        help="write a run's tables in another format",
        description="Write a run's tables as CSV, as labelled arrays in netCDF, or as an Optuna study.",
    )
    add_directory(command)
    command.add_argument("--to", required=True, metavar="FORMAT", help=f"one of {', '.join(FORMATS)}")
    command.add_argument("--out", type=path, help="the folder to write to (default: DIR)")


def _add_studies(commands: Any) -> None:
    """`reproduce` and `list`: the ready studies."""
    command = commands.add_parser(
        "reproduce",
        help="run every ready study that claims are made of, and write what is so",
        description="Run every ready study that examines a claim about Leaky ReLU, and write one page: "
        "claim, source, effect, power, picture, verdict. Stopped and run again, it goes on where it was.",
        epilog=REPRODUCE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--out", type=path, default=REPRODUCTION, help=f"the folder to keep it in (default: {REPRODUCTION})"
    )
    command.add_argument("--only", nargs="+", default=[], metavar="STUDY", help="these studies alone")
    command.add_argument(
        "--minutes",
        type=real,
        help="how long all may take: after the studies at their own sizes, those whose claims need more "
        "seeds for a power of 90 %% are run with them, as far as they fit (default: no larger runs)",
    )
    add_data(command, "the images to use instead of digits, in the studies on images")
    command.add_argument("--quiet", action="store_true", help="show no progress")
    commands.add_parser("list", help="list the ready studies", description="List the ready studies.")
