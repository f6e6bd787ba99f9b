"""Training data that arrives batch by batch: read ahead in a thread, once for all members of a step."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sweeps.errors import StudyError

BLOCK_BYTES = 64 * 2**20
MOST_BATCHES = 64


class Block(NamedTuple):
    """Consecutive batches of a stream, stacked.

    Attributes:
        first: the step that the first batch is for.
        batches: a pytree of arrays with a leading axis of batches.
    """

    first: Any
    batches: Any


class Once:
    """An iterator that can be read only once; looking at its first batch does not use it up.

    Args:
        batches: the iterator.

    Raises:
        StudyError: it holds no batch, or is read again, which would go on in the middle.
    """

    def __init__(self, batches: Iterator[Any]):
        self.kind, self.rest = type(batches).__name__, batches
        self.begun = self.ended = False
        try:
            self.first = next(batches)
        except StopIteration:
            raise StudyError(
                "`train holds at least one batch` must hold, but got an empty iterator"
            ) from None

    def __iter__(self) -> Iterator[Any]:
        """The batches from the first."""
        if self.ended:
            raise StudyError(
                f"`train lasts for all steps` must hold, but got a {self.kind} that ended before; pass an "
                f"object whose __iter__ starts anew"
            )
        if self.begun:
            raise StudyError(_once(self.kind, "again from its first batch"))
        yield self.first
        self.begun = True
        yield from self.rest
        self.ended = True


def is_stream(train: Any) -> bool:
    """Whether training data is an iterable of batches, rather than a pytree of arrays."""
    if train is None or hasattr(train, "__next__"):
        return train is not None
    return not all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(train))


def peekable(train: Any) -> Any:
    """The training data; an iterator in such a form that looking at its first batch does not use it up."""
    return Once(train) if hasattr(train, "__next__") and iter(train) is train else train


def check_stream(train: Any, chunks: int) -> None:
    """Raises a StudyError if the data cannot be read as often as there are chunks."""
    if not hasattr(train, "__iter__"):
        raise StudyError(
            f"`train is arrays or an iterable of batches` must hold, but got a {type(train).__name__}"
        )
    if chunks > 1 and isinstance(train, Once):
        raise StudyError(_once(train.kind, f"for each of {chunks} chunks"))


def check_readings(train: Any, readers: Sequence[str]) -> None:
    """Raises a StudyError if the data can be read only once, but will be read again from its first batch.

    Args:
        train: the training data.
        readers: what will read it besides the first chunk, in words such as `by a schedule's rounds`.
    """
    if readers and isinstance(train, Once):
        raise StudyError(_once(train.kind, readers[0]))


def _once(kind: str, reader: str) -> str:
    return (
        f"`train can be read {reader}` must hold, but got a {kind}, which can be read once; pass an object "
        f"whose __iter__ starts anew, as data loaders do"
    )


def batches_per_block(batch: Any) -> int:
    """How many batches of this size are moved to the devices at once."""
    size = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(batch))
    return int(np.clip(BLOCK_BYTES // max(size, 1), 1, MOST_BATCHES))


def blocks(train: Any, steps: int, place: Callable[[Any], Any]) -> Generator[Block, None, None]:
    """The stream from its beginning, in blocks, over and over; the next blocks are read while one is used.

    No more batches are read than were asked for. All blocks have one length, so the last may end with copies
    of its last batch.

    Args:
        train: an iterable of batches, all of one shape.
        steps: how many batches will be asked for.
        place: puts a block on the devices; called in the reading thread.

    Raises:
        StudyError: the stream holds no batch, or batches of different shapes.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=2)
    stopped = threading.Event()

    def offer(item: Any) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for block in _stacked(train, steps):
                offer(Block(np.int32(block.first), place(block.batches)))
                if stopped.is_set():
                    return
        except BaseException as error:  # it belongs to the thread that asks for the next block
            offer(error)

    thread = threading.Thread(target=read, daemon=True, name="sweeps-stream")
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()


def _stacked(train: Any, steps: int) -> Iterator[Block]:
    first, held, size = 0, [], 0
    while first < steps:
        step = first + len(held)
        for batch in train:
            size = size or min(batches_per_block(batch), steps)
            # A copy: a loader may fill the same arrays with the next batch.
            held.append(jax.tree.map(np.array, batch))
            if first + len(held) == steps:
                # Filled up with what no step takes: a shorter block would be another program.
                held += held[-1:] * (size - len(held))
            if len(held) == size:
                yield Block(first, _stack(held))
                first, held = first + size, []
                if first >= steps:
                    return
        if first + len(held) == step:
            raise StudyError(
                "`train holds at least one batch` must hold, but got an iterable that ended at once"
            )


def _stack(batches: list[Any]) -> Any:
    shapes = {str(jax.tree.map(np.shape, batch)) for batch in batches}
    if len(shapes) > 1:
        raise StudyError(
            f"`all batches have one shape` must hold, but got {sorted(shapes)}; drop the short last batch"
        )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
