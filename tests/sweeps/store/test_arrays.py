import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweeps.store import arrays as stored


def test_any_state_survives_the_host():
    key = jax.random.split(jax.random.key(3), 4)
    state = {
        "key": key,
        "rbg": jax.random.split(jax.random.key(3, impl="rbg"), 4),
        "bf16": jnp.arange(8, dtype=jnp.bfloat16).reshape(4, 2),
        "flags": (jnp.asarray([True, False, True, False]), None),
        "empty": jnp.zeros((4, 0)),
    }
    leaves = stored.to_host(state, 3)
    assert all(isinstance(leaf, np.ndarray) and len(leaf) == 3 for leaf in leaves)
    again = stored.from_host(leaves, jax.eval_shape(lambda: state))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert (jax.random.key_data(again["key"]) == jax.random.key_data(key)[:3]).all()
    assert jax.random.key_impl(again["rbg"]) == jax.random.key_impl(state["rbg"])
    assert again["bf16"].dtype == jnp.bfloat16 and again["bf16"].tolist() == state["bf16"][:3].tolist()


@pytest.mark.parametrize("small", [1, 12, 2**22])  # each by itself but the empty one; some packed; all packed
def test_stored_all_kinds_survive_the_disk(tmp_path, monkeypatch, small):
    monkeypatch.setattr(stored, "SMALL", small)
    bf16 = np.asarray(jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3))
    # A flag before the floats: what is packed need not lie where its type would have it.
    arrays = [
        bf16,
        np.zeros((2, 0), np.float32),
        np.asarray(True),
        np.arange(3.0),
        np.arange(9).reshape(3, 3).T,
    ]
    stored.save_arrays(tmp_path / "state", arrays)
    again = stored.load_arrays(tmp_path / "state", [(array.shape, str(array.dtype)) for array in arrays])
    assert [(array.shape, array.dtype) for array in again] == [(array.shape, array.dtype) for array in arrays]
    assert [array.tolist() for array in again] == [array.tolist() for array in arrays]


def test_no_arrays_at_all_survive_the_disk(tmp_path):
    stored.save_arrays(tmp_path / "state", [])
    assert stored.load_arrays(tmp_path / "state", []) == []
