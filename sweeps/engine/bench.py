"""All that a candidate of the plan is measured on."""

from typing import Any, NamedTuple

import jax
import numpy as np

from sweeps.data.streams import Block, is_stream
from sweeps.engine import program as execute
from sweeps.engine.chunks import SECONDS_IN_MEMORY
from sweeps.engine.examples import example_batch
from sweeps.engine.folds import Judged, split
from sweeps.engine.footprint import carry_like
from sweeps.engine.programs import program_of
from sweeps.members.population import Population, traced_columns
from sweeps.trial import Data, Study


class Bench(NamedTuple):
    """All that a candidate is measured on.

    Attributes:
        study: the study.
        population: its members.
        group: the static group that stands for all.
        mesh: the devices.
        root: the root key, on the devices.
        train: the training data, on the devices.
        evaluation: the evaluation data, on the devices.
        digest: of the program of one member of that group.
        workers: how many processes share the members, each with such devices.
        neighbours: how many of them share this host's memory.
        chunk_seconds: what a chunk takes beside its steps.
    """

    study: Study
    population: Population
    group: int
    mesh: Any
    root: Any
    train: Any
    evaluation: Any
    digest: str | None = None
    workers: int = 1
    neighbours: int = 1
    chunk_seconds: float = SECONDS_IN_MEMORY

    @property
    def own(self) -> np.ndarray:
        """The members of the group that stands for all."""
        return np.flatnonzero(self.population.groups == self.group)

    @property
    def accelerated(self) -> bool:
        """Whether the devices are not CPU cores."""
        return self.mesh.devices.flat[0].platform != "cpu"

    def program(self, loop: str) -> execute.Program:
        """The program of the group that stands for all.

        Args:
            loop: `scan`, `map` or `host`.
        """
        return program_of(self.study, self.population.statics[self.group], self.mesh, loop, self.digest)

    def members(self, per_device: int, rows: np.ndarray | None = None) -> execute.Members:
        """Members of the group on the devices, repeated as often as it takes.

        Args:
            per_device: how many on each device.
            rows: their ids; None takes them from the first on.
        """
        ids = np.resize(self.own if rows is None else rows, per_device * self.mesh.size)
        return placed(self.population, self.mesh, ids)

    def lowered(self, loop: str, per_device: int) -> Any:
        """The training program of so many members per device, lowered and not compiled.

        Args:
            loop: `scan` or `map`.
            per_device: how many.
        """
        program, members = self.program(loop), self.members(per_device)
        carry = carry_like(program, self.root, members, example_batch(self.study))
        return program.advance.lower(self.root, members, carry, self.train, np.int32(0), np.int32(1))


def state_bytes(bench: Bench) -> int:
    """What the state of one member takes.

    Args:
        bench: the study, its members and devices.
    """
    program, members = bench.program("scan"), bench.members(1)
    carry = carry_like(program, bench.root, members, example_batch(bench.study))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(carry.state)) // bench.mesh.size


def placed(population: Population, mesh: Any, ids: np.ndarray) -> execute.Members:
    """Members on the devices, each device its share of them.

    Args:
        population: the population.
        mesh: the devices.
        ids: of the members, all of one group.
    """
    folds = None if population.folds is None else population.folds[ids]
    return execute.place_members(mesh, traced_columns(population, ids), population.seeds[ids], folds)


def place(study: Study, population: Population, mesh: Any, root_seed: int) -> Bench:
    """Puts the root key and the data on the devices; the largest group stands for all.

    Args:
        study: the study.
        population: its members.
        mesh: the devices.
        root_seed: what all randomness derives from.
    """
    data = study.trial.data or Data(None, None)
    root = jax.random.key(root_seed, impl="threefry2x32")
    train = data.train
    if is_stream(train):
        train = Block(np.int32(0), jax.tree.map(lambda leaf: leaf[None], example_batch(study)))
    elif population.membership is not None:
        train = split(train, population.membership)
    root, train, evaluation = execute.place_data(mesh, (root, train, data.evaluation))
    if population.membership is not None:
        evaluation = Judged(train, evaluation)
    group = int(np.bincount(population.groups).argmax())
    return Bench(study, population, group, mesh, root, train, evaluation)
