"""Speed and memory of the rectifiers against `jax.nn` and a plain copy, as a Markdown table.

Run `python tests/benchmarks/rectifiers.py [--json FILE] [--size N] [--rounds N]`. Everything is compiled once
and timed in one process, the candidates alternating, so that a busy machine slows all of them; a ratio is the
median over rounds of the ratios within a round.
"""

import argparse
import importlib.metadata
import itertools
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrelu_jax

PAIRS = {
    "relu": (lrelu_jax.relu, jax.nn.relu),
    "leaky_relu": (lrelu_jax.leaky_relu, jax.nn.leaky_relu),
    "elu": (lrelu_jax.elu, jax.nn.elu),
}


def compiled(function: Callable, *arguments: Any) -> Any:
    return jax.jit(function).lower(*arguments).compile()


def seconds(program: Any, arguments: tuple) -> float:
    start = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    return time.perf_counter() - start


def ratios(programs: list[Any], arguments: tuple, rounds: int) -> list[float]:
    """Each program's time against the last one's."""
    for program in programs:
        seconds(program, arguments)
    times = np.empty((rounds, len(programs)))
    for i in range(rounds):
        # Each comes after each other one as often, as what ran before leaves caches and memory as it likes.
        for place in np.roll(np.arange(len(programs)), i):
            times[i, place] = seconds(programs[place], arguments)
    return list(np.median(times / times[:, -1:], axis=0))


def kept_bytes(function: Callable, x: jax.Array) -> float:
    _, pull = jax.vjp(function, x)
    return sum(leaf.nbytes for leaf in jax.tree.leaves(pull) if leaf.size >= x.size) / x.size


def alone(dtype: str, size: int, rounds: int) -> list[dict[str, Any]]:
    """Each function by itself on arrays far beyond cache, against copies that move the same bytes."""
    x = jax.random.normal(jax.random.key(0), (size,), dtype)
    g = jnp.ones_like(x)
    copy_forward, copy_backward = compiled(jnp.negative, x), compiled(jnp.add, x, g)
    rows = []
    for name, pair in PAIRS.items():
        forward = [compiled(function, x) for function in pair]
        backward = [compiled(lambda x, g, f=function: jax.vjp(f, x)[1](g)[0], x, g) for function in pair]
        accessed = [p.cost_analysis()["bytes accessed"] for p in (*forward, *backward)]
        ours, peer, _ = ratios([*forward, copy_forward], (x,), rounds)
        ours_back, peer_back, _ = ratios([*backward, copy_backward], (x, g), rounds)
        rows.append(
            {
                "function": name,
                "dtype": dtype,
                "bytes forward, of jax.nn": accessed[0] / accessed[1],
                "bytes backward, of jax.nn": accessed[2] / accessed[3],
                "kept bytes": kept_bytes(pair[0], x[:1000]),
                "jax.nn keeps": kept_bytes(pair[1], x[:1000]),
                "time forward, of a copy": ours,
                "jax.nn forward": peer,
                "time backward, of a copy": ours_back,
                "jax.nn backward": peer_back,
            }
        )
    return rows


def exponential(dtype: str, size: int, rounds: int) -> tuple[float, float]:
    """XLA's own `exp(x)` and `g * exp(x)`, to compare ELU with, against copies of the same bytes."""
    x = jax.random.normal(jax.random.key(0), (size,), dtype)
    forward = ratios([compiled(jnp.exp, x), compiled(jnp.negative, x)], (x,), rounds)[0]
    product = compiled(lambda x, g: g * jnp.exp(x), x, x)
    return forward, ratios([product, compiled(jnp.add, x, x)], (x, x), rounds)[0]


def training_step(activation: Callable, dtype: str) -> tuple[Callable, tuple]:
    """A vmapped training step of a 3-layer MLP, alpha differing per member."""
    members, batch, widths = 16, 256, (64, 256, 256, 10)
    keys = jax.random.split(jax.random.key(0), 3)
    weights = [
        jax.random.normal(key, (members, i, o), dtype) * i**-0.5
        for key, i, o in zip(keys, widths, widths[1:], strict=False)
    ]
    x = jax.random.normal(jax.random.key(1), (batch, widths[0]), dtype)
    labels = jax.random.randint(jax.random.key(2), (batch,), 0, widths[-1])

    def loss(weights: list, alpha: jax.Array) -> jax.Array:
        h = x
        for weight in weights[:-1]:
            h = activation(h @ weight, alpha)
        log_probabilities = jax.nn.log_softmax((h @ weights[-1]).astype(jnp.float32))
        return -jnp.take_along_axis(log_probabilities, labels[:, None], 1).mean()

    def step(weights: list, alpha: jax.Array) -> list:
        gradients = jax.grad(loss)(weights, alpha)
        return jax.tree.map(lambda w, g: w - 0.01 * g, weights, gradients)

    return jax.vmap(step), (weights, jnp.linspace(0, 0.3, members).astype(dtype))


