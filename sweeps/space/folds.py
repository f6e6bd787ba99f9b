"""How many parts the training data is cut into, each of which some members hold out."""

import hashlib
from typing import Any, NamedTuple

import numpy as np

from sweeps.errors import StudyError, brief


class Folds(NamedTuple):
    """Every member for each of `num` folds.

    Attributes:
        num: how many.
        groups: per example the number of its group, which is never parted; None where each is its own.
    """

    num: int
    groups: tuple[int, ...] | None = None


def folds(num: Any, *, groups: Any = None) -> Folds:
    """Cross-validation, for the space's `fold`: every configuration and seed once for each fold held out.

    Where the targets are whole numbers, every fold has the same share of each class, but for one example.
    Which examples are in which fold depends on the root seed alone: a number is drawn for each,
    `default_rng([root_seed, crc32(b"fold")]).random(n)`; in the order of their classes, and within a class of
    these numbers, examples are dealt to the folds in turn. Groups are shared out whole, the largest first,
    each to the fold that has the least of its kind (`sweeps.members.folds.membership` has the rule).

    A member's batches are slices of the order that all members have in an epoch, without what is held out. An
    epoch has as many for every fold: those that the largest fold leaves.

    Args:
        num: how many folds, 2 or more.
        groups: an array with a label per training example, such as the patient it is of; the examples of one
            label are in one fold.

    Raises:
        StudyError: `num` is no whole number of 2 or more, or the groups are no array of labels.

    Example:
        >>> folds(5)
        Folds(num=5, groups=None)
    """
    if not isinstance(num, int | np.integer) or isinstance(num, bool) or num < 2:
        cure = "; one fold would hold out everything" * (num == 1)
        raise StudyError(f"`2 <= num` must hold in folds and be a whole number, but got {brief(num)}{cure}")
    return Folds(int(num), None if groups is None else _numbered(groups))


def _numbered(groups: Any) -> tuple[int, ...]:
    """A number for each label, in the labels' own order."""
    wanted = "`groups are an array with a label per training example` must hold in folds, but got"
    if isinstance(groups, str):
        raise StudyError(f"{wanted} {brief(groups)}; in Python: sweeps.folds(5, groups=array)")
    try:
        labels = np.asarray(groups)
        _, numbers = np.unique(labels, return_inverse=True)
    except (TypeError, ValueError):
        raise StudyError(f"{wanted} labels that cannot be sorted; make them all numbers or texts") from None
    if labels.ndim != 1 or not len(labels):
        raise StudyError(f"{wanted} shape {labels.shape}")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise StudyError(f"{wanted} nan among them")
    return tuple(numbers.reshape(-1).tolist())


def folds_text(domain: Folds) -> str:
    """The folds as a manifest has them: groups by a digest, so that others are noticed.

    Args:
        domain: the folds.
    """
    if domain.groups is None:
        return f"folds({domain.num})"
    found = hashlib.sha256(np.asarray(domain.groups, np.int64).tobytes()).hexdigest()[:16]
    return f"folds({domain.num}, groups='{found}')"
