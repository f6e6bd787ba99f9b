import gzip
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.data.files import cifar10, classes, huggingface, idx, mnist, npz, standardise
from sweeps.trial import Data


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


def test_data_may_have_weights_and_no_evaluation():
    train = np.array([[1.0], [3.0]]), np.array([0, 4]), np.array([1.0, 2.0])
    for evaluation in (None, (train[0] + 1, train[1] + 1, train[2] + 1)):
        data = Data(train, evaluation)
        result = standardise(data)
        assert result.train[0].tolist() == [[-1], [1]] and result.train[1:] == train[1:]
        assert classes(data) == (5 if evaluation is None else 6)
        if evaluation is None:
            assert result.evaluation is None
        else:
            assert result.evaluation[0].tolist() == [[0], [2]] and result.evaluation[1:] == evaluation[1:]


IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    code = IDX_CODES[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@st.composite
def arrays(draw):
    kind = draw(st.sampled_from(sorted(IDX_CODES)))
    shape = draw(st.lists(st.integers(0, 5), max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(-100, 100, shape).astype(np.int16).astype(kind)


@given(arrays(), st.booleans())
def test_idx_round_trip(array, zipped):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "array.gz" if zipped else "array")
        path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
        result = idx(path)
    assert result.shape == array.shape and result.dtype == array.dtype and result.dtype.isnative
    np.testing.assert_array_equal(result, array)


@given(arrays(), st.booleans(), st.data())
def test_a_truncated_idx_file_never_returns_an_array(array, zipped, data):
    whole = gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "array.gz" if zipped else "array")
        path.write_bytes(cut)
        with pytest.raises(ValueError, match="`array(.gz)?` must (begin with|have|be a whole)"):
            idx(path)


def test_idx_refuses_a_wrong_magic_number_and_trailing_bytes(tmp_path):
    (tmp_path / "png").write_bytes(b"\x89PNG____")
    with pytest.raises(ValueError, match="`png` must begin with an IDX magic number.*but got '89 50 4e 47'"):
        idx(tmp_path / "png")
    (tmp_path / "long").write_bytes(idx_bytes(np.zeros(3, np.uint8)) + b"x")
    with pytest.raises(ValueError, match=r"must have 11 bytes for shape \(3,\), but got 12: more than one"):
        idx(tmp_path / "long")


def write_mnist(folder, zipped, train=6, labels=6):
    rng = np.random.default_rng(0)
    made = {}
    for prefix, count, marks in (("train", train, labels), ("t10k", 4, 4)):
        images = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        targets = rng.integers(0, 10, marks).astype(np.uint8)
        for name, array in (
            (f"{prefix}-images-idx3-ubyte", images),
            (f"{prefix}-labels-idx1-ubyte", targets),
        ):
            content = idx_bytes(array)
            path = folder / (f"{name}.gz" if zipped else name)
            path.write_bytes(gzip.compress(content) if zipped else content)
        made[prefix] = images, targets
    return made


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist(tmp_path, zipped):
    made = write_mnist(tmp_path, zipped)
    data = mnist(tmp_path)
    for part, prefix in ((data.train, "train"), (data.evaluation, "t10k")):
        images, targets = made[prefix]
        assert part[0].shape == (len(images), 28, 28, 1)
        assert part[0].dtype == np.float32 and part[1].dtype == np.int32
        np.testing.assert_array_equal(np.round(part[0][..., 0] * 255), images)
        np.testing.assert_array_equal(part[1], targets)
        assert part[0].min() >= 0 and 0.9 < part[0].max() <= 1


def test_mnist_says_which_file_is_missing_and_which_are_there(tmp_path):
    write_mnist(tmp_path, False)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        FileNotFoundError, match="`t10k-labels-idx1-ubyte or .*gz` must exist.*there are: t10k-im"
    ):
        mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        mnist(tmp_path / "nowhere")


def test_mnist_refuses_mismatched_lengths_and_ranks(tmp_path):
    write_mnist(tmp_path, False, train=100, labels=99)
    with pytest.raises(
        ValueError, match=r"`len\(inputs\) == len\(targets\)` must hold, but got 100 and 99 in train"
    ):
        mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((100, 784), np.uint8)))
    with pytest.raises(ValueError, match=r"must hold bytes of rank 3.*but got uint8 of shape \(100, 784\)"):
        mnist(tmp_path)


def write_cifar(folder):
    rng = np.random.default_rng(1)
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    images = rng.integers(0, 256, (6, 3, 32, 32, 3)).astype(np.uint8)
    labels = rng.integers(0, 10, (6, 3)).astype(np.uint8)
    for name, pictures, marks in zip(names, images, labels, strict=True):
        planes = pictures.transpose(0, 3, 1, 2).reshape(3, -1)
        (folder / name).write_bytes(np.concatenate([marks[:, None], planes], 1).tobytes())
    return images, labels


