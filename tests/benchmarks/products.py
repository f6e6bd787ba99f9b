"""Times dense layers, sums and epochs' orders beside JAX's own: `python -m tests.benchmarks.products`.

A layer is what a population trains: product, bias and Adam, members side by side, inside a loop on one
core. The last layer's rows are each member's own; the first layer's are one batch for all. A sum is the
gradient of a convolution's bias, over examples, rows and columns, of each member's, both compiled as the
engine's programs are. Runs of both forms alternate; the table shows JAX's time over that of `sweeps`, the
median with the range.
"""

import argparse
import functools
import importlib.metadata
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):  # one core, as each device of a sweep has
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax import Array, lax  # noqa: E402

from sweeps.engine.compiler import compiler_options
from sweeps.engine.program import make_mesh
from sweeps.ops.dense import dot_general
from sweeps.ops.exchange import exchanged, trace
from sweeps.ops.permutation import permuted
from sweeps.ops.sums import fast_sum
from tests.benchmarks.convolutions import processor  # noqa: E402

DENSE = (((1,), (0,)), ((), ()))
ADAM = optax.adam(1e-3)


def layer(product: Callable[..., Array], shared: bool, steps: int) -> Callable[..., Any]:
    """Steps of Adam on a layer whose output's gradient is given.

    Args:
        product: what multiplies rows and kernel.
        shared: whether all members have the same rows, which are data; else the rows' gradient is asked for.
        steps: how many.
    """

    def step(params: Any, state: Any, rows: Array, cotangent: Array) -> Any:
        def output(params: Any, rows: Array) -> Array:
            return product(rows, params[0], DENSE) + params[1]

        if shared:
            gradients, down = jax.vjp(lambda p: output(p, rows), params)[1](cotangent)[0], ()
        else:
            gradients, down = jax.vjp(output, params, rows)[1](cotangent)
        updates, state = ADAM.update(gradients, state)
        return optax.apply_updates(params, updates), state, down

    @jax.jit
    def train(params: Any, rows: Array, cotangent: Array) -> Any:
        state = jax.vmap(ADAM.init)(params)
        every = jax.vmap(step, (0, 0, None if shared else 0, 0))

        def one(_: Any, carry: Any) -> Any:
            # The barriers keep what is the same in every step inside the loop.
            data, params, state, _ = lax.optimization_barrier(((rows, cotangent), *carry))
            return lax.optimization_barrier(every(params, state, *data))

        down = () if shared else jnp.zeros_like(rows)
        return lax.fori_loop(0, steps, one, (params, state, down))

    return train


def sums(total: Callable[[Array], Array], steps: int) -> Callable[[Array], Array]:
    """Every member's sum, so many times, compiled as the engine's programs are."""

    @functools.partial(jax.jit, compiler_options=compiler_options(make_mesh(jax.devices()[:1])))
    def add(terms: Array) -> Array:
        def one(_: Any, carry: Any) -> Any:
            terms, _ = lax.optimization_barrier(carry)
            return terms, jax.vmap(total)(terms)

        return lax.fori_loop(0, steps, one, (terms, jnp.zeros((terms.shape[0], terms.shape[-1]))))[1]

    return add


def orders(permutation: Callable[[Array, int], Array], count: int, epochs: int) -> Callable[[Array], Array]:
    """The sum of the orders of some epochs, each with its own key."""

    @jax.jit
    def add(key: Array) -> Array:
        def one(epoch: Array, total: Array) -> Array:
            return total + permutation(jax.random.fold_in(key, epoch), count)

        return lax.fori_loop(0, epochs, one, jnp.zeros(count, int))

    return add


def ratios(theirs: Callable[..., Any], ours: Callable[..., Any], arguments: Any, rounds: int) -> str:
    """The times of one over those of the other, run in turn after one run each to compile."""
    seconds = np.empty((rounds + 1, 2))
    for turn in range(rounds + 1):
        for which, run in enumerate((theirs, ours)):
            begun = time.perf_counter()
            jax.block_until_ready(run(*arguments))
            seconds[turn, which] = time.perf_counter() - begun
    found = seconds[1:, 0] / seconds[1:, 1]
    return f"{np.median(found):.2f} ({found.min():.2f} to {found.max():.2f})"


def draw(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    members, batch = options.members, options.batch
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "optax"))
    print(f"{processor()}, one core; {packages}; {members} members, batch {batch}.\n")
    print("| work | JAX's time over that of sweeps |\n|---|---|")
    cases = [("last layer", False, shape) for shape in ((64, 1), (128, 10), (256, 10), (128, 32), (512, 32))]
    cases += [("first layer, shared batch", True, shape) for shape in ((8, 128), (64, 128), (784, 256))]
    for name, shared, (inputs, features) in cases:
        rows = (batch, inputs) if shared else (members, batch, inputs)
        shapes = [(members, inputs, features), (members, features), rows, (members, batch, features)]
        kernel, bias, data, cotangent = draw(*shapes)
        steps = max(5, int(2e8 / np.prod([members, batch, inputs, features], dtype=float)))
        theirs, ours = (layer(product, shared, steps) for product in (lax.dot_general, dot_general))
        found = ratios(theirs, ours, ((kernel, bias), data, cotangent), options.rounds)
        print(f"| {name}, {inputs} to {features} | {found} |", flush=True)
    for shape in ((8, 8, 16), (28, 28, 8), (4, 4, 128)):
        (terms,) = draw((members, batch, *shape))
        total = functools.partial(jnp.sum, axis=(0, 1, 2))
        steps = max(5, int(2e8 / terms.size))
        theirs, ours = (sums(each, steps) for each in (total, exchanged(trace(total, terms[0]), fast_sum)))
        found = ratios(theirs, ours, (terms,), options.rounds)
        print(f"| sum over {batch} x {shape[0]} x {shape[1]}, {shape[2]} features | {found} |", flush=True)
    for count in (128, 1437, 60_000):
        epochs = max(3, 200_000 // count)
        theirs, ours = (orders(each, count, epochs) for each in (jax.random.permutation, permuted))
        found = ratios(theirs, ours, (jax.random.key(0, impl="threefry2x32"),), options.rounds)
        print(f"| order of {count:,} examples | {found} |", flush=True)


if __name__ == "__main__":
    main()
