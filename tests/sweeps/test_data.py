import sys

import numpy as np
import pytest

from sweeps.data import digits, standardise
from sweeps.trial import Data


def test_digits_is_a_fixed_stratified_standardised_split():
    train, evaluation = digits()
    assert train[0].shape == (1437, 64) and evaluation[0].shape == (360, 64)
    assert train[0].dtype == evaluation[0].dtype == np.float32
    assert train[1].dtype == evaluation[1].dtype == np.int32
    # Stratified: 174 to 183 images of each digit, so 34.8 to 36.6 of them in a fifth.
    assert set(np.bincount(evaluation[1], minlength=10)) <= {35, 36, 37}
    mean, deviation = train[0].mean(0, dtype=np.float64), train[0].std(0, dtype=np.float64)
    # The inputs were rounded to float32: 6e-8 relative, and they are at most 38 deviations from the mean.
    np.testing.assert_allclose(mean, 0, atol=1e-6)
    constant = np.ptp(train[0], axis=0) == 0
    assert constant.sum() >= 1
    np.testing.assert_allclose(deviation[~constant], 1, atol=1e-6)
    np.testing.assert_array_equal(digits().train[0], train[0])


def test_digits_as_images_are_the_same_pixels():
    flat, images = digits(), digits(image=True)
    assert images.train[0].shape == (1437, 8, 8, 1)
    np.testing.assert_array_equal(images.evaluation[0].reshape(-1, 64), flat.evaluation[0])
    np.testing.assert_array_equal(images.train[1], flat.train[1])


def test_digits_without_scikit_learn_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"needs scikit-learn.*pip install 'lrelu-jax\[sweeps\]'"):
        digits()


def test_standardise_uses_the_training_statistics_only():
    rng = np.random.default_rng(0)
    train = rng.normal(5, 3, (50, 4, 4, 2)), np.arange(50)
    evaluation = rng.normal(-1, 1, (20, 4, 4, 2)), np.arange(20)
    result = standardise(Data(train, evaluation), axis=(0, 1, 2))
    mean, deviation = train[0].mean((0, 1, 2)), train[0].std((0, 1, 2))
    # One rounding to float32 (6e-8 relative) of a float64 value.
    np.testing.assert_allclose(result.train[0], (train[0] - mean) / deviation, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(result.evaluation[0], (evaluation[0] - mean) / deviation, rtol=1e-6, atol=1e-7)
    assert result.train[0].dtype == result.evaluation[0].dtype == np.float32
    np.testing.assert_array_equal(result.evaluation[1], evaluation[1])


def test_standardise_only_shifts_a_constant_pixel():
    # The float64 mean of a thousand float32 0.1 is not exactly 0.1, so its deviation is not exactly 0.
    inputs = np.full((1000, 1), 0.1)
    result = standardise(Data((inputs, inputs), (inputs + 1, inputs)))
    # The mean of 1000 equal float64 numbers is off by at most 1000 roundings of 1e-17.
    np.testing.assert_allclose(result.train[0], 0, atol=1e-13)
    np.testing.assert_allclose(result.evaluation[0], 1, atol=1e-13)
