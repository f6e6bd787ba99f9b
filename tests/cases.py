"""Cases of a test: some stand for all by default, and the others run with the long checks."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def cases(every: Iterable[Any], default: Collection[Any], mark: str) -> list[Any]:
    """Parameters of a test, of which only the default ones are unmarked."""
    marked = getattr(pytest.mark, mark)
    return [pytest.param(case, marks=() if case in default else marked) for case in every]
