import functools
import importlib.util

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lrelu_jax import ELU, LeakyReLU, PReLU, ReLU, RReLU, elu, export, leaky_relu, linen, prelu, relu, rrelu

pytestmark = pytest.mark.usefixtures("compiled_quickly")

FUNCTIONS = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "prelu": lambda x: prelu(x, jnp.full(3, 0.25, jnp.float32)),
    "rrelu": lambda x: rrelu(x, None),
    "rrelu, training": lambda x: rrelu(x, jax.random.key(0)),
    "elu": elu,
}


def names(function, *arguments):
    """The functions that a traced program calls."""
    return [equation.params.get("name") for equation in jax.make_jaxpr(function)(*arguments).eqns]


# jax.export


def exported_by_default(name, dtype):
    return dtype in ("float32", "bfloat16") or name in ("leaky_relu", "elu")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, marks=() if exported_by_default(name, dtype) else pytest.mark.models)
        for name in FUNCTIONS
        for dtype in ("float32", "bfloat16", "float16", "float64")
    ],
)
def test_an_exported_program_computes_the_same_with_its_gradient(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.array([[-2.0, -0.0, 3.0], [0.5, -jnp.inf, jnp.nan]], dtype)
        function = jax.jit(FUNCTIONS[name])
        exported = jax.export.export(function, platforms=["cpu", "cuda", "tpu", "rocm"])(x)
        if importlib.util.find_spec("flatbuffers"):  # which JAX needs to write a program down
            exported = jax.export.deserialize(exported.serialize(vjp_order=1))
        y, pull = jax.vjp(function, x)
        (slope,) = jax.vjp(exported.call, x)[1](jnp.ones_like(y))
        for found, expected in ((exported.call(x), y), (slope, pull(jnp.ones_like(y))[0])):
            assert found.dtype == expected.dtype
            # Which loses nothing, and NumPy knows no NaN in 16 bits of bfloat16.
            np.testing.assert_array_equal(np.asarray(found, float), np.asarray(expected, float))


# jax.nn in the functions' place


def test_functions_become_those_of_jax_nn():
    x = jnp.array([-2.0, 0.0, 3.0])
    with export.jax_nn():
        assert names(lambda x: leaky_relu(x, 0.1), x) == ["leaky_relu"]
        assert names(lambda x: rrelu(x, None), x) == ["leaky_relu"]
        assert names(elu, x) == ["elu"]
        np.testing.assert_array_equal(leaky_relu(x, 0.1), jax.nn.leaky_relu(x, 0.1))
        np.testing.assert_array_equal(elu(x, 2.0), jax.nn.elu(x, 2.0))
        np.testing.assert_array_equal(relu(x), jax.nn.relu(x))
        np.testing.assert_array_equal(leaky_relu(x, 0), jax.nn.relu(x))
        # A subgradient is jax.nn's too.
        assert jax.grad(leaky_relu)(0.0, 0.1) == 1
    assert jax.grad(leaky_relu)(0.0, 0.1) == 0.1


def test_slopes_that_are_arrays_keep_the_dtype_of_x():
    x, slopes = jnp.array([[-2.0, 0.0, 3.0]], jnp.bfloat16), jnp.array([0.25, 0.5, 1.0])
    expected = [np.asarray(f(x, slopes)).astype(np.float32) for f in (prelu, elu)]
    with export.jax_nn():
        for function, value in zip((prelu, elu), expected, strict=True):
            y = jax.jit(function)(x, slopes)
            assert y.dtype == jnp.bfloat16
            # bfloat16 keeps 8 bits, and here every step is rounded to it.
            np.testing.assert_allclose(y.astype(jnp.float32), value, rtol=2**-6)
    assert prelu(np.array([-4]), 0.25).dtype == jnp.float32
    with export.jax_nn():
        assert prelu(np.array([-4]), 0.25).dtype == jnp.float32


def test_modules_of_nnx_and_linen_become_those_of_jax_nn():
    x = jnp.ones((2, 3))
    model = nnx.Sequential(ReLU(), LeakyReLU(0.1), RReLU(deterministic=True), ELU(2.0))
    twin = nn.Sequential(
        [linen.ReLU(), linen.LeakyReLU(0.1), linen.RReLU(deterministic=True), linen.ELU(2.0)]
    )
    with export.jax_nn():
        assert names(model, x)[1:] == ["leaky_relu", "leaky_relu", "elu"]
        assert names(functools.partial(twin.apply, {}), x)[1:] == ["leaky_relu", "leaky_relu", "elu"]


def test_what_was_compiled_before_is_not_met_inside_nor_the_reverse():
    function = jax.jit(jax.grad(lambda x: leaky_relu(x, 0.1)))
    assert function(0.0) == 0.1
    with export.jax_nn():
        assert function(0.0) == 1
    assert function(0.0) == 0.1


def test_an_error_inside_ends_the_context():
    with pytest.raises(RuntimeError, match="inside"), export.jax_nn():
        raise RuntimeError("inside")
    assert not export.swapped()


# ONNX


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("activation", "node"),
    [
        (LeakyReLU(0.1), "LeakyRelu"),
        (ReLU(), "Relu"),
        (ELU(), "Elu"),
        (RReLU(deterministic=True), "LeakyRelu"),
    ],
)
def test_an_onnx_graph_holds_one_node_for_a_rectifier_and_computes_the_same(activation, node):
    jax2onnx = pytest.importorskip("jax2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), activation)
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), export.jax_nn():
        graph = jax2onnx.to_onnx(model, [jax.ShapeDtypeStruct(x.shape, x.dtype)])
    assert [step.op_type for step in graph.graph.node] == ["Gemm", node]
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    # Another library's product, and for ELU its exponential.
    np.testing.assert_allclose(y, model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_learned_slopes_reach_an_onnx_graph_too():
    jax2onnx = pytest.importorskip("jax2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    model = PReLU(3)
    model.alpha[...] = jnp.array([0.1, 0.2, -0.3])
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), export.jax_nn():
        graph = jax2onnx.to_onnx(model, [jax.ShapeDtypeStruct(x.shape, x.dtype)])
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_array_equal(y, model(x))
