# Wrong arguments are the subject here.
# pyright: reportArgumentType=false

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lrelu_jax import ELU, LeakyReLU, PReLU, RReLU, elu, leaky_relu, linen, prelu, relu, rrelu
from lrelu_jax.initializers import gain, he_normal, he_uniform

X = jnp.array([-2.0, 0.0, 3.0])


class Learned(nnx.Module):
    """What people write: a parameter of their own, passed to a function."""

    def __init__(self, function, **parameters):
        self.function = function
        self.parameters = nnx.data({name: nnx.Param(jnp.asarray(v)) for name, v in parameters.items()})

    def __call__(self, x):
        return self.function(x, **self.parameters)


VARIABLES = {
    "leaky_relu": (leaky_relu, {"alpha": 0.25, "subgradient": 0.5}),
    "prelu": (prelu, {"alpha": [0.1, 0.2, 0.3]}),
    "elu": (elu, {"alpha": 2.0}),
    "relu": (relu, {"subgradient": 0.5}),
    "rrelu": (lambda x, **bounds: rrelu(x, jax.random.key(0), **bounds), {"lower": 0.1, "upper": 0.4}),
    "rrelu, evaluation": (lambda x, **bounds: rrelu(x, None, **bounds), {"lower": 0.1, "upper": 0.4}),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_is_its_value_under_every_trace(name):
    function, parameters = VARIABLES[name]
    model = Learned(function, **parameters)
    arrays = {key: jnp.asarray(value) for key, value in parameters.items()}
    y = function(X, **arrays)
    np.testing.assert_array_equal(model(X), y)
    np.testing.assert_array_equal(nnx.jit(lambda model: model(X))(model), y)
    gradient = nnx.jit(nnx.grad(lambda model: (model(X) ** 2).sum()))(model)
    expected = jax.grad(lambda arrays: (function(X, **arrays) ** 2).sum())(arrays)
    for key, value in expected.items():
        # Compiled together or one by one, programs round differently in the last place.
        np.testing.assert_allclose(gradient["parameters"][key][...], value, rtol=1e-6)
    graphdef, state = nnx.split(model)
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
    mapped = jax.vmap(lambda state: nnx.merge(graphdef, state, copy=True)(X))(states)
    np.testing.assert_allclose(mapped, [y, y], rtol=1e-6)

    def steps(state):
        def step(total, _):
            return total + nnx.merge(graphdef, state, copy=True)(X), None

        return jax.lax.scan(step, jnp.zeros(3), length=2)[0]

    np.testing.assert_allclose(jax.checkpoint(steps)(state), 2 * y, rtol=1e-6)


def test_a_variable_of_a_python_number_is_checked_as_the_number():
    assert leaky_relu(-2.0, nnx.Param(0.25)) == -0.5
    with pytest.raises(ValueError, match="`alpha` must be finite, but got alpha=nan"):
        leaky_relu(-2.0, nnx.Param(float("nan")))


def test_gains_and_initialisers_take_variables():
    alpha = nnx.Param(jnp.array(0.5))
    key = jax.random.key(0)
    for function in (he_normal, he_uniform):
        weights = nnx.jit(lambda alpha, function=function: function(alpha)(key, (4, 3)))(alpha)
        np.testing.assert_allclose(weights, function(0.5)(key, (4, 3)), rtol=1e-6)
    scale = nnx.jit(lambda alpha: gain("leaky_relu", alpha))(alpha)
    np.testing.assert_allclose(scale, gain("leaky_relu", 0.5), rtol=1e-6)
    bound = nnx.Param(jnp.array(0.25))
    np.testing.assert_allclose(gain("rrelu", lower=bound, upper=bound), gain("prelu"), rtol=1e-6)


@pytest.mark.parametrize("build", [LeakyReLU, ELU, lambda slope: RReLU(slope, slope, deterministic=True)])
def test_a_module_keeps_a_variable_that_it_is_given(build):
    slope = nnx.Param(jnp.array(0.25))
    module = build(slope)
    (kept,) = nnx.to_flat_state(nnx.state(module, nnx.Param))
    assert isinstance(kept[1], nnx.Param)
    slope[...] = jnp.array(0.5)
    np.testing.assert_allclose(module(-1.0), -0.5 if build is not ELU else 0.5 * np.expm1(-1), rtol=1e-6)
    gradient = nnx.grad(lambda module: module(-1.0))(module)
    assert len(jax.tree.leaves(gradient)) == 1


WRONG = [
    (
        lambda: leaky_relu(X, None),
        TypeError,
        "`alpha` must be a number, an array or a Variable, but got None",
    ),
    (lambda: leaky_relu(X, "left"), TypeError, "got 'left'; did you mean `subgradient='left'`"),
    (lambda: leaky_relu(X, [0.1]), TypeError, r"`alpha` must be a number, an array or a Variable.* \[0.1\]"),
    (lambda: LeakyReLU("left"), TypeError, "did you mean `subgradient='left'`"),
    (lambda: relu(X, subgradient=None), TypeError, "`subgradient` must be a number, an array or a Variable"),
    (lambda: PReLU(0.25), TypeError, "`num_features` must be None or an integer.*`alpha_init=0.25`"),
    (lambda: linen.PReLU(0.25).init(jax.random.key(0), X), TypeError, "did you mean `alpha_init=0.25`"),
    (
        lambda: PReLU(3, alpha_init=np.ones(3)),
        ValueError,
        r"`alpha_init` must be a scalar, but got shape \(3,\)",
    ),
    (
        lambda: rrelu(X, None, lower=jnp.ones(3)),
        ValueError,
        r"`lower` must be a scalar, but got shape \(3,\)",
    ),
    (lambda: RReLU(upper=np.ones(2)), ValueError, r"`upper` must be a scalar, but got shape \(2,\)"),
    (lambda: gain("rrelu", lower=np.ones(2)), ValueError, "`lower` must be a scalar"),
    (lambda: rrelu(X, None, upper=1j), TypeError, "`upper` must be real, but got upper=1j"),
    (
        lambda: RReLU(rngs=0),
        TypeError,
        r"`rngs` of `RReLU` must be .* but got 0; `rngs=nnx.Rngs\(0\)` will do",
    ),
    (lambda: he_normal(1e200), ValueError, r"`alpha` must have a finite square, but got alpha=1e\+200"),
    (lambda: gain("prelu", 1e200), ValueError, r"`alpha` must have a finite square, but got alpha=1e\+200"),
    (lambda: he_uniform(jnp.ones(3)), ValueError, r"`alpha` must be a scalar, but got shape \(3,\)"),
    (
        lambda: leaky_relu(X, 10**400),
        ValueError,
        "`alpha` must be small enough for a float, but got an integer of 1329 bits",
    ),
    (lambda: relu(X, subgradient=-(10**400)), ValueError, "`subgradient` must be small enough for a float"),
    (lambda: prelu(X, np.ones(3), axis=1.0), TypeError, "`axis` must be an integer, but got axis=1.0"),
    (lambda: PReLU(3, axis="last")(X), TypeError, "`axis` must be an integer, but got axis='last'"),
    (lambda: linen.PReLU(3, axis=0.0).init(jax.random.key(0), X), TypeError, "but got axis=0.0"),
    (
        lambda: prelu(X, np.ones(3), axis=1),
        ValueError,
        r"`axis` must be an axis of `x`, but got axis=1 .* \(3,\)",
    ),
    (lambda: he_normal(mode="fan"), ValueError, "`mode` must be one of 'fan_in', .* but got 'fan'"),
]


@pytest.mark.parametrize("number", [2**31, -(2**40), 2**70, -(2**31)])
def test_integers_longer_than_those_of_jax_are_floats(number):
    for function in (leaky_relu, elu, prelu):
        np.testing.assert_array_equal(function(X, number), function(X, float(number)))
    np.testing.assert_array_equal(LeakyReLU(number)(X), leaky_relu(X, float(number)))
    assert jax.grad(lambda x: relu(x, subgradient=number))(0.0) == float(number)


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_a_wrong_argument_is_named_with_its_cure(unchecked, call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("call", [leaky_relu, prelu, LeakyReLU, linen.LeakyReLU])
def test_other_names_of_alpha_are_known(call):
    name = call.__name__
    arguments = () if isinstance(call, type) else (X,)
    with pytest.raises(
        TypeError, match=f"`{name}` has no `negative_slope`, which is `alpha` here; `alpha=0.1`"
    ):
        call(*arguments, negative_slope=0.1)


@pytest.mark.parametrize("build", [PReLU, linen.PReLU])
def test_other_names_of_preludes_arguments_are_known(build):
    with pytest.raises(TypeError, match="has no `negative_slope_init`, which is `alpha_init` here"):
        build(negative_slope_init=0.1)
    with pytest.raises(TypeError, match="has no `num_parameters`, which is `num_features` here"):
        build(num_parameters=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'slope'"):
        build(slope=3)
