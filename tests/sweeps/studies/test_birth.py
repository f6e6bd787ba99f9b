"""The ready studies of what becomes of units at birth and in training: births, deaths, sparsity, zeros.

Three minutes on two cores, most of it the compiler's.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

import sweeps
from sweeps.claims.verdicts import CONDITIONAL, FAILS, HOLDS, OPEN, binomial_interval, judge_each
from sweeps.results.results import Results
from sweeps.statistics.intervals import Interval
from sweeps.studies import born_dead, dying, initialisation, sparsity, subgradient
from sweeps.studies._bertoin import OTHERS
from sweeps.studies._low_precision import RULES, draw, forward, loss, precision, released

STUDIES = [born_dead, dying, initialisation, sparsity, subgradient]

pytestmark = pytest.mark.studies


def small(module, steps=None, **space):
    study = module.study
    changes = {} if steps is None else {"steps": steps}
    return dataclasses.replace(study, space={**study.space, **space}, **changes)


def images():
    """Noise of three classes that can be told apart, as images of 4 x 4."""
    rng = np.random.default_rng(0)
    targets = np.arange(96, dtype=np.int32) % 3
    inputs = rng.normal(size=(96, 4, 4)).astype(np.float32)
    inputs[np.arange(96), targets, targets] += 3
    return sweeps.Data((inputs[:64], targets[:64]), (inputs[64:], targets[64:]))


@pytest.fixture(scope="module")
def births():
    study = small(born_dead, 9, width=sweeps.grid(2, 4), seed=range(4))
    return sweeps.run(study, progress=False)


@pytest.fixture(scope="module")
def deaths():
    study = small(
        dying,
        60,
        learning_rate=sweeps.grid(0.001, 0.3),
        optimizer=sweeps.grid("adam"),
        alpha=sweeps.grid(0.0, 0.1),
        seed=range(4),
    )
    return sweeps.run(study, progress=False)


@pytest.fixture(scope="module")
def gains():
    study = small(initialisation, alpha=sweeps.grid(0.0, 0.5, 1.0), width=sweeps.grid(64), seed=range(8))
    return sweeps.run(study, progress=False)


@pytest.fixture(scope="module")
def zeros():
    return sweeps.run(small(sparsity, 40, alpha=sweeps.grid(0.0, 0.01, 0.5), seed=range(4)), progress=False)


@pytest.fixture(scope="module")
def derivatives():
    study = small(
        subgradient,
        10,
        dtype=sweeps.grid("float16", "float32"),
        depth=sweeps.grid(1),
        width=sweeps.grid(8),
        seed=range(4),
    )
    return sweeps.run(study, progress=False)


def test_the_shares_of_dead_networks_are_those_of_the_law_and_its_bounds(births):
    for width in (2, 4):
        rows = born_dead.shares(births, "dead/one_input", 18, alpha=0.0, width=width)
        depths = rows[0].astype(int)
        law, bound = born_dead.law(width, depths), born_dead.lower_bound(width, depths)
        assert depths.tolist() == list(range(2, 11))
        assert np.all((rows[2] < law) & (law < rows[3])) and np.all(rows[3] - rows[2] < 0.03)
        _, share, low, high = born_dead.shares(births, "dead/all_inputs", 18, alpha=0.0, width=width)
        assert share[0] == 0 and np.all(np.diff(share) > 0)
        assert np.all((low <= law) & (high >= bound - 1e-12))
        assert np.all(high[3:] < law[3:])  # that the law counts one input only shows


def test_no_leaky_network_is_dead(births):
    leaky = births.filter(alpha=0.01).metrics
    assert not leaky["dead/one_input"].to_numpy().any() and not leaky["dead/all_inputs"].to_numpy().any()


def test_the_lower_bound_is_that_of_the_paper():
    depths = np.array([5, 10, 20])
    np.testing.assert_allclose(born_dead.lower_bound(2, depths), [0.4767, 0.8703, 0.9927], atol=5e-5)
    np.testing.assert_allclose(born_dead.lower_bound(5, depths[2:]), [0.2138], atol=5e-5)


def test_what_is_born_dead_is_found_with_its_verdicts(births):
    exact, bounded, trend, leaky = born_dead.findings(births)
    assert exact.verdict in (HOLDS, OPEN)  # few networks: the intervals may be too wide to say
    assert bounded.verdict in (HOLDS, OPEN)
    assert trend.verdict == HOLDS and trend.comparisons == 18
    assert leaky.verdict == HOLDS
    # Networks that die a tenth more often contradict the law, which is also the upper bound.
    metrics = births.metrics
    for place, name in enumerate(metrics.column_names):
        if name.startswith("dead/"):
            metrics = metrics.set_column(place, name, pa.array(np.minimum(metrics[name].to_numpy() + 0.1, 1)))
    more = dataclasses.replace(births, tables=(births.members, metrics))
    assert [finding.verdict for finding in born_dead.findings(more)[:2]] == [FAILS, FAILS]
    assert born_dead.findings(more)[3].verdict == FAILS


def test_leaky_units_are_not_dead_and_high_rates_kill_those_of_relu(deaths):
    assert not deaths.filter(alpha=0.1).final("train/dead").any()
    relu = deaths.filter(alpha=0.0)
    np.testing.assert_array_equal(relu.final("train/dead"), relu.final("train/never_positive"))
    fast = relu.filter(learning_rate=0.3).final("train/dead")
    assert np.all(fast > relu.filter(learning_rate=0.001).final("train/dead"))
    layers = [deaths.final(f"train/dead/hidden{place}") for place in (1, 2)]
    np.testing.assert_allclose(deaths.final("train/dead"), np.mean(layers, axis=0), rtol=1e-6)


def test_the_gain_for_the_slope_keeps_the_variance_and_the_usual_one_does_not(gains):
    for signal, name in initialisation.SIGNALS.items():
        for alpha in (0.5, 1.0):
            aware, usual = (
                gains.filter(alpha=alpha, slope_aware=aware).final(name) for aware in (True, False)
            )
            # A gain only scales a network that is positively homogeneous: the law is exact.
            np.testing.assert_allclose(usual - aware, 49 * np.log10(1 + alpha**2), rtol=1e-3, err_msg=signal)
            assert abs(aware.mean()) < 1 < usual.min()
        relu = [gains.filter(alpha=0.0, slope_aware=aware).final(name) for aware in (True, False)]
        np.testing.assert_array_equal(*relu)
    verdicts = [finding.verdict for finding in initialisation.findings(gains)]
    assert verdicts[2] == HOLDS and FAILS not in verdicts


def test_gradients_sent_back_are_those_of_the_loss():
    """Against backpropagation through a plain network of the same weights."""
    config, key = initialisation.Config(alpha=0.3, width=16, batch=8), jax.random.key(3)
    metrics = initialisation.propagate(config, key)
    inputs_key, weights_key, gradient_key = jax.random.split(key, 3)
    signal = jax.random.normal(inputs_key, (8, 16))
    weights = [
        initialisation.he_uniform(0.3)(own, (16, 16), jnp.float32)
        for own in jax.random.split(weights_key, initialisation.DEPTH)
    ]
    before = []
    for own in weights:
        before.append(signal @ own)
        signal = jnp.where(before[-1] > 0, before[-1], 0.3 * before[-1])
    last = back = jax.random.normal(gradient_key, (8, 16))
    for place in range(initialisation.DEPTH - 1, 0, -1):
        back = (back @ weights[place].T) * jnp.where(before[place - 1] > 0, 1, 0.3)
    forward = jnp.log10(jnp.mean(before[-1] ** 2) / jnp.mean(before[0] ** 2))
    np.testing.assert_allclose(metrics["activations/layer50"], forward, atol=1e-3)
    expected = jnp.log10(jnp.mean(back**2) / jnp.mean(last**2))
    np.testing.assert_allclose(metrics["gradients/layer01"], expected, atol=1e-3)


def test_relu_has_exact_zeros_and_leaky_relu_none(zeros):
    for layer in sparsity.LAYERS:
        hard = {alpha: zeros.filter(alpha=alpha).final(f"test/zeros/{layer}") for alpha in (0.0, 0.01, 0.5)}
        assert np.all(hard[0.0] > 0.2) and not hard[0.01].any() and not hard[0.5].any()
        for kind in sparsity.SMALL:
            soft = {
                alpha: zeros.filter(alpha=alpha).final(f"test/{kind}/{layer}") for alpha in (0.0, 0.01, 0.5)
            }
            assert np.all(soft[0.0] >= hard[0.0]) and np.all(soft[0.01] > soft[0.5])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_zeros_are_those_of_sums_in_float32_rounded_once(dtype):
    """Counted by NumPy. In float16 there are many here: small weights put the sums among its subnormals."""
    layers = draw([16, 64, 64, 4], dtype, jax.random.key(0))
    layers = [((weights * 2.0**-9).astype(dtype), bias * 0) for weights, bias in layers]
    x = jax.random.uniform(jax.random.key(1), (256, 16))
    count = jax.jit(lambda layers, x: forward(layers, x, "zero")[1])(layers, x)
    signal, expected = np.asarray(x.astype(dtype)), 0
    for weights, _ in layers[:-1]:
        signal = (signal.astype(np.float32) @ np.asarray(weights).astype(np.float32)).astype(signal.dtype)
        expected += int((signal == 0).sum())
        signal = np.maximum(signal, 0)
    assert count == expected
    assert (expected > 0) == (dtype == "float16")


def test_gradients_differ_where_a_zero_is_met_and_nowhere_else():
    layers = draw([3, 4, 2], "float32", jax.random.key(0))
    images, targets = jnp.ones((2, 3)), jnp.array([0, 1])

    def gradients(layers):
        found = {rule: jax.grad(loss, has_aux=True)(layers, rule, images, targets) for rule in RULES}
        return {rule: slope[0][0] for rule, (slope, _) in found.items()}, found["zero"][1]

    same, met = gradients(layers)
    assert met == 0
    np.testing.assert_array_equal(same["zero"], same["one"])
    np.testing.assert_array_equal(same["zero"], same["assigned"])
    (weights, bias), last = layers
    dead = [(weights.at[:, 1].set(0), bias.at[1].set(0)), last]  # unit 1 is exactly 0 for both images
    found, met = gradients(dead)
    assert met == 2
    passed_back = jax.nn.softmax(forward(dead, images, "zero")[0]) - jnp.eye(2)
    expected = jnp.sum((passed_back / 2) @ last[0][1])
    np.testing.assert_array_equal(found["zero"][:, 1], 0)
    np.testing.assert_allclose(found["one"][:, 1], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["assigned"][:, 1], 2)  # 1 for each image, whatever is passed back
    for rule in ("one", "assigned"):
        np.testing.assert_array_equal(found[rule][:, 0], found["zero"][:, 0])


def test_runs_are_counted_pass_by_pass(derivatives):
    assert set(derivatives.final("runs/count")) == {2.0}  # ten batches, five to a pass
    single = derivatives.filter(dtype="float32")
    for rule in OTHERS:
        assert set(derivatives.final(f"runs/differ/{rule}")) <= {0.0, 0.5, 1.0}
        if not single.final("zeros/per_million").any():
            assert not single.final(f"runs/differ/{rule}").any()
    for rule in RULES:
        accuracy = derivatives.final(f"test/accuracy/{rule}")
        assert np.all((accuracy >= 0) & (accuracy <= 1))


def test_a_member_in_float64_is_trained_in_64_bits_where_jax_has_32():
    """Against SGD in NumPy: rtol=1e-12 leaves room for the order of sums, and none for float32's 6e-8."""
    assert "float64" in str(subgradient.study.domains["dtype"])
    study, config = subgradient.make(images()), subgradient.Config("float64", 1, 8, 0.5)
    trial = study.trial
    assert trial.data is not None
    x, targets = trial.data.train
    keys = jax.random.split(jax.random.key(0), 4)
    state = jax.jit(lambda key: trial.init(config, key))(keys[0])
    with precision("float64"):
        (w0, b0), (w1, b1) = (tuple(map(np.asarray, layer)) for layer in released(state.trained["one"]))
    assert w0.dtype == np.float64
    step = jax.jit(
        lambda state, key: trial.step(config, state, (jnp.asarray(x), jnp.asarray(targets)), key)[0]
    )
    for at, key in enumerate(keys[1:]):
        state = step(state, key)
        rate = 0.25 * (1 + np.cos(np.pi * at / study.steps))
        hidden = np.maximum(before := x.astype(np.float64) @ w0 + b0, 0)
        odds = np.exp(hidden @ w1 + b1)
        back = (odds / odds.sum(axis=1, keepdims=True) - np.eye(odds.shape[1])[targets]) / len(x)
        inner = (back @ w1.T) * (before > 0)
        w1, b1 = w1 - rate * hidden.T @ back, b1 - rate * back.sum(axis=0)
        w0, b0 = w0 - rate * x.T.astype(np.float64) @ inner, b0 - rate * inner.sum(axis=0)
    with precision("float64"):
        trained = jax.tree.leaves(released(state.trained["one"]))
    for got, expected in zip(trained, (w0, b0, w1, b1), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("module", [dying, sparsity, subgradient])
def test_a_study_takes_other_images(module):
    study = module.make(images())
    space = {name: sweeps.grid(domain.values[0]) for name, domain in study.domains.items() if _grid(domain)}
    study = dataclasses.replace(study, steps=4, space={**space, "seed": range(2)})
    if module is dying:
        study = dataclasses.replace(study, trial=study.trial._replace(batch_size=32))
    if module is sparsity:
        study = dataclasses.replace(study, trial=study.trial._replace(batch_size=32))
    assert np.isfinite(sweeps.run(study, progress=False).final()).all()


def _grid(domain):
    return hasattr(domain, "values")


@pytest.mark.parametrize(
    "module, fixture", list(zip(STUDIES, ["births", "deaths", "gains", "zeros", "derivatives"], strict=True))
)
def test_every_study_draws_and_says_what_it_found(module, fixture, request, tmp_path):
    results = request.getfixturevalue(fixture)
    figure = module.picture(results)
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "picture.png")
    found = module.findings(results)
    assert [finding.claim for finding in found] == list(module.CLAIMS)
    for finding in found:
        assert finding.verdict in (HOLDS, CONDITIONAL, FAILS, OPEN) and finding.comparisons >= 1
        assert finding.measured and "nan" not in finding.measured
        # The two claims of the small subgradient study that nothing was met by have nothing to state.
        assert all(effect.margin > 0 and effect.label for effect in finding.effects)
        assert finding.effects or module is subgradient


