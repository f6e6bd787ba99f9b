"""The training data as folds cut it: what a member trains on, and what it is judged by."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sweeps.errors import StudyError

TEST, VALIDATION = "test/", "validation/"


class Split(NamedTuple):
    """Training data, and which of it each fold holds out.

    Attributes:
        data: a pytree of arrays with one leading axis of examples.
        fold: of each example, int32.
        held: for each number of examples that a fold may have, a table of the examples that are held out, a
            row per fold; the rows of folds of another size mean nothing.
        table: per fold, which of these tables it is in.
    """

    data: Any
    fold: Any
    held: tuple[Any, ...]
    table: Any

    @property
    def training_size(self) -> int:
        """How many examples every fold has at least to train on."""
        return len(self.fold) - max(table.shape[1] for table in self.held)


class Judged(NamedTuple):
    """What members of a study with folds are evaluated on.

    Attributes:
        split: the training data.
        evaluation: the evaluation data; None if there is none.
    """

    split: Split
    evaluation: Any


def split(train: Any, membership: np.ndarray) -> Split:
    """The training data, cut.

    Args:
        train: a pytree of arrays.
        membership: the fold of every example.
    """
    sizes = np.bincount(membership)
    different = np.unique(sizes)
    held = [np.zeros((len(sizes), size), np.int32) for size in different]
    table = np.searchsorted(different, sizes).astype(np.int32)
    for fold, place in enumerate(table):
        held[place][fold] = np.flatnonzero(membership == fold)
    return Split(train, membership, tuple(held), table)


def rows_of(data: Any, index: Any) -> Any:
    """The examples at some places.

    Args:
        data: a pytree of arrays with one leading axis of examples.
        index: places among them, of any shape.
    """
    return jax.tree.map(lambda array: array.at[index].get(mode="promise_in_bounds"), data)


def evaluated(evaluate: Callable[[Any], dict[str, Any]], evaluation: Any, fold: Any) -> dict[str, Any]:
    """What an evaluation of one member reports.

    With folds, what the member holds out is reported as `validation/…`, and under the metrics' own names too
    where there is no evaluation data.

    Args:
        evaluate: data to scalars by name.
        evaluation: the evaluation data, or `Judged`.
        fold: the fold that the member holds out; None without folds.

    Raises:
        StudyError: two metrics would have one name.
    """
    if not isinstance(evaluation, Judged):
        return evaluate(evaluation)
    part = evaluation.split
    found: dict[str, Any] = {}
    # Folds of another size are other shapes; there are mostly one or two sizes, and the member's own counts.
    for place, table in enumerate(part.held):
        own = evaluate(rows_of(part.data, jnp.asarray(table)[fold]))
        here = jnp.asarray(part.table)[fold] == place
        found = {name: jnp.where(here, value, found.get(name, value)) for name, value in own.items()}
    held = {VALIDATION + name.removeprefix(TEST): value for name, value in found.items()}
    other = found if evaluation.evaluation is None else evaluate(evaluation.evaluation)
    if len(held) < len(found) or held.keys() & other.keys():
        raise StudyError(
            f"`test/x is reported as validation/x` must hold with folds, but got metrics of both names among "
            f"{', '.join(other)}; rename one"
        )
    return other | held
