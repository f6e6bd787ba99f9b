"""A study that is run again costs nothing to compile or to plan."""

import dataclasses

import jax
import pytest

import sweeps
from sweeps.engine import program as execute
from sweeps.engine.programs import KEPT, program_of
from tests.sweeps.population_of_mlps import small_study, small_trial


@pytest.fixture
def compiled():
    """How many programs were asked of the compiler since."""
    seen = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_second_run_of_a_study_compiles_nothing(compiled, tmp_path):
    study = small_study(space={"alpha": [0.0, 0.1], "seed": range(2)}, steps=3)
    first = sweeps.run(study, progress=False)
    assert compiled
    compiled.clear()
    again = sweeps.run(study, progress=False)
    other = dataclasses.replace(study, space={"alpha": [0.2, 0.3], "seed": [5, 6]}, steps=5)
    sweeps.run(other, progress=False)
    sweeps.run(other, out=tmp_path / "run", progress=False, root_seed=3)
    assert compiled == []
    assert again.metrics.equals(first.metrics)


def test_a_function_that_does_something_else_now_is_compiled_anew(compiled):
    factor = [2.0]
    trial = sweeps.Trial(
        small_trial().config,
        None,
        lambda config, key: 1.0 + config.alpha,
        lambda config, state, batch, key: (state * factor[0], {}),
        lambda config, state, data: {"test/loss": state},
    )
    study = sweeps.Study(trial, steps=1, metric="test/loss", space={"alpha": [1.0]})
    assert [sweeps.run(study, progress=False).final("test/loss")[0] for _ in range(2)] == [4.0, 4.0]
    factor[0] = 3.0
    assert sweeps.run(study, progress=False).final("test/loss")[0] == 6.0
    factor[0] = 2.0
    assert sweeps.run(study, progress=False).final("test/loss")[0] == 4.0


def test_programs_are_kept_by_their_functions_and_not_for_ever():
    mesh = execute.make_mesh(jax.devices()[:1])
    study = small_study()

    def program(number, study=study):
        return program_of(study, {"width": number}, mesh, "scan", "digest")

    first = program(0)
    assert program(0) is first and program(0, small_study(trial=small_trial())) is not first
    assert program_of(study, {"width": 0}, mesh, "map", "digest").evaluate is first.evaluate
    for number in range(1, KEPT + 1):
        program(number)
    assert program(0) is not first
