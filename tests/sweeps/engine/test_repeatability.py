"""Results were reported to vary from call to call where XLA has more than one thread (jax issue 39741)."""

import jax
import numpy as np
import pytest

from sweeps.engine import program as execute
from sweeps.engine.examples import example_batch
from sweeps.members.population import populate, traced_columns
from tests.benchmarks import networks
from tests.sweeps import tiny_networks

CALLS = 300
# The benchmarks' networks, members and steps of a call, and the loop that they are planned with.
PROGRAMS = {
    "mlp": (lambda: networks.study_of(networks.WORK["mlp"]), 8, 4, "scan"),
    "cnn": (lambda: networks.study_of(networks.WORK["cnn"]), 4, 2, "map"),
    "gru": (lambda: networks.study_of(networks.WORK["gru"]), 8, 2, "scan"),
    "tiny": (lambda: tiny_networks.study(1000), 1000, 20, "scan"),
}


@pytest.mark.durable
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_called_again_and_again_gives_the_same_bits(name, devices):
    """Some minutes for all eight; XLA's two threads work on one device or on one each."""
    made, width, steps, loop = PROGRAMS[name]
    study, mesh = made(), execute.make_mesh(jax.devices()[:devices])
    population = populate(study, None, 0)
    program = execute.build(study, population.statics[0], mesh, loop)
    members = execute.place_members(
        mesh, traced_columns(population, np.arange(width)), population.seeds[:width]
    )
    root = jax.random.key(0, impl="threefry2x32")
    root, train, evaluation = execute.place_data(mesh, (root, *(study.trial.data or ())))
    first = None
    for call in range(CALLS):
        carry = program.init(root, members, example_batch(study))
        carry = program.advance(root, members, carry, train, np.int32(0), np.int32(steps))
        metrics, carry = program.evaluate(members, carry, evaluation, np.int32(steps))
        found = [np.asarray(leaf) for leaf in jax.tree.leaves((metrics, carry))]
        first = first or found
        for one, other in zip(first, found, strict=True):
            assert np.array_equal(one, other, equal_nan=True), call