def made(levels, metrics, seeds=8, steps=1):
    """Results that were never trained: each metric a function of the configuration, with a little noise."""
    rows = [dict(zip(levels, point, strict=True)) for point in itertools.product(*levels.values())]
    points = [(row, seed) for row in rows for seed in range(seeds)]
    count, rng = len(points), np.random.default_rng(0)
    members = pa.table(
        {
            "member": np.arange(count),
            "seed": pa.array([seed for _, seed in points], pa.uint32()),
            "status": ["done"] * count,
            **{name: [row[name] for row, _ in points] for name in levels},
        }
    )
    table = {"member": np.arange(count), "step": np.full(count, steps)}
    for name, value in metrics.items():
        exact = np.asarray([value(row) for row, _ in points], float)
        table[name] = exact + (1e-3 * rng.normal(size=count) if name.startswith(("test/acc", "log")) else 0)
    manifest = {"metric": next(iter(metrics)), "mode": "max", "steps": steps, "swept": list(levels)}
    return Results(manifest, tables=(members, pa.table(table)))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_verdicts_on_dying_go_either_way(sign):
    def dead(row):
        if row["alpha"]:
            return 0.0
        return 0.5 + sign * 0.3 * np.log10(row["learning_rate"] / 0.1)

    def never(row):
        return dead(row) if not row["alpha"] else dead({**row, "alpha": 0}) - sign * 0.1

    results = made(
        {"optimizer": ["sgd"], "learning_rate": [0.01, 0.1, 1.0], "alpha": [0.0, 0.1]},
        {
            "test/accuracy": lambda row: 0.9 + sign * 0.05 * (row["alpha"] > 0),
            "train/dead": dead,
            "train/never_positive": never,
        },
    )
    # Constant metrics have intervals of no width, which only makes them surer.
    verdicts = [finding.verdict for finding in dying.findings(results)]
    expected = HOLDS if sign > 0 else FAILS
    assert verdicts == [expected, HOLDS, expected, expected]


