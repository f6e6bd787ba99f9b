import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweeps.ops.permutation import _sorted_positions, permuted
from tests.cases import cases


# One round of sorting up to 1,625 and two from there on; keys of two digits up to 65,536, then three.
@pytest.mark.parametrize(
    "count",
    cases(
        [0, 1, 2, 3, 4, 5, 100, 1437, 1625, 1626, 65_536, 65_537],
        [0, 1, 5, 1625, 1626, 65_536, 65_537],
        "models",
    ),
)
def test_it_is_the_permutation_that_jax_draws(count):
    for seed in range(3):
        key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), seed)
        found, expected = jax.jit(permuted, static_argnums=1)(key, count), jax.random.permutation(key, count)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_under_vmap_each_key_draws_its_own():
    keys = jax.random.split(jax.random.key(0), 3)
    found = jax.vmap(lambda key: permuted(key, 50))(keys)
    np.testing.assert_array_equal(found, [jax.random.permutation(key, 50) for key in keys])


# Keys from a handful of words, so that many are equal, and words that differ in one digit alone.
WORDS = st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1), st.integers(2**32 - 3, 2**32 - 1))


# Few lengths, since each is compiled.
@given(arrays(np.uint32, st.sampled_from([2, 5, 40]), elements=WORDS))
def test_keys_are_sorted_and_equal_ones_keep_their_order(keys):
    np.testing.assert_array_equal(_sorted_positions(jnp.asarray(keys)), np.argsort(keys, kind="stable"))
