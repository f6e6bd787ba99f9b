"""Which fold each training example is in: by the root seed, the classes and the groups alone."""

import zlib

import jax
import numpy as np

from sweeps.data.streams import is_stream
from sweeps.errors import StudyError
from sweeps.space.folds import Folds
from sweeps.trial import Study

STREAM = zlib.crc32(b"fold")  # of the draws, beside those of the swept fields


def membership(study: Study, root_seed: int) -> np.ndarray | None:
    """The fold of every training example, int32; None of a study without folds.

    A number is drawn for each example, or group: `default_rng([root_seed, crc32(b"fold")]).random(n)`.
    Examples are put in the order of their class, within a class in that of their numbers, and dealt to the
    folds in turn: the i-th to fold i % k. The classes are the targets where these are whole numbers, one per
    example; otherwise all examples are of one class. So the sizes of two folds, and their shares of a class,
    differ by one example at most.

    Groups are taken from the largest to the smallest, equal ones in the order of their numbers, and each is
    put into the fold that has the least of what the group is made of: the sum over classes of the fold's
    examples times the group's, divided by all there are of the class. Ties go to the fold with the fewest
    examples, then to the first.

    Args:
        study: the study.
        root_seed: what the draws depend on.

    Raises:
        StudyError: the data cannot be cut so: it is a stream, or a class is too small, or groups too few.
    """
    domain = study.domains.get("fold")
    if not isinstance(domain, Folds):
        return None
    classes = _classes(study, domain)
    if domain.groups is None:
        return _dealt(classes, domain.num, root_seed)
    if len(domain.groups) != len(classes):
        raise StudyError(
            f"`groups have a label per training example` must hold, but got {len(domain.groups)} labels for "
            f"{len(classes)} examples"
        )
    groups = np.asarray(domain.groups)
    if (there := int(groups.max()) + 1) < domain.num:
        raise StudyError(
            f"`folds <= groups` must hold, but got {domain.num} folds of {there} groups; take fewer folds"
        )
    return _dealt_in_groups(classes, groups, domain.num, root_seed)


def training_size(membership: np.ndarray) -> int:
    """How many examples every fold has at least to train on: all but the largest fold.

    Args:
        membership: the fold of every example.

    Example:
        >>> training_size(np.array([0, 1, 0, 1, 0]))
        2
    """
    return len(membership) - int(np.bincount(membership).max())


def _classes(study: Study, domain: Folds) -> np.ndarray:
    """The class of every training example, numbered from 0."""
    train = None if study.trial.data is None else study.trial.data.train
    if train is None or is_stream(train):
        got = "none" if train is None else f"a {type(train).__name__}"
        raise StudyError(
            f"`data.train is arrays` must hold with folds, but got {got}; folds are cut from arrays that are "
            f"there whole"
        )
    leaves = jax.tree.leaves(train)
    count = len(leaves[0]) if leaves and np.ndim(leaves[0]) else 0
    targets = (
        np.asarray(train[1])
        if isinstance(train, tuple | list) and len(train) > 1 and hasattr(train[1], "dtype")
        else None
    )
    if targets is None or targets.dtype.kind not in "iub" or targets.shape != (count,):
        if domain.num > count:
            raise StudyError(
                f"`folds <= {count}, the training examples` must hold, but got {domain.num} folds"
            )
        return np.zeros(count, np.int64)
    labels, classes, sizes = np.unique(targets, return_inverse=True, return_counts=True)
    if domain.groups is None and sizes.min() < domain.num:
        rare = labels[sizes.argmin()]
        raise StudyError(
            f"`folds <= {sizes.min()}, the examples of the smallest class` must hold, but got {domain.num} "
            f"folds, and class {rare} has {sizes.min()}; take fewer folds, or leave that class out"
        )
    return classes.reshape(-1)


def _dealt(classes: np.ndarray, folds: int, root_seed: int) -> np.ndarray:
    drawn = np.random.default_rng([root_seed, STREAM]).random(len(classes))
    found = np.empty(len(classes), np.int32)
    found[np.lexsort((drawn, classes))] = np.arange(len(classes)) % folds
    return found


def _dealt_in_groups(classes: np.ndarray, groups: np.ndarray, folds: int, root_seed: int) -> np.ndarray:
    made = np.zeros((groups.max() + 1, classes.max() + 1))  # examples per group and class
    np.add.at(made, (groups, classes), 1)
    drawn = np.random.default_rng([root_seed, STREAM]).random(len(made))
    held, place, shares = np.zeros((folds, made.shape[1])), np.empty(len(made), np.int32), made / made.sum(0)
    for group in np.lexsort((drawn, -made.sum(axis=1))):
        # Rounded, so that no order of summation decides between folds that are equal.
        likeness = (held * shares[group]).sum(axis=1).round(9)
        place[group] = np.lexsort((np.arange(folds), held.sum(axis=1), likeness))[0]
        held[place[group]] += made[group]
    return place[groups]
