"""The best configuration so far, while members are at different steps and some are lost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.host.leads import Lead
from sweeps.space.values import as_text, own_values
from sweeps.store import derived
from sweeps.store.statuses import LOST


def leading(
    members: np.ndarray, swept: Mapping[str, np.ndarray], values: np.ndarray, step: int, mode: str
) -> Lead | None:
    """The best of the configurations that were evaluated at a step, those with most seeds first.

    Args:
        members: ids, ascending; seeds of a configuration need not stand side by side, for those of an
            extension come later.
        swept: the swept fields, a value per member each.
        values: the metric of every member, not finite where it is lost or was not evaluated.
        step: the step.
        mode: `max` or `min`.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return None
    first = np.ones(len(members), bool)
    if len(members) > 1:
        first[1:] = False
        for column in swept.values():
            first[1:] |= (column[1:] != column[:-1]).astype(bool)
    starts, numbers = np.flatnonzero(first), dict[tuple, int]()
    runs = zip(*(column[starts].tolist() for column in swept.values()), strict=True) if swept else [()]
    own = np.asarray([numbers.setdefault(config, len(numbers)) for config in runs])
    seeds, sums = np.zeros(len(numbers), np.int64), np.zeros(len(numbers))
    np.add.at(seeds, own, np.add.reduceat(finite.astype(np.int64), starts))
    np.add.at(sums, own, np.add.reduceat(np.where(finite, values, 0.0).astype(np.float64), starts))
    starts = starts[np.unique(own, return_index=True)[1]]
    means = np.where(seeds > 0, sums / np.maximum(seeds, 1), -np.inf if mode == "max" else np.inf)
    place = np.lexsort((-means if mode == "max" else means, -seeds))[0]  # the first of those that are equal
    at = starts[place]
    config = in_words({name: column[at] for name, column in swept.items()})
    return Lead(step, int(seeds[place]), float(means[place]), int(members[at]), config)


def committed_lead(
    directory: Path, manifest: Mapping[str, Any], tables: derived.Held | None = None
) -> Lead | None:
    """The best of the configurations at the last step that any has come to, by what is committed.

    Args:
        directory: the run directory.
        manifest: what the run is.
        tables: what `derived.held` has said; None asks.
    """
    tables = derived.held(directory) if tables is None else tables
    metric, names = manifest["metric"], list(manifest["swept"])
    count = manifest["members"]
    members = derived.read(directory, "members", count, ["member", "status", *names], tables)
    metrics = derived.read(directory, "metrics", count, ["member", "step", metric], tables)
    if members is None or metrics is None:
        return None
    ids, values = members["member"].to_numpy(), metrics[metric].to_numpy(zero_copy_only=False)
    lost = ids[np.isin(members["status"].to_numpy(zero_copy_only=False), LOST)]
    owner, steps = metrics["member"].to_numpy(), metrics["step"].to_numpy()
    counted = np.isfinite(values) & ~np.isin(owner, lost)
    if not counted.any():
        return None
    step = steps[counted].max()
    counted &= steps == step
    found = np.full(len(ids), np.nan)
    found[np.searchsorted(ids, owner[counted])] = values[counted]
    swept = {name: np.asarray(members[name].to_pylist(), dtype=object) for name in names}
    return leading(ids, swept, found, int(step), manifest["mode"])


def in_words(config: Mapping[str, Any]) -> str:
    """A configuration in words, `alpha=0.1, width=64`.

    Args:
        config: fields and values.

    Example:
        >>> in_words({"alpha": 0.1, "width": 64, "layers": (8, 8)})
        'alpha=0.1, width=64, layers=(8, 8)'
    """
    said = (
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={as_text(value)}"
        for name, value in own_values(config).items()
    )
    return ", ".join(said) or "the default configuration"
