"""What a chunk goes on from: its last checkpoint, or the states in which the round before has ended."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa

from sweeps.engine import program as execute
from sweeps.engine.bench import Bench
from sweeps.engine.chunks import Chunk
from sweeps.engine.examples import example_batch
from sweeps.engine.tracing import as_python_numbers
from sweeps.errors import StudyError
from sweeps.host.progress import Display
from sweeps.store import checkpoints
from sweeps.store.arrays import from_host
from sweeps.store.checkpoints import Checkpoint

READING_ERRORS = (OSError, ValueError, KeyError, pa.ArrowException)  # of a damaged checkpoint


def checkpoint_name(chunk: Chunk) -> str:
    """What the chunk's checkpoints are kept under; chunks of another plan have other names.

    Args:
        chunk: the chunk.
    """
    return f"{chunk.name}-{len(chunk.members)}"


def find(chunk: Chunk, directory: Path, sources: Mapping[int, int], display: Display) -> Checkpoint | None:
    """What a chunk goes on from; None if it begins at step 0.

    Args:
        chunk: the chunk.
        directory: the run directory.
        sources: members that go on from another's state, and whose.
        display: what a person sees.

    Raises:
        StudyError: the states that it begins from are gone.
    """
    try:
        found = checkpoints.in_flight(directory, chunk.members, chunk.start, chunk.stop, chunk.after)
        if found is not None:
            display.note(f"going on from the checkpoint at step {found.step}")
            return found
    except READING_ERRORS as error:
        display.note(
            f"a checkpoint of chunk {chunk.name} cannot be read, so it starts anew at step {chunk.after}: "
            f"{error}"
        )
    if chunk.after == 0:
        return None
    try:
        wanted = np.asarray([sources.get(member, member) for member in chunk.members.tolist()])
        found = checkpoints.at_rung(directory, wanted, chunk.start)
    except READING_ERRORS as error:
        raise StudyError(_gone(chunk, directory)) from error
    if found is None:
        raise StudyError(_gone(chunk, directory))
    return found._replace(members=chunk.members)


def on_devices(
    found: Checkpoint, program: execute.Program, bench: Bench, members: execute.Members, width: int
) -> execute.Carry:
    """What a checkpoint holds, as the program carries it.

    Args:
        found: the checkpoint.
        program: of the members' group.
        bench: the devices, and what all members share on them.
        members: on the devices.
        width: how many rows the program has; those past the members repeat them.
    """
    like = jax.eval_shape(program.init, bench.root, members, example_batch(bench.study))
    rows = np.resize(np.arange(len(found.members)), width)
    carry = from_host([leaf[rows] for leaf in found.leaves], like)
    carry = jax.tree.map(
        lambda leaf, was: as_python_numbers(leaf) if was.weak_type else leaf, carry, like
    )  # what was carried as it came from the configuration
    return jax.device_put(carry, members.seeds.sharding)


def _gone(chunk: Chunk, directory: Path) -> str:
    return (
        f"`the states at step {chunk.start} are kept` must hold to go on with chunk {chunk.name}, but got "
        f"none that can be read in {directory / checkpoints.CHECKPOINTS}; `sweeps resume` trains them again"
    )
