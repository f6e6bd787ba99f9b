"""Folds as the documentation says they are cut, an example at a time."""

import zlib

import numpy as np


def stratified(classes: np.ndarray, folds: int, root_seed: int) -> np.ndarray:
    """The fold of every example: dealt class by class, each in a drawn order, to the folds in turn."""
    drawn = _drawn(len(classes), root_seed)
    order = sorted(range(len(classes)), key=lambda example: (classes[example], drawn[example]))
    found = np.zeros(len(classes), int)
    for place, example in enumerate(order):
        found[example] = place % folds
    return found


def grouped(classes: np.ndarray, groups: np.ndarray, folds: int, root_seed: int) -> np.ndarray:
    """The fold of every example: whole groups, the largest first, to the fold with least of their kind."""
    labels = sorted(set(groups.tolist()))
    drawn = _drawn(len(labels), root_seed)
    size = {label: np.sum(groups == label) for label in labels}
    found = np.full(len(groups), -1)
    for label in sorted(labels, key=lambda label: (-size[label], drawn[labels.index(label)])):
        own = groups == label

        def kin(fold: int, own: np.ndarray = own) -> tuple[float, int]:
            share = 0.0
            for each in set(classes.tolist()):
                there = np.sum((found == fold) & (classes == each))
                share += there * np.sum(own & (classes == each)) / np.sum(classes == each)
            return round(share, 9), int(np.sum(found == fold))

        found[own] = min(range(folds), key=kin)
    return found


def _drawn(count: int, root_seed: int) -> np.ndarray:
    return np.random.default_rng([root_seed, zlib.crc32(b"fold")]).random(count)
