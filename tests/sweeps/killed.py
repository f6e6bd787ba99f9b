"""A small sweep that kills itself: `python killed.py run|resume DIR [MOMENT]`.

Moments are counted: whatever changes the run directory or its neighbours, and every span that is trained.
With a moment the process sends itself SIGKILL then; without one it prints how many there were.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import sweeps
from sweeps.host.progress import Display
from tests.sweeps.population_of_mlps import small_study

WRITES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")

passed = 0


def counting(directory: Path, last: int | None) -> None:
    """Counts moments from now on, in this process and none that is forked off it.

    Args:
        directory: the run directory.
        last: the moment at which this process kills itself; None never does.
    """
    driver, shown = os.getpid(), Display.chunk

    def moment() -> None:
        global passed
        if os.getpid() == driver:
            passed += 1
            if passed == last:
                os.kill(driver, signal.SIGKILL)

    def watch(event: str, arguments: tuple) -> None:
        """Counts what Python is about to do with files of the run."""
        if event in WRITES and arguments:
            inside = event == "os.remove" and arguments[1] != -1  # relative to a folder that is being removed
            if inside or str(directory.parent) in str(arguments[0]):
                moment()

    def chunk(*arguments):
        moment()
        shown(*arguments)

    setattr(Display, "chunk", chunk)  # noqa: B010 (a plain assignment is not of the method's type)
    sys.addaudithook(watch)


EXTENDED = """
import sys
from pathlib import Path
import jax, sweeps
from tests.sweeps import killed, plain
jax.config.update("jax_num_cpu_devices", 2)  # as in the tests
killed.counting(Path(sys.argv[1]), int(sys.argv[2]) or None)
sweeps.extend(sys.argv[1], plain.study(space={space}), {more}, progress=False)
print(killed.passed)
"""


def extended_until(
    moment: int, directory: Path, folder: Path, space: dict[str, Any], more: str
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A copy of a run, extended by a process that kills itself; and that process.

    Args:
        moment: when it does; 0 is never, and the process prints how many moments there were.
        directory: the run directory.
        folder: where the copy is to be.
        space: the space of the plain study that it is a run of.
        more: what it is extended by, as the call has it.
    """
    copy = folder / str(moment) / "run"
    shutil.copytree(directory, copy)
    words = [sys.executable, "-c", EXTENDED.format(space=space, more=more), str(copy), str(moment)]
    root = Path(__file__).parents[2]
    return copy, subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)


def study() -> sweeps.Study:
    """Two static groups and a diverging member, three chunks in all."""
    space = {"width": [4, 8], "learning_rate": [0.05, 1e25], "seed": range(3)}
    return small_study(space=space, steps=24, evaluate_every=4)


if __name__ == "__main__":
    sweeps.use_cpu_cores()
    counting(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
    if sys.argv[1] == "run":
        options = {"members_per_chunk": 4, "keep_best": 2, "checkpoint_minutes": 1e-6}
        sweeps.run(study(), out=sys.argv[2], progress=False, **options)
    else:
        sweeps.resume(sys.argv[2], study(), progress=False)
    print(passed)