def test_a_share_of_dead_units_below_forty_percent_contradicts_forty_percent():
    results = made(
        {"optimizer": ["sgd"], "learning_rate": [0.01, 1.0], "alpha": [0.0, 0.1]},
        {
            "test/accuracy": lambda row: 0.9,
            "train/dead": lambda row: 0.1 * (row["alpha"] == 0),
            "train/never_positive": lambda row: 0.1,
        },
    )
    found = dying.findings(results)
    assert found[1].verdict == FAILS
    assert found[3].verdict == FAILS  # a difference within half a percent does not matter


@pytest.mark.parametrize("share, verdict", [(0.7, HOLDS), (0.2, FAILS)])
def test_the_verdicts_on_sparsity_go_either_way(share, verdict):
    names = [f"test/{kind}/{layer}" for kind in ("zeros", *sparsity.SMALL) for layer in sparsity.LAYERS]
    results = made(
        {"alpha": [0.0, 0.1]}, {name: lambda row: share if not row["alpha"] else 0.4 for name in names}
    )
    assert [finding.verdict for finding in sparsity.findings(results)] == [verdict] * 4


@pytest.mark.parametrize("growth, verdicts", [(0.0, [HOLDS, HOLDS, FAILS]), (4.0, [FAILS, FAILS, HOLDS])])
def test_the_verdicts_on_initialisation_go_either_way(growth, verdicts):
    results = made(
        {"alpha": [0.0, 0.5], "slope_aware": [False, True]},
        {name: lambda row: growth for name in initialisation.SIGNALS.values()},
    )
    assert [finding.verdict for finding in initialisation.findings(results)] == verdicts


