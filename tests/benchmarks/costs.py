"""What a sweep costs besides its arithmetic: `costs.py curve`, `overhead` or `memory`, each a process.

Prints JSON. `curve` is the cost per member at 1, 2, 4, ... members; `overhead` the time of `sweeps.run`
against the bare compiled loop; `memory` the planned bytes per member against the compiler's count.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

import sweeps
from sweeps.engine import program as execute
from sweeps.engine.examples import example_batch
from sweeps.engine.footprint import program_bytes
from tests.benchmarks import networks
from tests.benchmarks.engine_contender import Engine

CURVE_STEPS, CURVE_MOST = 20, 4096
CURVE_LEAST = 256  # small populations are trained again until so many members are
OVERHEAD_SECONDS = 30.0


def curve(rounds: int) -> dict[str, Any]:
    """Seconds per member of the MLP at each number of members, all of them once in every round."""
    work = networks.WORK["mlp"]
    engines = {}
    for members in (2**power for power in range(int(np.log2(CURVE_MOST)) + 1)):
        engine = Engine(networks.study_of(work, CURVE_STEPS, members), min(members, jax.device_count()))
        engine.train()
        engines[members] = engine
    times: dict[int, list[float]] = {members: [] for members in engines}
    for _ in range(rounds):
        for members, engine in engines.items():
            began, repeats = time.perf_counter(), max(1, CURVE_LEAST // members)
            for _ in range(repeats):
                engine.train()
            times[members].append((time.perf_counter() - began) / (repeats * members))
        print({members: each[-1] for members, each in times.items()}, file=sys.stderr, flush=True)
    return {
        "steps": CURVE_STEPS,
        "points": [
            {"members": members, "width": engine.chunks[0].width, "seconds_per_member": times[members]}
            for members, engine in engines.items()
        ],
    }


def bare_loop(engine: Engine) -> Any:
    """The whole training of one chunk in one compiled function: no divergence, no metrics, no spans."""
    trial, steps = engine.study.trial, engine.study.steps
    (inputs, targets), evaluation = jax.device_put(trial.data)
    per_epoch = len(inputs) // networks.BATCH

    def member(alpha: Any, seed: Any) -> Any:
        return trial.init(networks.Config(alpha), jax.random.key(seed))

    def chunk(alphas: Any, seeds: Any) -> Any:
        def step(number: Any, carry: Any) -> Any:
            state, order = carry
            place = number % per_epoch
            key = jax.random.key(number // per_epoch)
            order = jax.lax.cond(place == 0, lambda: jax.random.permutation(key, len(inputs)), lambda: order)
            index = jax.lax.dynamic_slice_in_dim(order, place * networks.BATCH, networks.BATCH)
            batch = inputs[index], targets[index]
            one = lambda a, s: trial.step(networks.Config(a), s, batch, key)[0]  # noqa: E731
            return jax.vmap(one)(alphas, state), order

        state = jax.lax.map(lambda both: member(*both), (alphas, seeds))
        state, _ = jax.lax.fori_loop(0, steps, step, (state, jnp.arange(len(inputs))))
        return jax.vmap(lambda a, s: trial.evaluate(networks.Config(a), s, evaluation))(alphas, state)

    rows = PartitionSpec("core")
    mesh = Mesh(engine.mesh.devices, ("core",))
    return jax.jit(jax.shard_map(chunk, mesh=mesh, in_specs=(rows, rows), out_specs=rows, check_vma=False))


def overhead(rounds: int) -> dict[str, Any]:
    """Seconds of `sweeps.run`, folder and progress included, and of loops over the same chunks.

    The engine's own loop watches for divergence, the bare one does not; each is traced and compiled anew.
    """
    work = networks.WORK["mlp"]
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", str(Path(folder) / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        engine = Engine(networks.study_of(work, 100))
        engine.train()
        began = time.perf_counter()
        engine.train()
        steps = max(100, int(100 * OVERHEAD_SECONDS / (time.perf_counter() - began)))
        # Ten evaluations, as a study has by default.
        study = sweeps.Study(
            engine.study.trial, steps=steps, metric="test/accuracy", space=engine.study.space
        )
        engine = Engine(study)  # its plan is remembered, so that `run` has the same
        rounds_seen: list[dict[str, Any]] = []
        accuracies: list[np.ndarray] = []
        for number in range(rounds + 1):  # the first fills the compilation cache
            began = time.perf_counter()
            results = sweeps.run(study, out=Path(folder) / f"run-{number}", progress=True)
            whole = time.perf_counter() - began
            began, bare = time.perf_counter(), bare_loop(engine)
            accuracies.clear()
            width = results.manifest["numerical_setting"]["members_per_device"] * engine.mesh.size
            for at in range(0, len(engine.population), width):
                ids = np.arange(at, at + width)
                alphas = jnp.asarray(engine.population.columns["alpha"][ids], jnp.float32)
                metrics = bare(alphas, jnp.asarray(engine.population.seeds[ids], jnp.uint32))
                accuracies.append(np.asarray(metrics["test/accuracy"]))
            waited = time.perf_counter() - began
            began = time.perf_counter()
            statics = engine.population.statics[0]
            engine.program = execute.build(study, statics, engine.mesh, engine.choice.best.loop)
            engine.train()
            seen = {"run": whole, "bare": waited, "loop": time.perf_counter() - began}
            print(seen, file=sys.stderr, flush=True)
            rounds_seen.append(seen)
        return {"steps": steps, "rounds": rounds_seen[1:], "accuracy": float(np.mean(accuracies))}


def memory(rounds: int) -> dict[str, Any]:
    """Planned against compiled bytes per member, at four times the widest width that was planned on."""
    del rounds
    found = []
    for name, work in networks.WORK.items():
        engine = Engine(networks.study_of(work, members=512), two_widths=True)
        planned = engine.choice.memory
        assert planned is not None
        width = 4 * max(each.per_device for each in engine.choice.measurements)
        loop = engine.choice.measurements[0].loop  # the one that the memory was planned for
        program, members = engine.bench.program(loop), engine.bench.members(width)
        bench, example = engine.bench, example_batch(engine.study)
        used = program_bytes(program, bench.root, members, example, bench.train, bench.evaluation)
        predicted = (planned.fixed + planned.per_member * width) / width
        found.append({"work": name, "per_device": width, "planned": predicted, "compiled": used / width})
        print(found[-1], file=sys.stderr, flush=True)
    return {"points": found}


def main() -> None:
    sweeps.use_cpu_cores()
    found = {"curve": curve, "overhead": overhead, "memory": memory}[sys.argv[1]](int(sys.argv[2]))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
