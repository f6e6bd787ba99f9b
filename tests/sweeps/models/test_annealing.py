import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.models.annealing import annealed, changes
from tests.sweeps import plain

SCHEDULES = [sweeps.Linear(0.3, -0.7), sweeps.Cosine(0.3, -0.7), sweeps.Steps(0.3, -0.7, 5)]


@dataclasses.dataclass(frozen=True)
class Leak:
    alpha: sweeps.Schedule | None = None
    width: int = 1


@dataclasses.dataclass(frozen=True)
class Config:
    leak: Leak = Leak(sweeps.Linear(0.3, 0.0))
    weight: sweeps.Linear = sweeps.Linear(1.0, 2.0)
    learning_rate: float = 0.05


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda own: type(own).__name__)
def test_both_ends_are_exact(schedule):
    start, end = (schedule.at(jnp.float32(progress)) for progress in (0, 1))
    assert start == np.float32(0.3) and end == np.float32(-0.7)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda own: type(own).__name__)
def test_values_go_one_way(schedule):
    values = jax.vmap(schedule.at)(jnp.arange(101) / 100)
    assert (jnp.diff(values) <= 1e-7).all()  # a product may round up


def test_a_staircase_of_one_stage_has_its_first_value():
    assert sweeps.Steps(0.3, 0.0, 1).at(jnp.float32(0.5)) == np.float32(0.3)


def test_schedules_give_way_to_numbers_wherever_they_stand():
    config = annealed(Config(), 5, 10)
    assert config.leak.alpha == np.float32(0.15) and config.weight == 1.5 and config.leak.width == 1
    assert config.learning_rate == 0.05
    assert jax.dtypes.result_type(jnp.bfloat16(1) * config.weight) == jnp.bfloat16
    assert annealed(Config(leak=Leak(None)), 5, 10).leak.alpha is None


def test_a_configuration_without_schedules_is_left_as_it_is():
    config = plain.Config()
    assert annealed(config, 1, 2) is config and not changes(plain.Config) and changes(Config)


def test_an_instance_in_a_space_gives_every_field_one_value():
    trial = plain.trial._replace(config=Config)
    space = {"leak.alpha": sweeps.Steps(0.3, 0.1, 3), "weight": sweeps.Linear(0.0, 1.0)}
    study = sweeps.Study(trial, steps=1, metric="test/loss", space=space)
    assert {name: domain.values for name, domain in study.domains.items()} == {  # pyright: ignore
        "leak.alpha": ("Steps",),
        "leak.alpha.start": (0.3,),
        "leak.alpha.end": (0.1,),
        "leak.alpha.stages": (3,),
        "weight.start": (0.0,),
        "weight.end": (1.0,),
    }


def test_instances_as_levels_are_refused_with_the_way_to_write_them():
    with pytest.raises(StudyError, match=r'list classes, Linear, and .* "field.start"'):
        sweeps.grid(sweeps.Linear(0.3, 0.0))


def test_a_python_branch_on_a_value_that_changes_is_named():
    def step(config, state, batch, key):
        return plain.step(config, state, batch, key) if config.weight > 1 else (state, {})

    study = sweeps.Study(plain.trial._replace(config=Config, step=step), steps=1, metric="test/loss")
    with pytest.raises(StudyError, match=r"no Python branch on a traced field"):
        sweeps.run(study, progress=False)
