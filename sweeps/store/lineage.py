"""Whose states members of a population went on from, and their hyperparameters by step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.schedules.pbt import LINEAGE
from sweeps.store.chunks import interval, read_file, readable
from sweeps.store.rungs import sources_by_step, warn_of_damage


def lineage(directory: Path, swept: Sequence[str], members: pa.Table) -> pa.Table:
    """A row per member at step 0, and at every step from which on it had another state or other values.

    Args:
        directory: the run directory.
        swept: the fields that vary.
        members: rows of members; those that no chunk has from step 0 on, which are pending or damaged, begin
            as they are here.

    Returns:
        `member`; `step`, from which on the row holds; `source`, the member whose state it went on from there,
        itself where it kept its own; `ancestor`, the member that this state descends from since step 0, and
        `ancestor_seed`, whose seed made the first state of it; and the swept fields' values.
    """
    names = ["member", "seed", *swept]
    rounds: dict[int, list[pa.Table]] = {}
    for folder in readable(directory):
        rows = read_file(folder / "members.parquet", names)
        rounds.setdefault(interval(folder).start, []).append(rows)
    warn_of_damage(directory, rounds)
    there = np.concatenate([np.zeros(0, int), *(rows["member"].to_numpy() for rows in rounds.get(0, []))])
    rounds.setdefault(0, []).append(
        members.select(names).filter(~np.isin(members["member"].to_numpy(), there))
    )
    begun = {
        start: pa.concat_tables(tables, promote_options="permissive")
        for start, tables in sorted(rounds.items())
    }
    return traced_back(begun, sources_by_step(directory), swept)


def traced_back(
    rounds: Mapping[int, pa.Table], sources: Mapping[int, Mapping[int, int]], swept: Sequence[str]
) -> pa.Table:
    """The lineage of members whose rows are known.

    Args:
        rounds: by the step that they begin at, ascending, the members that are trained in each interval.
        sources: by step the members that took another's state then, and whose.
        swept: the fields that vary.
    """
    ancestor: dict[int, int] = {}
    seed: dict[int, int] = {}
    before: dict[int, tuple] = {}
    found: list[tuple] = []
    for start, table in rounds.items():
        taken, descends = sources.get(start, {}), {}
        columns = [table[name].to_pylist() for name in ("member", "seed", *swept)]
        for member, own_seed, *values in zip(*columns, strict=True):
            seed.setdefault(member, own_seed)
            source = taken.get(member, member)
            descends[member] = ancestor.get(source, source)
            if member in taken or before.get(member) != (*values,):
                found.append((member, start, source, descends[member], *values))
            before[member] = (*values,)
        ancestor |= descends
    found.sort(key=lambda row: row[:2])
    kinds = {name: next(iter(rounds.values())).schema.field(name).type for name in swept} if rounds else {}
    made: dict[str, Any] = {
        name: pa.array([row[place] for row in found], pa.int64()) for place, name in enumerate(LINEAGE[:4])
    }
    made["ancestor_seed"] = pa.array([seed[row[3]] for row in found], pa.uint32())
    for place, name in enumerate(swept, 4):
        made[name] = pa.array([row[place] for row in found], kinds.get(name))
    return pa.table(made)
