"""How long members took: each has an equal share of the seconds of its chunks."""

import math
from pathlib import Path

import numpy as np

from sweeps.store.checksums import READING_ERRORS, unsealed
from sweeps.store.chunks import SECONDS, committed, members_of


def member_seconds(directory: Path, members: np.ndarray) -> np.ndarray:
    """The seconds of each member, over all rounds; NaN where a chunk of it does not say how long it took.

    Args:
        directory: the run directory.
        members: their ids.
    """
    ids, shares = [np.zeros(0, np.int64)], [np.zeros(0)]
    for folder in committed(directory):
        try:
            own = members_of(folder)
        except (*READING_ERRORS, KeyError):
            continue  # its rows are left out everywhere
        ids.append(own)
        shares.append(np.full(len(own), chunk_seconds(folder) / max(1, len(own))))
    known, at = np.unique(np.concatenate(ids), return_inverse=True)
    sums = np.append(np.bincount(at, np.concatenate(shares), len(known)), math.nan)
    place = np.searchsorted(known, members)
    there = np.isin(members, known)
    return sums[np.where(there, place, len(known))]


def chunk_seconds(folder: Path) -> float:
    """How long a chunk took; NaN if an earlier version wrote it, or the file is damaged or gone.

    Args:
        folder: `chunks/<name>` of the run directory.
    """
    try:
        record, safe = unsealed(folder / SECONDS, ("seconds",))
        return float(record["seconds"]) if safe else math.nan
    except (*READING_ERRORS, TypeError):
        return math.nan
