"""The `sweeps` command, saying when its first training step was under way: `first_step.py BEGAN run ...`.

BEGAN is `time.time()` before the process was started; the seconds since then are printed as `first step:`.
"""

import sys
import time
from typing import Any

from sweeps.cli.main import main
from sweeps.engine import program as execute

began, seen = float(sys.argv.pop(1)), []
build = execute.build


def watched(*arguments: Any, **options: Any) -> execute.Program:
    program = build(*arguments, **options)

    def advance(*values: Any) -> Any:
        carry = program.advance(*values)
        if not seen:
            seen.append(time.time() - began)
            print(f"first step: {seen[0]}", flush=True)
        return carry

    advance.lower = getattr(program.advance, "lower", None)  # type: ignore[attr-defined]
    return program._replace(advance=advance)


execute.build = watched
sys.exit(main())
