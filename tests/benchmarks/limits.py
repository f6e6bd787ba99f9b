"""Holds the engine against what its own products take: `python -m tests.benchmarks.limits`.

On one core, with one device: a warm member-step of the engine, as it planned it, against the sum of the
matrix products that a step cannot do without, each timed alone, inside a loop, in the fastest of its forms
(either operand stored turned, the result too, the members in one batched product or one after the other). A
convolution counts as the product that it is, or as itself where that is faster. What is between is what
biases, rectifiers, pooling, the loss, Adam and the watching cost. Runs alternate; a ratio is the median over
rounds of the ratios within a round.
"""

import argparse
import functools
import importlib.metadata
import itertools
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.benchmarks.contenders import cores, pin

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("BENCHMARK_CORE", str(cores()[0]))  # one core, as each device of a sweep has
pin()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import Array, lax  # noqa: E402

from sweeps.engine import program as execute  # noqa: E402
from sweeps.engine.examples import example_batch  # noqa: E402
from sweeps.members.population import traced_columns  # noqa: E402
from tests.benchmarks import networks  # noqa: E402
from tests.benchmarks.convolutions import processor  # noqa: E402
from tests.benchmarks.engine_contender import Engine  # noqa: E402
from tests.benchmarks.populations import verdict  # noqa: E402

B = networks.BATCH
MEMBERS = 4  # side by side in one form of each product
LEAST_SECONDS = 0.02  # of a run that is timed
Run = Callable[[], float]


class Timed(NamedTuple):
    """One form of a product, compiled.

    Attributes:
        loop: computes it so many times and returns the seconds that this took.
        times: often enough to be timed.
        members: for how many members it is computed at once.
    """

    loop: Callable[[int], float]
    times: int
    members: int

    def seconds(self) -> float:
        """What it takes for one member, measured now."""
        return self.loop(self.times) / self.times / self.members


class Product(NamedTuple):
    """A product of (rows, depth) and (depth, columns), so many times in a step.

    Attributes:
        name: what it is for.
        rows: of the left operand.
        depth: what is summed over.
        columns: of the right operand.
        times: how many of them a step takes.
        image: height and width of the images, for the convolution with a 3x3 kernel that it may be instead.
    """

    name: str
    rows: int
    depth: int
    columns: int
    times: int = 1
    image: tuple[int, int] | None = None


def dense(name: str, inputs: int, outputs: int, first: bool = False, times: int = 1) -> list[Product]:
    """The products of a dense layer: forward, for the kernel, and for the inputs unless they are data."""
    found = [
        Product(f"{name}, forward", B, inputs, outputs, times),
        Product(f"{name}, kernel", inputs, B * times, outputs),  # one for all times
    ]
    return found if first else [*found, Product(f"{name}, inputs", B, outputs, inputs, times)]


def convolution(name: str, inputs: int, outputs: int, first: bool = False) -> list[Product]:
    """The same of a 3x3 convolution of 8x8 images."""
    pixels, image = B * 64, (8, 8)
    found = [
        Product(f"{name}, forward", pixels, 9 * inputs, outputs, image=image),
        Product(f"{name}, kernel", 9 * inputs, pixels, outputs),
    ]
    if first:
        return found
    return [*found, Product(f"{name}, inputs", pixels, 9 * outputs, inputs, image=image)]


PRODUCTS = {
    "mlp": [
        *dense("64 to 128", 64, 128, first=True),
        *dense("128 to 128", 128, 128),
        *dense("128 to 10", 128, 10),
    ],
    "cnn": [
        *convolution("1 to 16", 1, 16, first=True),
        *convolution("16 to 16", 16, 16),
        *dense("256 to 10", 256, 10),
    ],
    "gru": [
        Product("gates of all rows, forward", 8 * B, 8, 192),
        Product("gates of all rows, kernel", 8, 8 * B, 192),
        *dense("gates of the state", 64, 192, times=8),
        *dense("64 to 10", 64, 10),
    ],
}
TARGETS: dict[str, float | None] = {"mlp": 1.18, "cnn": 1.6, "gru": None}


