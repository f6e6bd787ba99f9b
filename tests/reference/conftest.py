"""Engine and reference are compiled quickly: programs that run a few times are not worth XLA's effort."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def compilation() -> Iterator[None]:
    """As long as tests of a file run; nothing compiled so is left for others.

    A file has another `compilation` where its programs are to be those that users get.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
