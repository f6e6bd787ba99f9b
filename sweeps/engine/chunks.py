"""Members, memory and measurements to chunks: pure functions, and what `sweeps plan` prints."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sweeps.errors import StudyError

# What fits in a core's cache, gradients beside it; wider populations of the same model ran slower.
CPU_CACHE_BYTES = 2 * 2**20
MOST_PER_DEVICE = 4096
MOST_CHUNKS = 10_000  # of a process, so that who reads the run soon has; no narrower width is sought out
# What a chunk costs beside its steps: measured with tiny networks, 23 ms on this process's own devices and
# 57 ms by a worker, most of it for the disk to have what is committed; without a folder a fifth of that.
SECONDS_IN_MEMORY, SECONDS_ON_DISK, SECONDS_BY_WORKER = 0.005, 0.025, 0.06
# Operations that busy a core for long gain nothing from members side by side, which then only crowd its
# cache: of 85 (GRU) and 125 (CNN) million a step, members in turn were 1.3 and 1.1 times as fast; of 18 (MLP)
# 0.97, and far slower for tiny networks.
CPU_MAP_FLOPS = 4e7
EXPLORE_ABOVE = 40  # times the compile time: exploring another width must cost less than a few percent


class Chunk(NamedTuple):
    """Members that run as one.

    Attributes:
        group: the static group.
        members: their ids, ascending.
        width: how many rows the program has; the rows past the members are padding.
        start: the step it begins after.
        stop: the step it ends with.
        again: whether it is trained from step 0, since the states at its start are not kept; what was found
            until then is there, and is not taken down again.
    """

    group: int
    members: np.ndarray
    width: int
    start: int = 0
    stop: int = 0
    again: bool = False

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.group}-{int(self.members[0])}-{self.start}-{self.stop}"

    @property
    def after(self) -> int:
        """The step after which it is trained."""
        return 0 if self.again else self.start

    @property
    def steps(self) -> int:
        """How many steps it is trained."""
        return self.stop - self.after


class Measurement(NamedTuple):
    """One candidate, compiled and timed.

    Attributes:
        per_device: members per device.
        loop: `scan` for one program over many steps, `map` for one in which members take turns in each step,
            `host` for one call per step.
        seconds_per_step: of all members of a chunk together.
        compile_seconds: what compiling took, or what reading it from the cache took.
        bytes_per_device: what the program needs on each device: arguments, results and temporaries.
    """

    per_device: int
    loop: str
    seconds_per_step: float
    compile_seconds: float
    bytes_per_device: int


class Memory(NamedTuple):
    """What a program needs on a device: `fixed + per_member * members`, in bytes."""

    fixed: float
    per_member: float


def cut(groups: np.ndarray, devices: int, most: int, only: np.ndarray | None = None) -> list[Chunk]:
    """Cuts every group into chunks of one width, the last of which may be padded.

    The width is as even as it can be: 10 members at most 8 to a chunk make two chunks of 5, not 8 and 2.

    Args:
        groups: one static group per member.
        devices: how many devices share a chunk; widths are multiples of it.
        most: the largest width wanted.
        only: the ids to cut; None cuts all.

    Raises:
        StudyError: `most` is not positive.

    Example:
        >>> [len(chunk.members) for chunk in cut(np.zeros(10, int), devices=1, most=8)]
        [5, 5]
    """
    if most < 1:
        raise StudyError(f"`1 <= members_per_chunk` must hold, but got {most}")
    ids = np.arange(len(groups)) if only is None else only
    order = ids[np.argsort(groups[ids], kind="stable")]
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    chunks = []
    for members in np.split(order, starts[1:]):
        even = -(-len(members) // -(-len(members) // most))
        width = -(-even // devices) * devices
        group = int(groups[members[0]])
        chunks += [Chunk(group, members[at : at + width], width) for at in range(0, len(members), width)]
    return chunks


def halved(chunk: Chunk, devices: int, narrower: bool = False) -> list[Chunk]:
    """A chunk that failed, in halves; nothing if it has none.

    Args:
        chunk: the chunk.
        devices: how many devices share it.
        narrower: whether the program becomes half as wide, for want of memory. Otherwise its members are
            parted and the program stays, so that nothing is compiled and members keep their bits.

    Example:
        >>> [len(half.members) for half in halved(Chunk(0, np.arange(5), width=8), devices=1)]
        [3, 2]
    """
    width = -(-chunk.width // 2 // devices) * devices if narrower else chunk.width
    count = width if narrower else -(-len(chunk.members) // 2)
    if width == chunk.width and count >= len(chunk.members):
        return []
    return [
        chunk._replace(members=chunk.members[at : at + count], width=width)
        for at in range(0, len(chunk.members), count)
    ]


def balanced(members: int, most: int, workers: int) -> int:
    """The members per chunk with which workers end together: as many chunks for each.

    Args:
        members: how many members the largest group has.
        most: the largest width wanted.
        workers: how many take chunks.

    Example:
        >>> balanced(20, most=8, workers=2)
        5
    """
    each = -(-members // (most * workers))
    return min(most, -(-members // (each * workers)))


def compact(
    groups: np.ndarray, devices: int, widths: Mapping[int, int], only: np.ndarray, narrower: bool = True
) -> list[Chunk]:
    """Gathers what is left of a population into full chunks again.

    Each group keeps the width it was planned with, so that its program is used again and equal members have
    equal bits; a group that is smaller than that takes the narrowest of a ladder of halves that holds it.

    Args:
        groups: one static group per member.
        devices: how many devices share a chunk; widths are multiples of it.
        widths: the width that each group was planned with.
        only: the ids that are left.
        narrower: whether a group that is smaller takes a narrower program.

    Example:
        >>> chunks = compact(np.zeros(100, int), 2, {0: 16}, only=np.arange(0, 100, 10))
        >>> [(chunk.width, len(chunk.members)) for chunk in chunks]
        [(16, 10)]
        >>> compact(np.zeros(100, int), 2, {0: 16}, only=np.array([3, 7, 99]))[0].width
        4
    """
    chunks = []
    order = np.sort(only)
    for group in np.unique(groups[order]):
        members = order[groups[order] == group]
        width = widths[int(group)]
        while narrower and (half := -(-width // 2 // devices) * devices) >= len(members) and half < width:
            width = half
        chunks += [Chunk(int(group), members[at : at + width], width) for at in range(0, len(members), width)]
    return chunks


def ladder(members: int, devices: int, workers: int = 1, most: int | None = None) -> list[int]:
    """The members per device that chunks may have, ascending: powers of two, evened out as `cut` does.

    Args:
        members: how many members the largest group has.
        devices: how many devices share a chunk.
        workers: how many processes take chunks.
        most: the widest wanted, exactly; None sets no bound.

    Example:
        >>> ladder(20, devices=2)
        [1, 2, 4, 5, 10]
    """
    full = -(-members // (devices * workers))
    powers = {2**power for power in range(full.bit_length() + 1)} | {most or 1}
    found = set()
    for width in powers:
        if width <= min(most or MOST_PER_DEVICE, MOST_PER_DEVICE):
            widest = balanced(members, width * devices, workers) if workers > 1 else width * devices
            even = -(-members // -(-members // widest))
            found.add(-(-even // devices))
    return sorted(found)


def first_width(member_bytes: int, widths: Sequence[int], accelerator: bool) -> int:
    """The members per device to try first: the widest that leave one another room, or the narrowest there is.

    Args:
        member_bytes: what one member keeps in the cache: its state, and what a step makes of it.
        widths: members per device, ascending.
        accelerator: whether the devices are not CPU cores.
    """
    room = 256 if accelerator else CPU_CACHE_BYTES / max(member_bytes, 1)
    return max((width for width in widths if width <= room), default=widths[0])


def first_loop(flops: float, accelerator: bool) -> str:
    """The loop to try first, `scan` or `map`.

    Args:
        flops: the arithmetic of one step of one member, as the compiler counts it.
        accelerator: whether the devices are not CPU cores.

    Example:
        >>> first_loop(1e8, accelerator=False)
        'map'
    """
    return "map" if flops >= CPU_MAP_FLOPS and not accelerator else "scan"


def fit_memory(measurements: Sequence[Measurement]) -> Memory | None:
    """The line through the memory of the narrowest and the widest candidate; None for one width."""
    widths = sorted({(measured.per_device, measured.bytes_per_device) for measured in measurements})
    (narrow, small), (wide, large) = widths[0], widths[-1]
    if narrow == wide:
        return None
    slope = max((large - small) / (wide - narrow), 1.0)
    return Memory(max(small - slope * narrow, 0.0), slope)


def widest(memory: Memory, available_bytes: float | int) -> int:
    """How many members per device fit into the memory.

    Raises:
        StudyError: not even one does.
    """
    room = available_bytes - memory.fixed
    if room < memory.per_member:
        need = (memory.fixed + memory.per_member) / 2**20
        raise StudyError(
            f"`one member fits into the device's memory` must hold, but got {need:.0f} MiB for one member "
            f"and {available_bytes / 2**20:.0f} MiB to use"
        )
    return int(room // memory.per_member)


def next_width(
    measurements: Sequence[Measurement],
    member_steps: float | int,
    devices: int,
    widths: Sequence[int],
    share: float = 0.0,
) -> int | None:
    """The members per device to try next, or None when trying costs more than it can gain.

    Goes up while each step is worth 5 %; if the first is not, goes down likewise.

    Args:
        measurements: what was tried, the first width first.
        member_steps: how much work there is: members times steps.
        devices: how many devices share a chunk.
        widths: those that fit the memory, ascending.
        share: as `cost` has it.
    """
    if not worth_trying(measurements, member_steps, devices, share):
        return None
    tried = {measured.per_device: cost(measured, share) for measured in measurements}
    first = measurements[0].per_device
    above = [width for width in widths if width > first]
    below = [width for width in reversed(widths) if width < first]
    for direction in (above, below):
        best = first
        for following in direction:
            if following not in tried:
                return following
            if tried[following] > 0.95 * tried[best]:
                break
            best = following
        if best != first:
            return None
    return None


def worth_trying(
    measurements: Sequence[Measurement], member_steps: float | int, devices: int, share: float = 0.0
) -> bool:
    """Whether there is so much work that compiling and timing one more candidate costs little of it."""
    work = member_steps * cost(fastest(measurements, share), share) / devices
    return work >= EXPLORE_ABOVE * max(measured.compile_seconds for measured in measurements)


def cost(measured: Measurement, share: float = 0.0) -> float:
    """Seconds per member and step, up to the constant number of devices.

    Args:
        measured: the candidate.
        share: of one step in what a chunk takes beside its steps, in seconds; what narrow chunks, of which
            there are more, take longer for.

    Example:
        >>> narrow, wide = Measurement(4, "scan", 1e-3, 1.0, 0), Measurement(64, "scan", 2e-2, 1.0, 0)
        >>> cost(narrow) < cost(wide), cost(narrow, share=0.025 / 20) < cost(wide, share=0.025 / 20)
        (True, False)
    """
    return (measured.seconds_per_step + share) / measured.per_device


def fastest(measurements: Sequence[Measurement], share: float = 0.0) -> Measurement:
    """The candidate with the least time per member and step.

    Args:
        measurements: the candidates.
        share: as `cost` has it.
    """
    return min(measurements, key=lambda measured: cost(measured, share))