@pytest.mark.parametrize("present", [True, False])
def test_the_verdicts_on_the_subgradient_go_either_way(present):
    shares = {"float16": 1.0, "bfloat16": 1.0, "float32": 0.5, "float64": 0.0}
    if not present:
        shares = {"float16": 0.1, "bfloat16": 0.1, "float32": 0.0, "float64": 0.5}
    gap = 0.05 if present else 0.0
    results = made(
        {"dtype": list(shares), "depth": [1, 3], "width": [32, 128]},
        {
            "runs/count": lambda row: 100.0,
            "runs/differ/one": lambda row: shares[row["dtype"]],
            "batches/differ/one": lambda row: 10.0,
            "batches/differ/assigned": lambda row: 10.0,
            "log10_change/one": lambda row: -3.0,
            "log10_change/assigned": lambda row: 2.0,
            "test/accuracy/zero": lambda row: 0.9,
            "test/accuracy/one": lambda row: 0.9 - gap,
            "test/accuracy/assigned": lambda row: 0.9 - gap,
        },
    )
    expected = HOLDS if present else FAILS
    verdicts = [finding.verdict for finding in subgradient.findings(results)]
    assert verdicts == [expected] * 3 + [OPEN] + [expected] * 2


def test_claims_under_several_conditions_are_judged_together():
    up, down, wide = Interval(2.0, 1.0, 3.0), Interval(-2.0, -3.0, -1.0), Interval(0.0, -1.0, 1.0)
    assert judge_each([up, up]) == HOLDS and judge_each([down, down]) == FAILS
    assert judge_each([up, down]) == judge_each([up, wide]) == CONDITIONAL
    assert judge_each([down, wide]) == judge_each([wide]) == OPEN


def test_binomial_intervals_are_those_of_clopper_and_pearson():
    from scipy import stats

    exact = stats.binomtest(7, 50).proportion_ci(0.95)
    np.testing.assert_allclose(binomial_interval(7, 50, 1), (0.14, exact.low, exact.high))
    assert binomial_interval(50, 50, 1).high == 1 and binomial_interval(0, 50, 1).low == 0
    assert binomial_interval(7, 50, 10).low < exact.low
