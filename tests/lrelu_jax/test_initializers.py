import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrelu_jax import leaky_relu
from lrelu_jax.initializers import gain, he_normal, he_uniform


def energy(function, weight=1.0):
    """E[f(z)^2] for a standard normal z by the trapezoidal rule, split at the kink."""
    total = 0.0
    for z in (np.linspace(-12, 0, 200_001), np.linspace(0, 12, 200_001)):
        density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        total += np.trapezoid(function(z) ** 2 * density, z)
    return total


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0, -2.0])
def test_gains_are_one_over_the_root_of_the_mean_square(alpha):
    def leaky(z):
        return np.where(z > 0, z, alpha * z)

    def elu(z):
        return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))

    # float32 has 7 digits, and the quadrature more.
    np.testing.assert_allclose(gain("leaky_relu", alpha), energy(leaky) ** -0.5, rtol=1e-6)
    np.testing.assert_allclose(gain("prelu", alpha), energy(leaky) ** -0.5, rtol=1e-6)
    np.testing.assert_allclose(gain("elu", alpha), energy(elu) ** -0.5, rtol=1e-6)


def test_known_gains():
    # Closed forms, to float32.
    np.testing.assert_allclose(gain("relu"), np.sqrt(2), rtol=1e-7)
    np.testing.assert_allclose(gain("elu"), 1.245198, rtol=1e-6)
    np.testing.assert_allclose(gain("rrelu"), 1.37612, rtol=1e-5)
    np.testing.assert_allclose(gain("rrelu", lower=0.25, upper=0.25), gain("prelu"), rtol=1e-6)


ALPHAS = jnp.array([0.0, 0.01, 0.25, 0.5, 1.0])


def growth_over_50_layers(initializer):
    """For each alpha the mean square's growth: by layer the mean over 512 networks of width 64, compounded.

    The mean of one layer's ratio is exact for any width, so averaging each layer, rather than the product,
    keeps the standard error at 9 % for ReLU and lower for the others.
    """

    @jax.jit
    @jax.vmap  # over alpha; the draws are the same, and so made once
    def layers(alpha):
        def layer(h, key):
            weights = jax.vmap(lambda key: initializer(alpha)(key, (64, 64)))(jax.random.split(key, 512))
            z = leaky_relu(jnp.einsum("ni,nio->no", h, weights), alpha)
            size = jnp.sqrt((z**2).mean(1, keepdims=True))
            return z / size, (size**2).mean()

        h = jax.random.normal(jax.random.key(1), (512, 64))
        h = h / jnp.sqrt((h**2).mean(1, keepdims=True))
        return jax.lax.scan(layer, h, jax.random.split(jax.random.key(2), 50))[1].prod()

    return layers(ALPHAS)


@pytest.mark.models
def test_signals_keep_their_size_through_50_layers():
    np.testing.assert_array_less(abs(growth_over_50_layers(he_normal) - 1), 0.2)


@pytest.mark.models
def test_the_usual_gain_lets_signals_grow_with_alpha():
    usual = growth_over_50_layers(lambda _: jax.nn.initializers.he_uniform())
    np.testing.assert_array_less(abs(usual / (1 + ALPHAS**2) ** 50 - 1), 0.2)
    assert (usual[ALPHAS >= 0.25] > 15).all()


def test_uniform_weights_have_the_variance_asked_for():
    weights = he_uniform(0.5)(jax.random.key(0), (256, 512))
    # The standard error of the variance of 131,072 uniform draws is 0.25 %.
    np.testing.assert_allclose(weights.var() * 256, 2 / 1.25, rtol=0.01)


def test_he_normal_of_slope_0_is_the_usual_one():
    key, shape = jax.random.key(0), (32, 16)
    np.testing.assert_array_equal(he_normal()(key, shape), jax.nn.initializers.he_normal()(key, shape))
    np.testing.assert_array_equal(he_uniform()(key, shape), jax.nn.initializers.he_uniform()(key, shape))


def test_linear_layers_have_gain_1():
    assert gain("linear") == 1
    with pytest.raises(ValueError, match="`alpha` must be None for 'linear'"):
        gain("linear", 0.1)


@pytest.mark.parametrize(
    ("ours", "distribution", "mode"),
    [
        pytest.param(*kind, mode, marks=() if (number, place) in ((0, 0), (1, 2)) else pytest.mark.models)
        for number, kind in enumerate([(he_normal, "truncated_normal"), (he_uniform, "uniform")])
        for place, mode in enumerate(["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
    ],
)
def test_axes_modes_and_dtypes_are_those_of_variance_scaling(ours, distribution, mode):
    axes = {"in_axis": (0, 2), "out_axis": 3, "batch_axis": (1,)}
    key, shape = jax.random.key(0), (3, 2, 4, 5)
    scaling = jax.nn.initializers.variance_scaling(2 / 1.25, mode, distribution, **axes, dtype=jnp.bfloat16)
    weights = ours(0.5, mode=mode, **axes, dtype=jnp.bfloat16)(key, shape)
    assert weights.dtype == jnp.bfloat16
    np.testing.assert_array_equal(weights, scaling(key, shape))
    assert ours(0.5, mode=mode)(key, shape, jnp.float16).dtype == jnp.float16


def test_alpha_may_be_traced():
    alphas = jnp.array([0.0, 0.5, 1.0])
    key = jax.random.key(0)
    weights = jax.vmap(lambda alpha: he_normal(alpha)(key, (16, 8)))(alphas)
    scale = jax.jit(jax.vmap(lambda alpha: gain("leaky_relu", alpha)))(alphas)
    # The same draws, scaled; a product or two apart in rounding.
    np.testing.assert_allclose(
        weights / weights[:1], (scale / scale[0])[:, None, None] * jnp.ones((3, 16, 8)), rtol=1e-6
    )


def test_messages():
    with pytest.raises(
        ValueError, match="`activation` must be one of .* got 'leaky'; did you mean 'leaky_relu'"
    ):
        gain("leaky")
    with pytest.raises(
        ValueError, match="`alpha` must be None for 'relu', which has none, but got alpha=0.1"
    ):
        gain("relu", 0.1)
    with pytest.raises(ValueError, match="`alpha` must be finite, but got alpha=nan"):
        he_normal(float("nan"))
    with pytest.raises(ValueError, match="`lower <= upper` must hold, but got lower=0.5, upper=0.1"):
        gain("rrelu", lower=0.5, upper=0.1)
