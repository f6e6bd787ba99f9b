"""The workers of a run, which chunk each of them has, and what happens when one dies or hangs."""

import collections
import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

from sweeps.engine.chunks import SECONDS_BY_WORKER, Chunk
from sweeps.engine.commit import give_up
from sweeps.engine.failure import Failure
from sweeps.engine.plan import Plan
from sweeps.errors import StudyError
from sweeps.executors.assignment import Assignment, Hand, Task, again
from sweeps.executors.executor import Finished, Work
from sweeps.executors.inline import say_failure
from sweeps.executors.pool import Died, Failed, Pool
from sweeps.executors.processes import Processes
from sweeps.executors.ray_cluster import Ray
from sweeps.executors.worker import Job, Outcome
from sweeps.host.compilation import count_elsewhere
from sweeps.host.progress import Running
from sweeps.members.population import Population
from sweeps.store import heartbeats

WAIT_SECONDS = 0.5  # between two looks at the workers
LEAST_LIMIT, LIMIT_FACTOR = 60.0, 10.0  # seconds, and times what the plan says
SILENCE = 1800.0  # seconds in which a plan is made, or a chunk evaluated, of which nothing is heard meanwhile
PATIENCE_SECONDS = 60.0  # for the first worker
FALSE_STARTS = 5  # in a row, after which the run is given up


