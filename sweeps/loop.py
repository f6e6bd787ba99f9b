"""`run`: the loop over chunks that ties the parts together."""

import collections
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa

from sweeps import execute, measurement, planning, store
from sweeps.checking import check, check_data, example_batch
from sweeps.manifest import describe
from sweeps.measurement import Bench, Choice
from sweeps.planning import Chunk
from sweeps.population import Population, populate, traced_columns
from sweeps.progress import Display
from sweeps.results import Results, load
from sweeps.space import StudyError
from sweeps.streams import Block, Once, blocks, check_stream, is_stream
from sweeps.tables import member_rows, metric_rows, pending_rows
from sweeps.trial import Study, unknown

SPAN_SECONDS = 2.0  # signals, progress and divergence are dealt with at least this often
IN_MEMORY_MEMBERS = 100_000
CHECKED_GROUPS = 8  # whose functions are checked before anything is compiled


class Prepared(NamedTuple):
    """A study that is checked and planned, with nothing trained.

    Attributes:
        study: the study.
        population: its members.
        bench: the devices, and what all members share on them.
        choice: the width and loop that were chosen.
        chunks: the plan.
        programs: the program of a static group and loop mode.
    """

    study: Study
    population: Population
    bench: Bench
    choice: Choice
    chunks: list[Chunk]
    programs: Callable[[int, str], execute.Program]


def run(
    study: Study,
    *,
    samples: int | None = None,
    out: str | Path | None = None,
    root_seed: int = 0,
    devices: Sequence[Any] | None = None,
    members_per_chunk: int | None = None,
    progress: bool = True,
    name: str = "study",
) -> Results:
    """Trains every member of a study and returns what they found.

    Args:
        study: the study.
        samples: how many joint draws of the sampled fields.
        out: a new folder to keep the run in; None keeps it in memory.
        root_seed: what all randomness derives from, a whole number ≥ 0.
        devices: the devices that share the members; None takes all.
        members_per_chunk: how many members run at once; None measures and chooses.
        progress: whether to show progress on standard error.
        name: what the manifest calls the study.

    Returns:
        The results; with `out`, its folder holds them too.

    Raises:
        StudyError: something asked for cannot be done; nothing was trained then.
        KeyboardInterrupt: Ctrl-C; chunks that were finished are kept in `out`.
    """
    if not isinstance(root_seed, int) or not 0 <= root_seed < 2**32:
        raise StudyError(
            f"`root_seed is a whole number from 0 to 2**32 - 1` must hold, but got {root_seed!r}"
        )
    population = populate(study, samples, root_seed)
    if out is None and len(population) > IN_MEMORY_MEMBERS:
        raise StudyError(
            f"`out` must be given above {IN_MEMORY_MEMBERS} members, but got {len(population)} and no out"
        )
    if out is not None:
        store.check_new(out)
    prepared = prepare(study, population, root_seed, devices, members_per_chunk)
    mesh, loop = prepared.bench.mesh, prepared.choice.loop
    manifest = describe(
        study,
        population,
        name=name,
        samples=samples,
        root_seed=root_seed,
        mesh=mesh,
        loop=loop,
        chunks=prepared.chunks,
    )
    directory = None if out is None else store.create(out, manifest)
    tables: list[tuple[pa.Table, pa.Table]] = []
    with Display(len(population), study.steps, shown=progress) as display:
        if mesh.size < len(devices or jax.devices()):
            display.note(f"{mesh.size} of the devices are used: there are no more members in a group")
        try:
            for chunk, rows in _train_all(prepared, display):
                if directory is None:
                    tables.append(rows)
                else:
                    store.commit(directory, f"{chunk.name}-0-{study.steps}", *rows)
        finally:
            if directory is not None:
                store.derive(directory, len(population), functools.partial(pending_rows, population))
    if directory is not None:
        return load(directory)
    members, metrics = (
        pa.concat_tables(parts, promote_options="default") for parts in zip(*tables, strict=True)
    )
    return Results(manifest, tables=(members.sort_by(store.ORDER[:1]), metrics.sort_by(store.ORDER)))