def forms(product: Product) -> list[tuple[Callable[[Array, Array], Array], list[tuple[int, ...]], int]]:
    """The ways to compute it: a function, the shapes of its operands, and how many members it is for."""
    found: list[tuple[Callable[[Array, Array], Array], list[tuple[int, ...]], int]] = []
    m, k, n = product.rows, product.depth, product.columns
    for left, right, result in itertools.product(("ab", "ba"), ("bc", "cb"), ("ac", "ca")):
        shapes = [(m, k) if left == "ab" else (k, m), (k, n) if right == "bc" else (n, k)]
        found.append((functools.partial(jnp.einsum, f"{left},{right}->{result}"), shapes, 1))
        batched = functools.partial(jnp.einsum, f"m{left},m{right}->m{result}")
        found.append((batched, [(MEMBERS, *shape) for shape in shapes], MEMBERS))
    if product.image is not None:
        channels = k // 9
        convolve = functools.partial(
            lax.conv_general_dilated,
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        images = (m // math.prod(product.image), *product.image, channels)
        found.append((convolve, [images, (3, 3, channels, n)], 1))
    return found


def timed(function: Callable[[Array, Array], Array], shapes: list[tuple[int, ...]], members: int) -> Timed:
    """One form, compiled."""
    rng = np.random.default_rng(0)
    operands = tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)

    @jax.jit
    def loop(operands: tuple[Array, Array], times: Array) -> Array:
        def one(_: Array, carry: tuple[tuple[Array, Array], Array]) -> tuple[tuple[Array, Array], Array]:
            # The barrier keeps what is the same each time inside the loop.
            operands, _ = lax.optimization_barrier(carry)
            return operands, function(*operands)

        result = jnp.zeros(jax.eval_shape(function, *operands).shape)
        return lax.fori_loop(0, times, one, (operands, result))[1]

    def run(times: int) -> float:
        began = time.perf_counter()
        jax.block_until_ready(loop(operands, jnp.int32(times)))
        return time.perf_counter() - began

    run(1)
    times = 4
    while run(times) < LEAST_SECONDS:
        times *= 2
    return Timed(run, times, members)


def fastest(product: Product, tries: int = 3) -> Timed:
    """The form that takes the least."""
    return min(
        (timed(*form) for form in forms(product)), key=lambda form: min(form.seconds() for _ in range(tries))
    )


def engine(name: str) -> tuple[Run, str]:
    """A run of the engine, planned and compiled: returns the seconds of a member-step; and its plan."""
    work = networks.WORK[name]
    found = Engine(networks.study_of(work), devices=1)
    chunk = found.chunks[0]
    ids = np.resize(chunk.members, chunk.width)
    columns, seeds = traced_columns(found.population, ids), found.population.seeds[ids]
    members = execute.place_members(found.mesh, columns, seeds)
    root, train, steps = found.bench.root, found.bench.train, work.steps

    def run() -> float:
        carry = jax.block_until_ready(found.program.init(root, members, example_batch(found.study)))
        began = time.perf_counter()
        jax.block_until_ready(
            found.program.advance(root, members, carry, train, np.int32(0), np.int32(steps))
        )
        return (time.perf_counter() - began) / steps / chunk.width

    run()
    return run, f"{chunk.width} members at once, {found.program.loop}"


def row(name: str, rounds: int) -> None:
    """One network: its products, their sum, and the engine's step over that."""
    mine, plan = engine(name)
    products = PRODUCTS[name]
    alone = [fastest(product) for product in products]
    times, seconds = np.array([product.times for product in products]), np.empty((rounds, len(alone)))
    own = np.empty(rounds)
    for turn in range(rounds):
        own[turn] = mine()
        seconds[turn] = [form.seconds() for form in alone]
    limits = seconds @ times
    ratio, target = np.median(own / limits), TARGETS[name]
    said = "" if target is None else f" ({verdict(float(ratio), target, at_most=True)})"
    print(f"**{name}**, {plan}\n\n| product | times | µs | GFLOP/s |\n|---|---|---|---|")
    for product, each in zip(products, np.median(seconds, axis=0), strict=True):
        flops = 2 * product.rows * product.depth * product.columns
        shape = f"{product.rows} x {product.depth} x {product.columns}"
        cells = [
            f"{product.name}, {shape}",
            str(product.times),
            f"{1e6 * each:.1f}",
            f"{flops / each / 1e9:.0f}",
        ]
        print(f"| {' | '.join(cells)} |")
    limit, step = 1e6 * np.median(limits), 1e6 * np.median(own)
    spread = f"{(own / limits).min():.2f} to {(own / limits).max():.2f}"
    print(f"\nAll of them {limit:.0f} µs, a member-step of the engine {step:.0f} µs:", end=" ")
    print(f"{ratio:.2f} times ({spread}){said}.\n", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default=",".join(PRODUCTS))
    options = parser.parse_args(arguments)
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "flax"))
    print(f"{processor()}, one core; {packages}; batch {B}, medians of {options.rounds} rounds.\n")
    for name in options.only.split(","):
        row(name, options.rounds)


if __name__ == "__main__":
    main()
