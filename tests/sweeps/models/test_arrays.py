"""Arrays outside Variables: what was drawn stays, what the configuration says follows it."""

import dataclasses
import functools
import math
import os
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU
from sweeps.errors import StudyError
from sweeps.host.progress import Display
from sweeps.models.arrays import drawn, held, hold
from tests.cases import cases
from tests.sweeps import fourier_features
from tests.sweeps.fourier_features import DATA, INPUTS, Config, Features, Fixed, of_variables, study_of


def key_of(*path: int) -> jax.Array:
    """The key that a root key and what is folded into it give."""
    key = jax.random.key(0, impl="threefry2x32")
    for number in path:
        key = jax.random.fold_in(key, number)
    return key


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(lambda array: array, id="plain"),
        pytest.param(nnx.data, id="data", marks=pytest.mark.models),
    ],
)
def test_random_fourier_features_learn_as_in_plain_flax(kind):
    study = study_of(lambda config, rngs: Features(config, rngs, kind), 300, space={})
    # evaluation after every fourth step would be all the compiled program's time
    results = sweeps.run(dataclasses.replace(study, evaluate_every=100), progress=False)

    model = Features(Config(), nnx.Rngs(key_of(0, 0)))
    optimizer = nnx.Optimizer(model, optax.adam(0.01), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss(model):
            return jnp.mean(jnp.square(model(INPUTS) - DATA.train[1]))

        optimizer.update(model, nnx.grad(loss)(model))
        return loss(model)

    losses = [float(step(model, optimizer)) for _ in range(300)]
    found = results.metrics["test/loss"].to_numpy()
    assert found[0] == pytest.approx(losses[99], rel=1e-3)
    assert found[-1] == pytest.approx(losses[-1], rel=1e-2) and found[-1] < 1e-3


class Everything(nnx.Module):
    """Arrays of every origin."""

    def __init__(self, config, rngs):
        self.plain = jax.random.normal(rngs.params(), (2,))
        self.data = nnx.data(jax.random.normal(rngs.params(), (2,)))
        self.pair = nnx.data((jax.random.bernoulli(rngs.params(), 0.5, (2,)), "a name"))
        self.parts = nnx.List([nnx.Linear(2, 2, rngs=rngs), jax.random.uniform(rngs.params(), (2,))])
        self.scaled = jax.random.normal(rngs.params(), ()) * config.alpha
        self.constant = jnp.arange(2.0)
        self.activation = LeakyReLU(config.alpha)
        self.alpha = nnx.data(jax.jit(lambda key, alpha: (key, 2 * alpha))(rngs.params(), config.alpha)[1])
        self.variable, self.dropout = Fixed(jnp.zeros(2)), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return x * self.scaled * self.alpha


def test_only_what_was_drawn_is_carried():
    found = {}

    def run(key: jax.Array, alpha: jax.Array) -> tuple[Any, Any]:
        config = Config(alpha=alpha)  # pyright: ignore[reportArgumentType]
        found.update(
            drawn(Everything(config, nnx.Rngs(key)), lambda key: Everything(config, nnx.Rngs(key)), key)
        )
        later = hold(Everything(Config(alpha=3 * alpha), nnx.Rngs(jax.random.key(9))), found)  # pyright: ignore[reportArgumentType]
        return dict(found), held(later)

    carried, later = jax.jit(run)(jax.random.key(0), jnp.float32(0.25))
    assert set(carried) == {"plain", "data", "pair[0]", "parts/1", "scaled"}
    eager = held(Everything(Config(alpha=0.25), nnx.Rngs(0)))
    for name, array in carried.items():
        np.testing.assert_allclose(array, eager[name], rtol=1e-6)
        assert np.array_equal(later[name], array)
    assert later["alpha"] == 1.5 and later["activation/alpha"] == 0.75
    assert later["constant"].tolist() == [0, 1]


def test_a_changed_configuration_takes_effect_beside_what_was_drawn():
    trial = study_of(lambda config, rngs: Sloped(config, rngs)).trial
    state = trial.init(Config(alpha=jnp.float32(0.0)), jax.random.key(1))  # pyright: ignore[reportArgumentType]
    assert set(state.drawn) == {"directions"}
    directions = np.asarray(state.drawn["directions"])
    for alpha in (0.0, 0.5):
        config = Config(alpha=jnp.float32(alpha))  # pyright: ignore[reportArgumentType]
        found = trial.evaluate(config, state, DATA.evaluation)["test/loss"]
        waves = np.asarray(INPUTS) @ directions
        hidden = np.where(waves < 0, alpha * waves, waves).sum(axis=1, keepdims=True)
        assert float(found) == pytest.approx(np.square(hidden - DATA.evaluation[1]).mean(), rel=1e-5)
        after, metrics = trial.step(config, state, DATA.train, jax.random.key(2))
        assert float(metrics["train/loss"]) == pytest.approx(float(found), rel=1e-5)
        assert np.array_equal(after.drawn["directions"], directions)


class Sloped(nnx.Module):
    def __init__(self, config, rngs):
        self.directions = jax.random.normal(rngs.params(), (1, 8))
        self.activation = LeakyReLU(config.alpha)
        self.bias = nnx.Param(jnp.zeros((1, 1)))

    def __call__(self, x):
        return self.activation(x @ self.directions).sum(axis=1, keepdims=True) + self.bias[...]


def assert_same(results: Any, others: Any) -> None:
    """The tables of plain arrays and of Variables: the same operations in programs of another form."""
    assert results.members["status"].equals(others.members["status"])
    for name in ("train/loss", "test/loss"):
        columns = [each.metrics[name].to_numpy(zero_copy_only=False) for each in (results, others)]
        np.testing.assert_allclose(*columns, rtol=1e-4)


SCHEDULES = {
    "none": {},
    "halving": {"schedule": sweeps.halving(eta=2, min_steps=4)},
    "pbt": {"schedule": sweeps.pbt(every=4)},
}


@pytest.mark.parametrize("name", cases(SCHEDULES, ["none"], "models"))
def test_plain_arrays_are_as_good_as_variables_under_every_schedule(name, tmp_path):
    """With members that diverge, among others."""
    rates = [0.01, 0.02, 0.03, 1e30] if name != "pbt" else sweeps.log_uniform(1e-3, 1e-1)
    space = {"learning_rate": rates}
    options = {
        "keep_best": 1,
        "progress": False,
        **SCHEDULES[name],
        **({"samples": 4} if name == "pbt" else {}),
    }
    plain, variable = study_of(Features, space=space), study_of(of_variables, space=space)
    results = sweeps.run(plain, out=tmp_path / "plain", **options)
    assert_same(results, sweeps.run(variable, out=tmp_path / "variable", **options))
    model = results.model(plain)
    best = min(loss for loss in results.final("test/loss") if not math.isnan(loss))
    again = float(jnp.mean(jnp.square(model(jnp.asarray(INPUTS)) - DATA.train[1])))
    assert again == pytest.approx(float(best), rel=1e-4)
    if name == "none":
        assert results.members["status"].to_pylist()[-1] == "diverged"
        assert sweeps.replay(tmp_path / "plain", 1, plain, progress=False).same


def test_plain_arrays_survive_an_interruption(tmp_path, monkeypatch):
    study, shown, chunk = study_of(Features), [], Display.chunk

    def counted(*arguments):
        chunk(*arguments)
        shown.append(arguments)
        if len(shown) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        patched.setattr(Display, "chunk", counted)
        sweeps.run(study, out=tmp_path / "run", progress=False)
    results = sweeps.resume(tmp_path / "run", study, progress=False)
    whole = sweeps.run(study, progress=False)
    assert results.metrics.equals(whole.metrics) and results.members.equals(whole.members)


def test_plain_arrays_are_the_same_in_workers(tmp_path):
    options: dict[str, Any] = {"members_per_chunk": 2, "progress": False}
    found = sweeps.run(fourier_features.plain, out=tmp_path / "run", executor="processes", **options)
    assert_same(found, sweeps.run(study_of(of_variables), **options))


def in_a_function(config: Config, rngs: nnx.Rngs) -> nnx.Module:
    directions = jax.random.normal(rngs.params(), (1, 8))
    return nnx.Sequential(lambda x: jnp.sin(x @ directions), nnx.Linear(8, 1, rngs=rngs))


class Projection:
    """A layer that is no module; somebody's object, with keys that have no order and a circle."""

    def __init__(self, directions: Any):
        self.directions, self.itself, self.names = directions, self, {1: "one", "two": 2}

    def __call__(self, x):
        return jnp.sin(x @ self.directions)


def beside(keep: Any) -> Any:
    """A model whose first layer has the random directions where `keep` puts them."""

    def model(config: Config, rngs: nnx.Rngs) -> nnx.Module:
        directions = jax.random.normal(rngs.params(), (1, 8))
        return nnx.Sequential(keep(directions), nnx.Linear(8, 1, rngs=rngs))

    return model


def keyword_default(directions: Any) -> Any:
    def layer(x, *, directions=directions):
        return jnp.sin(x @ directions)

    return layer


HIDDEN: dict[str, Any] = {
    "default": lambda directions: lambda x, directions=directions: jnp.sin(x @ directions),
    "keyword default": keyword_default,
    "jitted": lambda directions: jax.jit(lambda x: jnp.sin(x @ directions)),
    "object": Projection,
    "method": lambda directions: Projection(directions).__call__,
    "object in an object": lambda directions: functools.partial(Projection, Projection(directions)),
    "variable": lambda directions: functools.partial(
        lambda held, x: jnp.sin(x @ held[...]), nnx.Param(directions)
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_drawn_array_is_found_in_functions_and_plain_objects(name):
    trial = study_of(beside(HIDDEN[name])).trial
    with pytest.raises(StudyError, match="random array in a function, a plain object or a Linen module's"):
        jax.eval_shape(lambda key: trial.init(Config(), key), jax.random.key(0))


class OfItself(nnx.Module):
    """What its functions reach is its own, and a stream draws anew."""

    def __init__(self, config, rngs):
        self.directions, self.bias = jax.random.normal(rngs.params(), (1, 8)), nnx.Param(jnp.zeros((1, 1)))
        self.layers = (self.project, lambda x: x + self.bias[...] * rngs.normal())

    def project(self, x):
        return x @ self.directions

    def __call__(self, x):
        return self.layers[1](self.layers[0](x)).sum(axis=1, keepdims=True)


def test_what_a_function_reaches_of_the_module_itself_is_carried():
    trial = study_of(OfItself).trial
    state = jax.eval_shape(lambda key: trial.init(Config(), key), jax.random.key(0))
    assert set(state.drawn) == {"directions"}


class LinenFeatures(nn.Module):
    directions: Any

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(jnp.sin(x @ self.directions))


@pytest.mark.parametrize(
    "model",
    [
        in_a_function,
        lambda config, rngs: LinenFeatures(jax.random.normal(rngs.params(), (1, 8))),
        lambda config, rngs: nn.Sequential([LinenFeatures((jax.random.normal(rngs.params(), (1, 8)))[:])]),
    ],
)
def test_a_drawn_array_that_cannot_be_set_again_is_refused(model):
    with pytest.raises(StudyError, match=r"draws is held by the module it returns` must .*self.variable"):
        sweeps.run(study_of(model), progress=False)


class Averaging(nnx.Module):
    """Sets its mean as it is called, or passes it through a transform that gives all arrays back as new."""

    def __init__(self, config, rngs, kind, through):
        self.mean, self.fixed = kind(jnp.zeros(())), jax.random.normal(rngs.params(), ())
        self.linear, self.through = nnx.Linear(1, 1, rngs=rngs), through
        self.activation, self.last = LeakyReLU(config.alpha), nnx.data(None)

    def scaled(self, x):
        return self.activation(x * self.fixed)

    def __call__(self, x):
        x = self.through(Averaging.scaled)(self, x)
        self.last = jnp.mean(x)  # no array before the call: what it returns besides, such as attention
        return self.linear(x)


class Changing(Averaging):
    def __call__(self, x):
        self.mean = 0.5 * self.mean + 0.5 * jnp.mean(x)
        return super().__call__(x)


def stepped(model: Any) -> Any:
    """Traces a step."""
    trial = study_of(model).trial

    def run(key: jax.Array, alpha: jax.Array) -> Any:
        config = Config(alpha=alpha)  # pyright: ignore[reportArgumentType]
        return trial.step(config, trial.init(config, key), DATA.train, key)[0]

    return jax.eval_shape(run, jax.random.key(0), jnp.float32(0.1))


THROUGH = {"plain": lambda method: method, "remat": nnx.remat, "jit": nnx.jit}


@pytest.mark.parametrize(
    ("kind", "name"), [*((jnp.asarray, name) for name in THROUGH), (np.asarray, "plain"), (nnx.data, "remat")]
)
def test_an_array_that_a_call_sets_is_refused(kind, name):
    def model(config: Config, rngs: nnx.Rngs) -> nnx.Module:
        return nnx.Sequential(Changing(config, rngs, lambda _: kind(np.zeros(())), THROUGH[name]))

    with pytest.raises(StudyError, match=r"a call that sets 'layers/0/mean', .*nnx\.Variable, as nnx.Batch"):
        stepped(model)


@pytest.mark.parametrize("name", THROUGH)
def test_an_array_that_a_call_leaves_alone_may_be_plain(name):
    state = stepped(lambda config, rngs: Averaging(config, rngs, jnp.asarray, THROUGH[name]))
    assert set(state.drawn) == {"fixed"}


def test_arrays_that_were_not_drawn_may_be_anywhere():
    table = jnp.ones((1, 8))
    models = [
        lambda config, rngs: nnx.Sequential(lambda x: x @ table * config.alpha, nnx.Linear(8, 1, rngs=rngs)),
        lambda config, rngs: LinenFeatures(table * config.alpha),
    ]
    for model in models:
        trial = study_of(model).trial
        state = jax.eval_shape(lambda key, trial=trial: trial.init(Config(), key), jax.random.key(0))
        assert state.drawn == {}
