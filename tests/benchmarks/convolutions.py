"""Times the lowering of convolutions on the benchmark CNN: `python tests/benchmarks/convolutions.py`.

The CNN (two 3x3 convolutions of 16, max-pool, dense; 8x8 images, batch 128, Adam) trains inside one loop on
one device, its members sharing each batch. Runs of the variants alternate; the table shows medians, and the
fastest run in brackets, in milliseconds per step and member.
"""

import argparse
import functools
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):  # one core, as each device of a sweep has
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402
from jax import Array, lax  # noqa: E402

from sweeps.ops.convolution import conv_general_dilated
from sweeps.ops.pooling import max_pool

BATCH = 128


class Variant(NamedTuple):
    """One way to train the members: the two functions of the model, and how members are mapped."""

    convolve: Callable[..., Array]
    pool: Callable[..., Array]
    members: str  # "vmap": one program over all; "map": one member's step after another


VARIANTS = {
    "jax.lax, vmap": Variant(lax.conv_general_dilated, nnx.max_pool, "vmap"),
    "lowering, Flax's pool, vmap": Variant(conv_general_dilated, nnx.max_pool, "vmap"),
    "lowering with its pool, vmap": Variant(conv_general_dilated, max_pool, "vmap"),
    "lowering with its pool, lax.map": Variant(conv_general_dilated, max_pool, "map"),
}


def initial(key: Array) -> dict[str, Array]:
    """The CNN's parameters."""
    keys, init = jax.random.split(key, 3), jax.nn.initializers.he_normal()
    return {
        "first": init(keys[0], (3, 3, 1, 16)),
        "first_bias": jnp.zeros(16),
        "second": init(keys[1], (3, 3, 16, 16)),
        "second_bias": jnp.zeros(16),
        "dense": init(keys[2], (256, 10)),
        "dense_bias": jnp.zeros(10),
    }


def loss(params: dict[str, Array], alpha: Array, images: Array, labels: Array, variant: Variant) -> Array:
    """Cross-entropy of the CNN on one batch."""
    convolve = functools.partial(
        variant.convolve, window_strides=(1, 1), padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    rectify = functools.partial(jax.nn.leaky_relu, negative_slope=alpha)
    hidden = rectify(convolve(images, params["first"]) + params["first_bias"][None, None, None])
    hidden = rectify(convolve(hidden, params["second"]) + params["second_bias"][None, None, None])
    hidden = variant.pool(hidden, (2, 2), (2, 2)).reshape(images.shape[0], -1)
    logits = hidden @ params["dense"] + params["dense_bias"][None]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def training(variant: Variant, members: int, steps: int) -> Callable[[Array, Array], Any]:
    """All members' training as one compiled function of the data set."""
    optimizer = optax.adam(1e-3)

    def step(carry: Any, alpha: Array, images: Array, labels: Array) -> Any:
        params, state = carry
        gradient = jax.grad(loss)(params, alpha, images, labels, variant)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def train(images: Array, labels: Array) -> Any:
        params = jax.vmap(initial)(jax.random.split(jax.random.key(0), members))
        alphas = jnp.linspace(0.0, 0.3, members)
        order = jax.random.randint(jax.random.key(1), (steps, BATCH), 0, len(images))

        def one(index: Array, carry: Any) -> Any:
            batch = images[order[index]], labels[order[index]]
            if variant.members == "map":
                return lax.map(lambda both: step(both[0], both[1], *batch), (carry, alphas))
            return jax.vmap(lambda c, a: step(c, a, *batch))(carry, alphas)

        return lax.fori_loop(0, steps, one, (params, jax.vmap(optimizer.init)(params)))

    return train


def pytorch(images: np.ndarray, labels: np.ndarray, steps: int) -> Callable[[], Any] | None:
    """The same training of one member in PyTorch with one thread; None where it is not installed."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    torch.set_num_threads(1)
    layers, x, y = (
        torch.nn,
        torch.tensor(images).permute(0, 3, 1, 2).contiguous(),
        torch.tensor(labels).long(),
    )
    model = layers.Sequential(
        layers.Conv2d(1, 16, 3, padding=1),
        layers.LeakyReLU(0.1),
        layers.Conv2d(16, 16, 3, padding=1),
        layers.LeakyReLU(0.1),
        layers.MaxPool2d(2),
        layers.Flatten(),
        layers.Linear(256, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def train() -> None:
        for _ in range(steps):
            index = torch.randint(0, len(x), (BATCH,))
            optimizer.zero_grad()
            layers.functional.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()

    return train


def times(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, the runs alternating after one to compile."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for attempt in range(repeats + 1):
        for name, run in runs.items():
            begun = time.perf_counter()
            jax.block_until_ready(run())
            if attempt:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(1437, 8, 8, 1)).astype(np.float32)
    labels = rng.integers(0, 10, 1437).astype(np.int32)
    torch_run = pytorch(images, labels, options.steps)

    cells: dict[str, list[str]] = {name: [] for name in [*options.only, "PyTorch, one thread"]}
    for members in options.members:
        runs: dict[str, Callable[[], Any]] = {
            name: functools.partial(
                training(VARIANTS[name], members, options.steps), jnp.asarray(images), jnp.asarray(labels)
            )
            for name in options.only
        }
        if torch_run:
            runs["PyTorch, one thread"] = torch_run
        for name, seconds in times(runs, options.repeats).items():
            count = 1 if name.startswith("PyTorch") else members
            per_step = np.asarray(seconds) * 1000 / options.steps / count
            cells[name].append(f"{np.median(per_step):.2f} ({per_step.min():.2f})")
            print(f"{members} members, {name}: {cells[name][-1]}", file=sys.stderr, flush=True)

    packages = [name for name in ("jax", "jaxlib", "flax", "torch") if name != "torch" or torch_run]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"{processor()}, one core of {os.cpu_count()}; backend {jax.default_backend()}; {versions}\n")
    print("| ms per step and member | " + " | ".join(f"{n} members" for n in options.members) + " |")
    print("|---" * (len(options.members) + 1) + "|")
    for name, row in cells.items():
        if row:
            print(f"| {name} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
