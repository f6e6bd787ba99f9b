"""Strict dtype promotion, here alone: optax's optimisers rely on the standard one."""

import jax
import jaxtyping
import pytest


@pytest.fixture(autouse=True)
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def unchecked():
    """Without the checks of annotations that the other tests run under, as users are."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
