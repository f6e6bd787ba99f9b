"""How many members, and how many samples, there may be."""

import math
from collections.abc import Mapping
from typing import Any

from sweeps.errors import StudyError
from sweeps.members.instances import configure as configure
from sweeps.space.bounds import whole_number
from sweeps.space.domains import size
from sweeps.trial import ENGINES, Study

MAX_MEMBERS = 10_000_000  # whose columns take 16 bytes each and 8 per field; more are a slip of the keyboard


def check_count(study: Study, sizes: Mapping[str, int]) -> None:
    """Raises a StudyError if there would be too many members, before any of them is made.

    Args:
        study: the study.
        sizes: how many values of each field, or of points, cross with the seeds.
    """
    sizes = {**sizes, **{name: size(study.domains.get(name, range(1))) for name in ENGINES}}
    count = math.prod(sizes.values())
    if count > MAX_MEMBERS:
        product = " x ".join(f"{name} {_grouped(number)}" for name, number in sizes.items() if number > 1)
        raise StudyError(
            f"`at most {MAX_MEMBERS:,} members` must hold, but got {product} = {_grouped(count)}; list fewer "
            f"levels, or draw points of them with search='random' and samples=1000"
        )


def check_samples(samples: Any) -> None:
    """Raises a StudyError unless it is a number of samples, or None.

    Args:
        samples: what was given.
    """
    if samples is not None:
        whole_number("samples", samples)


def _grouped(number: int) -> str:
    """The number, its digits in threes, as far as a person reads it."""
    return f"{number:,}" if number < 10**15 else "more than 10**15"
