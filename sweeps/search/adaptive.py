"""Searches that learn, with their settings: what `search` takes beside a name."""

from pathlib import Path
from typing import Any, NamedTuple

from sweeps.errors import StudyError, unknown
from sweeps.search.searches import ADAPTIVE, NAMES
from sweeps.space.bounds import whole_number


class Adaptive(NamedTuple):
    """A search that proposes batches of points by what earlier ones scored; `tpe` and `gp` make it.

    Attributes:
        name: which of them.
        points_per_batch: how many points it proposes at once.
        warm_start: the folder of an earlier run, whose points it begins with; None is no run.
    """

    name: str
    points_per_batch: int = 32
    warm_start: str | Path | None = None


def tpe(points_per_batch: int = 32, warm_start: str | Path | None = None) -> Adaptive:
    """Optuna's tree-structured Parzen estimator (Bergstra et al., 2011).

    The points of a batch are kept apart by counting those without a score among the bad ones.

    Args:
        points_per_batch: how many points it proposes at once, a whole number ≥ 1.
        warm_start: the folder of an earlier run, whose points it begins with, scored by the metric and mode
            of the present study.

    Raises:
        StudyError: `points_per_batch` is no such number.

    Example:
        >>> tpe(points_per_batch=8)
        Adaptive(name='tpe', points_per_batch=8, warm_start=None)
    """
    return checked(Adaptive("tpe", points_per_batch, warm_start))


def gp(points_per_batch: int = 32, warm_start: str | Path | None = None) -> Adaptive:
    """Optuna's Gaussian process with expected improvement; it costs seconds per point.

    Args:
        points_per_batch: as in `tpe`.
        warm_start: as in `tpe`.

    Raises:
        StudyError: `points_per_batch` is no whole number ≥ 1.
    """
    return checked(Adaptive("gp", points_per_batch, warm_start))


def checked(search: Any) -> Adaptive:
    """A search by its name or with its settings, whose settings make sense.

    Args:
        search: a name, or what `tpe` and `gp` make.

    Raises:
        StudyError: there is no such search, or it cannot be used so.
    """
    found = search if isinstance(search, Adaptive) else Adaptive(search)
    if found.name not in NAMES:
        raise StudyError(unknown("Unknown search", found.name, NAMES))
    whole_number("points_per_batch", found.points_per_batch)
    if found != Adaptive(found.name) and found.name not in ADAPTIVE:
        raise StudyError(
            f"`search is one of {', '.join(ADAPTIVE)}` must hold with points_per_batch or "
            f"warm_start, but got {found.name}"
        )
    return found
