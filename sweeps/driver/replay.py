"""One member trained again, in the numerical setting that its run recorded, and compared bit for bit."""

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.engine.chunks import Chunk
from sweeps.engine.plan import Plan, examine, prepare
from sweeps.engine.training import Pace, Place, train
from sweeps.errors import StudyError, resume_line
from sweeps.host.progress import Display
from sweeps.host.signals import listening
from sweeps.members.request import request_again
from sweeps.members.sampling import all_members
from sweeps.results.lineage import is_evolved
from sweeps.space.bounds import whole_number
from sweeps.store import checkpoints, manifest
from sweeps.store import chunks as store
from sweeps.store.checkpoints import Writer
from sweeps.store.lock import locked
from sweeps.store.statuses import Status
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
    directory, recorded = Path(directory), store.read_manifest(directory)
    request = request_again(recorded, study)
    study = request.study
    member = whole_number("member", int(member) if isinstance(member, np.integer) else member, 0)
    if not 0 <= member < request.members:
        raise StudyError(f"`0 <= member < {request.members}` must hold, but got {member}")
    if is_evolved(recorded):
        raise StudyError(
            "`a member that was trained by itself` must hold, but got one of population-based training, "
            "whose states come from other members; run the study again with the same root_seed"
        )
    folders = _folders(directory, member)
    error = next((found for folder in folders if (found := store.read_setting(folder).get("error"))), None)
    if error is not None:
        raise StudyError(
            f"`a member that was trained` must hold, but got {member}, which failed: {error}; "
            f"`{resume_line(directory)}` tries again"
        )
    population = all_members(study, request.sampling, request.population, directory)
    study = _as_it_ended(study, folders[-1], member)
    trained, now, settings = [], [], [store.read_setting(folder) for folder in folders]
    with (
        tempfile.TemporaryDirectory() as scratch,
        locked(Path(scratch)) as lock,
        listening() as signals,
        Display(1, store.interval(folders[-1]).stop, shown=progress) as display,
    ):
        place = Place(Path(scratch), Writer(Path(scratch), math.inf), lock)
        for folder, setting in zip(folders, settings, strict=True):
            per_device = setting["members_per_device"]
            began = Plan(setting["devices"], per_device * setting["devices"], setting["loop"])
            prepared = prepare(examine(study, population), request.sampling.root_seed, began=began)
            mesh, group = prepared.bench.mesh, int(population.groups[member])
            width, steps = per_device * mesh.size, store.interval(folder)
            chunk = Chunk(group, np.asarray([member]), width, steps.start, steps.stop)
            trained.append(train(prepared, population, chunk, Pace(), display, signals, place))
            if trained[-1].checkpoint is not None:  # the next round begins from it
                checkpoints.save(place.directory, chunk.name, trained[-1].checkpoint)
            now.append(manifest.setting(mesh, setting["loop"], per_device))
    members = [_rows(pq.read_table(folder / "members.parquet"), member) for folder in folders]
    metrics = pa.concat_tables(_rows(pq.read_table(folder / "metrics.parquet"), member) for folder in folders)
    replayed = pa.concat_tables(part.metrics for part in trained)
    same = _equal_bits(members[-1], trained[-1].members) and _equal_bits(metrics, replayed)
    lines = [
        line
        for before, after in zip(settings, now, strict=True)
        for line in manifest.differences(before, after)
    ]
    return Replay(member, metrics, replayed, same, list(dict.fromkeys(lines)))


def _as_it_ended(study: Study, last: Path, member: int) -> Study:
    """The study with the steps that it had when a member was done, perhaps before it was given more."""
    if _rows(pq.read_table(last / "members.parquet"), member)["status"][0].as_py() != Status.DONE:
        return study
    steps = store.interval(last).stop
    earlier = tuple(step for step in study.earlier_steps if step < steps)
    return dataclasses.replace(study, steps=steps, earlier_steps=earlier)


def _folders(directory: Path, member: int) -> list[Path]:
    """The committed chunks that hold a member, in the order of its steps."""
    found = [folder for folder in store.readable(directory) if member in store.members_of(folder)]
    if not found:
        raise StudyError(
            f"`a member that is finished` must hold, but got {member}, which is not; "
            f"`{resume_line(directory)}` goes on with the run"
        )
    return sorted(found, key=store.interval)


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
