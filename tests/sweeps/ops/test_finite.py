import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweeps.ops.finite import any_non_finite

# Shapes of a member's array whose batched reductions XLA's CPU backend computes in different ways.
SHAPES = [(), (1,), (10,), (128,), (2, 16), (64, 128), (128, 10), (3, 3, 16, 16), (2, 2, 2, 2, 64)]


def test_finite_numbers_of_any_size_are_not_divergence():
    tree = [jnp.float32([3.4e38, -3.4e38, 1e-45]), jnp.zeros((0, 3)), jnp.int32(7), jnp.bfloat16(-3e38)]
    assert not any_non_finite(tree)
    assert not any_non_finite(jnp.complex64(3e38 + 3e38j))
    for bad in (jnp.complex64(complex(0, np.inf)), jnp.bfloat16(np.nan), jnp.full((2, 3), -np.inf)):
        assert any_non_finite([*tree, bad])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64])
@pytest.mark.parametrize("shape", SHAPES)
def test_one_bad_number_anywhere_in_one_member_of_a_batch_is_found_in_that_member(shape, dtype):
    # The maximum of a batch of matrices loses NaN on CPU (jaxlib 0.10.2), though one matrix alone does not.
    found = jax.jit(jax.vmap(any_non_finite))
    calm = np.ones((4, *shape), dtype)
    assert not found(calm).any()
    for value in (np.nan, np.inf, -np.inf):
        for place in {0, calm[0].size // 2, calm[0].size - 1}:
            batch = calm.copy()
            batch.reshape(4, -1)[2, place] = value
            assert found(batch).tolist() == [False, False, True, False], (value, place)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64])
def test_no_compiler_may_take_numbers_to_be_finite(dtype):
    # XLA's simplifier, which its backends share, makes `x - x` a zero where fast arithmetic is asked for.
    found = jax.jit(jax.vmap(any_non_finite), compiler_options={"xla_cpu_enable_fast_math": True})
    for value in (np.nan, -np.nan, np.inf, -np.inf):
        batch = jnp.ones((4, 64, 128), dtype).at[2, 3, 4].set(value)
        assert found(batch).tolist() == [False, False, True, False]


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz"])
def test_types_of_eight_bits(name):
    assert not any_non_finite(jnp.float32([0.5, -16]).astype(name))
    assert any_non_finite(jnp.float32([0.5, np.nan]).astype(name))


def test_double_precision():
    with jax.enable_x64(True):
        large = jnp.asarray([1.7e308, -1e-308, 0.0])
        assert large.dtype == jnp.float64 and not any_non_finite(large)
        assert not any_non_finite(large + 1j * large)
        for value in (np.nan, np.inf, -np.inf):
            assert any_non_finite(large.at[1].set(value)) and any_non_finite(1j * large.at[1].set(value))


def test_on_every_platform_only_the_bits_are_looked_at():
    tree = [jnp.ones((2, 3)), jnp.ones(4, jnp.bfloat16)]
    platforms = ["cpu", "cuda", "rocm", "tpu"]
    text = jax.export.export(jax.jit(any_non_finite), platforms=platforms)(tree).mlir_module()
    operations = [line for line in text.splitlines() if "xf32>" in line or "xbf16>" in line]
    assert sum("bitcast_convert" in line for line in operations) == 2
    assert all("bitcast_convert" in line or "func.func" in line for line in operations), operations
