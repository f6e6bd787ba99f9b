"""What each library really returns in the cases where rectifiers go wrong, as a Markdown table.

Run `python tests/benchmarks/exactness.py [--json FILE] [--beside FILE]`. Every cell is computed by the
installed library; one that is missing is left out. Keras runs on its JAX backend. For a table of two versions
of JAX, run it with `--json` under one, and with `--beside` and that file under the other.
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
from jax.experimental import pallas

import lrelu_jax

# Two devices on any machine, for the row of meshes; set before the first array is made.
jax.config.update("jax_num_cpu_devices", 2)

N = 2**22
FLOAT8 = ("float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
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

    def every_float8(self) -> str:
        """How many of the 256 numbers of each type come out as alpha * x, rounded once, with their slopes."""
        right = numbers = 0
        for dtype in FLOAT8:
            x = np.arange(256, dtype=np.uint8).view(jnp.dtype(dtype))
            wide = x.astype(np.float32)
            known = ~np.isnan(wide)
            with np.errstate(invalid="ignore"):
                below = (np.float32(0.1) * wide).astype(x.dtype)
            y, pull = jax.vjp(lambda x: self.leaky_relu(x, 0.1), jnp.asarray(x))
            slope = np.asarray(pull(jnp.ones_like(y))[0]).astype(np.float32)
            expected = np.where(wide > 0, 1, np.float32(0.1)).astype(x.dtype).astype(np.float32)
            value = np.asarray(y) == np.where(wide < 0, below, x)
            right += (value & ((slope == expected) | (wide == 0)))[known].sum()
            numbers += known.sum()
        return f"{right} of {numbers}"

    def explicit_mesh(self) -> str:
        """The layout of the gradient of a sharded x, with a slope for each element."""
        mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
        with jax.set_mesh(mesh):
            x = jax.device_put(jnp.arange(-4.0, 4.0), jax.P("d"))
            slope = jax.grad(lambda x: self.leaky_relu(x, jnp.full(8, 0.1)).sum())(x)
            return f"{tuple(jax.typeof(slope).sharding.spec)}, {values(np.asarray(slope)[0])}"

    def variable(self) -> float:
        return float(
            nnx.grad(lambda alpha: self.leaky_relu(jnp.float32(-2), alpha))(nnx.Param(jnp.array(0.1)))
        )

    def exported(self) -> str:
        """Platforms that a program and its gradient are exported to."""
        step = jax.jit(lambda x: jax.value_and_grad(lambda x: self.leaky_relu(x, 0.1).sum())(x))
        exported = jax.export.export(step, platforms=["cpu", "cuda", "tpu", "rocm"])(jnp.ones(3))
        exported.call(jnp.ones(3))
        return ", ".join(exported.platforms)

    def float64_on_tpu(self) -> str:
        """Whether the program holds what TPU's compiler refuses: words of 64 bits."""
        with jax.enable_x64(True):
            program = jax.jit(jax.grad(lambda x: self.leaky_relu(x, 0.1).sum()))
            text = jax.export.export(program, platforms=["tpu"])(jnp.ones(3)).mlir_module()
        return "refused" if "bitcast_convert" in text and "xi64>" in text else "accepted"

    def checked_for_nan(self) -> str:
        with jax.debug_nans(True), jax.disable_jit():
            return values(jax.grad(lambda x: self.leaky_relu(x, 0.1).sum())(jnp.array([-1.0, 2.0])))

    def in_pallas(self) -> str:
        def kernel(x: Any, y: Any) -> None:
            y[...] = self.leaky_relu(x[...], 0.1)

        x = jnp.ones((8, 128))
        call = pallas.pallas_call(kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype))
        jax.export.export(jax.jit(call), platforms=["tpu"])(x)
        return "lowered"

    def onnx_nodes(self) -> str:
        import jax2onnx  # pyright: ignore[reportMissingImports]

        with lrelu_jax.export.jax_nn():
            graph = jax2onnx.to_onnx(
                lambda x: self.leaky_relu(x, 0.1), [jax.ShapeDtypeStruct((3,), np.float32)]
            )
        return ", ".join(node.op_type for node in graph.graph.node)

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
    """Numbers to three digits."""
    found = np.asarray(array)
    said = [f"{number:.3g}" for number in found.ravel().tolist()]
    return f"[{', '.join(said)}]" if found.ndim else said[0]


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
        "[-1, 0, 2]",
        lambda lib: values(lib.prelu(lib.array([-4, 0, 2]), 0.25)),
    ),
    "leaky_relu(−1 + 1j)": ("an error", lambda lib: values(lib.leaky_relu(lib.array(-1 + 1j)))),
    "error of the slope's gradient, mean of 2²² bfloat16": (
        "0 %",
        lambda lib: f"{100 * abs(lib.mean_slope_gradient() / TRUE_MEAN - 1):.2g} %",
    ),
    "bytes kept per float32 element by leaky_relu": ("1", lambda lib: lib.kept_bytes()),
    "float8, five types: numbers with the right value and slope": ("all", lambda lib: lib.every_float8()),
    "mesh with Explicit axes, a slope per element": (
        "('d',), 0.1",
        lambda lib: lib.explicit_mesh(),
    ),
    "gradient of α, an nnx.Param, at −2": ("-2", lambda lib: lib.variable()),
    "derivative under checks for NaN, without jit": ("[0.1, 1]", lambda lib: lib.checked_for_nan()),
    "export with gradient": ("cpu, cuda, tpu, rocm", lambda lib: lib.exported()),
    "float64 on TPU, its program": ("accepted", lambda lib: lib.float64_on_tpu()),
    "a Pallas kernel for TPU": ("lowered", lambda lib: lib.in_pallas()),
    "ONNX nodes, inside `export.jax_nn()`": ("LeakyRelu", lambda lib: lib.onnx_nodes()),
}


# What only JAX has, and what is not installed.
ABSENT = (AttributeError, ModuleNotFoundError)


def cell(case: Callable[[Any], Any], library: Any) -> str:
    try:
        result = case(library)
    except ABSENT:
        return "–"
    except Exception as error:  # an error is a result here, and its type is what the table shows
        return type(error).__name__
    return f"{result:.3g}" if isinstance(result, float) else str(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the table there")
    parser.add_argument(
        "--beside", type=Path, help="a table under another version of JAX, to print beside it"
    )
    options = parser.parse_args()
    found = libraries()
    packages = [
        name for name in ("jax", "flax", "torch", "keras") if name in ("jax", "flax") or name in found
    ]
    versions = {name: importlib.metadata.version(name) for name in packages}
    table = [
        {"case": name, "right": right, **{lib: cell(case, found[lib]) for lib in found}}
        for name, (right, case) in CASES.items()
    ]
    if options.json:
        results = {"versions": versions, "rows": table}
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    if options.beside:
        other = json.loads(options.beside.read_text())
        for row, beside in zip(table, other["rows"], strict=True):
            for library in ("lrelu_jax", "jax.nn, flax"):
                row[f"{library} (jax {other['versions']['jax']})"] = beside[library]
    print(
        ", ".join(f"{name} {version}" for name, version in versions.items()), f"on {platform.machine()} CPU\n"
    )
    header = list(table[0])
    for row in (header, ["---"] * len(header), *(list(row.values()) for row in table)):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