def test_cifar10(tmp_path):
    images, labels = write_cifar(tmp_path)
    data = cifar10(tmp_path)
    assert data.train[0].shape == (15, 32, 32, 3) and data.evaluation[0].shape == (3, 32, 32, 3)
    assert data.train[0].dtype == np.float32 and data.train[1].dtype == np.int32
    np.testing.assert_array_equal(np.round(data.train[0] * 255), images[:5].reshape(15, 32, 32, 3))
    np.testing.assert_array_equal(np.round(data.evaluation[0] * 255), images[5])
    np.testing.assert_array_equal(data.train[1], labels[:5].reshape(-1))


def test_cifar10_refuses_files_of_another_format(tmp_path):
    write_cifar(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073 + 1))
    with pytest.raises(
        ValueError, match="`test_batch.bin` must be a whole number of 3073-byte images.*got 3074"
    ):
        cifar10(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(ValueError, match="`label <= 9` must hold, but got 10 in test_batch.bin"):
        cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(FileNotFoundError, match="`data_batch_3.bin` must exist.*there are: data_batch_1.bin"):
        cifar10(tmp_path)


def test_npz(tmp_path):
    x, y = np.arange(12.0).reshape(4, 3), np.arange(4)
    np.savez(tmp_path / "set.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    data = npz(tmp_path / "set.npz")
    for result, expected in zip((*data.train, *data.evaluation), (x, y, x[:2], y[:2]), strict=True):
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == expected.dtype
    swapped = npz(tmp_path / "set.npz", train=("x_test", "y_test"), evaluation=("x_train", "y_train"))
    np.testing.assert_array_equal(swapped.train[0], x[:2])


def test_npz_refuses_what_is_missing_mismatched_or_pickled(tmp_path):
    path, x = tmp_path / "set.npz", np.zeros((100, 3))
    np.savez(path, x_train=x, labels=x)
    with pytest.raises(ValueError, match="has no array 'y_train'; there are: labels, x_train"):
        npz(path)
    np.savez(path, x_train=x, y_train=x[:99], x_test=x, y_test=x)
    with pytest.raises(
        ValueError, match=r"`len\(inputs\) == len\(targets\)` must hold, but got 100 and 99 in train"
    ):
        npz(path)
    np.savez(path, x_train=np.array([{}]), y_train=x, x_test=x, y_test=x)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        npz(path)
    np.save(tmp_path / "one.npy", x)
    with pytest.raises(ValueError, match="but it holds one array"):
        npz(tmp_path / "one.npy")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="`set.npz` must be an .npz file with x_train"):
        npz(path)
    with pytest.raises(FileNotFoundError, match="`other.npz` must exist in .* there are: one.npy, set.npz"):
        npz(tmp_path / "other.npz")


class Split:
    """The part of a `datasets.Dataset` that `huggingface` relies on."""

    def __init__(self, **columns):
        self.columns, self.column_names = columns, list(columns)

    def with_format(self, kind):
        assert kind == "numpy"
        return self

    def __getitem__(self, rows):
        return {name: column[rows] for name, column in self.columns.items()}


def test_huggingface_reads_a_dictionary_of_splits():
    x, y = np.arange(12.0).reshape(4, 3), np.arange(4)
    data = huggingface({"train": Split(x=x, y=y), "test": Split(x=x[:2], y=y[:2])}, inputs="x", targets="y")
    np.testing.assert_array_equal(data.train[0], x)
    np.testing.assert_array_equal(data.evaluation[1], y[:2])


def test_huggingface_refuses_missing_splits_columns_and_ragged_rows():
    x, y = np.zeros((4, 3)), np.arange(4)
    both = {"train": Split(x=x, y=y), "test": Split(x=x, y=y)}
    with pytest.raises(ValueError, match="must hold, but got 'validation'; there are: train, test"):
        huggingface(both, inputs="x", targets="y", evaluation="validation")
    with pytest.raises(ValueError, match="`column in train` must hold, but got 'label'; there are: x, y"):
        huggingface(both, inputs="x", targets="label")
    ragged = np.array([np.zeros(2), np.zeros(3), None, None], object)
    with pytest.raises(
        ValueError, match="`x` must have rows of one shape and a numeric type, but got objects"
    ):
        huggingface({**both, "test": Split(x=ragged, y=y)}, inputs="x", targets="y")


def test_huggingface_reads_real_datasets_in_memory_and_on_disk(tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    x, y = np.arange(24, dtype=np.float32).reshape(4, 3, 2), np.arange(4)
    splits = datasets.DatasetDict(
        train=datasets.Dataset.from_dict({"x": x.tolist(), "y": y}),
        test=datasets.Dataset.from_dict({"x": x[:2].tolist(), "y": y[:2]}),
    )
    splits.save_to_disk(str(tmp_path / "saved"))
    for source in (splits, tmp_path / "saved"):
        data = huggingface(source, inputs="x", targets="y")
        np.testing.assert_array_equal(data.train[0], x)
        np.testing.assert_array_equal(data.evaluation[1], y[:2])


def test_huggingface_on_a_path_without_datasets_names_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install datasets"):
        huggingface(tmp_path, inputs="x", targets="y")
