"""The ready studies of training: small versions are trained, findings checked on made-up results.

Three minutes on two cores, most of it the compiler's.
"""

import dataclasses
import inspect
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest

import sweeps
from sweeps.claims.verdicts import CONDITIONAL, FAILS, HOLDS, OPEN, at_seeds, left_out, paired, series
from sweeps.errors import StudyError
from sweeps.models.annealing import annealed
from sweeps.studies import (
    activations,
    annealing,
    convergence,
    deep_cnn,
    depth,
    digits_cnn,
    digits_mlp,
    digits_rnn,
    learned_slopes,
    normalisation,
    regression,
    regularisation,
    transfer,
)
from tests.sweeps.studies.made_up import results_of, verdicts

STUDIES: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        activations,
        annealing,
        convergence,
        deep_cnn,
        depth,
        digits_cnn,
        digits_mlp,
        digits_rnn,
        learned_slopes,
        normalisation,
        regression,
        regularisation,
        transfer,
    )
}

pytestmark = pytest.mark.studies


@pytest.mark.parametrize("name", STUDIES)
def test_a_ready_study_has_the_interface(name):
    module = STUDIES[name]
    assert isinstance(module.study, sweeps.Study)
    assert module.CLAIMS and all(claim.text and claim.source for claim in module.CLAIMS)
    assert callable(module.findings) and callable(module.picture)
    assert set(getattr(module, "OPTIONS", {})) <= set(inspect.signature(sweeps.run).parameters)
    line, blank, rest = (module.__doc__ or "").split("\n", 2)
    assert line.endswith(".") and not blank and "Measured" in rest and "claims" in rest


IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(16, 8, 12, 3)), jnp.float32)
OTHER = sweeps.Data((IMAGES, jnp.arange(16) % 4), (IMAGES[:8], jnp.arange(8) % 4))


def small(study, steps=4, **space):
    """The study with few steps and two seeds."""
    space = {**study.space, **space, "seed": range(2)}
    return dataclasses.replace(study, steps=steps, evaluate_every=steps, space=space)


@pytest.mark.parametrize("name", ["regression", "regularisation"])
def test_a_small_version_is_run_found_and_drawn(name):
    module = STUDIES[name]
    confirm = 2 if getattr(module, "OPTIONS", {}) else 0
    results = sweeps.run(small(module.study), progress=False, members_per_chunk=64, confirm=confirm)
    assert set(results.members["status"].to_pylist()) == {"done"}
    assert len(verdicts(module, results)) == len(module.CLAIMS)
    losses = results.metrics["train/loss"].to_numpy()
    assert np.isfinite(losses).all() and len(np.unique(losses)) > len(results.members) / 2


@pytest.mark.parametrize(
    ("name", "configs", "metrics"),
    [
        ("digits_mlp", [{"alpha": 0.1}], {"test/accuracy", "test/dead_units"}),
        ("digits_cnn", [{"alpha": 0.1}], {"test/accuracy"}),
        ("digits_rnn", [{"alpha": 0.1}], {"test/accuracy"}),
        (
            "activations",
            [{"activation": name} for name in activations.SLOPES],
            {"test/error", "train/error", "train/cross_entropy"},
        ),
        (
            "deep_cnn",
            [{"activation": "prelu", "normalisation": "batch"}, {"activation": "relu"}],
            {"test/error", "train/error"},
        ),
        ("convergence", [{"activation": "prelu"}], {"train/share_of_guessing"}),
        ("learned_slopes", [{"slope_decay": 1.0}], {*learned_slopes.LAYERS, "slope/share_above_one"}),
    ],
)
def test_a_member_learns_and_is_measured(name, configs, metrics):
    trial = STUDIES[name].study.trial
    images, targets = (jnp.asarray(part[:64]) for part in trial.data.train)
    for changed in configs:
        config = trial.config(**changed)
        state = trial.init(config, jax.random.key(0))
        step = jax.jit(lambda state, key, config=config: trial.step(config, state, (images, targets), key))
        losses = []
        for place in range(8):
            state, found = step(state, jax.random.key(place))
            losses.append(float(found["train/loss"]))
        assert losses[-1] < 0.8 * losses[0], (changed, losses)
        measured = trial.evaluate(config, state, (images, targets))
        assert metrics <= set(measured) and all(np.isfinite(value) for value in measured.values())


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "regression"])
def test_a_study_takes_other_images(name):
    study = STUDIES[name].make(OTHER)
    config = annealed(study.trial.config(), 0, study.steps)
    state = study.trial.init(config, jax.random.key(0))
    found = study.trial.evaluate(config, state, OTHER.evaluation)
    assert found["test/loss"] > 0.1
    batch = (IMAGES[:8], jnp.arange(8) % 4)
    _, metrics = study.trial.step(config, state, batch, jax.random.key(1))
    assert np.isfinite(metrics["train/loss"])


