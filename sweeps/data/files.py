"""Data sets in local files; nothing is downloaded."""

import gzip
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from sweeps.errors import StudyError
from sweeps.trial import Data

# The third byte of an IDX file says what its elements are; they are big-endian.
_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_CIFAR_ROW = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes


def standardise(data: Data, *, axis: int | Sequence[int] = 0) -> Data:
    """Returns `data` with its training inputs at mean 0 and deviation 1, its evaluation inputs likewise.

    Both parts are shifted and scaled by the training part's statistics, computed in float64. Where the
    training inputs are constant they are only shifted.

    Args:
      data: (inputs, targets) or (inputs, targets, weights) of NumPy arrays, the inputs of shape (n, ...);
        the evaluation part may be None.
      axis: what the statistics are taken over: 0 is one mean per pixel, (0, 1, 2) one per channel of
        (n, height, width, channels) images.

    Returns:
      `Data` with float32 inputs of the same shapes, and the rest as it was.

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

    return Data(*(part and (scaled(part[0]), *part[1:]) for part in data))


def classes(data: Data) -> int:
    """Returns how many classes the targets name: one more than the largest.

    Args:
      data: (inputs, targets) or (inputs, targets, weights), the targets integers; a part may be None.

    >>> classes(Data((np.zeros((3, 1)), np.array([0, 9, 4])), (np.zeros((1, 1)), np.array([3]))))
    10
    """
    return 1 + max(int(np.max(part[1])) for part in data if part is not None)


def image_shape(data: Data) -> tuple[int, int, int]:
    """Returns the height, width and channels of images.

    Args:
      data: pairs (inputs, targets).

    Raises:
      StudyError: if the inputs are no images of shape (n, height, width, channels).

    >>> image_shape(Data((np.zeros((3, 8, 8, 1)), np.zeros(3)), None))
    (8, 8, 1)
    """
    shape = data.train[0].shape[1:]
    if len(shape) != 3:
        raise StudyError(
            f"This study takes images of (height, width, channels), but each of these inputs is {shape}. "
            "Take images, such as mnist-5k."
        )
    return shape


def npz(
    path: str | Path,
    *,
    train: tuple[str, str] = ("x_train", "y_train"),
    evaluation: tuple[str, str] = ("x_test", "y_test"),
) -> Data:
    """Returns the data set in an `.npz` file, its arrays as they are.

    Args:
      path: the file, as `numpy.savez` writes it. Arrays of Python objects are refused, never unpickled.
      train: the names of the training inputs and targets.
      evaluation: the names of the evaluation inputs and targets.

    Returns:
      `Data` of pairs (inputs, targets), of the file's shapes and dtypes.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no `.npz` file, lacks a name, holds objects, or lengths differ.
    """
    path = _existing(Path(path))
    names = (*train, *evaluation)
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array: save several with numpy.savez")
            missing = [name for name in names if name not in archive.files]
            if missing:
                there = ", ".join(sorted(archive.files))
                raise ValueError(f"it has no array {missing[0]!r}; there are: {there}")
            x_train, y_train, x_test, y_test = (archive[name] for name in names)
    except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`{path.name}` must be an .npz file with {', '.join(names)}, but {error}"
        ) from error
    return _checked(Data((x_train, y_train), (x_test, y_test)))


def idx(path: str | Path) -> Shaped[np.ndarray, "..."]:
    """Returns the array in an IDX file, the format of MNIST and Fashion-MNIST, plain or gzipped.

    Args:
      path: the file; a name that ends in `.gz` is decompressed.

    Returns:
      The array in the file's shape and element type, in native byte order.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the magic number is not IDX's, or the file is shorter or longer than it says.

    References:
      LeCun, Cortes and Burges, 1998, The MNIST database of handwritten digits: file formats.
    """
    path = _existing(Path(path))
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_DTYPES:
        raise ValueError(
            f"`{path.name}` must begin with an IDX magic number, 00 00, a type among "
            f"{' '.join(f'{code:02x}' for code in _IDX_DTYPES)} and a rank, but got {content[:4].hex(' ')!r}"
        )
    dtype, rank = np.dtype(_IDX_DTYPES[content[2]]), content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(
            f"`{path.name}` must have {start} bytes of header, but got {len(content)}: truncated"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", rank, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "more than one array"
        raise ValueError(
            f"`{path.name}` must have {expected} bytes for shape {shape}, but got {len(content)}: {what}"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def mnist(directory: str | Path) -> Data:
    """Returns MNIST, Fashion-MNIST or another data set in their four IDX files, plain or gzipped.

    Args:
      directory: the folder of train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte, each with or without `.gz`.

    Returns:
      `Data` of pairs (inputs, targets): float32 images of shape (n, height, width, 1) in [0, 1], and int32
      targets of shape (n,).

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if a file is not IDX, or lengths differ.
    """
    directory = Path(directory)

    def part(prefix: str) -> tuple[np.ndarray, np.ndarray]:
        stems = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
        images, labels = (idx(_existing(directory / stem, directory / f"{stem}.gz")) for stem in stems)
        if images.ndim != 3 or images.dtype != np.uint8 or labels.ndim != 1:
            raise ValueError(
                f"`{stems[0]}` must hold bytes of rank 3 and `{stems[1]}` rank 1, but got "
                f"{images.dtype} of shape {images.shape} and {labels.dtype} of shape {labels.shape}"
            )
        return images[..., None].astype(np.float32) / 255, labels.astype(np.int32)

    return _checked(Data(part("train"), part("t10k")))


def cifar10(directory: str | Path) -> Data:
    """Returns CIFAR-10 from its binary files.

    Args:
      directory: the folder of data_batch_1.bin to data_batch_5.bin and test_batch.bin.

    Returns:
      `Data` of pairs (inputs, targets): float32 images of shape (n, 32, 32, 3) in [0, 1], and int32 targets
      of shape (n,).

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if a file is not a whole number of images, or a label is above 9.

    References:
      Krizhevsky, 2009, Learning Multiple Layers of Features from Tiny Images.
    """

    def read(name: str) -> np.ndarray:
        content = _content(_existing(Path(directory) / name))
        if not content or len(content) % _CIFAR_ROW:
            raise ValueError(
                f"`{name}` must be a whole number of {_CIFAR_ROW}-byte images, but got {len(content)} bytes"
            )
        rows = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_ROW)
        if rows[:, 0].max() > 9:
            raise ValueError(f"`label <= 9` must hold, but got {rows[:, 0].max()} in {name}")
        return rows

    def part(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = np.concatenate([read(name) for name in names])
        images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return images.astype(np.float32) / 255, rows[:, 0].astype(np.int32)

    return Data(part([f"data_batch_{i}.bin" for i in range(1, 6)]), part(["test_batch.bin"]))


def huggingface(
    dataset: Any, *, inputs: str, targets: str, train: str = "train", evaluation: str = "test"
) -> Data:
    """Returns two splits of a Hugging Face `DatasetDict` as arrays; nothing is downloaded.

    Args:
      dataset: a `datasets.DatasetDict`, or the folder where `save_to_disk` put one.
      inputs: the column of inputs; its rows must all have one shape.
      targets: the column of targets.
      train: the split to train on.
      evaluation: the split to evaluate on.

    Returns:
      `Data` of pairs (inputs, targets), as `datasets` converts them to NumPy.

    Raises:
      ImportError: if a path is given and `datasets` is not installed.
      FileNotFoundError: if there is no such folder.
      ValueError: if a split or column is missing, or rows differ in shape.
    """
    if isinstance(dataset, str | Path):
        path = _existing(Path(dataset))
        try:
            from datasets import load_from_disk
        except ImportError as error:
            raise ImportError("`huggingface` needs datasets to read a path: pip install datasets") from error
        dataset = load_from_disk(str(path))

    def part(split: str) -> tuple[np.ndarray, np.ndarray]:
        if split not in dataset:
            raise ValueError(
                f"`split in dataset` must hold, but got {split!r}; there are: {', '.join(dataset)}"
            )
        rows = dataset[split].with_format("numpy")
        for name in (inputs, targets):
            if name not in rows.column_names:
                there = ", ".join(rows.column_names)
                raise ValueError(f"`column in {split}` must hold, but got {name!r}; there are: {there}")
        everything = rows[:]
        x, y = np.asarray(everything[inputs]), np.asarray(everything[targets])
        for name, column in ((inputs, x), (targets, y)):
            if column.dtype == object:
                raise ValueError(f"`{name}` must have rows of one shape and a numeric type, but got objects")
        return x, y

    return _checked(Data(part(train), part(evaluation)))


def _checked(data: Data) -> Data:
    """Returns `data`, whose inputs and targets go together."""
    for name, (inputs, targets) in zip(Data._fields, data, strict=True):
        if np.ndim(inputs) == 0 or np.ndim(targets) == 0 or len(inputs) != len(targets):
            lengths = [len(x) if np.ndim(x) else "a scalar" for x in (inputs, targets)]
            raise ValueError(
                f"`len(inputs) == len(targets)` must hold, but got {lengths[0]} and {lengths[1]} in {name}"
            )
    return data


def _existing(*paths: Path) -> Path:
    """Returns the first of `paths` that exists."""
    for path in paths:
        if path.exists():
            return path
    folder = paths[0].parent
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else None
    listed = "no such folder" if there is None else "there are: " + (", ".join(there[:20]) or "no files")
    wanted = " or ".join(path.name for path in paths)
    raise FileNotFoundError(f"`{wanted}` must exist in {folder}, but it does not; {listed}")


def _content(path: Path) -> bytes:
    """Returns the bytes of a file, decompressed if its name ends in `.gz`."""
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"`{path.name}` must be a whole gzip file, but got: {error}") from error
