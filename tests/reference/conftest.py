"""Engine and reference are compiled quickly, and alike."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def compilation(compiled_quickly):
    """A file has another `compilation` where its programs are to be those that users get."""
