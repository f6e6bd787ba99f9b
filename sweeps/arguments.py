"""The words of the `sweeps` command, and the help that goes with them."""

import argparse
from pathlib import Path
from typing import NoReturn

from sweeps import __doc__ as summary
from sweeps.export import FORMATS
from sweeps.image_sets import KINDS

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
  sweeps reproduce --only digits-mlp activations
  sweeps reproduce --data fashion-mnist=data/fashion-mnist --out runs/fashion
"""
RESUME_EXAMPLES = """examples:
  sweeps resume runs/mine
  sweeps resume runs/mine --quiet
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
    _add_devices(command)
    command.add_argument("--quiet", action="store_true", help="print nothing but the results")
    command = commands.add_parser(
        "plan",
        help="say how a study would run, and train nothing",
        description="Compile and time a study briefly; print groups, programs, widths, memory and time.",
    )
    _add_study(command)
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
    _add_devices(command)
    command.add_argument("--quiet", action="store_true", help="print nothing but the results")
    command = commands.add_parser(
        "status",
        help="say how far a run is",
        description="Say how far a run is; works from another shell while it runs, and changes nothing.",
    )
    _add_directory(command)
    command = commands.add_parser(
        "replay",
        help="train one member again and compare every bit",
        description="Train one member of a run again, in the numerical setting it was trained in, and "
        "compare. The exit status is 0 if every bit is the same, 1 if not.",
    )
    _add_directory(command)
    command.add_argument("member", metavar="MEMBER", type=int, help="the member's id")
    command.add_argument("--quiet", action="store_true", help="print nothing but the comparison")
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
    command = commands.add_parser(
        "export",
        help="write a run's tables in another format",
        description="Write a run's tables as CSV, as labelled arrays in netCDF, or as an Optuna study.",
    )
    _add_directory(command)
    command.add_argument("--to", required=True, metavar="FORMAT", help=f"one of {', '.join(FORMATS)}")
    command.add_argument("--out", type=Path, help="the folder to write to (default: DIR)")
    command = commands.add_parser(
        "reproduce",
        help="run every ready study that claims are made of, and write what is so",
        description="Run every ready study that examines a claim about Leaky ReLU, and write one page: "
        "claim, source, measurement, picture, verdict. Stopped and run again, it goes on where it was.",
        epilog=REPRODUCE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--out", type=Path, default=REPRODUCTION, help=f"the folder to keep it in (default: {REPRODUCTION})"
    )
    command.add_argument("--only", nargs="+", default=[], metavar="STUDY", help="these studies alone")
    _add_data(command, "the images to use instead of digits, in the studies on images")
    command.add_argument("--quiet", action="store_true", help="show no progress")
    command = commands.add_parser(
        "list", help="list the ready studies", description="List the ready studies."
    )
    return parser


def _add_storage(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--storage",
        metavar="URL",
        help="copy finished members into an Optuna storage, such as sqlite:///optuna.db, for its dashboard",
    )


def _add_devices(command: argparse.ArgumentParser) -> None:
    """The arguments that say where to train."""
    command.add_argument(
        "--devices", type=int, metavar="N", help="train on the first N devices (default: all)"
    )
    command.add_argument(
        "--executor",
        metavar="WHERE",
        help="inline: this process, on all devices (default); processes: one for each CPU core; ray: the "
        "workers of a Ray cluster, which share the run's folder",
    )
    command.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="the Ray cluster's address, or auto (default: one started on this machine)",
    )
    command.add_argument(
        "--worker-cpus", type=int, metavar="N", help="cores of each worker (default: the smallest node's)"
    )
    command.add_argument(
        "--worker-gpus", type=int, metavar="N", help="GPUs of each worker (default: the smallest node's)"
    )


def _add_data(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--data", metavar="KIND=PATH", help=f"{text}: {' or '.join(KINDS)}, and its folder")


def _add_directory(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", metavar="DIR", type=Path, help="the folder of the run")


def _add_study(command: argparse.ArgumentParser) -> None:
    """The arguments that say what to train."""
    command.add_argument(
        "study", metavar="STUDY", help="a ready study, module:object, file.py:object or a .toml file"
    )
    _add_changes(command)
    _add_data(command, "the images to run a ready study on")
    command.add_argument(
        "--root-seed", type=int, default=0, help="what all randomness derives from (default: 0)"
    )
    command.add_argument("--members-per-chunk", type=int, help="how many members train at once")
    command.add_argument(
        "--search",
        help="where points come from: grid (default), random, sobol, tpe or gp; all but grid take --samples",
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
