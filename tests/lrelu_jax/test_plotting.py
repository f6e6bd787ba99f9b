import builtins
import subprocess
import sys

import numpy as np
import pytest

from lrelu_jax import elu, leaky_relu, relu, rrelu
from lrelu_jax.plotting import plot


def points(axes):
    """The marked points: height -> filled or not."""
    marked = [line for line in axes.lines if line.get_marker() == "o"]
    return {float(line.get_ydata()[0]): line.get_markerfacecolor() != "white" for line in marked}


@pytest.mark.parametrize(
    ("function", "parameters", "expected"),
    [
        (leaky_relu, {"alpha": 0.25}, {0.25: True, 1.0: False}),
        (leaky_relu, {"alpha": 0.25, "subgradient": "right"}, {0.25: False, 1.0: True}),
        (relu, {"subgradient": "midpoint"}, {0.0: False, 0.5: True, 1.0: False}),
        (elu, {}, {1.0: True}),
        (rrelu, {"key": None, "lower": 0.25, "upper": 0.25}, {0.25: True, 1.0: False}),
    ],
)
def test_the_derivative_at_zero_is_filled_and_the_other_limits_hollow(function, parameters, expected):
    value, slope = plot(function, **parameters).axes
    assert points(slope) == expected
    assert points(value) == {}


def test_both_curves_are_the_functions():
    value, slope = plot(leaky_relu, alpha=0.5, limits=(-2, 4)).axes
    x, y = map(np.asarray, value.lines[0].get_data())
    np.testing.assert_array_equal(y, leaky_relu(x.astype(np.float32), 0.5))
    left, right = (line for line in slope.lines if np.size(line.get_xdata()) > 2)
    assert set(np.asarray(left.get_ydata())) == {0.5} and set(np.asarray(right.get_ydata())) == {1.0}
    assert x[0] == -2 and x[-1] == 4


def test_messages(monkeypatch):
    with pytest.raises(ValueError, match=r"`limits` must lie on both sides of 0, but got limits=\(1, 2\)"):
        plot(relu, limits=(1, 2))
    real = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(ImportError, match=r"pip install 'lrelu-jax\[sweeps\]'"):
        plot(relu)


def test_importing_the_package_imports_no_extra_and_changes_no_setting():
    program = """
import jax, sys
before = {name: getattr(jax.config, name) for name in ("jax_enable_x64", "jax_numpy_rank_promotion")}
import lrelu_jax
assert not {"matplotlib", "scipy", "sklearn", "pyarrow", "sweeps"} & set(sys.modules)
assert before == {name: getattr(jax.config, name) for name in before}
assert lrelu_jax.__version__
"""
    subprocess.run([sys.executable, "-c", program], check=True)
