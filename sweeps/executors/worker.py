"""One worker of a run: a JAX process with devices of its own that trains chunks into the run directory."""

import math
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from sweeps.engine import autotune
from sweeps.engine.chunks import Chunk
from sweeps.engine.commit import commit
from sweeps.engine.failure import Failure, check_group, describe, diagnose
from sweeps.engine.plan import Examined, Plan, Prepared, prepare
from sweeps.engine.training import Pace, Place, train
from sweeps.errors import StudyError
from sweeps.host import compilation
from sweeps.host.cores import claim
from sweeps.host.leads import Lead
from sweeps.host.progress import Display
from sweeps.host.signals import Signals
from sweeps.members.population import Population
from sweeps.store import chunks as store
from sweeps.store import manifest
from sweeps.store.checkpoints import Writer
from sweeps.store.heartbeats import Record, Superseded
from sweeps.store.lock import LOCK
from sweeps.store.statuses import Status

# What a program may depend on, for a worker that does not begin as a copy of the process of the run.
SETTINGS = (*manifest.SETTINGS, "jax_numpy_dtype_promotion", "jax_debug_nans")


class Job(NamedTuple):
    """What all workers of a run are told.

    Attributes:
        examined: the study and its first members.
        directory: the run directory, on a path that all workers share.
        root_seed: what all randomness derives from.
        keep_best: how many of the best members' final states are kept.
        keep_states: whether the final states of all members are kept.
        checkpoint_minutes: how long to train between two checkpoints.
        holder: what the lock says of the process that runs the directory.
        workers: how many workers there may be.
        neighbours: how many of them share the memory of one host.
        chunk_seconds: what a chunk takes beside its steps.
        programs: the digests of the first groups' programs, which workers must have too; empty where they are
            other devices, for which a model may be another program.
    """

    examined: Examined
    directory: str
    root_seed: int
    keep_best: int
    keep_states: bool
    checkpoint_minutes: float | int
    holder: dict[str, Any]
    workers: int
    neighbours: int
    chunk_seconds: float
    programs: Sequence[str | None] = ()


class Outcome(NamedTuple):
    """What became of a chunk.

    Attributes:
        diverged: how many of its members diverged.
        failure: why it could not be trained; None if it is committed.
        programs: how many programs the worker has asked for meanwhile, and how many of them the cache had.
        best: the best of its configurations; None if there is none.
    """

    diverged: int
    failure: Failure | None = None
    programs: tuple[int, int] = (0, 0)
    best: Lead | None = None


def settings_of(names: Iterable[str]) -> dict[str, Any]:
    """Settings of JAX as this process has them, those that its version knows.

    Args:
        names: which.
    """
    return {name: getattr(jax.config, name) for name in names if hasattr(jax.config, name)}


def adopt(settings: Mapping[str, Any]) -> None:
    """Takes settings of JAX over, those that the version here knows.

    Args:
        settings: by name.
    """
    for name, value in settings.items():
        if hasattr(jax.config, name):
            jax.config.update(name, value)


