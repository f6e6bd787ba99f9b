"""Data sets from this machine: digits (it ships with scikit-learn) and local files; nothing is downloaded."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from sweeps.trial import Data


def digits(*, image: bool = False) -> Data:
    """Returns scikit-learn's 1,797 real 8x8 images of handwritten digits, split and standardised.

    The split is fixed and stratified: 1,437 images to train on, 360 to evaluate on. The inputs are
    standardised per pixel by the training part (see `standardise`).

    Args:
      image: False gives inputs of shape (n, 64); True gives (n, 8, 8, 1), for convolutions.

    Returns:
      `Data` of pairs (inputs, targets): float32 inputs, and int32 targets of shape (n,), 0 to 9.

    Raises:
      ImportError: if scikit-learn is not installed.

    References:
      Alpaydin and Kaynak, 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.

    >>> train, evaluation = digits()
    >>> train[0].shape, evaluation[0].shape
    ((1437, 64), (360, 64))
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(
            "`digits` needs scikit-learn, but it is not installed: pip install 'lrelu-jax[sweeps]'"
        ) from error

    inputs, targets = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        inputs.astype(np.float32), targets.astype(np.int32), test_size=0.2, random_state=0, stratify=targets
    )
    data = standardise(Data((x_train, y_train), (x_test, y_test)))
    if not image:
        return data
    return Data(*((x.reshape(-1, 8, 8, 1), y) for x, y in data))


def standardise(data: Data, *, axis: int | Sequence[int] = 0) -> Data:
    """Returns `data` with its training inputs at mean 0 and deviation 1, its evaluation inputs likewise.

    Both parts are shifted and scaled by the training part's statistics, computed in float64. Where the
    training inputs are constant they are only shifted.

    Args:
      data: pairs (inputs, targets) of NumPy arrays, the inputs of shape (n, ...).
      axis: what the statistics are taken over: 0 is one mean per pixel, (0, 1, 2) one per channel of
        (n, height, width, channels) images.

    Returns:
      `Data` with float32 inputs of the same shapes, and the same targets.

    >>> inputs, targets = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([0, 1])
    >>> standardise(Data((inputs, targets), (inputs + 1, targets))).evaluation[0]
    array([[0., 1.],
           [2., 1.]], dtype=float32)
    """
    axes = axis if isinstance(axis, int) else tuple(axis)
    inputs = data.train[0]
    mean = inputs.mean(axis=axes, keepdims=True, dtype=np.float64)
    deviation = inputs.std(axis=axes, keepdims=True, dtype=np.float64)
    # Not `deviation == 0`: the rounding of the mean leaves a constant like 0.1 a tiny deviation.
    constant = inputs.max(axis=axes, keepdims=True) == inputs.min(axis=axes, keepdims=True)
    deviation = np.where(constant, 1.0, deviation)

    def scaled(part: Shaped[np.ndarray, " n *shape"]) -> np.ndarray:
        return ((part - mean) / deviation).astype(np.float32)

    return Data(*((scaled(x), y) for x, y in data))
