import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweeps.divergence import any_non_finite

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
    # The maximum of a batch of matrices loses NaN here (jaxlib 0.10.2), though one matrix alone does not.
    found = jax.jit(jax.vmap(any_non_finite))
    calm = np.ones((4, *shape), dtype)
    assert not found(calm).any()
    for value in (np.nan, np.inf, -np.inf):
        for place in {0, calm[0].size // 2, calm[0].size - 1}:
            batch = calm.copy()
            batch.reshape(4, -1)[2, place] = value
            assert found(batch).tolist() == [False, False, True, False], (value, place)
