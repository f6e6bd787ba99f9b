import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.nnx import bridge

import lrelu_jax
from lrelu_jax import ELU, Alpha, LeakyReLU, PReLU, ReLU, RReLU, linen, weight_decay_mask

X = np.array([[-2.0, -0.5, -0.0], [0.0, 1e-40, 3.0]], np.float32)
KEY = jax.random.key(7)


def pairs():
    """Each NNX module, its Linen twin, the variables that make them equal, and their function."""
    alpha = jnp.array([0.1, 0.2, 0.3])
    learned = PReLU(3)
    learned.alpha[...] = alpha
    return [
        (ReLU(subgradient="right"), linen.ReLU(subgradient="right"), {}, "relu"),
        (LeakyReLU(0.1), linen.LeakyReLU(0.1), {}, "leaky_relu"),
        (LeakyReLU(alpha), linen.LeakyReLU(alpha), {}, "leaky_relu"),
        (PReLU(), linen.PReLU(), {"params": {"alpha": jnp.array(0.25)}}, "prelu"),
        (learned, linen.PReLU(3), {"params": {"alpha": alpha}}, "prelu"),
        (RReLU(deterministic=True), linen.RReLU(deterministic=True), {}, "rrelu"),
        (ELU(2.0), linen.ELU(2.0), {}, "elu"),
    ]


@pytest.mark.parametrize(("module", "twin", "variables", "name"), pairs())
def test_nnx_and_linen_give_the_same_bits_in_value_and_derivative(module, twin, variables, name):
    def slopes(apply):
        return jax.vmap(jax.vmap(jax.grad(lambda x: apply(x).sum())))

    y = module(X)
    np.testing.assert_array_equal(y, twin.apply(variables, X))
    _, pull = jax.vjp(module, jnp.asarray(X))
    _, pull_twin = jax.vjp(lambda x: twin.apply(variables, x), jnp.asarray(X))
    np.testing.assert_array_equal(pull(y)[0], pull_twin(y)[0])


@pytest.mark.parametrize(("module", "twin", "variables", "name"), pairs())
def test_modules_are_their_functions(module, twin, variables, name):
    arguments = {
        "relu": {"subgradient": "right"},
        "leaky_relu": {"alpha": getattr(module, "alpha", None)},
        "prelu": {"alpha": variables.get("params", {}).get("alpha")},
        "rrelu": {"key": None},
        "elu": {"alpha": 2.0},
    }
    np.testing.assert_array_equal(module(X), getattr(lrelu_jax, name)(X, **arguments[name]))


def test_a_number_is_static_and_an_array_is_data():
    assert jax.tree.leaves(nnx.split(LeakyReLU(0.1))[1]) == []
    assert jax.tree.leaves(nnx.split(LeakyReLU(jnp.array(0.1)))[1]) == [0.1]
    graphdefs = {nnx.split(LeakyReLU(alpha))[0] for alpha in (0.1, 0.1, 0.2)}
    assert len(graphdefs) == 2


@pytest.mark.parametrize("cls", [LeakyReLU, ELU])
def test_split_works_inside_jit_vmap_and_grad_with_a_traced_alpha(cls):
    def total(alpha, x):
        graphdef, state = nnx.split(cls(alpha, subgradient=alpha))
        assert isinstance(hash(graphdef), int)
        return nnx.merge(graphdef, state, copy=True)(x).sum()

    x = -jnp.ones(3)
    alphas = jnp.array([0.5, 2.0])
    gradients = jax.jit(jax.vmap(jax.grad(total), (0, None)))(alphas, x)
    unit = -1.0 if cls is LeakyReLU else np.expm1(np.float32(-1))
    # ELU's own contract is 4 ulp.
    np.testing.assert_allclose(gradients, [3 * unit, 3 * unit], rtol=5e-7)


def test_alpha_finds_every_slope_and_its_name_is_stable():
    model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), PReLU(), LeakyReLU(), PReLU(3))
    paths = [path for path, _ in nnx.to_flat_state(nnx.state(model, Alpha))]
    assert paths == [("layers", 1, "alpha"), ("layers", 3, "alpha")]
    assert list(linen.PReLU().init(KEY, X)["params"]) == ["alpha"]
    assert isinstance(PReLU().alpha, nnx.Param)


def test_prelu_has_one_slope_per_channel_and_never_per_pixel():
    images = jnp.ones((2, 8, 8, 3))
    assert PReLU().alpha.shape == ()
    assert PReLU(3).alpha.shape == (3,)
    np.testing.assert_array_equal(PReLU(3)(-images), -0.25 * images)
    np.testing.assert_array_equal(PReLU(8, axis=1)(-images), -0.25 * images)
    assert jax.tree.map(jnp.shape, linen.PReLU(3).init(KEY, images)) == {"params": {"alpha": (3,)}}


