"""Little data sets: 70 examples to train on, 1,500 to judge by, which are sorted by class."""

import numpy as np

TRAIN, EVALUATION = 70, 1500
CLASSES = 3


def vectors():
    """Points in six dimensions around three centres."""
    return _classified((6,))


def images():
    """Six by six pixels, one channel."""
    return _classified((6, 6, 1))


def sequences():
    """Five steps of four numbers."""
    return _classified((5, 4))


def waves():
    """sin(8x), which a small network does not learn from x itself."""
    rng = np.random.default_rng(3)
    inputs = np.sort(rng.uniform(-1, 1, (TRAIN + EVALUATION, 1)), axis=0).astype(np.float32)
    rows = rng.permutation(len(inputs))
    train, evaluation = np.sort(rows[:TRAIN]), np.sort(rows[TRAIN:])
    targets = np.sin(8 * inputs)
    return (inputs[train], targets[train]), (inputs[evaluation], targets[evaluation])


def _classified(shape: tuple[int, ...]):
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(CLASSES, *shape))

    def drawn(labels: np.ndarray):
        inputs = centres[labels] + 1.5 * rng.normal(size=(len(labels), *shape))
        return inputs.astype(np.float32), labels.astype(np.int32)

    train = drawn(rng.integers(0, CLASSES, TRAIN))
    # Unequal classes, one after the other: no batch of it looks like the whole.
    return train, drawn(np.repeat(np.arange(CLASSES), (200, 900, EVALUATION - 1100)))
