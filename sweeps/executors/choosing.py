"""Whether a process per core trains faster than this one: measured, where the sweep is long enough for it."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from sweeps.data.streams import is_stream
from sweeps.engine import autotune, measurements
from sweeps.engine import chunks as planning
from sweeps.engine.chunks import SECONDS_BY_WORKER, Chunk, Measurement
from sweeps.engine.failure import check_group
from sweeps.engine.plan import Plan, Prepared, predicted_seconds
from sweeps.errors import StudyError
from sweeps.executors.dispatcher import Crew
from sweeps.executors.executor import Executor, Finished
from sweeps.executors.gathering import gathered
from sweeps.executors.inline import Alone
from sweeps.executors.processes import Processes, ready
from sweeps.host.devices import cpu_cores
from sweeps.host.memory import free_ram
from sweeps.members.population import Population
from sweeps.members.request import Request

LONG_SECONDS = 300.0  # of training: what starting workers and having them measure takes is a few percent then
FASTER = 0.95  # of this process's time; a smaller gain is within what a measurement is off by


class Choosing:
    """This process, or a process per core where these were measured to be faster, as an `Executor`.

    Args:
        alone: this process.
        last: what is left when the run is over.
    """

    def __init__(self, alone: Alone, last: contextlib.ExitStack):
        self.alone, self.last = alone, last
        self.trainer: Executor = alone

    def plan(self, members_per_chunk: int | None, began: Plan | None) -> Plan:
        """Measures and cuts, in this process and, if that is worth its time, in workers."""
        plan, alone = self.alone.plan(members_per_chunk, began), self.alone
        left = alone.work.signals.deadline - time.monotonic()
        if began is None and worth_measuring(alone.prepared, alone.work.request, left):
            known = share_of_processes(alone.prepared)
            if known is None or known <= FASTER:
                return self._by_workers() or plan
        return plan

    def _by_workers(self) -> Plan | None:
        """The plan of workers that are faster, which train from now on; None if they are not."""
        alone, display = self.alone, self.alone.work.display
        with contextlib.ExitStack() as stack:
            try:
                executor = stack.enter_context(ready(Processes()))
                crew = stack.enter_context(gathered(executor, alone.work))
                plan = crew.plan(None, _alike(alone.prepared, crew.pool.room()))
                if math.isnan(plan.seconds_per_step):
                    raise StudyError(
                        f"{plan.members_per_chunk} members at once need more memory than there is"
                    )
                share = _share(alone.prepared, crew)
                _keep(alone.prepared, share)
                if share <= FASTER:
                    count = crew.pool.room()
                    display.note(f"{count} processes train: {_said(share)}; --executor inline stays in one")
                    self.trainer = crew
                    self.last.enter_context(stack.pop_all())
                    return plan
                display.note(f"one process trains: {_said(share)}")
            except (StudyError, OSError) as error:
                display.note(f"all is trained in this process, since workers cannot: {error}")
        display.staff(0)
        return None

    def train(
        self, population: Population, chunks: list[Chunk], sources: Mapping[int, int], finished: Finished
    ) -> None:
        """Trains chunks where that is faster; returns when every one is committed or given up."""
        self.trainer.train(population, chunks, sources, finished)


@contextlib.contextmanager
def choosing(alone: Alone) -> Iterator[Choosing]:
    """What chooses, until the block is left; workers end with it.

    Args:
        alone: this process.
    """
    with contextlib.ExitStack() as last:
        yield Choosing(alone, last)


def worth_measuring(prepared: Prepared, request: Request, seconds: float = math.inf) -> bool:
    """Whether a sweep is so long, and such, that a process per core may repay its start.

    Args:
        prepared: the study, measured in this process.
        request: what was asked for.
        seconds: how long the run may take.
    """
    bench, cores = prepared.bench, cpu_cores()
    study, population = bench.study, bench.population
    if not prepared.choice.measurements or sys.platform != "linux" or cores == 1 or bench.accelerated:
        return False
    if bench.mesh.size != len(jax.devices()) or not _devices_are_usual(cores):
        return False
    # A round may end in fewer chunks than there are workers; data that streams, all of them would read.
    if request.schedule is not None or (study.trial.data is not None and is_stream(study.trial.data.train)):
        return False
    if min(predicted_seconds(prepared, request.member_steps), seconds) < LONG_SECONDS:
        return False
    held = sum(leaf.nbytes for leaf in jax.tree.leaves((bench.train, bench.evaluation)))
    if int(np.bincount(population.groups).max()) < 2 * cores or held * cores > free_ram() / 4:
        return False
    # What a callback does, such as printing or counting, is meant for this process.
    return not check_group(study, population, bench.group).calls_back


def _devices_are_usual(cores: int) -> bool:
    """Whether the CPU is one device per core, or one because nobody has said how many."""
    asked: Any = jax.config.jax_num_cpu_devices  # pyright: ignore[reportAttributeAccessIssue]
    there = len(jax.devices())
    return there == cores or (there == 1 and asked <= 0)


def share_of_processes(prepared: Prepared) -> float | None:
    """What a process per core takes of this process's time, as it was measured before; None if it was not.

    Args:
        prepared: the study, measured in this process.
    """
    known = measurements.recall(measurements.name_of(prepared.bench))
    return None if known is None else known.processes


def outlook(prepared: Prepared, request: Request) -> str | None:
    """What `sweeps plan` says of processes; None if the sweep is too short for them, or cannot be theirs.

    Args:
        prepared: the study, measured in this process.
        request: what was asked for.
    """
    if not worth_measuring(prepared, request):
        return None
    share = share_of_processes(prepared)
    if share is None:
        return "measured when the run begins, and taken if faster; --executor inline stays in one"
    taken = "taken; --executor inline stays in one" if share <= FASTER else "not taken"
    return f"{_said(share)}: {taken}"


def _said(share: float) -> str:
    return f"one per core takes {share:.2f} of one process's time, as measured"


def _alike(prepared: Prepared, workers: int) -> Plan:
    """What workers measure: the width and the loop that one device of this process runs, and no others."""
    largest, best = int(np.bincount(prepared.bench.population.groups).max()), prepared.choice.best
    return Plan(1, planning.balanced(largest, best.per_device, workers), best.loop)


def _share(prepared: Prepared, crew: Crew) -> float:
    """What workers that have just measured take of this process's time, by the member and step.

    That is measured again: it may be remembered from an hour when other things kept the cores busy.
    """
    plan, bench, chosen = crew.common, prepared.bench, prepared.choice.best
    assert plan is not None  # they have planned
    crew.rest()
    now = autotune.measure(bench, chosen.loop, chosen.per_device, math.inf)
    steps, width = bench.study.steps, plan.setting["members_per_device"]
    theirs = Measurement(width, plan.loop, plan.seconds_per_step, 0.0, 0)
    here = planning.cost(now, bench.chunk_seconds / steps) / bench.mesh.size
    return planning.cost(theirs, SECONDS_BY_WORKER / steps) / crew.pool.room() / here


def _keep(prepared: Prepared, share: float) -> None:
    """Remembers, so that the next run of the study need not measure."""
    name = measurements.name_of(prepared.bench)
    known = measurements.recall(name)
    if known is not None:
        measurements.keep(name, known._replace(processes=share))
