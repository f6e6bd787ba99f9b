"""Tiny networks with members on the last axis, beside `vmap`: `python -m tests.benchmarks.innermost`.

With members last, vectors could run over members where a network is too small for them. The network of
`tests/sweeps/tiny_networks.py` is trained on one core, compiled as the engine's programs are, in three ways:
under `vmap`, as the engine does; with members last and products as `einsum`; and with members last and
products multiplied and summed. Runs alternate; a ratio is the median over rounds of those within a round.
"""

import argparse
import functools
import importlib.metadata
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.benchmarks.contenders import cores, pin

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("BENCHMARK_CORE", str(cores()[0]))
pin()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import Array  # noqa: E402

from sweeps.engine.compiler import compiler_options  # noqa: E402
from sweeps.engine.program import make_mesh  # noqa: E402
from tests.benchmarks.convolutions import processor  # noqa: E402
from tests.sweeps import tiny_networks  # noqa: E402

STEPS = 20
MEMBERS = (64, 500, 4000)
Product = Callable[[str, Array, Array], Array]


def summed(subscripts: str, left: Array, right: Array) -> Array:
    """What `einsum` gives, as one array of all products, summed."""
    terms, result = subscripts.split("->")
    names = terms.split(",")
    every = result + "".join(sorted(set("".join(names)) - set(result)))

    def spread(name: str, operand: Array) -> Array:
        own = jnp.transpose(operand, [name.index(axis) for axis in every if axis in name])
        return jnp.expand_dims(own, [place for place, axis in enumerate(every) if axis not in name])

    factors = [spread(name, operand) for name, operand in zip(names, (left, right), strict=True)]
    return jnp.sum(factors[0] * factors[1], axis=tuple(range(len(result), len(every))))


def losses(product: Product, params: Any, alphas: Array, batch: Any) -> Array:
    """`tiny_networks.loss` of all members, whose axis is the last of every array."""
    inputs, targets = batch
    hidden = product("bi,ihm->bhm", inputs, params["w1"]) + params["b1"]
    hidden = jnp.where(hidden > 0, hidden, alphas * hidden)
    outputs = product("bhm,hm->bm", hidden, params["w2"][:, 0]) + params["b2"][0]
    return jnp.mean((outputs - targets) ** 2, axis=0)


def last(product: Product, params: Any, alphas: Array, batch: Any) -> Any:
    """A step of all members at once."""
    gradients = jax.grad(lambda params: losses(product, params, alphas, batch).sum())(params)
    rate = tiny_networks.Config().learning_rate
    return jax.tree.map(lambda p, g: p - rate * g, params, gradients)


def mapped(params: Any, alphas: Array, batch: Any) -> Any:
    """A step of each member, under `vmap`."""

    def one(params: Any, alpha: Any) -> Any:
        return tiny_networks.step(tiny_networks.Config(alpha), params, batch, None)[0]

    return jax.vmap(one)(params, alphas)


FORMS: dict[str, Callable[[Any, Array, Any], Any]] = {
    "vmap": mapped,
    "members last, einsum": functools.partial(last, jnp.einsum),
    "members last, multiplied and summed": functools.partial(last, summed),
}


def trained(form: str, members: int) -> Callable[[], tuple[float, Any]]:
    """A run of one form, compiled: returns its seconds and the parameters, members first."""
    batch = tiny_networks.xor()[0]
    alphas = jnp.linspace(0, 0.5, members)
    keys = jax.random.split(jax.random.key(0), members)
    params = jax.vmap(functools.partial(tiny_networks.init, tiny_networks.Config()))(keys)
    first = form == "vmap"
    params = params if first else jax.tree.map(lambda rows: jnp.moveaxis(rows, 0, -1), params)

    @functools.partial(jax.jit, compiler_options=compiler_options(make_mesh(jax.devices()[:1])))
    def train(params: Any) -> Any:
        return jax.lax.fori_loop(0, STEPS, lambda _, params: FORMS[form](params, alphas, batch), params)

    def run() -> tuple[float, Any]:
        began = time.perf_counter()
        found = jax.block_until_ready(train(params))
        seconds = time.perf_counter() - began
        return seconds, found if first else jax.tree.map(lambda rows: jnp.moveaxis(rows, -1, 0), found)

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib"))
    print(f"{processor()}, one core; {packages}; {STEPS} steps, medians of {options.rounds} rounds.\n")
    print(f"| members | vmap: µs per member and step | {' | '.join(list(FORMS)[1:])} |")
    print("|---" * (len(FORMS) + 1) + "|")
    for members in MEMBERS:
        runs = [trained(form, members) for form in FORMS]
        for _, found in [run() for run in runs][1:]:
            jax.tree.map(
                functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), found, runs[0]()[1]
            )
        seconds = np.array([[run()[0] for run in runs] for _ in range(options.rounds)])
        found = seconds[:, 1:] / seconds[:, :1]
        cells = [f"{np.median(each):.2f} ({each.min():.2f} to {each.max():.2f})" for each in found.T]
        mine = 1e6 * np.median(seconds[:, 0]) / members / STEPS
        print(f"| {members} | {mine:.2f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