def test_the_three_digits_networks_depend_on_the_slope():
    for module in (digits_mlp, digits_cnn, digits_rnn):
        trial = module.make(OTHER).trial
        state = trial.init(trial.config(alpha=0.0), jax.random.key(0))
        losses = [
            trial.evaluate(trial.config(alpha=slope), state, OTHER.evaluation)["test/loss"]
            for slope in (0.0, 0.5)
        ]
        assert abs(losses[0] - losses[1]) > 1e-4


def by_slope(gains, spread=0.002):
    """A metric that differs from slope to slope by what is given, 0 where nothing is."""

    def value(config, noise, step):
        return {"test/accuracy": 0.95 + gains.get(config["alpha"], 0.0) + spread * noise}

    return value


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ({}, [FAILS, HOLDS]),
        ({0.3: 0.02}, [HOLDS, FAILS]),
        ({0.1: 0.02}, [HOLDS, CONDITIONAL]),
        ({0.01: 0.02}, [FAILS, CONDITIONAL]),
    ],
)
def test_a_slope_must_be_tuned_or_the_usual_ones_do(gains, expected):
    study = digits_mlp.study
    if gains:
        best = max(gains, key=gains.__getitem__)
    else:
        best = results_of(study, by_slope(gains)).best().config["alpha"]
    again = dataclasses.replace(study, space={"alpha": sweeps.grid(*{best, 0.01})})
    fresh = results_of(again, by_slope(gains))
    results = results_of(study, by_slope(gains), fresh=fresh)
    assert verdicts(digits_mlp, results) == expected


def test_a_winner_that_fresh_seeds_do_not_confirm_is_not_said_to_be_better():
    study = digits_mlp.study
    again = dataclasses.replace(study, space={"alpha": sweeps.grid(0.3, 0.01)})
    for fresh, expected in (
        (results_of(again, by_slope({0.3: -0.02})), FAILS),
        (results_of(again, by_slope({0.3: 0.003}, spread=0.2)), OPEN),
        (None, OPEN),
    ):
        results = results_of(study, by_slope({0.3: 0.02}), fresh=fresh)
        assert verdicts(digits_mlp, results)[0] == expected


def test_too_few_seeds_tell_nothing():
    results = results_of(digits_mlp.study, by_slope({}, spread=0.1), seeds=2)
    assert verdicts(digits_mlp, results)[1] == OPEN


def errors(test, train):
    def value(config, noise, step):
        name = config["activation"]
        return {
            "test/error": 0.05 + test.get(name, 0.0) + 0.002 * noise,
            "train/error": 0.02 + train.get(name, 0.0) + 0.002 * noise,
        }

    return value


@pytest.mark.parametrize(
    ("test", "train", "expected"),
    [
        (
            {"leaky-0.18": -0.01, "rrelu": -0.01, "prelu": -0.01, "elu": -0.01},
            {"prelu": -0.01, "rrelu": 0.01},
            [HOLDS] * 6,
        ),
        (
            {"leaky-0.01": -0.01, "leaky-0.18": 0.01, "rrelu": 0.01, "prelu": 0.01, "elu": 0.01},
            {"prelu": 0.02, "rrelu": -0.01},
            [FAILS] * 6,
        ),
        ({}, {"rrelu": 0.01}, [HOLDS, FAILS, FAILS, FAILS, FAILS, FAILS]),
    ],
)
def test_activations_are_judged_by_their_errors(test, train, expected):
    results = results_of(activations.study, errors(test, train), seeds=40)
    assert verdicts(activations, results) == expected


def loss_curves(speeds):
    """A loss that reaches a tenth of guessing after 100 steps, or so many as are said."""

    def value(config, noise, step):
        speed = speeds.get((config["activation"], config["learning_rate"]), 100) + noise
        return {"train/share_of_guessing": float(np.exp(np.log(0.1) * step / max(speed, 1)))}

    return value


