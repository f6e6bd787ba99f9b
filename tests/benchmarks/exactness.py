"""What each library really returns in the cases where rectifiers go wrong, as a Markdown table.

Run `python tests/benchmarks/exactness.py [--json FILE]`. Every cell is computed by the installed library; one
that is missing is left out. Keras runs on its JAX backend.
"""

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import lrelu_jax

N = 2**22
NEGATIVE_HALF = jax.random.normal(jax.random.key(0), (N,), jnp.bfloat16)
TRUE_MEAN = np.minimum(np.asarray(NEGATIVE_HALF).astype(np.float64), 0).mean()


class Jax:
    """A library of functions that JAX can differentiate."""

    def __init__(self, relu: Callable, leaky_relu: Callable, elu: Callable, prelu: Callable):
        self.relu, self.leaky_relu, self.elu, self.prelu = relu, leaky_relu, elu, prelu
        self.array: Callable = jnp.asarray

    def slope(self, function: Callable, x: float) -> float:
        return float(jax.jit(jax.grad(function))(jnp.float32(x)))

    def alpha_slope(self, x: float) -> float:
        return float(jax.jit(jax.grad(self.leaky_relu, 1))(jnp.float32(x), jnp.float32(0.1)))

    def mean_slope_gradient(self) -> float:
        # The data is an argument: a constant would be folded at compile time by other code.
        gradient = jax.jit(jax.grad(lambda alpha, x: self.prelu(x, alpha).mean()))
        return float(gradient(jnp.float32(0.25), NEGATIVE_HALF))

    def mixed_dtypes(self) -> str:
        return str(self.leaky_relu(jnp.ones(2, jnp.bfloat16), jnp.float32(0.1)).dtype)

    def kept_bytes(self) -> float:
        _, pull = jax.vjp(lambda x: self.leaky_relu(x, 0.1), jnp.ones(1000))
        return sum(leaf.nbytes for leaf in jax.tree.leaves(pull) if leaf.size >= 1000) / 1000


class Torch:
    """PyTorch, asked the same."""

    def __init__(self):
        import torch  # pyright: ignore[reportMissingImports]

        self.torch = torch
        self.array: Callable = torch.tensor
        functional = torch.nn.functional
        self.relu, self.elu = torch.relu, functional.elu
        self.leaky_relu: Callable = functional.leaky_relu
        self.prelu: Callable = lambda x, alpha: functional.prelu(x, torch.tensor([alpha]))

    def slope(self, function: Callable, x: float) -> float:
        leaf: Any = self.torch.tensor(x, requires_grad=True)
        function(leaf).backward()
        return leaf.grad.item()

    def alpha_slope(self, x: float) -> float:
        alpha: Any = self.torch.tensor([0.1], requires_grad=True)
        self.torch.nn.functional.prelu(self.torch.tensor([x]), alpha).sum().backward()
        return alpha.grad.item()

    def mean_slope_gradient(self) -> float:
        x = self.torch.tensor(np.asarray(NEGATIVE_HALF).astype(np.float32)).bfloat16()
        alpha: Any = self.torch.tensor([0.25], dtype=self.torch.bfloat16, requires_grad=True)
        self.torch.nn.functional.prelu(x, alpha).mean().backward()
        return alpha.grad.item()

    def mixed_dtypes(self) -> str:
        x = self.torch.ones(2, dtype=self.torch.bfloat16)
        return str(self.torch.nn.functional.prelu(x, self.torch.tensor([0.1])).dtype)

    def kept_bytes(self) -> float:
        kept = []

        def pack(tensor: Any) -> Any:
            kept.append(tensor.numel() * tensor.element_size())
            return tensor

        x = self.torch.ones(1000, requires_grad=True)
        with self.torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self.leaky_relu(x * 1.0, 0.1)
        return sum(size for size in kept if size >= 1000) / 1000


def flax_prelu(x: Any, alpha: Any) -> Any:
    module = nnx.PReLU()
    module.negative_slope = nnx.Param(jnp.asarray(alpha))
    return module(x)


