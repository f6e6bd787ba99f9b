"""Seconds to the first answer: `python -m tests.benchmarks.first_answer [--out DIR] [--small]`.

Whole calls of `sweeps.run`, with planning, tables and a run directory: the first in a new process with empty
caches, the first in a new process with the programs cached, and a second in one process with other seeds.
A ratio is PyTorch's time for as many members, one warm process per core, over the call's, in the same round.
Then the `sweeps run digits-mlp` of the first page from the shell, and what the programs of a first call cost.
`--small` shows that all of it runs; its figures say nothing, and are held against no target.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks.contenders import ROOT, Contender, answers, ask, cores, start, stop
from tests.benchmarks.populations import machine, store_digits, verdict

CALLS = ("cold", "cached", "second")
SAID = {
    "cold": "first call, empty caches",
    "cached": "first call, programs cached",
    "second": "second call, other seeds",
}
SHELL_TARGETS = {"cold": 15.0, "cached": 10.0}  # seconds
LEAST_SECONDS = 0.05  # of a program that is named; the others are added up


class Work(NamedTuple):
    """One row.

    Attributes:
        network: what is trained.
        members: how many members a call trains.
        steps: how many steps.
        each: how many members each process of PyTorch trains in a round.
        targets: ratios, in the order of `CALLS`; none where they do not apply.
    """

    network: str
    members: int
    steps: int
    each: int
    targets: Sequence[float | None]

    @property
    def title(self) -> str:
        """What the row is called."""
        return f"{self.network}, {self.members} members, {self.steps} steps"


WORK = {
    "mlp": Work("MLP", 64, 300, 4, (1.2, 2.5, 4.0)),
    "cnn": Work("CNN with Flax's max-pool", 32, 50, 3, (0.5, 1.2, 2.0)),
    "gru": Work("GRU", 64, 100, 4, (1.0, 2.0, 3.0)),
}


class Round(NamedTuple):
    """What one round measured.

    Attributes:
        torch: PyTorch's seconds for as many members.
        seconds: of each call.
        programs: of each call, names and seconds.
    """

    torch: float
    seconds: dict[str, float]
    programs: dict[str, list[tuple[str, float]]]


def calls(name: str, work: Work) -> tuple[dict[str, float], dict[str, list[tuple[str, float]]]]:
    """The seconds and programs of a first call with empty caches, one with full ones, and a second."""
    seconds: dict[str, float] = {}
    programs: dict[str, list[tuple[str, float]]] = {}
    script = str(Path(__file__).with_name("whole_calls.py"))
    with tempfile.TemporaryDirectory() as folder:
        for process in ("cold", "cached"):
            words = [name, str(Path(folder) / process), str(work.members), str(work.steps)]
            done = subprocess.run(
                [sys.executable, script, *words], stdout=subprocess.PIPE, text=True, check=True,
                env=cached_in(Path(folder)),
            )  # fmt: skip
            found = json.loads(done.stdout.splitlines()[-1])
            seconds[process], programs[process] = (found["first"][key] for key in ("seconds", "programs"))
        seconds["second"], programs["second"] = (found["second"][key] for key in ("seconds", "programs"))
    return seconds, programs


def cached_in(folder: Path) -> dict[str, str]:
    """The environment of a process whose compilation cache is there, and nowhere else."""
    kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return kept | {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}


def race(name: str, work: Work, rounds: int, digits: Path) -> list[Round]:
    """PyTorch and the calls, in turn; PyTorch waits, and takes no time, while they run."""
    arguments = ("torch_contender.py", name, str(digits), "adam", str(work.steps))
    torch = Contender("PyTorch, one process per core", arguments, work.each, len(cores()))
    running, found = start(torch), []
    try:
        answers(running)
        for number in range(rounds):
            began = time.perf_counter()
            ask(running, work.each)
            seconds = (time.perf_counter() - began) * work.members / (work.each * len(running))
            found.append(Round(seconds, *calls(name, work)))
            said = ", ".join(f"{call} {found[-1].seconds[call]:.1f} s" for call in CALLS)
            print(f"{name}, round {number + 1}: PyTorch {seconds:.1f} s, {said}", file=sys.stderr, flush=True)
    finally:
        stop(running)
    return found


def ratio_lines(found: dict[str, list[Round]], works: dict[str, Work]) -> list[str]:
    """The table of ratios."""
    lines = ["| work | call | s: median (least to most) | PyTorch, s | PyTorch's time over it | target |"]
    lines.append("|---|---|---|---|---|---|")
    for name, rounds in found.items():
        torch = np.asarray([each.torch for each in rounds])
        for call, target in zip(CALLS, works[name].targets, strict=True):
            seconds = np.asarray([each.seconds[call] for each in rounds])
            ratio = torch / seconds
            cells = [works[name].title, SAID[call], spread(seconds), spread(torch), spread(ratio),
                     "" if target is None else verdict(float(np.median(ratio)), target)]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def spread(values: Any) -> str:
    """Median, least and most."""
    return f"{np.median(values):.3g} ({np.min(values):.3g} to {np.max(values):.3g})"


def program_lines(found: dict[str, list[Round]]) -> list[str]:
    """What the programs of the first calls cost in the last round, the dearest first."""
    lines = ["| work | call | programs | s together | of these |", "|---|---|---|---|---|"]
    for name, rounds in found.items():
        for call in CALLS:
            programs = sorted(rounds[-1].programs[call], key=lambda each: -each[1])
            dear = [f"{what} {took:.2f}" for what, took in programs if took >= LEAST_SECONDS]
            together = sum(took for _, took in programs)
            said = ", ".join(dear) or f"none took {LEAST_SECONDS} s"
            lines.append(f"| {name} | {SAID[call]} | {len(programs)} | {together:.2f} | {said} |")
    return lines


def shell(rounds: int, words: Sequence[str]) -> dict[str, list[float]]:
    """Seconds of the command from its start to its end, with empty caches and again."""
    times: dict[str, list[float]] = {"cold": [], "cached": []}
    code = "import sys; from sweeps.cli.command import command; sys.exit(command())"
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for call, seconds in times.items():
                out = str(Path(folder) / call)
                began = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-c", code, "run", "digits-mlp", *words, "--out", out], check=True,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=cached_in(Path(folder)),
                )  # fmt: skip
                seconds.append(time.perf_counter() - began)
    return times


def shell_lines(times: dict[str, list[float]], small: bool) -> list[str]:
    """The command's seconds against their targets, unless it did too little for these."""
    parts = []
    for call, seconds in times.items():
        met = verdict(float(np.median(seconds)), SHELL_TARGETS[call], at_most=True, unit=" s")
        parts.append(f"{call} {spread(seconds)} s" + ("" if small else f" ({met})"))
    return [f"`sweeps run digits-mlp` from the shell, from its start to its end: {', '.join(parts)}."]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the rows asked for and prints, or writes, the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join([*WORK, "shell"]), help="mlp, cnn, gru, shell")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="4 members, 10 steps, one round: does it run?")
    parser.add_argument("--out", type=Path, help="a folder for first_answer.md and first_answer.json")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if wrong := set(names) - {*WORK, "shell"}:
        parser.error(f"`--only names rows` must hold, but got {', '.join(sorted(wrong))}")
    works, rounds, words = WORK, options.rounds, []
    if options.small:
        small = {"members": 4, "steps": 10, "each": 1, "targets": (None, None, None)}
        works = {name: work._replace(**small) for name, work in WORK.items()}
        rounds, words = 1, ["alpha=grid(0, 0.1)", "seed=range(2)", "--steps", "10"]
    command = " ".join(["python -m tests.benchmarks.first_answer", *(arguments or sys.argv[1:])])
    lines = [f"{machine()}; load average before {os.getloadavg()[0]:.1f}. `{command}`", ""]
    found: dict[str, list[Round]] = {}
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        digits = store_digits(Path(folder))
        for name in names:
            if name != "shell":
                found[name] = race(name, works[name], rounds, digits)
    if "shell" in names:
        times = shell(rounds, words)
    lines += [*ratio_lines(found, works), "", *program_lines(found), ""] if found else []
    lines += shell_lines(times, options.small) if times else []
    print("\n".join(lines))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "first_answer.md").write_text("\n".join(lines) + "\n")
        kept = {name: [each._asdict() for each in measured] for name, measured in found.items()}
        (options.out / "first_answer.json").write_text(json.dumps(kept | {"shell": times}, indent=1) + "\n")


if __name__ == "__main__":
    main()