@pytest.mark.parametrize(
    ("faster", "slower", "expected"),
    [
        (["leaky-0.01", "prelu", "elu"], [], [HOLDS, HOLDS, HOLDS]),
        (["elu"], ["prelu"], [FAILS, FAILS, HOLDS]),
    ],
)
def test_convergence_compares_the_steps_to_the_target(faster, slower, expected):
    speeds = {(name, rate): 60 for name in faster for rate in (3e-4, 3e-3)}
    speeds |= {(name, rate): 400 for name in slower for rate in (3e-4, 3e-3)}
    results = results_of(convergence.study, loss_curves(speeds))
    assert verdicts(convergence, results) == expected
    if slower:
        steps, there = convergence.steps_to_target(results, "prelu", 3e-3)
        assert not there.any() and set(steps) == {convergence.study.steps}
        assert "runs did not get there" in convergence.findings(results)[1].measured


def test_convergence_at_one_learning_rate_only_is_conditional():
    results = results_of(convergence.study, loss_curves({("elu", 3e-3): 60}))
    assert verdicts(convergence, results)[2] == CONDITIONAL


def learned(first, pull, above):
    def value(config, noise, step):
        shrunk = pull * config["slope_decay"]
        means = dict.fromkeys(learned_slopes.LAYERS, 0.25 - shrunk + 0.002 * noise)
        means[learned_slopes.LAYERS[0]] += first + 0.002 * noise
        return means | {"slope/share_above_one": above + 0.002 * noise, "test/accuracy": 0.9}

    return value


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((0.1, 0.1, 0.0), [HOLDS, HOLDS, HOLDS]), ((-0.1, -0.1, 0.2), [FAILS, FAILS, FAILS])],
)
def test_learned_slopes_are_compared_by_layer_and_by_decay(arguments, expected):
    assert verdicts(learned_slopes, results_of(learned_slopes.study, learned(*arguments))) == expected


def interacting(gain, dropout, decay):
    def value(config, noise, step):
        slope = config["alpha"] > 0
        gained = gain + dropout * (config["dropout"] > 0) + decay * (config["weight_decay"] > 0)
        return {"test/accuracy": 0.9 + slope * gained + 0.002 * noise}

    return value


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.02, 0.0, 0.0), [HOLDS, FAILS, FAILS]),
        ((0.02, -0.02, 0.0), [CONDITIONAL, HOLDS, FAILS]),
        ((0.0, 0.0, -0.02), [FAILS, FAILS, HOLDS]),
    ],
)
def test_an_interaction_is_a_difference_of_gains(arguments, expected):
    results = results_of(regularisation.study, interacting(*arguments), seeds=24)
    assert verdicts(regularisation, results) == expected


def test_decay_acts_on_slopes_only_if_it_is_asked_to():
    trial = learned_slopes.make(OTHER).trial
    config = trial.config(slope_decay=100.0, weight_decay=0.0)
    state = trial.init(config, jax.random.key(0))
    batch = (IMAGES[:8], jnp.arange(8) % 4)

    def slope_after(config):
        after, _ = trial.step(config, state, batch, jax.random.key(1))
        return float(np.mean(jax.tree.leaves(after.params["rectifiers"][0])[0]))

    # One step of decoupled decay: 0.003 * 100 of 0.25, and Adam's step of at most 0.003.
    assert abs(slope_after(config) - 0.175) < 0.01
    assert abs(slope_after(trial.config(slope_decay=0.0, weight_decay=100.0)) - 0.25) < 0.01


def test_comparisons_leave_out_seeds_that_diverged():
    results = results_of(digits_mlp.study, by_slope({0.3: 0.02}), seeds=4)
    status = np.array(results.members["status"].to_pylist(), object)
    status[1] = "diverged"
    members = results.members.drop_columns("status").append_column("status", pa.array(status.tolist()))
    hurt = dataclasses.replace(results, tables=(members, results.metrics))
    assert len(paired(hurt, None, {"alpha": 0.3}, {"alpha": 0})) == 3
    assert np.isnan(at_seeds(hurt, None, alpha=0)).tolist() == [False, True, False, False]
    assert left_out(hurt) == " 1 of 32 runs diverged and are left out." and left_out(results) == ""
    status[5] = "failed"
    members = members.drop_columns("status").append_column("status", pa.array(status.tolist()))
    hurt = dataclasses.replace(results, tables=(members, results.metrics))
    assert left_out(hurt) == " 2 of 32 runs diverged or failed and are left out."
    steps, table = series(results, "test/accuracy", alpha=0.3)
    assert steps.tolist() == list(digits_mlp.study.evaluation_steps) and table.shape == (10, 4)
    with pytest.raises(StudyError, match="`one member per seed` must hold to compare"):
        at_seeds(results, None)