class Worker:
    """A process that owns its devices.

    Args:
        name: what it is called in the run directory.
        cpus: how many cores it has, each of them a device.
        accelerated: whether it has accelerators, which are its devices then.
        alone: whether it has these cores to itself; otherwise the system spreads processes over them.
        settings: of JAX, as the process of the run has them; None where this one has them already.

    Attributes:
        signals: what has it stop between spans, a checkpoint kept.
    """

    def __init__(
        self,
        name: str,
        cpus: int,
        accelerated: bool,
        alone: bool = True,
        settings: Mapping[str, Any] | None = None,
    ):
        self.name, self.cores, self.signals = name, claim(cpus) if alone else [], Signals()
        # Before anything is unpickled: arrays among it would start JAX with other devices.
        jax.config.update("jax_num_cpu_devices", cpus)
        if not accelerated:
            jax.config.update("jax_platforms", "cpu")
        adopt(settings or {})
        compilation.use_cache()
        self.programs = compilation.count_programs()
        self.prepared: dict[tuple[int, int, str], Prepared] = {}  # by devices, members per chunk and loop
        self.pace = Pace()
        self.same: set[int] = set()  # static groups whose program was compared

    def begin(self, job: Job) -> dict[str, Any]:
        """Takes the study, and says where it is.

        Args:
            job: the run.
        """
        self.job, self.directory = job, Path(job.directory)
        if not (self.directory / store.MANIFEST).exists():
            raise FileNotFoundError(
                f"{socket.gethostname()} has no {self.directory / store.MANIFEST}; the run directory must "
                f"be on a path that all workers share"
            )
        return {"host": socket.gethostname(), "pid": os.getpid(), "devices": jax.local_device_count()}

    def measure(self, members_per_chunk: int | None, began: Plan | None) -> tuple[Plan, tuple[int, int]]:
        """Plans on this worker's devices.

        Args:
            members_per_chunk: how many members run at once; None measures and chooses.
            began: how the run began, if it goes on.

        Returns:
            The plan, in which chunks are timed unless they need more memory than there is; how many programs
            the worker has asked for, and how many of them the cache had.

        Raises:
            StudyError: its program is another here.
        """
        job = self.job
        if (other := self._other_program(job.examined.group)) is not None:
            raise StudyError(other)
        prepared = prepare(
            job.examined, job.root_seed, None, members_per_chunk,
            began=began, workers=job.workers, neighbours=job.neighbours, chunk_seconds=job.chunk_seconds,
        )  # fmt: skip
        plan, best = prepared.plan, prepared.choice.best
        self.prepared[plan[:3]] = prepared
        if not prepared.choice.measurements:
            try:
                best = autotune.measure(prepared.bench, plan.loop, best.per_device, math.inf)
            except jax.errors.JaxRuntimeError as error:
                if not describe(error).memory:  # otherwise chunks are halved when they are trained
                    raise
        seconds = {"seconds_per_step": best.seconds_per_step, "compile_seconds": best.compile_seconds}
        return plan._replace(**seconds), self.programs.taken()

    def train(self, plan: Plan, population: Population, chunk: Chunk, sources: Mapping[int, int]) -> Outcome:
        """Trains a chunk and commits it.

        Args:
            plan: how.
            population: all members so far.
            chunk: the chunk.
            sources: members that go on from another's state, and whose.

        Returns:
            What became of it; the caller tries again, here or elsewhere, or gives up.
        """
        job, folder = self.job, self.directory / store.CHUNKS / chunk.name
        # A record of nothing yet: what comes next may take the compiler a while.
        record = Record(self.directory, self.name, (self.directory / LOCK, job.holder), job.workers)
        display = Display(len(chunk.members), len(chunk.members) * chunk.steps, shown=False)
        try:
            record.say(
                {"chunk": chunk.name, "members": len(chunk.members), "step": chunk.after, "steps": chunk.stop}
            )
            if (other := self._other_program(chunk.group)) is not None:
                raise StudyError(f"`a worker trains what this process has traced` must hold, but got {other}")
            if not folder.exists():  # an earlier attempt may have come so far, and died before it said so
                prepared = self._prepared(plan)
                writer = Writer(self.directory, 60 * job.checkpoint_minutes)
                place = Place(self.directory, writer, record, job.keep_states)
                trained = train(prepared, population, chunk, self.pace, display, self.signals, place, sources)
                record.check()
                commit(job.examined.study, self.directory, job.keep_best, [(chunk, trained)])
            status = store.read_chunk(folder)[0]["status"].to_pylist()
            diverged = status.count(Status.DIVERGED)
            return Outcome(diverged, programs=self.programs.taken(), best=display.best)
        except Superseded:
            raise
        except Exception as error:  # whatever the user's own functions raise
            return Outcome(0, diagnose(error, job.examined.study, population, chunk.group))

    def _other_program(self, group: int) -> str | None:
        """What is said where this process traces another program than the process of the run; mostly None."""
        wanted = self.job.programs[group] if group < len(self.job.programs) else None
        if wanted is None or group in self.same:
            return None
        study, population = self.job.examined.study, self.job.examined.population
        if check_group(study, population, group).digest != wanted:
            return (
                "another program: something in a module was changed after it had been imported, or is drawn "
                "anew when it is; change the module itself, or leave executor out (--executor inline)"
            )
        self.same.add(group)
        return None

    def _prepared(self, plan: Plan) -> Prepared:
        there = jax.local_device_count()
        if there < plan.devices:
            raise RuntimeError(f"{plan.devices} devices are needed, but {socket.gethostname()} has {there}")
        if plan[:3] not in self.prepared:
            self.prepared[plan[:3]] = prepare(self.job.examined, self.job.root_seed, began=plan)
        return self.prepared[plan[:3]]
