import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sweeps
from sweeps.driver.in_memory import run_in_memory
from sweeps.engine import autotune, measurements, programs
from sweeps.engine import chunks as planning
from sweeps.engine import program as execute
from sweeps.engine.chunks import Measurement
from sweeps.engine.plan import examine, prepare
from sweeps.errors import StudyError
from sweeps.host.progress import Display
from sweeps.host.signals import Signals
from sweeps.members.population import populate
from sweeps.ops.convolution import conv_general_dilated
from tests.sweeps import plain

NUMBERS = 500  # of a member's state, and as many of what it remembers


def trial_of(change=lambda x: x):
    """Half a thousand numbers with momentum, whose program compiles in a fraction of a second."""

    def init(config, key):
        at = jax.random.key_data(key).astype(jnp.float32)[0] / 2.0**32
        return {"x": at + jnp.arange(1.0, NUMBERS + 1), "momentum": jnp.zeros(NUMBERS)}

    def step(config, state, batch, key):
        momentum = 0.9 * state["momentum"] + change(state["x"])
        return {"x": state["x"] - config.learning_rate * momentum, "momentum": momentum}, {}

    def evaluate(config, state, data):
        return {"test/loss": (state["x"] ** 2).mean()}

    return sweeps.Trial(plain.Config, None, init, step, evaluate)


TRIAL = trial_of()


def study_of(**changes):
    return plain.study(**({"trial": TRIAL, "metric": "test/loss"} | changes))


def test_memory_of_a_program_is_linear_in_its_width():
    study = study_of(space={"seed": range(64)})
    population = populate(study, None, 0)
    prepared = prepare(examine(study, population), 0, members_per_chunk=2)
    needed = [autotune.measure(prepared.bench, "scan", width, 1e12).bytes_per_device for width in (2, 8, 32)]
    first, second = (needed[1] - needed[0]) / 6, (needed[2] - needed[1]) / 24
    # The compiler pads buffers, so the two slopes agree to a few percent rather than exactly.
    assert first == pytest.approx(second, rel=0.15)
    # Parameters, momentum and their copies: a member cannot need less than twice its state.
    assert first > 2 * 4 * 2 * NUMBERS


@pytest.fixture
def nothing_is_known(monkeypatch):
    """What other tests measured is not looked at."""
    monkeypatch.setattr(measurements, "recall", lambda name: None)


