"""Members and metrics put together under their labels: an xarray.Dataset, and one long table."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.errors import StudyError, imported

OUTCOME = ("group", "status", "diverged_at", "stopped_at")  # columns of members besides id, seed and fields


def dataset(
    members: pa.Table,
    metrics: pa.Table,
    swept: Iterable[str],
    *,
    crossed: bool,
    repeated: tuple[str, ...] = ("seed",),
    attributes: Mapping[str, Any],
) -> Any:
    """Members and metrics as arrays whose axes have names.

    Args:
        members: a row per member, by ascending id.
        metrics: a row per member and evaluation.
        swept: the fields that vary.
        crossed: whether the fields may be axes; they are if every combination of their values and the seeds
            is there exactly once, and else `member` is the axis, with the fields and `seed` along it.
        repeated: what each point was trained with besides, an axis each.
        attributes: what the dataset says of itself.

    Returns:
        An `xarray.Dataset`: a variable per metric, NaN where a member was not evaluated, and variables for
        what became of each member.

    Raises:
        StudyError: xarray is not installed, or a field is named `step`.
    """
    xarray = imported("xarray", "'lrelu-jax[sweeps]'", " for labelled arrays")
    names = metric_names(members, metrics)
    axes = (*swept, *repeated)
    grid = _grid(members, axes) if crossed else None
    if grid is None:
        axes, labels = ("member",), [members["member"].to_numpy()]
        cells = np.arange(len(members))
    else:
        labels, cells = grid
    shape = tuple(len(each) for each in labels)

    def placed(values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        laid = np.empty_like(values)
        laid[cells] = values
        return axes, laid.reshape(shape + values.shape[1:])

    coordinates: dict[str, Any] = dict(zip(axes, labels, strict=True))
    variables: dict[str, Any] = {}
    for name in members.column_names:
        if name in OUTCOME:
            variables[name] = placed(_values(members[name]))
        elif name not in axes:
            # A field that no member varies is one value; the id and the swept fields differ along the axes.
            varies = name in ("member", *repeated, *swept) or len(members[name].unique()) > 1
            values = _values(members[name])
            coordinates[name] = placed(values) if varies else values[0]
    rows = np.searchsorted(members["member"].to_numpy(), metrics["member"].to_numpy())
    steps, at = np.unique(metrics["step"].to_numpy(), return_inverse=True)
    for name, label in names.items():
        values = _values(metrics[name])
        kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
        block = np.full((len(members), len(steps)), np.nan, kind)
        block[rows, at] = values
        variables[label] = ((*axes, "step"), placed(block)[1])
    return xarray.Dataset(variables, {**coordinates, "step": steps}, dict(attributes))


def joined(members: pa.Table, metrics: pa.Table) -> pa.Table:
    """One row per member and evaluation, with all that is known of the member in every row.

    Args:
        members: a row per member, by ascending id.
        metrics: a row per member and evaluation, by ascending id and step.

    Returns:
        The columns of members, then `step` and the metrics; a member without an evaluation has one row, in
        which these are null.

    Raises:
        StudyError: a field is named `step`.
    """
    names = metric_names(members, metrics)
    ids, evaluated = members["member"].to_numpy(), metrics["member"].to_numpy()
    table = members.take(np.searchsorted(ids, evaluated)).append_column("step", metrics["step"])
    for name, label in names.items():
        table = table.append_column(label, metrics[name])
    bare = members.filter(pa.array(~np.isin(ids, evaluated)))
    if not len(bare):
        return table
    together = pa.concat_tables([table, bare], promote_options="default")
    return together.sort_by([("member", "ascending"), ("step", "ascending")])


def metric_names(members: pa.Table, metrics: pa.Table) -> dict[str, str]:
    """What each metric is called beside the columns of members: its name, or `metric/name` if that is taken.

    Raises:
        StudyError: a field is named `step`, which is what evaluations are told apart by.
    """
    taken = {*members.column_names, "step"}
    if "step" in members.column_names:
        raise StudyError("`no field is named step` must hold where metrics go with fields, but got one")
    return {
        name: f"metric/{name}" if name in taken else name
        for name in metrics.column_names
        if name not in ("member", "step")
    }


def _grid(members: pa.Table, names: Iterable[str]) -> tuple[list[np.ndarray], np.ndarray] | None:
    """The levels of each column and the cell of each member, if every combination is there exactly once."""
    encoded = [members[name].dictionary_encode("encode").combine_chunks() for name in names]
    shape = [len(column.dictionary) for column in encoded]
    if math.prod(shape) != len(members):
        return None
    cells = np.asarray(np.ravel_multi_index([column.indices.to_numpy() for column in encoded], shape))
    if len(np.unique(cells)) < len(members):
        return None
    return [_values(pa.chunked_array([column.dictionary])) for column in encoded], cells


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """The values: null is NaN among numbers, and the text `None` among texts and booleans."""
    if column.null_count and pa.types.is_boolean(column.type):
        true, unset = column.fill_null(False).to_numpy(), column.is_null().to_numpy()
        return np.select([true, unset], ["True", "None"], "False").astype(object)
    if column.null_count and pa.types.is_string(column.type):
        column = column.fill_null("None")
    return column.to_numpy(zero_copy_only=False)
