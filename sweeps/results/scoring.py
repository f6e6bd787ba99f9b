"""Which evaluation of a member is its score, and which members have one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.store.statuses import Status


def keeps_scores(manifest: Mapping[str, Any]) -> bool:
    """Whether members that the schedule stopped have a score that the others can be compared with.

    Early stopping ends what no longer improves; halving ends what is worse, before it can be compared.

    Args:
        manifest: what the run was.
    """
    return str(manifest.get("schedule") or "").startswith("early_stopping")


def scored(manifest: Mapping[str, Any]) -> tuple[Status, ...]:
    """What members are that have a score: done, or stopped by early stopping.

    Args:
        manifest: what the run was.
    """
    return (Status.DONE, Status.STOPPED) if keeps_scores(manifest) else (Status.DONE,)


def scored_rows(members: pa.Table, metrics: pa.Table, manifest: Mapping[str, Any]) -> np.ndarray:
    """Per member the row of metrics that it is scored by; -1 where it diverged or has no score yet.

    With `select="last"` that of its last evaluation, with `"best"` the first at which the study's metric was
    best; -1 also if that was never finite.

    Args:
        members: rows of members, ascending.
        metrics: rows of metrics, in the order of member and step.
        manifest: what the run was.
    """
    ids, owners = members["member"].to_numpy(), metrics["member"].to_numpy()
    order = np.arange(len(owners))
    if manifest.get("select") == "best":
        values = metrics[manifest["metric"]].to_numpy(zero_copy_only=False)
        sign = 1 if manifest["mode"] == "max" else -1
        finite = np.where(np.isfinite(values), sign * values, -np.inf)
        order = np.lexsort((-metrics["step"].to_numpy(), finite, owners))
        order = order[np.isfinite(values[order])]  # the last row of each member is its best now
    last = np.searchsorted(owners[order], ids, side="right") - 1
    there = (last >= 0) & np.isin(members["status"].to_numpy(), scored(manifest))
    there[there] = owners[order[last[there]]] == ids[there]
    return np.where(there, order[last] if len(order) else -1, -1)
