import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrelu_jax import elu, leaky_relu, relu
from lrelu_jax.signs import NAN, branch, is_negative, is_positive, is_zero


@pytest.mark.parametrize("function", [relu, leaky_relu, elu])
def test_float64_on_tpu_has_no_words_of_64_bits(function):
    # TPU's compiler refuses them: "While rewriting computation to not contain X64 element types".
    with jax.enable_x64(True):
        x = jnp.ones(3, jnp.float64)

        def words(platform):
            program = jax.jit(lambda x, g: jax.vjp(function, x)[1](g) + (function(x),))
            text = jax.export.export(program, platforms=[platform])(x, x).mlir_module()
            casts = [line for line in text.splitlines() if "bitcast_convert" in line]
            return [line for line in casts if "xi64" in line or "xf64" in line or "<i64" in line]

        assert words("tpu") == []
        assert words("cpu")  # and elsewhere a subnormal is told from zero


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_signs_are_those_of_the_bits(dtype):
    with jax.enable_x64(dtype == "float64"):
        tiny = jnp.finfo(dtype).smallest_subnormal
        x = np.array([1.0, tiny, np.inf, 0.0, -0.0, -tiny, -1.0, -np.inf, np.nan, -np.nan], jnp.dtype(dtype))
        x = jnp.asarray(x)
        np.testing.assert_array_equal(np.minimum(branch(x), NAN), [1, 1, 1, 0, 0, -1, -1, -1, NAN, NAN])
        np.testing.assert_array_equal(is_positive(x), [True] * 3 + [False] * 7)
        np.testing.assert_array_equal(is_negative(x), [False] * 5 + [True] * 3 + [False] * 2)
        np.testing.assert_array_equal(is_zero(x), [False] * 3 + [True] * 2 + [False] * 5)
