"""What crosses with what: levels and draws, those of a chosen class only where it was chosen."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweeps.search.branches import exists
from sweeps.space.fields import Field


class Crossing:
    """Points as products of places along axes, in the order of these, the last innermost.

    Args:
        parts: what the points are made of: in each part, per axis, the places that cross there.
    """

    def __init__(self, parts: Sequence[tuple[np.ndarray, ...]]):
        self._parts = parts

    def __len__(self) -> int:
        return sum(math.prod(map(len, part)) for part in self._parts)

    def spread(self, values: np.ndarray, axis: int) -> np.ndarray:
        """A value for every point.

        Args:
            values: by place along an axis.
            axis: which.
        """
        found = [_along(values[part[axis]], axis, part) for part in self._parts]
        return found[0] if len(found) == 1 else np.concatenate(found)[self._order]

    @functools.cached_property
    def _order(self) -> np.ndarray:
        """The points of all parts in the order of the axes."""
        axes = range(len(self._parts[0]))
        keys = [np.concatenate([_along(part[axis], axis, part) for part in self._parts]) for axis in axes]
        return np.lexsort(keys[::-1])


def crossing(
    swept: Mapping[str, Field],
    levels: Mapping[str, Sequence[Any] | np.ndarray],
    draws: Mapping[str, np.ndarray],
    samples: int,
) -> Crossing:
    """What crosses with what: the levels of a field only where the field exists.

    Args:
        swept: the fields, as `reduced` has them.
        levels: the levels of those that have such.
        draws: the values of those that are drawn.
        samples: how many draws there are.
    """
    if not any(field.branches for field in swept.values()):
        return Crossing([(*(np.arange(len(values)) for values in levels.values()), np.arange(samples))])
    choosing = {name for field in swept.values() for branch in field.branches for name, _ in branch.when}
    axes = [name for name in levels if name in choosing]
    drawn = list(zip(*(draws[name].tolist() for name in draws if name in choosing), strict=True))
    found = []
    for places in itertools.product(*(range(len(levels[name])) for name in axes)):
        for pattern in dict.fromkeys(drawn) or [()]:
            chosen = {name: levels[name][place] for name, place in zip(axes, places, strict=True)}
            chosen |= zip((name for name in draws if name in choosing), pattern, strict=True)
            there = _existing(swept, chosen)
            if any(place and not there[name] for name, place in zip(axes, places, strict=True)):
                continue  # levels of a choice that nobody has
            own = dict(zip(axes, places, strict=True))
            cut = [
                np.asarray([own[name]]) if name in own else np.arange(len(values) if there[name] else 1)
                for name, values in levels.items()
            ]
            rows = np.asarray([place for place in range(samples) if not drawn or drawn[place] == pattern])
            if not any(there[name] for name in draws):
                rows = rows[rows == 0]  # whatever was drawn, it is the same point
            found += [(*cut, rows)] if len(rows) else []
    return Crossing(found)


def _existing(swept: Mapping[str, Field], chosen: Mapping[str, Any]) -> dict[str, bool]:
    """Which fields there are when these choices are made, as far as they can be."""
    there, values = {}, {}
    for name, field in swept.items():
        there[name] = bool(exists(field, values))
        values[name] = chosen.get(name) if there[name] else None
    return there


def _along(values: np.ndarray, axis: int, part: Sequence[np.ndarray]) -> np.ndarray:
    shape = tuple(map(len, part))
    laid = values.reshape([-1 if place == axis else 1 for place in range(len(shape))])
    return np.broadcast_to(laid, shape).reshape(-1)
