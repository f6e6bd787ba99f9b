"""Compiles and times candidate widths on the real study, briefly, and remembers what it measured."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from sweeps.data.streams import Block
from sweeps.engine import chunks as planning
from sweeps.engine import measurements
from sweeps.engine import program as execute
from sweeps.engine.bench import Bench, state_bytes
from sweeps.engine.chunks import Measurement, Memory
from sweeps.engine.examples import example_batch
from sweeps.engine.failure import describe
from sweeps.engine.footprint import program_bytes
from sweeps.engine.measurements import Known
from sweeps.engine.tracing import largest_array
from sweeps.host.memory import available_bytes
from sweeps.ops.finite import non_finite_allowed

TIMED_SECONDS = 0.1  # per repetition; the fastest of three is taken
LAYOUT = "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"  # of convolutions that stay fast in a loop, in StableHLO
TRIED_MEMBERS = 8  # are timed alone, until one does not fail


class Choice(NamedTuple):
    """What was chosen, and what it was chosen from.

    Attributes:
        best: the candidate that was chosen; its times are NaN where the width was given, and none was timed.
        measurements: the candidates; none where the width was given.
        memory: what the program needs per device; None where only one width was compiled.
    """

    best: Measurement
    measurements: tuple[Measurement, ...] = ()
    memory: Memory | None = None


class _Timing:
    """The candidates of a program: those that were timed before, and those that are timed now.

    Args:
        bench: what to measure on.
        widest: the most members per device there may be.
        remember: whether what was measured before will do.
        say: told what is measured, before it is.
    """

    def __init__(self, bench: Bench, widest: int, remember: bool, say: Callable[[str], None]):
        self.bench, self.name, self.say = bench, measurements.name_of(bench), say
        before = measurements.recall(self.name)
        self.known = (before if remember else None) or _look(bench, widest)
        if before is not None:  # that was measured by others, and is not measured here
            self.known = self.known._replace(processes=before.processes)
        self.available = available_bytes(bench.mesh, bench.neighbours)

    def __call__(self, width: int, loop: str) -> Measurement:
        for each in self.known.measurements:
            if each[:2] == (width, loop):  # what does not fit any more is as good as one that never ran
                return each if self.fits(each) else each._replace(seconds_per_step=math.inf)
        self.say(f"timing {width * self.bench.mesh.size} members at once")
        found = measure(self.bench, loop, width, self.available)
        if 0 < found.seconds_per_step < math.inf:  # it has run
            self.known = self.known._replace(measurements=(*self.known.measurements, found))
            measurements.keep(self.name, self.known)
        return found

    def fits(self, measured: Measurement) -> bool:
        return measured.bytes_per_device <= self.available


def choose(
    bench: Bench,
    most: int | None = None,
    remember: bool = True,
    say: Callable[[str], None] = lambda phase: None,
) -> Choice:
    """The members per device, by memory and by time.

    Short sweeps take the first width that fits, or what was measured to be faster before; long ones try
    others, as `planning.next_width` says.

    Args:
        bench: what to measure on.
        most: the most members per device wanted; None sets no bound.
        remember: whether earlier measurements will do; False compiles two widths in any case, so that the
            memory per member is known.
        say: told what is measured, before it is.
    """
    members, shares = len(bench.own), bench.mesh.size * bench.workers
    work = members * len(bench.population.statics) * bench.study.steps
    share = bench.chunk_seconds / bench.study.steps
    widths = planning.ladder(members, bench.mesh.size, bench.workers, most)
    timed = _Timing(bench, widths[-1], remember, say)
    compiled = _first_that_fits(timed, widths)
    # A chunk is a folder, and whoever reads the run opens all of them.
    worth = [width for width in widths if members <= planning.MOST_CHUNKS * shares * width]
    loop, first = timed.known.loop, compiled[-1]
    others = [each for each in timed.known.measurements if each.loop == loop and each.per_device in worth]
    tried = [first, *(each for each in others if each != first and timed.fits(each))]
    compiled += tried[1:]
    while True:
        memory = planning.fit_memory(compiled)
        room = planning.widest(memory, timed.available) if memory else widths[-1]
        fitting = [width for width in worth if width <= room]
        following = planning.next_width(tried, work, shares, fitting, share)
        if following is None:
            break
        tried.append(timed(following, loop))
        compiled.append(tried[-1])
    if not remember and len(compiled) == 1:
        other = timed(first.per_device // 2 or 2, loop)
        tried += [other] if other.per_device <= widths[-1] else []
        memory = planning.fit_memory([first, other])
    best = planning.fastest(tried, share)
    if not bench.accelerated:
        # A convolution that is not lowered may be slow in any loop inside a program.
        loops = ["host"] if timed.known.convolves else []
        if planning.worth_trying(tried, work, shares, share):
            loops.append("scan" if loop == "map" else "map")
        tried += [timed(best.per_device, other) for other in loops]
        best = planning.fastest(tried, share)
    return Choice(best, tuple(tried), memory)


def _first_that_fits(timed: _Timing, widths: list[int]) -> list[Measurement]:
    """The first width, and narrower ones down to one that fits the memory, which is the last.

    Raises:
        StudyError: not one member fits.
    """
    known = timed.known
    width = planning.first_width(known.member_bytes, widths, timed.bench.accelerated)
    compiled = [timed(width, known.loop)]
    while not timed.fits(compiled[-1]) and (narrower := [other for other in widths if other < width]):
        width = narrower[-1]
        compiled.append(timed(width, known.loop))
    if not timed.fits(compiled[-1]):
        planning.widest(Memory(0.0, compiled[-1].bytes_per_device), timed.available)  # says so
    return compiled


def _look(bench: Bench, per_device: int) -> Known:
    """What can be told of a program with nothing compiled, seen at a width that it may well run in."""
    members, lowered, member_bytes = bench.members(1), bench.lowered("scan", per_device), state_bytes(bench)
    loop = _usual_loop(lowered, bench, per_device)
    if loop == "scan":  # side by side, what a member's operation reads and writes is in the cache at once
        statics = bench.population.statics[bench.group]
        member_bytes += 2 * largest_array(bench.study, statics, members.values)
    return Known(member_bytes, loop, _convolves(lowered.as_text()))


def _convolves(program: str) -> bool:
    """Whether a program has convolutions that a loop may slow: not in the fast layout, or grouped."""
    lines = [line for line in program.splitlines() if "stablehlo.convolution" in line]
    return any(LAYOUT not in line or "feature_group_count = 1 " not in line for line in lines)


@non_finite_allowed()
def measure(bench: Bench, loop: str, per_device: int, available: float | int) -> Measurement:
    """Compiles a width, and times a few steps of it if it fits.

    Where a member fails, others are timed alone; it is dealt with when it is trained.

    Args:
        bench: what to measure on.
        loop: `scan`, `map` or `host`.
        per_device: members per device.
        available: bytes that each device has; a program that needs more is not run.

    Returns:
        The measurement; with no seconds, if all members that were tried failed.
    """
    own, began, program = bench.own, time.monotonic(), bench.program(loop)
    spread = np.unique(np.linspace(0, len(own) - 1, TRIED_MEMBERS).astype(int))
    for rows in (own, *np.split(own[spread], len(spread))):
        try:
            return _measure(bench, program, per_device, available, bench.members(per_device, rows))
        except jax.errors.JaxRuntimeError as error:
            if describe(error).memory:
                raise
    return Measurement(per_device, loop, 0.0, time.monotonic() - began, 0)


def _measure(
    bench: Bench, program: execute.Program, per_device: int, available: float | int, members: execute.Members
) -> Measurement:
    example = example_batch(bench.study)
    began = time.monotonic()
    needed = program_bytes(program, bench.root, members, example, bench.train, bench.evaluation)
    if needed > available:
        return Measurement(per_device, program.loop, float("inf"), time.monotonic() - began, needed)
    carry = program.init(bench.root, members, example)

    def run(carry: Any, steps: int) -> tuple[Any, float]:
        start = time.monotonic()
        carry = program.advance(bench.root, members, carry, bench.train, np.int32(0), np.int32(steps))
        return jax.block_until_ready(carry), time.monotonic() - start

    most = 1 if isinstance(bench.train, Block) else 1000
    carry, _ = run(carry, 1)
    compiled = time.monotonic() - began
    carry, once = run(carry, 1)
    steps = int(np.clip(TIMED_SECONDS / max(once, 1e-6), 1, most))
    times = []
    for _ in range(3):
        carry, seconds = run(carry, steps)
        times.append(seconds / steps)
    return Measurement(per_device, program.loop, min(times), compiled, needed)


def usual_loop(bench: Bench, per_device: int) -> str:
    """The loop that suits a study as far as its arithmetic tells, with nothing measured.

    Args:
        bench: the study, its members and devices.
        per_device: members per device; those of the run, so that its trace is this one.
    """
    known = measurements.recall(measurements.name_of(bench))
    return known.loop if known else _usual_loop(bench.lowered("scan", per_device), bench, per_device)


def _usual_loop(step: Any, bench: Bench, per_device: int) -> str:
    flops = (step.cost_analysis() or {}).get("flops", 0.0)
    return planning.first_loop(flops / per_device, bench.accelerated)