def prepare(
    study: Study,
    population: Population,
    root_seed: int,
    devices: Sequence[Any] | None = None,
    members_per_chunk: int | None = None,
    remember: bool = True,
) -> Prepared:
    """Checks a study and plans its chunks.

    Args:
        study: the study.
        population: its members.
        root_seed: what all randomness derives from.
        devices: the devices that share the members; None takes all.
        members_per_chunk: how many members run at once; None measures and chooses.
        remember: whether an earlier choice will do; False measures at two widths in any case.

    Raises:
        StudyError: a function of the trial cannot be used, or the metric is not among those it reports.
    """
    largest = int(np.bincount(population.groups).max())
    mesh = execute.make_mesh(list(devices or jax.devices())[:largest])
    check_data(study)
    data = study.trial.data
    if data is not None and is_stream(data.train) and iter(data.train) is data.train:
        # Checking and planning look at a batch; one that can be read only once must not be lost to that.
        trial = study.trial._replace(data=data._replace(train=Once(data.train)))
        study = dataclasses.replace(study, trial=trial)
    for group in range(min(len(population.statics), CHECKED_GROUPS)):
        member = np.flatnonzero(population.groups == group)[:1]
        reported = check(study, population.statics[group], traced_columns(population, member))
        if study.metric not in reported:
            raise StudyError(
                f"`metric is reported by the trial` must hold, but got {unknown(study.metric, reported)}"
            )
    cache: dict[tuple[int, str], execute.Program] = {}

    def programs(group: int, loop: str) -> execute.Program:
        if (group, loop) not in cache:
            for other in [key for key in cache if key[0] != group]:
                del cache[other]  # the programs of a group that is done are not needed again
            cache[group, loop] = execute.build(study, population.statics[group], mesh, loop)
        return cache[group, loop]

    bench = measurement.place(study, population, mesh, root_seed)
    most = members_per_chunk
    if most is not None and remember:
        choice = Choice(max(1, most // mesh.size), "scan", (), None)
    else:
        per_device = None if most is None else max(1, most // mesh.size)
        choice = measurement.choose(bench, lambda loop: programs(bench.group, loop), per_device, remember)
    chunks = planning.cut(
        population.groups, mesh.size, choice.per_device * mesh.size if most is None else most
    )
    if study.trial.data is not None and is_stream(study.trial.data.train):
        check_stream(study.trial.data.train, len(chunks))
    return Prepared(study, population, bench, choice, chunks, programs)


class Pace:
    """How many steps make a span, by the time that steps were seen to take."""

    def __init__(self):
        self.seconds_per_step: float | None = None

    def span(self, steps: int) -> int:
        """At most so many of these steps; the first span, which compiles, is one step long."""
        if self.seconds_per_step is None:
            return 1
        return max(1, min(steps, int(SPAN_SECONDS / max(self.seconds_per_step, 1e-9))))

    def saw(self, steps: int, seconds: float) -> None:
        """Takes a measurement; the first is of the compiler, so only its absence is remembered."""
        self.seconds_per_step = 0.1 if self.seconds_per_step is None else seconds / steps


def _train_all(prepared: Prepared, display: Display) -> Iterator[tuple[Chunk, tuple[pa.Table, pa.Table]]]:
    """Every chunk with its rows; one that does not fit the memory is cut in halves, and so are the rest."""
    waiting = collections.deque(prepared.chunks)
    pace, devices = Pace(), prepared.bench.mesh.size
    while waiting:
        chunk = waiting.popleft()
        try:
            rows = _train(prepared, chunk, pace, display)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or chunk.width <= devices:
                raise
            display.note(
                f"out of memory with {chunk.width} members at once; going on with {chunk.width // 2}"
            )
            rest = np.concatenate([chunk.members, *(later.members for later in waiting)])
            waiting = collections.deque(
                planning.cut(prepared.population.groups, devices, max(chunk.width // 2, 1), only=rest)
            )
            continue
        yield chunk, rows


def _train(prepared: Prepared, chunk: Chunk, pace: Pace, display: Display) -> tuple[pa.Table, pa.Table]:
    """Trains one chunk from its first step to its last; returns its rows of members and metrics."""
    study, population, bench = prepared.study, prepared.population, prepared.bench
    program, count = prepared.programs(chunk.group, prepared.choice.loop), len(chunk.members)
    ids = np.resize(chunk.members, chunk.width)  # rows past the members repeat them, and are dropped
    members = execute.place_members(bench.mesh, traced_columns(population, ids), population.seeds[ids])
    carry = program.init(bench.root, members, example_batch(study))
    evaluations: list[tuple[int, dict[str, np.ndarray]]] = []
    feed, step, loss = _feed(bench), 0, float("nan")
    for target in study.evaluation_steps:
        while step < target:
            train, last = feed(step)
            stop = step + pace.span(min(target, last) - step)
            began = time.monotonic()
            carry = program.advance(bench.root, members, carry, train, np.int32(step), np.int32(stop))
            jax.block_until_ready(carry)
            pace.saw(stop - step, time.monotonic() - began)
            step = stop
            display.chunk(count, step, loss)
        values, carry = program.evaluate(members, carry, bench.evaluation)
        evaluations.append((step, {name: np.asarray(rows)[:count] for name, rows in values.items()}))
        if "train/loss" in values:
            losses = evaluations[-1][1]["train/loss"]
            loss = float(np.mean(losses[np.isfinite(losses)])) if np.isfinite(losses).any() else float("nan")
    diverged_at = np.asarray(carry.diverged_at)[:count]
    alive = diverged_at == execute.ALIVE
    display.finish(count, int((~alive).sum()))
    rows = member_rows(population, chunk.members, np.where(alive, "done", "diverged"), diverged_at)
    return rows, metric_rows(chunk.members, diverged_at, evaluations)


def _feed(bench: Bench) -> Callable[[int], tuple[Any, int]]:
    """What gives `advance` its data from a step on, and says up to which step that lasts."""
    if not isinstance(bench.train, Block):
        return lambda step: (bench.train, 2**31 - 1)
    assert bench.study.trial.data is not None  # a block comes from somewhere
    train = bench.study.trial.data.train
    stream = blocks(train, bench.study.steps, lambda batches: execute.place_data(bench.mesh, batches))
    held: list[Block] = []

    def feed(step: int) -> tuple[Block, int]:
        while not held or step >= _end(held[0]):
            held[:] = [next(stream)]
        return held[0], _end(held[0])

    return feed


def _end(block: Block) -> int:
    return int(block.first) + len(jax.tree.leaves(block.batches)[0])


def report_plan(prepared: Prepared) -> list[tuple[str, str]]:
    """What `sweeps plan` prints: labels and values.

    Args:
        prepared: a study that was measured.
    """
    population, chunks, choice = prepared.population, prepared.chunks, prepared.choice
    mesh, study = prepared.bench.mesh, prepared.study
    best = planning.fastest(choice.measurements)
    seconds = (
        len(chunks) * study.steps * best.seconds_per_step + len(population.statics) * best.compile_seconds
    )
    sizes = [len(values) for values in (np.unique(population.seeds),)]
    rows = [
        ("members", f"{len(population)}: {len(population) // sizes[0]} configurations x {sizes[0]} seeds"),
        ("static groups", f"{len(population.statics)}, one program each"),
        ("devices", f"{mesh.size} x {mesh.devices.flat[0].device_kind}"),
        (
            "members per chunk",
            f"{chunks[0].width}, {chunks[0].width // mesh.size} per device; {len(chunks)} chunks",
        ),
        ("loop", choice.loop),
    ]
    if choice.memory is not None:
        rows.append(("memory per member", f"{choice.memory.per_member / 2**10:.1f} KiB on its device"))
    # Only the scan is one program whose memory the compiler counts; a step from the host needs no more.
    needed = max(each.bytes_per_device for each in choice.measurements if each.per_device == best.per_device)
    rows.append(("memory per device", f"{needed / 2**20:.1f} MiB"))
    for measured in choice.measurements:
        cost = planning.cost(measured) / mesh.size * 1e6
        label = f"{measured.per_device} per device, {measured.loop}"
        rows.append(
            (
                "measured",
                f"{label}: {cost:.1f} µs per member and step, compiled in {measured.compile_seconds:.1f} s",
            )
        )
    rows.append(("member-steps", f"{len(population) * study.steps:,}"))
    rows.append(("predicted time", f"{seconds:.0f} s, evaluations not counted"))
    return rows