@pytest.mark.parametrize(
    ("convolve", "groups", "slow"),
    [
        (conv_general_dilated, 1, False),
        (jax.lax.conv_general_dilated, 1, True),
        (conv_general_dilated, 5, True),
    ],
    ids=["lowered", "jax.lax", "grouped"],
)
def test_steps_from_the_host_are_tried_where_a_loop_may_slow_a_convolution(
    convolve, groups, slow, nothing_is_known
):
    kernel = jnp.ones((3, 3, 5 // groups, 5))

    def loss(x):
        images = x.reshape(1, 10, 10, 5)
        layers = convolve(
            images,
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )
        return jnp.mean(layers**2)

    study = study_of(trial=trial_of(jax.grad(loss)), space={"seed": range(2)})
    tried = prepare(examine(study, populate(study, None, 0)), 0).choice.measurements
    assert ("host" in {each.loop for each in tried}) == slow


def test_a_width_that_does_not_fit_is_halved_before_it_is_run(monkeypatch, nothing_is_known):
    study = study_of(space={"seed": range(64)})
    population = populate(study, None, 0)
    wide = prepare(examine(study, population), 0)
    narrow_bytes = autotune.measure(wide.bench, "scan", 4, 1e12).bytes_per_device
    monkeypatch.setattr(autotune, "available_bytes", lambda mesh, neighbours: narrow_bytes * 1.05)
    prepared = prepare(examine(study, population), 0)
    assert wide.choice.best.per_device > 4 >= prepared.choice.best.per_device
    assert prepared.choice.memory is not None
    assert all(len(chunk.members) <= 8 for chunk in prepared.chunks)
    monkeypatch.setattr(autotune, "available_bytes", lambda mesh, neighbours: 100.0)
    with pytest.raises(StudyError, match="one member fits into the device's memory"):
        prepare(examine(study, population), 0)


@pytest.fixture
def timed(monkeypatch):
    """The widths and loops that are compiled and timed from now on."""
    seen, measure = [], autotune.measure

    def watched(bench, loop, per_device, available):
        seen.append((per_device, loop))
        return measure(bench, loop, per_device, available)

    monkeypatch.setattr(autotune, "measure", watched)
    return seen


def planned(**changes):
    study = study_of(**{"space": {"seed": range(8)}} | changes)
    return prepare(examine(study, populate(study, None, 0)), 0)


def test_what_was_measured_is_known_in_the_process_and_beside_the_compilation_cache(timed, monkeypatch):
    trial = trial_of(jnp.sin)
    first = planned(trial=trial)
    assert timed == [(4, first.choice.best.loop)]
    name = measurements.name_of(first.bench)
    assert planned(trial=trial, space={"seed": range(8, 16)}, steps=7).choice == first.choice
    monkeypatch.setattr(measurements, "_known", {})  # as in another process
    assert planned(trial=trial).choice == first.choice and len(timed) == 1
    path = measurements._path(name)
    assert path is not None
    for damage in ("{", "[]", '{"measurements": [[0, "scan", 1, 1, 1]]}', path.read_text()[:-9]):
        path.write_text(damage)
        monkeypatch.setattr(measurements, "_known", {})
        timed.clear()
        planned(trial=trial)
        assert timed == [(4, first.choice.best.loop)]


def test_a_measurement_is_of_a_model_and_serves_as_long_as_it_fits(timed, monkeypatch):
    ours, theirs = planned(), planned(trial=trial_of(jnp.tanh))  # of the same shapes
    assert measurements.name_of(ours.bench) != measurements.name_of(theirs.bench)
    timed.clear()
    narrow = autotune.measure(ours.bench, "scan", 1, 1e12)
    monkeypatch.setattr(autotune, "available_bytes", lambda mesh, neighbours: narrow.bytes_per_device * 1.05)
    assert planned().choice.best.per_device == 1 < ours.choice.best.per_device


def test_a_loop_that_was_faster_and_fits_no_more_is_not_taken(monkeypatch):
    bench = planned().bench
    timed = [Measurement(width, "scan", 1.0, 1e-9, width) for width in (1, 2, 4)]
    known = measurements.Known(0, "scan", False, (*timed, Measurement(4, "map", 0.1, 1e-9, 10**15)))
    monkeypatch.setattr(measurements, "recall", lambda name: known)
    choice = autotune.choose(bench)
    assert choice.best.loop == "scan"
    assert {each.loop: each.seconds_per_step for each in choice.measurements}["map"] == float("inf")


def test_a_width_that_was_measured_to_be_faster_serves_a_short_sweep(monkeypatch):
    ours = planned()
    bench, loop = ours.bench, ours.choice.best.loop
    known = measurements.Known(
        0, loop, False, tuple(Measurement(n, loop, s, 1.0, 1) for n, s in [(4, 1.0), (2, 0.1)])
    )
    monkeypatch.setattr(measurements, "recall", lambda name: known)
    assert autotune.choose(bench).best.per_device == 2 and autotune.choose(bench, most=1).best.per_device == 1
    # It would have more chunks than a directory should.
    monkeypatch.setattr(planning, "MOST_CHUNKS", len(bench.own) / (4 * bench.mesh.size))
    assert autotune.choose(bench).best.per_device == 4


def test_where_chunks_are_committed_there_are_fewer_of_them(monkeypatch):
    ours = planned(steps=10)
    bench, loop = ours.bench, ours.choice.best.loop
    timed = tuple(Measurement(n, loop, s, 1e9, 1) for n, s in [(4, 5e-6), (2, 2e-6)])
    monkeypatch.setattr(measurements, "recall", lambda name: measurements.Known(0, loop, False, timed))
    assert autotune.choose(bench._replace(chunk_seconds=0.0)).best.per_device == 2
    choice = autotune.choose(bench._replace(chunk_seconds=planning.SECONDS_ON_DISK))
    assert choice.best == timed[0]


@pytest.mark.parametrize("part", ["init", "step", "evaluate"])
def test_memory_is_planned_for_whatever_needs_the_most(part, monkeypatch, nothing_is_known):
    size = 2**18

    def large(where, x):
        numbers = jnp.full(size if where == part else 4, x)
        return jax.lax.optimization_barrier(numbers).sum()

    trial = sweeps.Trial(
        config=plain.Config,
        data=None,
        init=lambda config, key: {"x": large("init", config.alpha)},
        step=lambda config, state, batch, key: ({"x": large("step", state["x"])}, {}),
        evaluate=lambda config, state, data: {"x": large("evaluate", state["x"])},
    )
    study = sweeps.Study(trial, steps=1, metric="x", mode="min", space={"seed": range(16)})
    population = populate(study, None, 0)
    monkeypatch.setattr(autotune, "available_bytes", lambda mesh, neighbours: 4.0 * size * 3.5)
    choice = prepare(examine(study, population), 0, jax.devices()[:1]).choice
    assert choice.best.per_device in (1, 2)  # of 16, each of which needs one MiB, or two
    assert all(each.bytes_per_device >= 4 * size * each.per_device for each in choice.measurements)


def test_out_of_memory_halves_the_width_and_loses_nobody(monkeypatch):
    study = plain.study(space={"seed": range(12)}, steps=3, evaluate_every=3)
    whole = sweeps.run(study, progress=False, members_per_chunk=12)
    build = execute.build

    def limited(*arguments):
        program = build(*arguments)

        def advance(root, members, carry, train, start, stop):
            if len(members.seeds) > 4:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory allocating 1 byte")
            return program.advance(root, members, carry, train, start, stop)

        advance.lower = program.advance.lower  # pyright: ignore[reportFunctionMemberAccess]
        return program._replace(advance=advance)

    monkeypatch.setattr(execute, "build", limited)
    monkeypatch.setattr(programs, "_built", {})
    halved = sweeps.run(study, progress=False, members_per_chunk=12)
    assert halved.members["member"].to_pylist() == list(range(12))
    # Another width is another fusion of the same float32 arithmetic.
    np.testing.assert_allclose(halved.final("test/loss"), whole.final("test/loss"), rtol=1e-5)
    monkeypatch.setattr(execute, "build", lambda *arguments: broken(build(*arguments)))
    monkeypatch.setattr(programs, "_built", {})
    with pytest.raises(sweeps.StudyError, match="All 12 members failed.*RESOURCE_EXHAUSTED"):
        sweeps.run(study, progress=False, members_per_chunk=12)


def broken(program):
    def advance(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory at any width")

    advance.lower = program.advance.lower  # pyright: ignore[reportFunctionMemberAccess]
    return program._replace(advance=advance)


def test_steps_from_the_host_are_the_steps_of_the_scan():
    study = plain.study(trial=plain.shuffled, batches="per_seed")
    prepared = prepare(examine(study, populate(study, None, 0)), 0, members_per_chunk=10)
    silent = Display(9, 12, shown=False)
    scanned, hosted = (
        run_in_memory(
            prepared._replace(plan=prepared.plan._replace(loop=mode)), {}, silent, Signals()
        ).metrics["train/loss"]
        for mode in ("scan", "host")
    )
    # Two programs of the same float32 arithmetic.
    np.testing.assert_allclose(scanned.to_numpy(), hosted.to_numpy(), rtol=1e-5)


def test_fewer_members_than_devices_use_as_many_devices():
    study = study_of(space={"seed": [4]})
    prepared = prepare(examine(study, populate(study, None, 0)), 0)
    assert prepared.bench.mesh.size == 1 and prepared.chunks[0].width == 1