def libraries() -> dict[str, Any]:
    found: dict[str, Any] = {
        "lrelu_jax": Jax(lrelu_jax.relu, lrelu_jax.leaky_relu, lrelu_jax.elu, lrelu_jax.prelu),
        "jax.nn, flax": Jax(jax.nn.relu, jax.nn.leaky_relu, jax.nn.elu, flax_prelu),
    }
    try:
        found["torch"] = Torch()
    except ImportError:
        pass
    try:
        import keras  # pyright: ignore[reportMissingImports]

        def keras_prelu(x: Any, alpha: Any) -> Any:
            mixed = x.dtype == jnp.bfloat16
            layer = keras.layers.PReLU(shared_axes=[1], dtype="mixed_bfloat16" if mixed else "float32")
            layer.build((1, x.size))
            return layer.stateless_call([jnp.reshape(alpha, (1,))], [], x[None])[0][0]

        found["keras"] = Jax(
            keras.activations.relu,
            lambda x, alpha=0.2: keras.activations.leaky_relu(x, alpha),
            keras.activations.elu,
            keras_prelu,
        )
    except ImportError:
        pass
    return found


def values(array: Any) -> str:
    return str(np.asarray(array).tolist())


CASES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "relu′(0)": ("a choice", lambda lib: lib.slope(lib.relu, 0.0)),
    "leaky_relu′(0), α = 0.1": ("a choice", lambda lib: lib.slope(lambda x: lib.leaky_relu(x, 0.1), 0.0)),
    "leaky_relu(−∞), α = 0": ("0", lambda lib: float(lib.leaky_relu(lib.array(-np.inf), 0.0))),
    "∂leaky_relu/∂α at +∞": ("0", lambda lib: lib.alpha_slope(np.inf)),
    "relu′(NaN)": ("nan", lambda lib: lib.slope(lib.relu, np.nan)),
    "relu′(1e-40)": ("1", lambda lib: lib.slope(lib.relu, 1e-40)),
    "leaky_relu′(−1e-40), α = 0.1": ("0.1", lambda lib: lib.slope(lambda x: lib.leaky_relu(x, 0.1), -1e-40)),
    "elu′(−17)": ("4.14e-08", lambda lib: lib.slope(lib.elu, -17.0)),
    "elu′(−20)": ("2.06e-09", lambda lib: lib.slope(lib.elu, -20.0)),
    "dtype of bfloat16 x, float32 α": ("bfloat16", lambda lib: lib.mixed_dtypes()),
    "prelu([−4, 0, 2]) of integers, α = 0.25": (
        "[-1.0, 0.0, 2.0]",
        lambda lib: values(lib.prelu(lib.array([-4, 0, 2]), 0.25)),
    ),
    "leaky_relu(−1 + 1j)": ("an error", lambda lib: values(lib.leaky_relu(lib.array(-1 + 1j)))),
    "error of the slope's gradient, mean of 2²² bfloat16": (
        "0 %",
        lambda lib: f"{100 * abs(lib.mean_slope_gradient() / TRUE_MEAN - 1):.2g} %",
    ),
    "bytes kept per float32 element by leaky_relu": ("1", lambda lib: lib.kept_bytes()),
}


def cell(case: Callable[[Any], Any], library: Any) -> str:
    try:
        result = case(library)
    except Exception as error:  # an error is a result here, and its type is what the table shows
        return type(error).__name__
    return f"{result:.3g}" if isinstance(result, float) else str(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the table there")
    options = parser.parse_args()
    found = libraries()
    rows = [
        [name, right, *(cell(case, lib) for lib in found.values())] for name, (right, case) in CASES.items()
    ]
    packages = [
        name for name in ("jax", "flax", "torch", "keras") if name in ("jax", "flax") or name in found
    ]
    versions = {name: importlib.metadata.version(name) for name in packages}
    header = ["case", "right", *found]
    print(
        ", ".join(f"{name} {version}" for name, version in versions.items()), f"on {platform.machine()} CPU\n"
    )
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(row) + " |")
    if options.json:
        table = [dict(zip(header, row, strict=True)) for row in rows]
        options.json.write_text(
            json.dumps({"versions": versions, "rows": table}, indent=1, ensure_ascii=False)
        )


if __name__ == "__main__":
    main()
