import jax
import numpy as np
import pytest

import sweeps
from sweeps import execute, measurement
from sweeps.course import run_in_memory
from sweeps.population import populate
from sweeps.preparation import examine, prepare
from sweeps.progress import Display
from sweeps.signals import Signals
from sweeps.space import StudyError
from tests.sweeps.population_of_mlps import small_study


def test_memory_of_a_program_is_linear_in_its_width():
    study = small_study(space={"seed": range(64)})
    population = populate(study, None, 0)
    prepared = prepare(examine(study, population), 0, members_per_chunk=2)
    program = prepared.programs(population.statics[0], "scan")
    needed = [
        measurement.measure(prepared.bench, program, width, 1e12).bytes_per_device for width in (2, 8, 32)
    ]
    first, second = (needed[1] - needed[0]) / 6, (needed[2] - needed[1]) / 24
    # The compiler pads buffers, so the two slopes agree to a few percent rather than exactly.
    assert first == pytest.approx(second, rel=0.15)
    # Parameters, momentum and their copies: a member cannot need less than twice its state.
    assert first > 2 * 4 * 2 * (6 * 8 + 8 + 8 * 3 + 3)


def test_a_width_that_does_not_fit_is_halved_before_it_is_run(monkeypatch):
    study = small_study(space={"seed": range(64)})
    population = populate(study, None, 0)
    wide = prepare(examine(study, population), 0)
    narrow_bytes = measurement.measure(
        wide.bench, wide.programs(population.statics[0], "scan"), 4, 1e12
    ).bytes_per_device
    monkeypatch.setattr(measurement, "available_bytes", lambda mesh, neighbours: narrow_bytes * 1.05)
    monkeypatch.setattr(measurement, "_memory_file", lambda bench, members: None)
    prepared = prepare(examine(study, population), 0)
    assert wide.choice.per_device > 4 >= prepared.choice.per_device
    assert prepared.choice.memory is not None
    assert all(len(chunk.members) <= 8 for chunk in prepared.chunks)
    monkeypatch.setattr(measurement, "available_bytes", lambda mesh, neighbours: 100.0)
    with pytest.raises(StudyError, match="one member fits into the device's memory"):
        prepare(examine(study, population), 0)


def test_a_choice_is_remembered_beside_the_compilation_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(measurement, "_memory_file", lambda bench, members: tmp_path / "plan.json")
    study = small_study(space={"seed": range(8)})
    population = populate(study, None, 0)
    first = prepare(examine(study, population), 0).choice
    assert first.measurements and (tmp_path / "plan.json").exists()
    again = prepare(examine(study, population), 0).choice
    assert again.measurements == () and (again.per_device, again.loop) == (first.per_device, first.loop)
    (tmp_path / "plan.json").write_text("{")
    assert prepare(examine(study, population), 0).choice.measurements


def test_out_of_memory_halves_the_width_and_loses_nobody(monkeypatch):
    study = small_study(space={"seed": range(12)}, steps=3, evaluate_every=3)
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
    halved = sweeps.run(study, progress=False, members_per_chunk=12)
    assert halved.members["member"].to_pylist() == list(range(12))
    # Another width is another fusion of the same float32 arithmetic.
    np.testing.assert_allclose(halved.final("test/loss"), whole.final("test/loss"), rtol=1e-5)
    monkeypatch.setattr(execute, "build", lambda *arguments: broken(build(*arguments)))
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        sweeps.run(study, progress=False, members_per_chunk=12)


def broken(program):
    def advance(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory at any width")

    advance.lower = program.advance.lower  # pyright: ignore[reportFunctionMemberAccess]
    return program._replace(advance=advance)


def test_steps_from_the_host_are_the_steps_of_the_scan():
    study = small_study(batches="per_seed")
    prepared = prepare(examine(study, populate(study, None, 0)), 0, members_per_chunk=10)
    silent = Display(9, 12, shown=False)
    scanned, hosted = (
        run_in_memory(
            prepared._replace(choice=prepared.choice._replace(loop=mode)), {}, silent, Signals()
        ).metrics["train/loss"]
        for mode in ("scan", "host")
    )
    # Two programs of the same float32 arithmetic.
    np.testing.assert_allclose(scanned.to_numpy(), hosted.to_numpy(), rtol=1e-5)


def test_free_memory_is_what_the_system_and_the_cgroup_leave(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert measurement.free_ram(tmp_path) == 8000 * 1024
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("500\n")
    assert measurement.free_ram(tmp_path) == 8000 * 1024
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("2000\n")
    assert measurement.free_ram(tmp_path) == 1500


def test_fewer_members_than_devices_use_as_many_devices():
    study = small_study(space={"seed": [4]})
    prepared = prepare(examine(study, populate(study, None, 0)), 0)
    assert prepared.bench.mesh.size == 1 and prepared.chunks[0].width == 1
