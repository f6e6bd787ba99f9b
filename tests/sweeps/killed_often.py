"""A sweep that is killed again and again: `python killed_often.py DIR SCHEDULE SEARCH EXECUTOR KILLS`.

It leaves `DIR/whole`, which nothing interrupted, and `DIR/run`, and prints how often that was killed. This
process never uses JAX, so that each attempt is forked off it and imports nothing.
"""

import importlib
import os
import random
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import orbax.checkpoint  # noqa: F401
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401

import sweeps
from sweeps.driver import loop, replay  # noqa: F401
from tests.sweeps import killed, plain

SCHEDULES = {
    "halving": "halving(eta=2, min_steps=2)",
    "hyperband": "hyperband(eta=2, min_steps=2)",
    "pbt": "pbt(every=2)",
    "early_stopping": "early_stopping(patience=1, min_delta=0.2)",  # which some members last out
}
SEARCHES: dict[str, Any] = {
    "grid": "grid", "random": "random", "sobol": "sobol", "tpe": sweeps.tpe(points_per_batch=4),
    "gp": sweeps.gp(points_per_batch=4),
}  # fmt: skip


def study(search: str) -> sweeps.Study:
    """Sixteen members, eight steps."""
    drawn = {"alpha": sweeps.uniform(0, 0.5)} if search != "grid" else {"alpha": [0.0, 0.1, 0.3, 0.5]}
    space = {**drawn, "learning_rate": [0.02, 0.05], "seed": range(2)}
    samples = None if search == "grid" else 8
    return plain.study(steps=8, metric="test/loss", space=space, samples=samples, evaluate_every=2)


def attempt(directory: Path, last: int | None, words: tuple[str, str, str]) -> int | None:
    """Begins the run or goes on with it in a process of its own.

    Args:
        directory: the run directory.
        last: the moment at which it is killed, as `killed.counting` has it.
        words: schedule, search and executor.

    Returns:
        How many moments it had; None if it was killed.
    """
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            train(directory, last, words)
            os.write(writer, str(killed.passed).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    with open(reader) as passed:
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
            return None
        assert status == 0, words
        return int(passed.read())


def train(directory: Path, last: int | None, words: tuple[str, str, str]) -> None:
    schedule, search, executor = words
    sweeps.use_cpu_cores()
    killed.counting(directory, last)
    options: dict[str, Any] = {"progress": False, "executor": None if executor == "inline" else executor}
    if directory.exists():
        sweeps.resume(directory, study(search), **options)
    else:
        options |= {"members_per_chunk": 4, "keep_best": 2, "checkpoint_minutes": 1e-6}
        sweeps.run(
            study(search), out=directory, search=SEARCHES[search], schedule=SCHEDULES[schedule], **options
        )


def main(folder: Path, words: tuple[str, str, str], wanted: int) -> int:
    """How often the run was killed before it came to its end."""
    draws, run, kills = random.Random("-".join(words)), folder / "run", 0
    moments = attempt(folder / "whole", None, words)
    assert moments is not None
    for _ in range(5 * wanted):
        # From its beginning a run is killed anywhere, and what goes on with it soon after.
        most = moments // 3 if run.exists() else moments
        if attempt(run, 1 + draws.randrange(most), words) is None:
            kills += 1
        else:  # it ended before that moment, as a slow disk makes for fewer checkpoints
            shutil.rmtree(run)
        if kills == wanted:
            break
    attempt(run, None, words)
    return kills


if __name__ == "__main__":
    schedule, search, executor, kills = sys.argv[2:]
    if search in ("tpe", "gp"):
        import optuna  # noqa: F401
    if search == "gp":
        importlib.import_module("torch")
    print(main(Path(sys.argv[1]), (schedule, search, executor), int(kills)))
