"""Strict dtype promotion, here alone: optax's optimisers rely on the standard one."""

import jax
import pytest


@pytest.fixture(autouse=True)
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield
