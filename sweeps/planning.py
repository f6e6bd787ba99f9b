"""Which members run together: chunks of equal width, cut from each static group."""

from typing import NamedTuple

import numpy as np

from sweeps.space import StudyError

MEMBERS_PER_DEVICE = 4


class Chunk(NamedTuple):
    """Members that run as one.

    Attributes:
        group: the static group.
        members: their ids, ascending.
        width: how many rows the program has; the rows past the members are padding.
    """

    group: int
    members: np.ndarray
    width: int

    @property
    def name(self) -> str:
        """The part of the chunk's folder name that tells its members."""
        return f"{self.group}-{int(self.members[0])}"


def cut(groups: np.ndarray, devices: int, members_per_chunk: int | None = None) -> list[Chunk]:
    """Cuts every group into chunks of one width, the last of which may be padded.

    The width is as even as it can be: 10 members at most 8 to a chunk make two chunks of 5, not 8 and 2.

    Args:
        groups: one static group per member.
        devices: how many devices share a chunk; widths are multiples of it.
        members_per_chunk: the largest width wanted; None chooses.

    Raises:
        StudyError: `members_per_chunk` is not positive.

    Example:
        >>> [len(chunk.members) for chunk in cut(np.zeros(10, int), devices=1, members_per_chunk=8)]
        [5, 5]
    """
    if members_per_chunk is not None and members_per_chunk < 1:
        raise StudyError(f"`1 <= members_per_chunk` must hold, but got {members_per_chunk}")
    most = members_per_chunk or MEMBERS_PER_DEVICE * devices
    chunks = []
    for group in range(int(groups.max()) + 1):
        members = np.flatnonzero(groups == group)
        even = -(-len(members) // -(-len(members) // most))
        width = -(-even // devices) * devices
        chunks += [Chunk(group, members[at : at + width], width) for at in range(0, len(members), width)]
    return chunks
