"""One member trained again, in the numerical setting that its run recorded, and compared bit for bit."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps import manifest, store
from sweeps.measurement import Choice
from sweeps.planning import Chunk
from sweeps.preparation import examine, prepare
from sweeps.progress import Display
from sweeps.request import request
from sweeps.signals import listening
from sweeps.space import StudyError
from sweeps.training import Pace, train
from sweeps.trial import Study


class Replay(NamedTuple):
    """A member's numbers, as they were recorded and as they are now.

    Attributes:
        member: the id.
        recorded: its rows of metrics in the run directory.
        replayed: the same rows, trained again.
        same: whether status, `diverged_at` and all metrics agree bit for bit.
        differences: how the numerical setting differs from the recorded one, a line each.
    """

    member: int
    recorded: pa.Table
    replayed: pa.Table
    same: bool
    differences: list[str]


def replay(directory: str | Path, member: int, study: Study, *, progress: bool = True) -> Replay:
    """Trains one member of a run again.

    The program is as wide as the one that trained it; the member takes all of its rows.

    Args:
        directory: the run directory.
        member: the member's id.
        study: the study that it is a run of; a study that differs is refused.
        progress: whether to show progress on standard error.

    Returns:
        What was recorded and what came out.

    Raises:
        StudyError: there is no such member, it is not finished, or the study has changed.
    """
    recorded = store.read_manifest(directory)
    asked = request(recorded, study, recorded["samples"], recorded["root_seed"])
    if not 0 <= member < len(asked.population):
        raise StudyError(f"`0 <= member < {len(asked.population)}` must hold, but got {member}")
    folder = _folder(directory, member)
    setting = store.read_setting(folder)
    wanted = jax.devices()[: setting["devices"]]
    per_device = setting["members_per_device"]
    prepared = prepare(
        examine(study, asked.population),
        asked.root_seed,
        wanted,
        per_device * len(wanted),
        choice=Choice(per_device, setting["loop"], (), None),
    )
    mesh = prepared.bench.mesh
    chunk = Chunk(int(asked.population.groups[member]), np.asarray([member]), per_device * mesh.size)
    with listening() as signals, Display(1, study.steps, shown=progress) as display:
        trained = train(prepared, chunk, Pace(), display, signals, None)
    members, metrics = (_rows(pq.read_table(folder / f"{kind}.parquet"), member) for kind in store.KINDS)
    same = _equal_bits(members, trained.members) and _equal_bits(metrics, trained.metrics)
    now = manifest.setting(mesh, setting["loop"], per_device)
    return Replay(member, metrics, trained.metrics, same, manifest.differences(setting, now))


def _folder(directory: str | Path, member: int) -> Path:
    """The committed chunk that holds a member."""
    for folder in store.committed(directory):
        ids = pq.read_table(folder / "members.parquet", columns=["member"])["member"].to_numpy()
        if member in ids:
            return folder
    raise StudyError(
        f"`a member that is finished` must hold, but got {member}, which is not; `sweeps resume {directory}` "
        f"goes on with the run"
    )


def _rows(table: pa.Table, member: int) -> pa.Table:
    return table.filter(table["member"].to_numpy() == member).sort_by(
        store.ORDER[: 1 + ("step" in table.schema.names)]
    )


def _equal_bits(first: pa.Table, second: pa.Table) -> bool:
    """Whether two tables agree in every bit, NaN included."""
    if first.schema.names != second.schema.names or len(first) != len(second):
        return False
    return all(_bits(first[name]) == _bits(second[name]) for name in first.schema.names)


def _bits(column: Any) -> Any:
    values = column.combine_chunks()
    if pa.types.is_floating(values.type):
        return values.to_numpy(zero_copy_only=False).tobytes()
    return values.to_pylist()