class Crew:
    """The workers of a run, as an `Executor`.

    Args:
        pool: where workers come from.
        executor: how the run uses it.
        work: the run.
    """

    def __init__(self, pool: Pool, executor: Ray | Processes, work: Work):
        examined, request, self.lock, self.display, self.signals = work
        self.pool, self.executor, self.request = pool, executor, request
        self.directory = self.lock.path.parent.resolve()
        trial = examined.study.trial._replace(data=request.study.trial.data)  # which is not wrapped
        job = Job(
            examined._replace(study=dataclasses.replace(examined.study, trial=trial)),
            str(self.directory),
            request.sampling.root_seed,
            request.keep_best,
            request.keep_states,
            request.checkpoint_minutes,
            self.lock.holder(),
            pool.room(),
            pool.neighbours(),
            SECONDS_BY_WORKER * request.commits,
            examined.digests["programs"] if isinstance(executor, Processes) else (),
        )
        self.job = pool.share(job)
        self.idle: list[Hand] = []
        self.starting: dict[Any, Hand] = {}
        self.measuring: dict[Any, Hand] = {}
        self.running: dict[Any, Assignment] = {}
        self.failures = examined.failures
        self.count = self.false_starts = 0
        self.patience = time.monotonic() + PATIENCE_SECONDS
        self.looked = 0.0
        self.trained: set[int] = set()  # static groups of which a step has been seen
        self.groups: set[int] = set()  # these, and those that are asked for
        self.common: Plan | None = None  # by which all train, as the first of them has measured

    def plan(self, members_per_chunk: int | None, began: Plan | None) -> Plan:
        """Lets workers measure, and returns the plan of the first that has.

        Raises:
            StudyError: workers do not start, or cannot plan.
        """
        while self.common is None:
            self._staff(len(self.request.population))
            # All measure, so that each has compiled what it needs when the first says how to go on.
            for hand in self.idle:
                called = self.pool.call(hand.worker, "measure", members_per_chunk, began)
                self.measuring[called] = hand._replace(since=time.monotonic())
            self.idle.clear()
            self._say_phase()
            self._wait()
        return self.common

    def rest(self) -> None:
        """Waits until no worker measures any more."""
        while self.measuring:
            self._wait()

    def _say_phase(self) -> None:
        """Says what workers do before there is a plan."""
        for count, what in ((len(self.measuring), "measuring on"), (len(self.starting), "starting")):
            if count:
                phase = f"{what} {count} worker{'s' * (count > 1)}"
                if phase != self.display.phase:
                    self.display.doing(phase)
                    self.lock.say(self.display.figures())
                return

    def _say_compiling(self) -> None:
        """Says so where no worker trains before it has compiled: that is no time that steps take."""
        groups = {assignment.task.chunk.group for assignment in self.running.values()}
        if groups and not groups & self.trained and not self.display.phase:
            self.display.compiling(len(self.trained) + 1, len(self.groups))

    def train(
        self, population: Population, chunks: list[Chunk], sources: Mapping[int, int], finished: Finished
    ) -> None:
        """Trains chunks; returns when every one is committed or given up.

        Raises:
            StudyError: workers do not start, or something fails that no member is to blame for.
        """
        waiting = collections.deque(Task(chunk) for chunk in chunks)
        self.groups = self.trained | {chunk.group for chunk in chunks}
        shared = self.pool.share(population), self.pool.share(dict(sources))
        while waiting or self.running:
            self._staff(len(waiting) + len(self.running))
            while waiting and self.idle:
                hand, task = self.idle.pop(), waiting.popleft()
                found = self.pool.call(hand.worker, "train", self.common, shared[0], task.chunk, shared[1])
                self.running[found] = Assignment(hand, task)
            for reference in self._wait():
                assignment = self.running.pop(reference)
                outcome = self._outcome(reference, assignment)
                waiting.extendleft(self._judge(population, assignment, outcome, finished))
            waiting.extendleft(self._look(population, finished))

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
        self.signals.deliver()
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
        self._end_those_that_hang()
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
            if self.common is not None:  # otherwise it has yet to plan
                self.false_starts = 0
        except Died as error:
            self._false_start(hand, "as soon as they start", error)
        except Failed as error:
            said = str(error)
            hint = "; run directory and study must be within reach of every worker"
            if isinstance(self.executor, Processes):
                hint = "; leave executor out (--executor inline), which trains in this process"
            elif "ModuleNotFoundError" in said or "ImportError" in said:
                hint = "; install it there, or name it in sweeps.ray(runtime_env=...)"
            raise StudyError(f"`a worker can take the study` must hold, but got {said}{hint}") from error

    def _hear(self, reference: Any, hand: Hand) -> None:
        """Takes what a worker has measured for the plan, if it is the first."""
        try:
            plan, programs = self.pool.answer(reference)
            count_elsewhere(programs)
            self.common = self.common or plan._replace(failures=self.failures)
            self.idle.append(hand)
            self.false_starts = 0
        except Died as error:
            cure = "; if that is for want of memory, a smaller members_per_chunk needs less"
            self._false_start(hand, "while they plan", error, cure)
        except Failed as error:
            raise StudyError(f"`a worker can plan the study` must hold, but got {error}") from error

    def _end_those_that_hang(self) -> None:
        """Dismisses workers of which no plan has come in all the time that one may take."""
        limit = SILENCE if self.executor.time_limit is None else float(self.executor.time_limit)
        for reference, hand in list(self.measuring.items()):
            if time.monotonic() - hand.since > limit:
                del self.measuring[reference]
                self._dismiss(hand)
                if self.common is None and not self.measuring:
                    raise StudyError(
                        f"No worker has planned the study in {limit:.0f} s. Does a function of the trial "
                        f"wait for something?"
                    )

    def _false_start(self, hand: Hand, when: str, error: Died, cure: str = "") -> None:
        self.false_starts += 1
        self._dismiss(hand)
        if self.false_starts >= FALSE_STARTS:
            raise StudyError(f"Workers die {when}, {self.false_starts} in a row: {error}{cure}") from error

    def _outcome(self, reference: Any, assignment: Assignment) -> Outcome:
        """What became of a task that has ended."""
        try:
            outcome = self.pool.answer(reference)
            count_elsewhere(outcome.programs)
            if outcome.failure is not None and outcome.failure.memory:
                self._dismiss(assignment.hand)  # a new process begins with all of its memory
            else:
                self.idle.append(assignment.hand)
            return outcome
        except (Died, Failed) as error:
            self._dismiss(assignment.hand)
            if isinstance(error, Died):
                # Whatever ended it may have been the memory that it took, if it does so twice.
                short = error.memory or assignment.task.attempts > 0
            else:
                short = "MemoryError" in str(error)
            return Outcome(0, Failure(str(error), memory=short))

    def _judge(
        self,
        population: Population,
        assignment: Assignment,
        outcome: Outcome,
        finished: Finished,
    ) -> list[Task]:
        """Says what became of a task, and returns what is to be done again."""
        task, why = assignment.task, outcome.failure
        chunk = task.chunk
        if why is None:
            self.trained.add(chunk.group)
            last = chunk.stop == self.request.study.steps
            self.display.lead(outcome.best, self.request.study.mode)
            self.display.finish(chunk.name, len(chunk.members), chunk.steps, outcome.diverged, last)
            finished(chunk)
            return []
        assert self.common is not None  # it was planned
        parts = again(task, why, self.common.devices, self.executor.attempts)
        if why.fatal and task.attempts + 1 >= self.executor.attempts:
            raise StudyError(why.error)
        say_failure(self.display, task, why, parts)
        if not parts:
            metric, setting = self.request.study.metric, self.common.setting
            give_up(self.directory, population, chunk, metric, setting, why)
        return parts[::-1]

    def _look(self, population: Population, finished: Finished) -> list[Task]:
        """Reads what workers say, ends those that hang, and returns what is to be done again."""
        between = max(WAIT_SECONDS, len(self.running) / heartbeats.RECORDS_PER_SECOND)
        if time.monotonic() < self.looked + between:
            return []
        self.looked = time.monotonic()
        records, again = heartbeats.read(self.directory), []
        for reference, assignment in list(self.running.items()):
            record, chunk = records.get(assignment.hand.name), assignment.task.chunk
            if record is not None and record.get("chunk") == chunk.name:
                now = Running(len(chunk.members), record["step"] - chunk.after, record["step"], float("nan"))
                self.trained |= {chunk.group} if now.steps else set()
                self.display.chunk(chunk.name, now)
            limit = self._limit(chunk, record is not None and record.get("evaluating", False))
            if assignment.silent(record) > limit:
                del self.running[reference]
                self._dismiss(assignment.hand)
                said = f"no sign of life from {assignment.hand.name} in {limit:.0f} s"
                outcome = Outcome(0, Failure(said))
                again += self._judge(population, assignment, outcome, finished)
        self._say_compiling()
        members = sum(len(each.task.chunk.members) for each in self.running.values())
        workers = len(self.running) + len(self.idle)
        self.lock.say({"workers": workers, "members": members, **self.display.figures()})
        return again

    def _limit(self, chunk: Chunk, evaluating: bool) -> float:
        if self.executor.time_limit is not None:
            return float(self.executor.time_limit)
        if evaluating:
            return SILENCE
        assert self.common is not None  # it was planned
        expected = self.common.compile_seconds + chunk.steps * self.common.seconds_per_step
        if math.isnan(expected):  # it could not be timed
            return SILENCE
        return LEAST_LIMIT + LIMIT_FACTOR * expected

    def _dismiss(self, hand: Hand) -> None:
        self.pool.dismiss(hand.worker)
        heartbeats.forget(self.directory, hand.name)

    def disband(self) -> None:
        """Ends all workers."""
        beginning = [*self.starting.values(), *self.measuring.values()]
        hands = [*self.idle, *beginning, *(each.hand for each in self.running.values())]
        self.pool.disband([hand.worker for hand in hands])
        heartbeats.disband(self.directory)
