"""The workers of a run, which chunk each of them has, and what happens when one dies or hangs."""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps import planning, roster, store
from sweeps.assignment import Assignment, Hand, Task
from sweeps.cluster import Ray, connected, slots, worker_shape
from sweeps.execute import ALIVE
from sweeps.lock import Lock
from sweeps.planning import Chunk
from sweeps.population import Population
from sweeps.preparation import Began, Plan
from sweeps.progress import Display, Running
from sweeps.request import Request
from sweeps.signals import Signals
from sweeps.space import StudyError
from sweeps.tables import member_rows
from sweeps.worker import OUT_OF_MEMORY, Job, Outcome, Pattern, Worker

WAIT_SECONDS = 0.5  # between two looks at the workers
LEAST_LIMIT, LIMIT_FACTOR = 60.0, 10.0  # seconds, and times what the plan says
PATIENCE_SECONDS = 60.0  # for the first worker
FALSE_STARTS = 5  # in a row, after which the cluster is given up


class Crew:
    """The workers of a run.

    Args:
        package: Ray.
        wanted: how the run uses it.
        asked: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
        cpu_devices: how many cores a chunk was shared by when the run began; None if it begins now.
    """

    def __init__(
        self,
        package: Any,
        wanted: Ray,
        asked: Request,
        lock: Lock,
        display: Display,
        cpu_devices: int | None = None,
    ):
        self.ray, self.wanted, self.asked, self.lock, self.display = package, wanted, asked, lock, display
        self.directory = lock.path.parent.resolve()
        self.shape = worker_shape(package, wanted, cpu_devices)
        # One that dies is replaced by a new one, not begun again: it would have lost the study.
        self.actor = package.remote(Worker).options(max_restarts=0, **self.shape)
        job = Job(
            asked.study,
            asked.population,
            str(self.directory),
            asked.sampling.root_seed,
            asked.keep_best,
            asked.checkpoint_minutes,
            lock.holder(),
            wanted.workers or slots(package, self.shape),
        )
        self.job = package.put(job)
        self.idle: list[Hand] = []
        self.starting: dict[Any, Hand] = {}
        self.running: dict[Any, Assignment] = {}
        self.count = self.false_starts = self.finished = 0
        self.patience = time.monotonic() + PATIENCE_SECONDS
        self.looked = 0.0
        self.pattern: Pattern | None = None

    def plan(self, members_per_chunk: int | None, began: Began | None) -> Plan:
        """Lets the first worker measure, and returns the plan.

        Args:
            members_per_chunk: how many members run at once; None measures and chooses.
            began: how the run began, if it goes on.

        Raises:
            StudyError: workers do not start, or cannot plan.
        """
        while self.pattern is None:
            self._staff(
                len(self.asked.population)
            )  # all of them, so that they are there once there is a plan
            self._wait(list(self.starting))
            if self.idle:
                hand = self.idle.pop()
                try:
                    self.pattern = self.ray.get(hand.actor.measure.remote(members_per_chunk, began))
                    self.idle.append(hand)
                except self.ray.exceptions.RayActorError as error:
                    self._false_start(hand, error)
                except self.ray.exceptions.RayTaskError as error:
                    raise StudyError(
                        f"`a worker can plan the study` must hold, but got {_last_line(error)}"
                    ) from error
        return Plan(self.asked.population, self.pattern.devices, self.pattern.most, self.pattern.setting)

    def train(
        self,
        population: Population,
        chunks: list[Chunk],
        sources: Mapping[int, int],
        finished: Callable[[Chunk], None],
    ) -> None:
        """Trains chunks; returns when every one is committed or given up.

        Args:
            population: all members so far.
            chunks: the chunks.
            sources: members that go on from another's state, and whose.
            finished: called with every chunk that is committed.

        Raises:
            StudyError: workers do not start, or no chunk of the run can be trained.
        """
        waiting = collections.deque(Task(chunk) for chunk in chunks)
        shared = self.ray.put(population), self.ray.put(dict(sources))
        while waiting or self.running:
            self._staff(len(waiting) + len(self.running))
            while waiting and self.idle:
                hand, task = self.idle.pop(), waiting.popleft()
                found = hand.actor.train.remote(self.pattern, shared[0], task.chunk, shared[1])
                self.running[found] = Assignment(hand, task)
            for reference in self._wait([*self.running, *self.starting]):
                assignment = self.running.pop(reference)
                outcome = self._outcome(reference, assignment)
                waiting.extendleft(self._judge(population, assignment, outcome, finished))
            waiting.extendleft(self._look(population, finished))
        if not self.finished:
            raise StudyError(
                f"`a chunk can be trained` must hold, but got {self.wanted.attempts} failures of each: "
                f"{self.last_error}; `sweeps resume {self.directory}` tries them again"
            )

    def _staff(self, tasks: int) -> None:
        """Asks for workers, as many as there are tasks and room for."""
        room = self.wanted.workers or slots(self.ray, self.shape)
        there = len(self.idle) + len(self.starting) + len(self.running)
        for _ in range(min(tasks, room) - there):
            self.count += 1
            name = f"worker-{self.count}"
            hand = Hand(name, self.actor.remote(name, self.shape["num_cpus"], self._accelerated()))
            self.starting[hand.actor.begin.remote(self.job)] = hand

    def _accelerated(self) -> bool:
        return bool(self.shape["num_gpus"] or self.shape["resources"].get("TPU"))

    def _wait(self, references: list[Any]) -> list[Any]:
        """Waits a moment; takes workers in that have begun, and returns the tasks that have ended."""
        if not references:
            time.sleep(WAIT_SECONDS)
            return []
        ready, _ = self.ray.wait(references, num_returns=len(references), timeout=0)
        if not ready:
            ready, _ = self.ray.wait(references, num_returns=1, timeout=WAIT_SECONDS)
        for reference in ready:
            if reference in self.starting:
                self._take_in(reference, self.starting.pop(reference))
        self.display.staff(len(self.idle) + len(self.running))
        if self.idle or self.running:
            self.patience = float("inf")
        elif time.monotonic() > self.patience:
            self.patience = float("inf")  # said once
            cpus, gpus = self.shape["num_cpus"], self.shape["num_gpus"]
            self.display.note(f"still waiting for a worker of {cpus} CPUs and {gpus} GPUs; see `ray status`")
        return [reference for reference in ready if reference in self.running]

    def _take_in(self, reference: Any, hand: Hand) -> None:
        try:
            self.ray.get(reference)
            self.idle.append(hand)
            self.false_starts = 0
        except self.ray.exceptions.RayActorError as error:
            self._false_start(hand, error)
        except Exception as error:  # what unpickling the study raises is the study's own
            said = _last_line(error)
            missing = "ModuleNotFoundError" in said or "ImportError" in said
            hint = (
                "; install it there, or name it in sweeps.ray(runtime_env=...)"
                if missing
                else "; run directory and study must be within reach of every worker"
            )
            raise StudyError(f"`a worker can take the study` must hold, but got {said}{hint}") from error

    def _false_start(self, hand: Hand, error: Exception) -> None:
        self.false_starts += 1
        self._dismiss(hand)
        if self.false_starts >= FALSE_STARTS:
            raise StudyError(
                f"`workers start` must hold, but got {self.false_starts} in a row that died: {_cause(error)}"
            ) from error

    def _outcome(self, reference: Any, assignment: Assignment) -> Outcome:
        """What became of a task that has ended."""
        try:
            outcome = self.ray.get(reference)
            if outcome.error is not None and OUT_OF_MEMORY in outcome.error:
                self._dismiss(assignment.hand)  # a new process begins with all of its memory
            else:
                self.idle.append(assignment.hand)
            return outcome
        except self.ray.exceptions.RayError as error:
            self._dismiss(assignment.hand)
            return Outcome(0, _cause(error))

    def _judge(
        self,
        population: Population,
        assignment: Assignment,
        outcome: Outcome,
        finished: Callable[[Chunk], None],
    ) -> list[Task]:
        """Says what became of a task, and returns what is to be done again."""
        chunk, attempts = assignment.task.chunk, assignment.task.attempts + 1
        count, steps = len(chunk.members), chunk.stop - chunk.start
        if outcome.error is None:
            last = chunk.stop == self.asked.study.steps
            self.finished += 1
            self.display.finish(chunk.name, count, steps, outcome.diverged, last)
            finished(chunk)
            return []
        self.last_error = outcome.error
        if attempts >= self.wanted.attempts:
            self.display.leave(chunk.name, failed=count)
            self.display.note(
                f"chunk {chunk.name} failed {attempts} times and is given up with its {count} members: "
                f"{outcome.error}"
            )
            self._give_up(population, chunk, outcome)
            return []
        self.display.leave(chunk.name)
        self.display.note(f"chunk {chunk.name} is tried again, attempt {attempts + 1}: {outcome.error}")
        return [Task(part, attempts) for part in reversed(self._again(population, chunk, attempts, outcome))]

    def _again(self, population: Population, chunk: Chunk, attempts: int, outcome: Outcome) -> list[Chunk]:
        """The chunk again: as it was, or in halves if memory was short or it has failed before."""
        assert self.pattern is not None and outcome.error is not None  # it was planned, and has failed
        devices = self.pattern.devices
        short = "memory" in outcome.error.lower()
        if (not short and attempts < 2) or chunk.width <= devices:
            return [chunk]
        halves = planning.cut(population.groups, devices, max(1, chunk.width // 2), only=chunk.members)
        return [half._replace(start=chunk.start, stop=chunk.stop) for half in halves]

    def _give_up(self, population: Population, chunk: Chunk, outcome: Outcome) -> None:
        assert self.pattern is not None  # it was planned
        count = len(chunk.members)
        status, never = np.full(count, "failed"), np.full(count, ALIVE, np.int32)
        empty = pa.table({"member": pa.array([], pa.int64()), "step": pa.array([], pa.int64())})
        setting = self.pattern.setting | {"error": outcome.error, "details": outcome.details}
        store.commit(
            self.directory,
            chunk.name,
            member_rows(population, chunk.members, status, never),
            empty,
            setting,
        )

    def _look(self, population: Population, finished: Callable[[Chunk], None]) -> list[Task]:
        """Reads what workers say, ends those that hang, and returns what is to be done again."""
        between = max(WAIT_SECONDS, len(self.running) / roster.RECORDS_PER_SECOND)
        if time.monotonic() < self.looked + between:
            return []
        self.looked = time.monotonic()
        records, again = roster.read(self.directory), []
        for reference, assignment in list(self.running.items()):
            record, chunk = records.get(assignment.hand.name), assignment.task.chunk
            if record is not None and record.get("chunk") == chunk.name:
                now = Running(len(chunk.members), record["step"] - chunk.start, record["step"], float("nan"))
                self.display.chunk(chunk.name, now)
            limit = self._limit(chunk)
            if assignment.silent(record) > limit:
                del self.running[reference]
                self._dismiss(assignment.hand)
                outcome = Outcome(0, f"no sign of life from {assignment.hand.name} in {limit:.0f} s")
                again += self._judge(population, assignment, outcome, finished)
        members = sum(len(each.task.chunk.members) for each in self.running.values())
        self.lock.say({"workers": len(self.running) + len(self.idle), "members": members})
        return again

    def _limit(self, chunk: Chunk) -> float:
        if self.wanted.time_limit is not None:
            return float(self.wanted.time_limit)
        assert self.pattern is not None  # it was planned
        expected = self.pattern.compile_seconds + (chunk.stop - chunk.start) * self.pattern.seconds_per_step
        return LEAST_LIMIT + LIMIT_FACTOR * expected

    def _dismiss(self, hand: Hand) -> None:
        with contextlib.suppress(Exception):  # it may be dead already
            self.ray.kill(hand.actor)
        roster.forget(self.directory, hand.name)

    def disband(self) -> None:
        """Ends all workers."""
        hands = [*self.idle, *self.starting.values(), *(each.hand for each in self.running.values())]
        for hand in hands:
            self._dismiss(hand)
        roster.disband(self.directory)


@contextlib.contextmanager
def gathered(
    wanted: Ray,
    asked: Request,
    lock: Lock,
    display: Display,
    signals: Signals,
    cpu_devices: int | None = None,
) -> Iterator[Crew]:
    """A crew, which is disbanded when the block is left.

    Args:
        wanted: how the run uses Ray.
        asked: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
        signals: what handles signals.
        cpu_devices: how many cores a chunk was shared by when the run began; None if it begins now.

    Raises:
        StudyError: there is no Ray, no cluster, or no node that is large enough.
    """
    with connected(wanted, asked.study, signals) as package:
        crew = Crew(package, wanted, asked, lock, display, cpu_devices)
        try:
            yield crew
        finally:
            crew.disband()


def _last_line(error: Exception) -> str:
    """What the worker's own exception said, without the frames around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _cause(error: Exception) -> str:
    """Why a worker died, as far as Ray knows, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "memory" in line.lower()), lines[0] if lines else "")
    return f"{type(error).__name__}: {said}"
