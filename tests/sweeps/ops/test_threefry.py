import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.ops.threefry import fold_in, random_words

WORDS = st.integers(0, 2**32 - 1)


@given(WORDS, WORDS, WORDS)
def test_a_folded_key_is_that_of_jax(high, low, data):
    key = jax.random.wrap_key_data(jnp.asarray([high, low], jnp.uint32), impl="threefry2x32")
    for number in (data, np.uint32(data), np.int32(data - 2**31)):
        assert fold_in(key, number) == jax.random.fold_in(key, number)


@pytest.mark.parametrize("data", [-1, 2**32])
def test_a_number_that_jax_refuses_is_refused(data):
    key = jax.random.key(7, impl="threefry2x32")
    for fold in (fold_in, jax.random.fold_in):
        with pytest.raises(OverflowError, match=f"Python integer {data} out of bounds for uint32"):
            fold(key, data)


def test_members_and_steps_fold_as_alone():
    key, seeds = jax.random.key(7, impl="threefry2x32"), jnp.arange(5, dtype=jnp.uint32)
    folded = jax.jit(jax.vmap(lambda seed: fold_in(fold_in(key, seed), 3)))(seeds)
    assert all(folded[seed] == jax.random.fold_in(jax.random.fold_in(key, seed), 3) for seed in range(5))


@pytest.mark.parametrize("partitionable", [True, False])
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_words_are_those_of_splitting_and_drawing(partitionable, impl):
    with jax.threefry_partitionable(partitionable):
        key = jax.random.key(11, impl=impl)
        for words in random_words(key, 2, 33):
            key, subkey = jax.random.split(key)
            assert (words == jax.random.bits(subkey, (33,), jnp.uint32)).all()
