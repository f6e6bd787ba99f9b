"""A trial's data as programs see it: checked, an example of a batch, and a digest that tells data apart."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sweeps.data.streams import check_stream, is_stream
from sweeps.errors import StudyError
from sweeps.members.folds import training_size
from sweeps.space.bounds import whole_number
from sweeps.trial import Data, Study


def check_data(study: Study, membership: np.ndarray | None = None) -> None:
    """Checks that the parts of the training data have one length, and that there is a batch of them.

    Args:
        study: the study.
        membership: the fold of every training example; None without folds.

    Raises:
        StudyError: they do not.
    """
    data, size = study.trial.data, study.trial.batch_size
    if size is not None:
        whole_number("batch_size", size)
    for name, part in (data or Data(None, None))._asdict().items():
        if part is None:
            continue
        if is_stream(part):
            if name == "evaluation":
                raise StudyError(f"`evaluation is arrays` must hold, but got a {type(part).__name__}")
            check_stream(part, chunks=1)
            continue
        lengths = [np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(part)]
        if len(set(lengths)) > 1:
            raise StudyError(f"`all arrays of {name} have one length` must hold, but got {lengths}")
        count, left = lengths[0], ""
        if name == "train" and membership is not None:
            count, left = training_size(membership), " that the largest fold leaves"
        if name == "train" and size is not None and size > count:
            raise StudyError(f"`batch_size <= {count}, the examples{left}` must hold, but got {size}")


def example_batch(study: Study) -> Any:
    """A batch of the shape that steps will see, made of zeros; None where there is no training data."""
    data, size = study.trial.data, study.trial.batch_size
    if data is None or data.train is None:
        return None

    def zeros(shape: tuple[int, ...], dtype: Any) -> jax.Array:
        return jnp.zeros(
            shape, jax.dtypes.canonicalize_dtype(dtype)
        )  # float32 for float64, as wherever JAX takes an array

    if is_stream(data.train):
        return jax.tree.map(
            lambda array: zeros(np.shape(array), np.asarray(array).dtype), next(iter(data.train))
        )
    return jax.tree.map(lambda array: zeros((size or len(array), *array.shape[1:]), array.dtype), data.train)


def data_digest(data: Data | None, membership: np.ndarray | None = None) -> str:
    """A digest of the data's arrays and of how folds cut them; of a stream, only that it is one.

    Args:
        data: the data of a trial.
        membership: the fold of every training example; None without folds.
    """
    found = hashlib.sha256()
    for part in (*(data or ()), *(() if membership is None else (membership,))):
        if is_stream(part):
            found.update(b"stream")
            continue
        for leaf in jax.tree.leaves(part):
            array = np.ascontiguousarray(leaf)
            found.update(f"{array.shape}{array.dtype}".encode())
            found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()[:32]