@pytest.mark.parametrize("build", [PReLU, linen.PReLU], ids=["nnx", "linen"])
def test_prelu_dtypes(build):
    def apply(x, **kwargs):
        module = build(**kwargs)
        return module(x) if build is PReLU else module.apply(module.init(KEY, x), x)

    assert apply(jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16
    assert apply(jnp.ones(3), dtype=jnp.float16).dtype == jnp.float16
    np.testing.assert_array_equal(apply(np.array([-4, 0, 2])), [-1, 0, 2])
    slope = PReLU(param_dtype=jnp.bfloat16).alpha
    assert slope[...].dtype == jnp.bfloat16


def test_prelu_takes_an_initialiser():
    init = jax.nn.initializers.uniform(0.5)
    slope = PReLU(100, alpha_init=init, rngs=nnx.Rngs(params=0)).alpha[...]
    assert jnp.unique(slope).size > 90 and (slope >= 0).all() and (slope < 0.5).all()
    assert PReLU(alpha_init=-0.5).alpha[...] == -0.5
    with pytest.raises(ValueError, match="`rngs` must be given when `alpha_init` is an initialiser"):
        PReLU(alpha_init=init)


def test_prelu_learns_its_slope():
    model = PReLU()
    x = jax.random.normal(KEY, (256,))
    target = lrelu_jax.leaky_relu(x, 0.75)
    optimizer = nnx.Optimizer(model, optax.sgd(0.5), wrt=Alpha)

    @nnx.jit
    def step(model, optimizer):
        gradient = nnx.grad(lambda model: ((model(x) - target) ** 2).mean(), argnums=nnx.DiffState(0, Alpha))(
            model
        )
        optimizer.update(model, gradient)

    for _ in range(60):
        step(model, optimizer)
    # The error shrinks by about a half per step until float32 sees none.
    assert abs(model.alpha[...] - 0.75) < 1e-5


# RReLU


def test_slopes_of_a_bridged_prelu_are_in_a_collection_of_their_own():
    x = -jnp.ones((1, 3))
    bridged = bridge.to_linen(PReLU)
    variables = bridged.init(KEY, x)
    assert list(variables) == ["Alpha"] and jax.tree.leaves(variables) == [0.25]
    gradient = jax.grad(lambda variables: jnp.sum(jnp.asarray(bridged.apply(variables, x))))(variables)
    assert jax.tree.leaves(gradient) == [-3.0]
    assert list(linen.PReLU().init(KEY, x)) == ["params"]


def test_rrelu_follows_train_and_eval_and_draws_anew_per_call():
    model = nnx.Sequential(RReLU(rngs=nnx.Rngs(0)))
    x = -jnp.ones(100)
    model.train()
    first, second = model(x), model(x)
    assert (first != second).all()
    model.eval()
    np.testing.assert_array_equal(model(x), lrelu_jax.rrelu(x, None))
    viewed = nnx.view(model, deterministic=False)
    assert jnp.unique(viewed(x)).size > 90


def test_rrelu_backward_sees_the_draw_of_forward():
    model = RReLU(rngs=nnx.Rngs(0), deterministic=False)
    x = -jnp.ones(100)
    (_, y), slope = nnx.value_and_grad(lambda x, model: ((y := model(x)).sum(), y), has_aux=True)(x, model)
    np.testing.assert_array_equal(slope, -y)


def test_rrelu_uses_the_stream_rrelu_else_default():
    x = -jnp.ones(5)
    keyed = RReLU(deterministic=False)
    np.testing.assert_array_equal(keyed(x, rngs=KEY), lrelu_jax.rrelu(x, KEY))
    streams = {
        name: RReLU(rngs=nnx.Rngs(**{name: 3}), deterministic=False)(x) for name in ("rrelu", "default")
    }
    both = RReLU(rngs=nnx.Rngs(rrelu=3, default=4), deterministic=False)(x)
    np.testing.assert_array_equal(both, streams["rrelu"])
    assert jnp.unique(streams["default"]).size == 5
    twin = linen.RReLU(deterministic=False)
    for name in ("rrelu", "default"):
        assert np.unique(np.asarray(twin.apply({}, x, rngs={name: KEY}))).size == 5


def test_rrelu_members_of_a_vmap_draw_differently():
    @nnx.vmap(in_axes=(0, None))
    def apply(key, x):
        return RReLU(rngs=nnx.Rngs(rrelu=key), deterministic=False)(x)

    draws = apply(jax.random.split(KEY, 4), -jnp.ones(50))
    assert jnp.unique(draws).size > 190


def test_rrelu_says_what_is_missing():
    with pytest.raises(ValueError, match="`rngs` must be given for `RReLU` to draw slopes in training"):
        RReLU(deterministic=False)(X)
    with pytest.raises(ValueError, match="`deterministic` must be True or False in `RReLU`, but got None"):
        RReLU(rngs=nnx.Rngs(0))(X)
    with pytest.raises(ValueError, match="`rngs` must hold the stream 'rrelu' or 'default'"):
        linen.RReLU(deterministic=False).apply({}, X, rngs={"params": KEY})
    with pytest.raises(ValueError, match="`deterministic` must be True or False in `RReLU`, but got None"):
        linen.RReLU().apply({}, X)
    with pytest.raises(ValueError, match="`lower <= upper` must hold"):
        RReLU(0.5, 0.1)


def test_modules_say_what_is_wrong_and_with_which_numbers():
    with pytest.raises(ValueError, match="but got 4 slopes for 3 channels along axis -1"):
        PReLU(4)(X)
    with pytest.raises(ValueError, match="but got 4 slopes for 3 channels along axis -1"):
        linen.PReLU(4).apply({"params": {"alpha": jnp.zeros(4)}}, X)
    with pytest.raises(ValueError, match="`alpha` must be finite, but got alpha=nan"):
        LeakyReLU(float("nan"))
    with pytest.raises(ValueError, match="`alpha_init` must be finite, but got alpha_init=inf"):
        PReLU(alpha_init=np.inf)
    with pytest.raises(ValueError, match="`alpha_init` must be finite"):
        linen.PReLU(alpha_init=np.inf).init(KEY, X)
    with pytest.raises(ValueError, match="did you mean 'left'"):
        ReLU(subgradient="Left")(X)


# Weight decay


def test_weight_decay_leaves_slopes_alone_in_nnx_and_linen():
    dense, act = nnx.Linear(2, 3, rngs=nnx.Rngs(0)), PReLU(3)
    model = nnx.Sequential(dense, act)
    kernel = dense.kernel[...]
    # Zero gradients: whatever moves is moved by the decay. AdamW itself needs standard promotion.
    with jax.numpy_dtype_promotion("standard"):
        optimizer = nnx.Optimizer(
            model, optax.adamw(0.1, weight_decay=0.5, mask=weight_decay_mask), wrt=nnx.Param
        )
        optimizer.update(model, jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param)))
    np.testing.assert_array_equal(act.alpha[...], [0.25, 0.25, 0.25])
    # One step of size 0.1 with decay 0.5, to float32 rounding.
    np.testing.assert_allclose(dense.kernel[...], 0.95 * kernel, rtol=1e-6)

    twin = nn.Sequential([nn.Dense(3), linen.PReLU(3)])
    params = twin.init(KEY, jnp.ones((1, 2)))["params"]
    assert weight_decay_mask(params) == {
        "layers_0": {"bias": True, "kernel": True},
        "layers_1": {"alpha": False},
    }


