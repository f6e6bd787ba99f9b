"""Whole calls of `sweeps.run` in a new process: `whole_calls.py mlp FOLDER MEMBERS STEPS`, as JSON.

The first call plans, compiles or reads from the cache, trains, and writes its tables; the second has other
seeds. Each says its seconds, and the programs that JAX was asked for meanwhile with what each of them took.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax

import sweeps
from tests.benchmarks import networks

COMPILED = "/jax/core/compile/backend_compile_duration"  # or read from the cache, which takes less


def main() -> None:
    name, folder, members, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    sweeps.use_cpu_cores()
    programs: list[tuple[str, float]] = []

    def listen(event: str, duration_secs: float, **kwargs: Any) -> None:
        if event == COMPILED:
            programs.append((str(kwargs.get("fun_name")), duration_secs))

    jax.monitoring.register_event_duration_secs_listener(listen)
    work = networks.WORK[name]
    slopes = min(8, members)
    # The plain network: the CNN has Flax's own max-pool, as a user's has.
    work = work._replace(model=work.plain, alphas=slopes, seeds=members // slopes)
    study, found = networks.study_of(work, steps), {}
    for call in ("first", "second"):
        began = time.perf_counter()
        results = sweeps.run(study, out=folder / call, progress=False)
        seconds = time.perf_counter() - began
        accuracy = float(results.final().mean())
        found[call] = {"seconds": seconds, "programs": list(programs), "accuracy": accuracy}
        programs.clear()
        others = {"seed": range(work.seeds, 2 * work.seeds)}
        study = dataclasses.replace(study, space={**study.space, **others})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
