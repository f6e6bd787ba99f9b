"""Reports of units that saw numbers that are not finite, or too large to be added up."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lrelu_jax import leaky_relu, relu
from lrelu_jax.diagnostics import dead_units

NAN, INF = float("nan"), float("inf")


def report_of(act, *batches):
    class Model(nnx.Module):
        def __call__(self, x):
            return act(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (report,) = dead_units(Model(), [jnp.array(batch) for batch in batches]).values()
    return report


@pytest.mark.parametrize("act", [relu, leaky_relu])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_unit_with_an_input_that_is_not_finite_is_neither_dead_nor_dormant(value, act):
    report = report_of(act, [[value, 3.0, 1.0], [-1.0, 3.0, 1.0]], [[-1.0, 3.0, 1.0]])
    assert report.counts.non_finite.tolist() == [1, 0, 0]
    assert report.never_positive.tolist() == [False, False, False]
    assert report.dormant(0.9).tolist() == [False, False, True]
    np.testing.assert_allclose(report.activity, [NAN, 1.5, 0.5], rtol=1e-6)


def test_a_layer_of_no_finite_inputs_has_no_activity():
    report = report_of(relu, [[NAN, INF]])
    np.testing.assert_array_equal(report.activity, [NAN, NAN])
    assert not report.never_positive.any() and not report.dormant(1.0).any()


@pytest.mark.parametrize(
    "act, column",
    [(relu, [3e38, 3e38]), (lambda x: leaky_relu(x, 100.0), [-3e37, 1.0])],
    ids=["the sum", "an output"],
)
def test_a_unit_too_large_for_float32_changes_no_other(act, column):
    report = report_of(act, [[large, 3.0, 1.0] for large in column])
    assert report.counts.non_finite.tolist() == [0, 0, 0]
    np.testing.assert_allclose(report.activity, [NAN, 1.5, 0.5], rtol=1e-6)


def test_dead_units_among_those_that_are_not_finite_stay_dead():
    report = report_of(relu, [[NAN, -1.0, 1.0], [1.0, -1.0, 1.0]])
    assert report.never_positive.tolist() == [False, True, False]
    assert report.dormant().tolist() == [False, True, False]
