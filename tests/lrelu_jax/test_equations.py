"""What of a program is a rectifier, and what only computes with one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lrelu_jax import elu, leaky_relu, prelu, rrelu
from lrelu_jax.diagnostics import unit_counts
from tests.cases import cases

pytestmark = pytest.mark.usefixtures("compiled_quickly")

X = jnp.array([[1.0, -2.0, 3.0], [-1.0, -2.0, 0.0]])


class Differentiated(nnx.Module):
    """Differentiates its rectifier when it is called, as a model of forces or of a flow does."""

    def __init__(self, act, derivative):
        self.act = act
        self.derivative = derivative

    def __call__(self, x):
        return self.derivative(self.act, x)


def total(act):
    return lambda x: jnp.sum(act(x))


DERIVATIVES = {
    "jvp": lambda act, x: jax.jvp(act, (x,), (x,)),
    "linearize": lambda act, x: jax.linearize(act, x)[1](x),
    "jacfwd": lambda act, x: jax.jacfwd(total(act))(x),
    "hessian": lambda act, x: jax.hessian(total(act))(x),
    "forward twice": lambda act, x: jax.jacfwd(jax.jacfwd(total(act)))(x),
    "backward twice": lambda act, x: jax.grad(lambda x: jax.grad(total(act))(x).sum())(x),
    "backward, then forward": lambda act, x: jax.jvp(jax.grad(total(act)), (x,), (x,)),
}
ACTS = {
    "elu": lambda x: elu(x, 1.5),
    "elu of an array": lambda x: elu(x, jnp.float32(1.5)),
    "leaky_relu": lambda x: leaky_relu(x, 0.1, subgradient="right"),
    "prelu": lambda x: prelu(x, jnp.full(3, 0.25)),
    "rrelu": lambda x: rrelu(x, jax.random.key(0)),
}


def check_counted_once(act, derivative):
    (counts,) = unit_counts(Differentiated(act, derivative), X).values()
    np.testing.assert_array_equal(counts.positive, (X > 0).sum(0))
    np.testing.assert_array_equal(counts.negative, (X < 0).sum(0))


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("act", cases(ACTS, ["elu", "elu of an array", "rrelu"], "models"))
def test_a_rectifier_that_is_differentiated_is_counted_once(act, derivative):
    check_counted_once(ACTS[act], DERIVATIVES[derivative])


@pytest.mark.parametrize("act", [elu, leaky_relu])
def test_a_rectifier_that_is_differentiated_along_its_slope_is_counted_once(act):
    def derivative(act, x):
        return jax.jvp(lambda alpha: act(x, alpha), (jnp.float32(1.5),), (jnp.float32(1.0),))

    check_counted_once(act, derivative)