def mlp(activation: Callable, key: jax.Array) -> tuple[list[jax.Array], jax.Array, list[Callable]]:
    """Weights, a batch, and the layers of a network of four dense ones."""
    widths = (256, 1024, 1024, 1024, 256)
    keys = jax.random.split(key, len(widths))
    weights = [
        jax.random.normal(k, (i, o)) * i**-0.5 for k, i, o in zip(keys, widths, widths[1:], strict=False)
    ]
    dense = lambda weight, h: activation(h @ weight)  # noqa: E731
    return weights, jax.random.normal(keys[-1], (256, widths[0])), [dense] * len(weights)


def cnn(activation: Callable, key: jax.Array) -> tuple[list[jax.Array], jax.Array, list[Callable]]:
    """Weights, a batch of images, and the layers of a network of three convolutions."""
    channels = (3, 32, 32, 64)
    keys = jax.random.split(key, len(channels))
    weights = [
        jax.random.normal(k, (3, 3, i, o)) * (9 * i) ** -0.5
        for k, i, o in zip(keys, channels, channels[1:], strict=False)
    ]

    def convolution(weight: jax.Array, h: jax.Array) -> jax.Array:
        return activation(
            jax.lax.conv_general_dilated(
                h, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        )

    return weights, jax.random.normal(keys[-1], (64, 32, 32, 3)), [convolution] * len(weights)


def inside_models(rounds: int) -> list[dict[str, Any]]:
    """Forward pass, training step and bytes kept of whole models, with ours and with `jax.nn`'s."""
    rows = []
    for model, remat, name in itertools.product((mlp, cnn), (False, True), PAIRS):
        forward, step, kept, arguments = [], [], [], ()
        for activation in PAIRS[name]:
            weights, x, layers = model(activation, jax.random.key(0))

            def loss(weights: list, x: jax.Array, layers: list = layers, remat: bool = remat) -> jax.Array:
                for layer, weight in zip(layers, weights, strict=True):
                    x = (jax.checkpoint(layer) if remat else layer)(weight, x)
                return (x**2).mean()

            def update(weights: list, x: jax.Array, loss: Callable = loss) -> list:
                return jax.tree.map(lambda w, g: w - 0.01 * g, weights, jax.grad(loss)(weights, x))

            arguments = weights, x
            forward.append(compiled(loss, *arguments))
            step.append(compiled(update, *arguments))
            pull = jax.eval_shape(lambda weights, x, loss=loss: jax.vjp(loss, weights, x)[1], *arguments)
            kept.append(sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull)))
        rows.append(
            {
                "model": model.__name__,
                "remat": "yes" if remat else "no",
                "function": name,
                "time forward": ratios(forward, arguments, rounds)[0],
                "time of a step": ratios(step, arguments, rounds)[0],
                "bytes kept": kept[0] / kept[1],
            }
        )
    return rows


def through_scan(activation: Callable, x: jax.Array) -> Any:
    """The gradient of twenty steps of a scan."""

    def total(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda x, _: (activation(x * 1.01 - 0.01), None), x, length=20)[0].sum()

    return compiled(jax.grad(total), x)


def print_table(rows: list[dict[str, Any]]) -> None:
    print("| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(v if isinstance(v, str) else f"{v:.2f}" for v in row.values()) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the results there")
    parser.add_argument("--size", type=int, default=2**24, help="elements per array")
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")}
    device = jax.devices()[0]
    hardware = f"{device.device_kind} ({platform.machine()}), {options.size} elements"
    print(", ".join(f"{name} {version}" for name, version in versions.items()), f"on {hardware}\n")

    dtypes = ("float32", "bfloat16")
    rows = [row for dtype in dtypes for row in alone(dtype, options.size, options.rounds)]
    bounds = {dtype: exponential(dtype, options.size, options.rounds) for dtype in dtypes}
    steps, scans = {}, {}
    for dtype in dtypes:
        x = jax.random.normal(jax.random.key(0), (options.size // 16,), dtype)
        scans[dtype] = ratios([through_scan(f, x) for f in PAIRS["leaky_relu"]], (x,), options.rounds)[0]
        (ours, arguments), (peer, _) = (training_step(f, dtype) for f in PAIRS["leaky_relu"])
        programs = [compiled(step, *arguments) for step in (ours, peer)]
        steps[dtype] = ratios(programs, arguments, 2 * options.rounds)[0]
    models = inside_models(options.rounds)

    print_table(rows)
    print("\nOf the same with `jax.nn`'s function:\n")
    print_table(models)
    print("\n| time of a copy | float32 | bfloat16 |\n| --- | --- | --- |")
    for place, name in enumerate(("exp(x), forward", "g exp(x), backward")):
        print(f"| {name} | " + " | ".join(f"{bound[place]:.2f}" for bound in bounds.values()) + " |")
    print("\n| time with leaky_relu, of jax.nn.leaky_relu | float32 | bfloat16 |\n| --- | --- | --- |")
    for name, times in (
        ("vmapped training step of a 3-layer MLP", steps),
        ("gradient through a scan", scans),
    ):
        print(f"| {name} | " + " | ".join(f"{ratio:.3f}" for ratio in times.values()) + " |")
    if options.json:
        results = {
            "versions": versions,
            "hardware": hardware,
            "alone": rows,
            "exponential": bounds,
            "training step": steps,
            "scan": scans,
            "inside models": models,
        }
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
