"""Where configurations stand while some members are ahead of others: who is best, and who was until when."""

from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.host.leads import Lead
from sweeps.results.results import Configuration, Results
from sweeps.store.leading import leading
from sweeps.store.statuses import LOST


def leads(members: pa.Table, metrics: pa.Table, run: dict[str, Any]) -> list[Lead]:
    """The best of a chunk's configurations at each of its evaluations.

    Args:
        members: the chunk's rows of members.
        metrics: its rows of metrics.
        run: the manifest.
    """
    if run["metric"] not in metrics.column_names:
        return []
    ids = members["member"].to_numpy()
    lost = np.isin(members["status"].to_numpy(zero_copy_only=False), LOST)
    swept = {name: np.asarray(members[name].to_pylist(), dtype=object) for name in run["swept"]}
    owner, steps = metrics["member"].to_numpy(), metrics["step"].to_numpy()
    values = metrics[run["metric"]].to_numpy(zero_copy_only=False).astype(np.float64)
    found = []
    for step in np.unique(steps):
        at = steps == step
        column = np.full(len(ids), np.nan)
        column[np.searchsorted(ids, owner[at])] = values[at]
        column[lost] = np.nan
        found.append(leading(ids, swept, column, int(step), run["mode"]))
    return [each for each in found if each is not None]


def ranked(results: Results) -> tuple[list[Configuration], Lead | None]:
    """Configurations, the best at the last step that any has come to first, and that best one.

    Args:
        results: of a run that goes on.
    """
    members, metrics = results.members, results.metrics
    ids, run = members["member"].to_numpy(), results.manifest
    sign = 1.0 if run["mode"] == "max" else -1.0
    owner, steps = metrics["member"].to_numpy(), metrics["step"].to_numpy()
    values = metrics[run["metric"]].to_numpy(zero_copy_only=False).astype(np.float64)
    lost = ids[np.isin(members["status"].to_numpy(zero_copy_only=False), LOST)]
    counted = np.isfinite(values) & ~np.isin(owner, lost)
    last, score = np.zeros(len(ids), np.int64), np.full(len(ids), np.nan)
    row = np.searchsorted(ids, owner[counted])  # rows are in the order of steps, so the last stays
    last[row], score[row] = steps[counted], values[counted]

    def rank(row: Configuration) -> tuple[int, int, float]:
        at = np.searchsorted(ids, row.members)
        step = int(last[at].max(initial=0))
        own = score[at][(last[at] == step) & np.isfinite(score[at])]
        return -step, -len(own), -sign * float(own.mean()) if len(own) else np.inf

    step = int(last.max(initial=0))
    swept = {name: np.asarray(members[name].to_pylist(), dtype=object) for name in run["swept"]}
    best = leading(ids, swept, np.where(last == step, score, np.nan), step, run["mode"])
    return sorted(results.configurations(), key=rank), best


def last_steps(metrics: pa.Table, members: np.ndarray) -> np.ndarray:
    """The last step that each of some members was evaluated at, -1 where it was not.

    Args:
        metrics: rows of metrics.
        members: ids.
    """
    owner, steps = metrics["member"].to_numpy(), metrics["step"].to_numpy()
    last = np.full(max(owner.max(initial=-1), members.max(initial=-1)) + 1, -1, np.int64)
    np.maximum.at(last, owner, steps)
    return last[members]
