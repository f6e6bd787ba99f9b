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
from sweeps.cluster import Ray, connected
from sweeps.compilation import count_elsewhere
from sweeps.execute import ALIVE
from sweeps.lock import Lock
from sweeps.planning import Chunk
from sweeps.pool import Died, Failed, Pool
from sweeps.population import Population
from sweeps.preparation import Began, Plan
from sweeps.process_pool import Processes, ProcessPool
from sweeps.progress import Display, Running
from sweeps.ray_pool import RayPool
from sweeps.request import Request
from sweeps.signals import Signals
from sweeps.space import StudyError
from sweeps.tables import member_rows
from sweeps.worker import OUT_OF_MEMORY, Job, Outcome, Pattern

WAIT_SECONDS = 0.5  # between two looks at the workers
LEAST_LIMIT, LIMIT_FACTOR = 60.0, 10.0  # seconds, and times what the plan says
PATIENCE_SECONDS = 60.0  # for the first worker
FALSE_STARTS = 5  # in a row, after which the run is given up


class Crew:
    """The workers of a run.

    Args:
        pool: where workers come from.
        wanted: how the run uses it.
        asked: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
    """

    def __init__(self, pool: Pool, wanted: Ray | Processes, asked: Request, lock: Lock, display: Display):
        self.pool, self.wanted, self.asked, self.lock, self.display = pool, wanted, asked, lock, display
        self.directory = lock.path.parent.resolve()
        job = Job(
            asked.study,
            asked.population,
            str(self.directory),
            asked.sampling.root_seed,
            asked.keep_best,
            asked.checkpoint_minutes,
            lock.holder(),
            pool.room(),
            pool.neighbours(),
        )
        self.job = pool.share(job)
        self.idle: list[Hand] = []
        self.starting: dict[Any, Hand] = {}
        self.measuring: dict[Any, Hand] = {}
        self.running: dict[Any, Assignment] = {}
        self.count = self.false_starts = self.finished = 0
        self.patience = time.monotonic() + PATIENCE_SECONDS
        self.looked = 0.0
        self.pattern: Pattern | None = None

    def plan(self, members_per_chunk: int | None, began: Began | None) -> Plan:
        """Lets workers measure, and returns the plan of the first that has.

        Args:
            members_per_chunk: how many members run at once; None measures and chooses.
            began: how the run began, if it goes on.

        Raises:
            StudyError: workers do not start, or cannot plan.
        """
        while self.pattern is None:
            self._staff(len(self.asked.population))
            # All measure, so that each has compiled what it needs when the first says how to go on.
            for hand in self.idle:
                self.measuring[self.pool.call(hand.worker, "measure", members_per_chunk, began)] = hand
            self.idle.clear()
            self._wait()
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
        shared = self.pool.share(population), self.pool.share(dict(sources))
        while waiting or self.running:
            self._staff(len(waiting) + len(self.running))
            while waiting and self.idle:
                hand, task = self.idle.pop(), waiting.popleft()
                found = self.pool.call(hand.worker, "train", self.pattern, shared[0], task.chunk, shared[1])
                self.running[found] = Assignment(hand, task)
            for reference in self._wait():
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
        there = sum(map(len, (self.idle, self.starting, self.measuring, self.running)))
        for _ in range(min(tasks, self.pool.room()) - there):
            self.count += 1
            name = f"worker-{self.count}"
            hand = Hand(name, self.pool.hire(name))
            self.starting[self.pool.call(hand.worker, "begin", self.job)] = hand

    def _wait(self) -> list[Any]:
        """Waits a moment; takes workers in that have begun, and returns the tasks that have ended."""
        references = [*self.running, *self.starting, *self.measuring]
        if not references:
            time.sleep(WAIT_SECONDS)
            return []
        ready = self.pool.ready(references, WAIT_SECONDS)
        for reference in ready:
            if reference in self.starting:
                self._take_in(reference, self.starting.pop(reference))
            elif reference in self.measuring:
                self._hear(reference, self.measuring.pop(reference))
        self.display.staff(len(self.idle) + len(self.running))
        if self.idle or self.measuring or self.running:
            self.patience = float("inf")
        elif time.monotonic() > self.patience:
            self.patience = float("inf")  # said once
            self.display.note(f"still waiting for a worker of {self.pool.wants()}")
        return [reference for reference in ready if reference in self.running]

    def _take_in(self, reference: Any, hand: Hand) -> None:
        try:
            self.pool.answer(reference)
            self.idle.append(hand)
            self.false_starts = 0
        except Died as error:
            self._false_start(hand, error)
        except Failed as error:
            said = str(error)
            missing = "ModuleNotFoundError" in said or "ImportError" in said
            hint = (
                "; install it there, or name it in sweeps.ray(runtime_env=...)"
                if missing
                else "; run directory and study must be within reach of every worker"
            )
            raise StudyError(f"`a worker can take the study` must hold, but got {said}{hint}") from error

    def _hear(self, reference: Any, hand: Hand) -> None:
        """Takes what a worker has measured for the plan, if it is the first."""
        try:
            found = self.pool.answer(reference)
            count_elsewhere(found.programs)
            self.pattern = self.pattern or found
            self.idle.append(hand)
        except Died as error:
            self._false_start(hand, error)
        except Failed as error:
            raise StudyError(f"`a worker can plan the study` must hold, but got {error}") from error

    def _false_start(self, hand: Hand, error: Exception) -> None:
        self.false_starts += 1
        self._dismiss(hand)
        if self.false_starts >= FALSE_STARTS:
            raise StudyError(
                f"`workers start` must hold, but got {self.false_starts} in a row that died: {error}"
            ) from error

    def _outcome(self, reference: Any, assignment: Assignment) -> Outcome:
        """What became of a task that has ended."""
        try:
            outcome = self.pool.answer(reference)
            count_elsewhere(outcome.programs)
            if outcome.error is not None and OUT_OF_MEMORY in outcome.error:
                self._dismiss(assignment.hand)  # a new process begins with all of its memory
            else:
                self.idle.append(assignment.hand)
            return outcome
        except (Died, Failed) as error:
            self._dismiss(assignment.hand)
            return Outcome(0, str(error))

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
        self.pool.dismiss(hand.worker)
        roster.forget(self.directory, hand.name)

    def disband(self) -> None:
        """Ends all workers."""
        beginning = [*self.starting.values(), *self.measuring.values()]
        hands = [*self.idle, *beginning, *(each.hand for each in self.running.values())]
        self.pool.disband([hand.worker for hand in hands])
        roster.disband(self.directory)


@contextlib.contextmanager
def gathered(
    wanted: Ray | Processes,
    asked: Request,
    lock: Lock,
    display: Display,
    signals: Signals,
    cpu_devices: int | None = None,
) -> Iterator[Crew]:
    """A crew, which is disbanded when the block is left.

    Args:
        wanted: Ray, or processes of this host.
        asked: what was asked for.
        lock: the lock of the run directory.
        display: what a person sees.
        signals: what handles signals.
        cpu_devices: how many cores a chunk was shared by when the run began; None if it begins now.

    Raises:
        StudyError: there is no Ray, no cluster, or no node that is large enough.
    """
    with contextlib.ExitStack() as last:
        if isinstance(wanted, Ray):
            package = last.enter_context(connected(wanted, asked.study, signals))
            pool = RayPool(package, wanted, cpu_devices)
        else:
            pool = ProcessPool(wanted)
        crew = Crew(pool, wanted, asked, lock, display)
        try:
            yield crew
        finally:
            crew.disband()
