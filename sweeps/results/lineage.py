"""What the lineage of a population says: which members are independent, and the schedule that was found."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sweeps.results.ranking import Configuration


class Stage(NamedTuple):
    """Hyperparameters that a state was trained with, from a step on."""

    step: int
    values: dict[str, Any]


def is_evolved(manifest: Mapping[str, Any]) -> bool:
    """Whether members of the run learned from one another (population-based training).

    Args:
        manifest: what the run was.
    """
    return str(manifest.get("schedule") or "").startswith("pbt")


def first_seeds(lineage: pa.Table, members: np.ndarray) -> np.ndarray:
    """Per member the seed that the first state of its line was made with.

    Members whose states descend from one ancestor are no independent runs, nor are those of two ancestors
    that began with the same seed, and so in the same state on the same batches.

    Args:
        lineage: the table of lineages.
        members: ids, all in the table.
    """
    return lineage["ancestor_seed"].to_numpy()[_last_rows(lineage, members)]


def ancestors(lineage: pa.Table, members: np.ndarray) -> np.ndarray:
    """Per member the one whose state at step 0 its last state descends from.

    Args:
        lineage: the table of lineages.
        members: ids, all in the table.
    """
    return lineage["ancestor"].to_numpy()[_last_rows(lineage, members)]


def schedule_of(lineage: pa.Table, member: int, fields: Sequence[str]) -> list[Stage]:
    """The hyperparameters that a member's last state was trained with, by step, its ancestors' among them.

    Args:
        lineage: the table of lineages.
        member: the id.
        fields: swept fields.

    Returns:
        One stage from step 0 on, and one for every step after which a value was another.
    """
    ids, steps = lineage["member"].to_numpy(), lineage["step"].to_numpy()
    sources, before, found = lineage["source"].to_numpy(), np.inf, []
    while True:
        row = np.flatnonzero((ids == member) & (steps < before))[-1]
        values = {name: lineage[name][row].as_py() for name in fields}
        found.append(Stage(int(steps[row]), values))
        member, before = sources[row], steps[row]
        if before == 0:
            break
    stages = found[::-1]
    pairs = zip(stages[:1] + stages, stages, strict=False)
    return stages[:1] + [stage for last, stage in pairs if stage.values != last.values]


def best_schedule(results: Any, row: Configuration, fields: Sequence[str]) -> list[Stage]:
    """The hyperparameters by step of the best member of a configuration.

    Args:
        results: the run.
        row: the configuration.
        fields: swept fields.
    """
    sign = 1 if results.manifest["mode"] == "max" else -1
    place = int(np.argmax(np.nan_to_num(sign * row.values, nan=-np.inf)))
    return schedule_of(results.lineage, row.members[place], fields)


def followers(members: pa.Table, replayed: Mapping[str, Any]) -> np.ndarray:
    """Whether each member follows the schedule of a run that replays one.

    Args:
        members: rows of members.
        replayed: what the manifest says of the schedule and of who follows it.
    """
    return members["member"].to_numpy() < replayed["members"]


def with_last_values(members: pa.Table, replayed: Mapping[str, Any]) -> pa.Table:
    """The rows of members, those that follow a schedule with its last hyperparameters.

    A member that diverged on the way has the values of that step, but is a member of the schedule.

    Args:
        members: rows of members.
        replayed: what the manifest says of the schedule and of who follows it.
    """
    follows = followers(members, replayed)
    for name, value in replayed["values"][-1].items():
        kept = [
            value if own else before for own, before in zip(follows, members[name].to_pylist(), strict=True)
        ]
        column = pa.array(kept, members[name].type)
        members = members.set_column(members.column_names.index(name), name, column)
    return members


def _last_rows(lineage: pa.Table, members: np.ndarray) -> np.ndarray:
    """The last row of each member; rows are in the order of members, and of steps within one."""
    return np.searchsorted(lineage["member"].to_numpy(), members, side="right") - 1
