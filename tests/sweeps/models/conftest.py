"""What models are made of is compared with what it is made of: all of it is compiled quickly."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def compilation(compiled_quickly):
    """Tests of numbers here allow for rounding."""
