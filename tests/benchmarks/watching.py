"""What compiling around a fault and watching for divergence cost: `python -m tests.benchmarks.watching`.

The programs of the populations benchmark, on all cores and at a width that suits them, built in turn as the
engine builds them (`engine`), without the compiler option that keeps XLA from the YNNPACK library (`fusions`,
which is how jaxlib 0.10.2 to 0.12.0 compute some sums wrongly), with the check that any compiler may fold
(`x - x`), with `isfinite`, and with no check at all (`unwatched`). Runs alternate; the table shows each time
over the engine's, the median of the rounds with their range.
"""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import sweeps
from sweeps.engine import compiler
from sweeps.engine import program as execute
from sweeps.engine.examples import example_batch
from sweeps.members.population import populate, traced_columns
from sweeps.models import supervised
from tests.benchmarks import networks
from tests.sweeps import tiny_networks

# Members per device, steps of a run, and the loop that is planned for them.
PROGRAMS: dict[str, tuple[Callable[[], sweeps.Study], int, int, str]] = {
    "mlp": (lambda: networks.study_of(networks.WORK["mlp"]), 4, 300, "scan"),
    "cnn": (lambda: networks.study_of(networks.WORK["cnn"]), 8, 10, "map"),
    "gru": (lambda: networks.study_of(networks.WORK["gru"]), 8, 30, "map"),
    "tiny": (lambda: tiny_networks.study(10_000), 500, 400, "scan"),
}


def folded(tree: Any) -> jax.Array:
    """The check that fast arithmetic folds."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.any(jnp.stack([jnp.sum(leaf - leaf) != 0 for leaf in leaves]))


def is_finite(tree: Any) -> jax.Array:
    """The check as JAX has it."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


@contextlib.contextmanager
def checked_by(check: Callable[[Any], jax.Array]) -> Iterator[None]:
    """The engine with another check, while a program is built and compiled."""
    with (
        mock.patch.object(execute, "any_non_finite", check),
        mock.patch.object(supervised, "any_non_finite", check),
    ):
        yield


VARIANTS: dict[str, Callable[[], Any]] = {
    "engine": contextlib.nullcontext,
    "fusions": lambda: mock.patch.object(compiler, "is_known", lambda *option: False),
    "x - x": lambda: checked_by(folded),
    "isfinite": lambda: checked_by(is_finite),
    "unwatched": lambda: checked_by(lambda tree: jnp.bool_(False)),
}


def compiled(name: str, variant: str) -> Callable[[], float]:
    """A run of a program, compiled; returns how many seconds it took."""
    make, per_device, steps, loop = PROGRAMS[name]
    with VARIANTS[variant]():
        study, mesh = make(), execute.make_mesh(jax.devices())
        population = populate(study, None, 0)
        ids = np.resize(np.arange(len(population)), per_device * mesh.size)
        program = execute.build(study, population.statics[0], mesh, loop)
        members = execute.place_members(mesh, traced_columns(population, ids), population.seeds[ids])
        data = study.trial.data or sweeps.Data(None, None)
        root, train = execute.place_data(mesh, (jax.random.key(0, impl="threefry2x32"), data.train))
        program.advance(
            root, members, program.init(root, members, example_batch(study)), train, np.int32(0), np.int32(1)
        )

    def run() -> float:
        carry = jax.block_until_ready(program.init(root, members, example_batch(study)))
        began = time.perf_counter()
        jax.block_until_ready(program.advance(root, members, carry, train, np.int32(0), np.int32(steps)))
        return time.perf_counter() - began

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default=",".join(PROGRAMS))
    options = parser.parse_args()
    sweeps.use_cpu_cores()
    print(f"jax {jax.__version__}, {jax.device_count()} devices, {options.rounds} rounds\n")
    print("| program | seconds | " + " | ".join(list(VARIANTS)[1:]) + " |")
    print("|---" * (len(VARIANTS) + 1) + "|")
    for name in options.only.split(","):
        runs = {variant: compiled(name, variant) for variant in VARIANTS}
        seconds = np.array([[run() for run in runs.values()] for _ in range(options.rounds)])
        cells = []
        for column in (seconds / seconds[:, :1]).T[1:]:
            cells.append(f"{np.median(column):.3f} ({column.min():.3f} to {column.max():.3f})")
        print(f"| {name} | {np.median(seconds[:, 0]):.3f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