def test_weight_decay_mask_knows_alpha_by_its_type_too():
    mask = weight_decay_mask({"slope": Alpha(jnp.zeros(())), "scale": nnx.Param(jnp.zeros(()))})
    assert mask == {"slope": False, "scale": True}


@pytest.mark.parametrize("box", [nn.with_partitioning, nn.with_logical_partitioning])
def test_weight_decay_mask_sees_slopes_whose_axes_have_names(box):
    slope = linen.PReLU(3, alpha_init=box(nn.initializers.constant(0.25), ("channels",)))
    twin = nn.Sequential([nn.Dense(3, kernel_init=box(nn.initializers.ones, (None, "channels"))), slope])
    params = twin.init(KEY, jnp.ones((1, 2)))["params"]
    mask = weight_decay_mask(params)
    assert nn.meta.unbox(mask) == {
        "layers_0": {"bias": True, "kernel": True},
        "layers_1": {"alpha": False},
    }
    with jax.numpy_dtype_promotion("standard"):
        tx = optax.adamw(0.1, weight_decay=0.5, mask=weight_decay_mask)
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    moved = nn.meta.unbox(updates)
    np.testing.assert_array_equal(moved["layers_1"]["alpha"], [0, 0, 0])
    # One step of size 0.1 with decay 0.5 on ones, to float32 rounding.
    np.testing.assert_allclose(moved["layers_0"]["kernel"], np.full((2, 3), -0.05), rtol=1e-6)


# Transformations of modules


@pytest.mark.parametrize("build", [ReLU, LeakyReLU, PReLU, ELU, lambda: RReLU(deterministic=True)])
def test_modules_work_under_scan_remat_vmap_and_hessian(build):
    model = build()
    x = jnp.array([-2.0, 3.0])

    @nnx.remat
    def apply(model, x):
        return model(x) ** 2

    graphdef, state = nnx.split(model)

    def total(state, x):
        def step(x, _):
            return apply(nnx.merge(graphdef, state, copy=True), x) / 2, None

        return jax.lax.scan(step, x, length=2)[0].sum()

    expected = sum(float(model(model(v) ** 2 / 2) ** 2 / 2) for v in x)
    # Squares and halves in another order.
    np.testing.assert_allclose(jax.jit(total)(state, x), expected, rtol=1e-6)
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
    gradients = jax.jit(jax.vmap(jax.grad(total, 1)))(states, jnp.stack([x, x]))
    np.testing.assert_allclose(gradients, np.stack([jax.grad(total, 1)(state, x)] * 2), rtol=1e-6)
    curvature = jax.hessian(total, 1)(state, x)
    assert jnp.isfinite(curvature).all() and curvature[1, 1] == 13.5  # x^4 / 8 has 1.5 x^2 at 3
