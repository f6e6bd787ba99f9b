"""Contenders of a benchmark: processes that train members when told to, timed in turn from outside.

A contender is one process, or one per core, all told to start at once. Such a process trains a few members to
warm up (so imports and compilation are over), prints a line, and then answers every line it reads: it
trains that many members and prints what came of them as JSON.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


class Contender(NamedTuple):
    """What is timed.

    Attributes:
        name: its row in the table.
        arguments: what the process is started with: a file beside this one, and its arguments.
        members: how many members each process trains at a time.
        processes: how many processes, each on a core of its own if there is more than one.
        rounds: in how many of the rounds it runs; None for all.
        scale: what its time is multiplied by, since it trains so much less.
    """

    name: str
    arguments: tuple[str, ...]
    members: int
    processes: int = 1
    rounds: int | None = None
    scale: float = 1.0


class Timing(NamedTuple):
    """What a contender needed: seconds per member in each round, and what its last answers said."""

    seconds: list[float]
    answers: list[dict[str, Any]]


def cores() -> list[int]:
    """The cores that this process may use."""
    return (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )


def start(contender: Contender) -> list[subprocess.Popen[str]]:
    """Starts a contender's processes; each has one core if there are several."""
    own = cores()
    running = []
    for number in range(contender.processes):
        script, *rest = contender.arguments
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        if contender.processes > 1:
            environment["BENCHMARK_CORE"] = str(own[number % len(own)])
        running.append(
            subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name(script)), *rest],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
    return running


def answers(running: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """One line of every process."""
    found = []
    for process in running:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"`the contender answers` must hold, but {process.args} ended")
        found.append(json.loads(line))
    return found


def ask(running: Sequence[subprocess.Popen[str]], members: int) -> list[dict[str, Any]]:
    """Has every process train so many members, all at once."""
    for process in running:
        assert process.stdin is not None
        print(members, file=process.stdin, flush=True)
    return answers(running)


def stop(running: Sequence[subprocess.Popen[str]]) -> None:
    """Ends a contender's processes."""
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def alternate(contenders: Sequence[Contender], rounds: int) -> dict[str, Timing]:
    """Times the contenders in turn, round after round.

    Args:
        contenders: who runs. One that ends before it is ready is left out, with a line on standard error.
        rounds: how often each runs.
    """
    ready: dict[Contender, list[subprocess.Popen[str]]] = {}
    timings: dict[str, Timing] = {}
    try:
        for contender in contenders:
            running = start(contender)
            try:
                answers(running)
            except RuntimeError as error:
                print(f"{contender.name} is left out: {error}", file=sys.stderr, flush=True)
                continue
            ready[contender], timings[contender.name] = running, Timing([], [])
        for number in range(rounds):
            for contender, running in ready.items():
                if contender.rounds is not None and number >= contender.rounds:
                    continue
                began = time.perf_counter()
                found = ask(running, contender.members)
                seconds = (time.perf_counter() - began) * contender.scale
                seconds /= contender.members * contender.processes
                timings[contender.name].seconds.append(seconds)
                timings[contender.name].answers[:] = found
                print(
                    f"round {number + 1}, {contender.name}: {seconds:.4f} s per member",
                    file=sys.stderr,
                    flush=True,
                )
    finally:
        for running in ready.values():
            stop(running)
    return timings


def serve(train: Callable[[int], dict[str, Any]], warm_up: int) -> None:
    """What the process of a contender does: warms up, then trains as many members as each line says.

    Args:
        train: trains so many members and returns what came of them.
        warm_up: how many members to warm up on.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    print(json.dumps(train(warm_up)), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(train(int(line))), file=out, flush=True)


def pin() -> None:
    """Keeps this process on the core it was given, if it was given one; before anything starts threads."""
    core = os.environ.get("BENCHMARK_CORE")
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})


def ratios(mine: Timing, theirs: Timing) -> tuple[float, float, float]:
    """How many times faster the first is: median, least and most over the rounds that both ran in."""
    both = [other / own for own, other in zip(mine.seconds, theirs.seconds, strict=False)]
    return float(np.median(both)), min(both), max(both)
