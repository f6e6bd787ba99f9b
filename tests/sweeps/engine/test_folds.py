import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sweeps
from sweeps.engine import program as execute
from sweeps.engine.bench import place
from sweeps.engine.examples import example_batch
from sweeps.engine.folds import Judged, evaluated, split
from sweeps.engine.plan import examine
from sweeps.errors import StudyError
from sweeps.members.population import populate
from tests.cases import cases
from tests.reference.folds import stratified
from tests.sweeps import plain

MEMBERSHIP = np.array([0, 2, 1, 0, 1, 0, 2, 0], np.int32)  # folds of 4, 2 and 2
ROWS = np.arange(8, dtype=np.float32) ** 2


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_each_fold_is_evaluated_on_what_it_holds_out(fold):
    part = split(ROWS, MEMBERSHIP)
    assert [table.shape for table in part.held] == [(3, 2), (3, 4)] and part.training_size == 4

    def judge(rows):  # no mean: it would tell padding, or the order of rows
        return {"test/rows": jnp.sum(rows) + 1000 * len(rows), "first": rows[0]}

    held = ROWS[MEMBERSHIP == fold]
    expected = {"test/rows": held.sum() + 1000 * len(held), "first": held[0]}
    named = {"validation/rows": expected["test/rows"], "validation/first": expected["first"]}
    run = jax.jit(lambda fold, judged: evaluated(judge, judged, fold))
    assert run(fold, Judged(part, None)) == expected | named
    assert run(fold, Judged(part, jnp.ones(5))) == {"test/rows": 5005.0, "first": 1.0} | named


def test_without_folds_an_evaluation_is_what_it_was():
    assert evaluated(lambda data: {"test/x": data}, 3, None) == {"test/x": 3}


@pytest.mark.parametrize("names", [("test/x", "x"), ("test/x", "validation/x")])
def test_metrics_that_would_have_one_name_are_refused(names):
    trial = plain.trial._replace(
        evaluate=lambda config, state, data: plain.evaluate(config, state, data) | dict.fromkeys(names, 0.0)
    )
    with pytest.raises(StudyError, match="test/x is reported as validation/x.*with folds"):
        sweeps.run(plain.study(trial=trial, space={"fold": "folds(2)"}), progress=False)


def test_without_a_batch_size_a_step_sees_as_much_as_every_fold_leaves():
    seen = []

    def step(config, state, batch, key):
        seen.append(batch[0].shape)
        return state, {"train/loss": batch[0].sum()}

    trial = plain.trial._replace(step=step)  # 50 examples: folds of 17, 17 and 16
    results = sweeps.run(plain.study(trial=trial, steps=2, space={"fold": "folds(3)"}), progress=False)
    assert set(seen) == {(33, 6)}
    inputs, found = plain.data().train[0], results.metrics["train/loss"].to_numpy()
    membership = stratified(np.zeros(50, int), 3, 0)
    # Whoever holds out 17 sees all the others, whatever their order.
    for fold in (0, 1):
        np.testing.assert_allclose(found[2 * fold], inputs[membership != fold].sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batches", cases(["per_seed", "shared"], ["per_seed"], "models"))
def test_every_loop_takes_the_same_batches_and_goes_on_in_the_middle_of_an_epoch(batches):
    space = {"alpha": [0.0], "seed": [0, 3], "fold": "folds(3)"}  # six members on two devices
    study = plain.study(trial=plain.shuffled._replace(batch_size=8), space=space, batches=batches)
    examined = examine(study, populate(study, None, 0))
    bench = place(examined.study, examined.population, execute.make_mesh(jax.devices()[:2]), 0)
    members, found = bench.members(3), {}
    for loop in ("scan", "map", "host"):
        program = execute.build(examined.study, examined.population.statics[0], bench.mesh, loop)
        carry = program.init(bench.root, members, example_batch(examined.study))
        for start, stop in ((0, 3), (3, 9)):  # four batches an epoch
            bounds = np.int32(start), np.int32(stop)
            carry = program.advance(bench.root, members, carry, bench.train, *bounds)
        found[loop] = np.asarray(carry.state["weight"])
    assert len(np.unique(found["scan"], axis=0)) == 6
    for loop in ("map", "host"):
        np.testing.assert_allclose(found[loop], found["scan"], rtol=1e-4, atol=1e-6)
