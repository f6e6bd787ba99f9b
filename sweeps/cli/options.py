"""Arguments that several commands share, and what a word may be."""

import argparse
from pathlib import Path

from sweeps.data.named import KINDS, PACKAGED
from sweeps.errors import brief

MOST = 2**63 - 1  # of whole numbers, which a manifest and arrays hold


def whole(word: str) -> int:
    """A whole number; what is wrong with others is said in few characters, however many they have.

    Args:
        word: what was given.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = int(word)
    except ValueError:  # no number, or one of more digits than Python reads
        number = None
    if number is None or abs(number) > MOST:
        raise argparse.ArgumentTypeError(f"takes a whole number of at most 64 bits, but got {brief(word)}")
    return number


def path(word: str) -> Path:
    """A path, as this system can have one.

    Args:
        word: what was given.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if "\0" in word:
        raise argparse.ArgumentTypeError(f"takes a path, but got {brief(word)}, with a zero byte in it")
    return Path(word)


def real(word: str) -> float:
    """A number.

    Args:
        word: what was given.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes a number, but got {brief(word)}") from None


def add_limit(command: argparse.ArgumentParser) -> None:
    """After how long a run ends.

    Args:
        command: the parser of a command.
    """
    command.add_argument(
        "--max-minutes",
        type=real,
        metavar="MINUTES",
        help="end after so long, with what is finished (exit status 0); resume goes on (default: no limit)",
    )


def add_storage(command: argparse.ArgumentParser) -> None:
    """Where finished members are copied to.

    Args:
        command: the parser of a command.
    """
    command.add_argument(
        "--storage",
        metavar="URL",
        help="copy finished members into an Optuna storage, such as sqlite:///optuna.db, for its dashboard",
    )


def add_states(command: argparse.ArgumentParser) -> None:
    """Whether the final states of all members are kept.

    Args:
        command: the parser of a command.
    """
    command.add_argument(
        "--keep-states",
        action="store_true",
        help="keep the final states of all members, for more steps later (extend --steps)",
    )


def add_devices(command: argparse.ArgumentParser) -> None:
    """The arguments that say where to train.

    Args:
        command: the parser of a command.
    """
    command.add_argument(
        "--devices", type=whole, metavar="N", help="train on the first N devices (default: all)"
    )
    command.add_argument(
        "--executor",
        metavar="WHERE",
        help="inline: this process, on all devices; processes: one for each CPU core; ray: the workers of a "
        "Ray cluster, which share the run's folder (default: inline, or processes where a sweep of minutes "
        "measures that they are faster; a run goes on where it began)",
    )
    command.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="the Ray cluster's address, or auto (default: one started on this machine)",
    )
    command.add_argument(
        "--worker-cpus", type=whole, metavar="N", help="cores of each worker (default: the smallest node's)"
    )
    command.add_argument(
        "--worker-gpus", type=whole, metavar="N", help="GPUs of each worker (default: the smallest node's)"
    )


def add_data(command: argparse.ArgumentParser, text: str) -> None:
    """What a ready study is run on.

    Args:
        command: the parser of a command.
        text: what these data are.
    """
    words = f"{text}: {', '.join(PACKAGED)}, or {', '.join(KINDS)} and its folder"
    command.add_argument("--data", metavar="KIND=PATH", help=words)


def add_directory(command: argparse.ArgumentParser) -> None:
    """The folder of a run.

    Args:
        command: the parser of a command.
    """
    command.add_argument("directory", metavar="DIR", type=path, help="the folder of the run")


def add_trust(command: argparse.ArgumentParser) -> None:
    """Whether code that lies in a run directory is run.

    Args:
        command: the parser of a command.
    """
    command.add_argument(
        "--trust", action="store_true", help="run code that lies inside DIR, which you have read"
    )


def add_study(command: argparse.ArgumentParser) -> None:
    """The arguments that say what to train.

    Args:
        command: the parser of a command.
    """
    command.add_argument(
        "study", metavar="STUDY", help="a ready study, module:object, file.py:object or a .toml file"
    )
    add_changes(command)
    add_data(command, "the data to run a ready study on")
    command.add_argument(
        "--root-seed", type=whole, default=0, help="what all randomness derives from (default: 0)"
    )
    command.add_argument("--members-per-chunk", type=whole, help="how many members train at once")
    command.add_argument(
        "--search",
        help="where points come from: grid (default), random, sobol, tpe or gp; all but grid take --samples",
    )
    command.add_argument(
        "--schedule",
        help="which members go on: halving, hyperband, pbt or early_stopping, or 'halving(eta=4)'",
    )
    command.add_argument(
        "--points-per-batch",
        type=whole,
        metavar="N",
        help="points that tpe or gp propose at once (default: 32)",
    )
    command.add_argument(
        "--warm-start", type=path, metavar="DIR", help="an earlier run, whose points tpe or gp begin with"
    )


def add_changes(command: argparse.ArgumentParser) -> None:
    """The arguments that change a study.

    Args:
        command: the parser of a command.
    """
    command.add_argument(
        "fields",
        metavar="FIELD=DOMAIN",
        nargs="*",
        help="what to sweep, such as alpha='linspace(0, 0.5, 16)'",
    )
    command.add_argument("--steps", type=whole, help="training steps per member")
    command.add_argument("--samples", type=whole, help="joint draws of the sampled fields")
