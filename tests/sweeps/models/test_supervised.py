import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import sweeps
from lrelu_jax import Alpha, LeakyReLU, PReLU, RReLU, leaky_relu, weight_decay_mask
from lrelu_jax import linen as rectifiers
from sweeps.errors import StudyError
from tests.cases import cases
from tests.sweeps.alone import assert_every_member_is_itself, train_together
from tests.sweeps.population_of_mlps import Config as MLPConfig
from tests.sweeps.population_of_mlps import small_data, small_study, small_trial


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.1
    learning_rate: float = 0.05
    rate: float = 0.2
    decay: float = 0.01


def images(examples: int = 32) -> sweeps.Data:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(examples, 8, 8, 1)).astype(np.float32)
    targets = rng.integers(0, 3, examples).astype(np.int32)
    return sweeps.Data((inputs, targets), (inputs[:10], targets[:10]))


def sgd(config: Config) -> optax.GradientTransformation:
    """Not Adam, which makes a whole step of gradients of rounding alone: a bias before a norm."""
    return optax.sgd(config.learning_rate, momentum=0.9)


def study_of(model: Any, space: dict[str, Any] | None = None, **changes: Any) -> sweeps.Study:
    """A study of two alphas and two seeds, five steps each."""
    arguments = {
        "config": Config,
        "data": images(),
        "batch_size": 8,
        "optimizer": sgd,
    }
    trial = sweeps.supervised(model=model, **(arguments | changes))
    return sweeps.Study(
        trial, steps=5, metric="test/loss", space=space or {"alpha": [0.0, 0.3], "seed": [0, 7]}
    )


UNIFORM = nnx.initializers.lecun_uniform()  # which compiles faster than a truncated normal
Linear, Conv, Dense, LinenConv = (
    functools.partial(layer, kernel_init=UNIFORM) for layer in (nnx.Linear, nnx.Conv, nn.Dense, nn.Conv)
)


class CNN(nnx.Module):
    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.first = Conv(1, 4, (3, 3), rngs=rngs)
        self.second = Conv(4, 6, (3, 3), strides=2, rngs=rngs)
        self.logits = Linear(6 * 2 * 2, 3, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, x):
        x = nnx.max_pool(self.activation(self.first(x)), (2, 2), (2, 2))
        x = self.activation(self.second(x))
        return self.logits(x.reshape(len(x), -1))


class MLP(nnx.Module):
    """Wide enough for a copy of the batch for each member, and with few outputs."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.hidden, self.logits = Linear(64, 128, rngs=rngs), Linear(128, 3, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, x):
        return self.logits(self.activation(self.hidden(x.reshape(len(x), -1))))


class LinenMLP(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, x):
        return Dense(3)(leaky_relu(Dense(128)(x.reshape(len(x), -1)), self.config.alpha))


class LinenCNN(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(leaky_relu(LinenConv(4, (3, 3))(x), self.config.alpha), (2, 2), (2, 2))
        x = leaky_relu(LinenConv(6, (3, 3), strides=2)(x), self.config.alpha)
        return Dense(3)(x.reshape(len(x), -1))


class Recurrent(nnx.Module):
    def __init__(self, cell: Any, config: Config, rngs: nnx.Rngs):
        self.rnn = nnx.RNN(cell(8, 5, kernel_init=UNIFORM, rngs=rngs))
        self.logits = Linear(5, 3, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, x):
        return self.logits(self.activation(jnp.asarray(self.rnn(x[..., 0]))[:, -1]))


class Transformer(nnx.Module):
    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, kernel_init=UNIFORM, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(8, rngs=rngs) for _ in range(2)])
        self.up, self.down = Linear(8, 16, rngs=rngs), Linear(16, 8, rngs=rngs)
        self.logits = Linear(8, 3, rngs=rngs)
        self.dropout = sweeps.Dropout(config.rate, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, x):
        x = x[..., 0]
        x = x + self.dropout(self.attention(self.norms[0](x)))
        x = x + self.dropout(self.down(self.activation(self.up(self.norms[1](x)))))
        return self.logits(x.mean(axis=1))


class LinenTransformer(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, x, train):
        drop = sweeps.linen.Dropout(self.config.rate, deterministic=not train)
        x = x[..., 0]
        x = x + drop(nn.MultiHeadDotProductAttention(2, kernel_init=UNIFORM)(nn.LayerNorm()(x)))
        x = x + drop(Dense(8)(leaky_relu(Dense(16)(nn.LayerNorm()(x)), self.config.alpha)))
        return Dense(3)(x.mean(axis=1))


class Normed(nnx.Module):
    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.hidden = Linear(64, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.logits = Linear(6, 3, rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, x):
        return self.logits(self.activation(self.norm(self.hidden(x.reshape(len(x), -1)))))


class LinenNormed(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, x, use_running_average):
        x = nn.BatchNorm(use_running_average)(Dense(6)(x.reshape(len(x), -1)))
        return Dense(3)(leaky_relu(x, self.config.alpha))


class Sloped(nnx.Module):
    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.hidden, self.logits = Linear(64, 6, rngs=rngs), Linear(6, 3, rngs=rngs)
        self.learned = PReLU(6)
        self.random = RReLU(rngs=rngs)
        self.activation = LeakyReLU(config.alpha)

    def __call__(self, x):
        return self.logits(self.activation(self.random(self.learned(self.hidden(x.reshape(len(x), -1))))))


class LinenSloped(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, x, deterministic):
        x = rectifiers.PReLU(6)(Dense(6)(x.reshape(len(x), -1)))
        x = rectifiers.RReLU(deterministic=deterministic)(x)
        return Dense(3)(leaky_relu(x, self.config.alpha))


MODELS: dict[str, Any] = {
    "mlp": MLP,
    "linen mlp": lambda config, rngs: LinenMLP(config),
    "cnn": CNN,
    "linen cnn": lambda config, rngs: LinenCNN(config),
    "gru": lambda config, rngs: Recurrent(nnx.GRUCell, config, rngs),
    "lstm": lambda config, rngs: Recurrent(nnx.OptimizedLSTMCell, config, rngs),
    "transformer": Transformer,
    "linen transformer": lambda config, rngs: LinenTransformer(config),
    "batch norm": Normed,
    "linen batch norm": lambda config, rngs: LinenNormed(config),
    "learned and random slopes": Sloped,
    "linen learned and random slopes": lambda config, rngs: LinenSloped(config),
}


# Batch norms are in the next test; a member of every kind is also trained by hand, in tests/reference.
KINDS = [name for name in MODELS if "norm" not in name]


@pytest.mark.parametrize("name", cases(KINDS, ["learned and random slopes"], "models"))
def test_every_member_of_every_kind_of_model_is_itself(name):
    space = {"alpha": [0.0, 0.3], "seed": [0, 7]}
    if "transformer" in name:  # its dropout rate may differ per member too
        space = {"alpha": [0.3], "rate": [0.0, 0.5], "seed": [0, 7]}
    assert_every_member_is_itself(study_of(MODELS[name], space))


@pytest.mark.parametrize("name", cases(["batch norm", "linen batch norm"], ["linen batch norm"], "models"))
def test_batch_statistics_are_kept_per_member(name):
    states = assert_every_member_is_itself(study_of(MODELS[name]))
    means = [leaf for leaf in jax.tree.leaves(states.rest) if leaf.ndim == 2]
    assert means and all(np.ptp(np.asarray(leaf), axis=0).any() for leaf in means)


@pytest.mark.models
def test_half_precision_parameters_train_with_float32_hyperparameters():
    class Half(nnx.Module):
        def __init__(self, config, rngs):
            kinds = {"param_dtype": jnp.bfloat16, "dtype": jnp.bfloat16, "rngs": rngs}
            self.hidden, self.logits = Linear(64, 6, **kinds), Linear(6, 3, **kinds)
            self.activation = LeakyReLU(config.alpha)

        def __call__(self, x):
            return self.logits(self.activation(self.hidden(x.reshape(len(x), -1).astype(jnp.bfloat16))))

    # bfloat16 keeps 8 bits: one rounding apart is 2**-8, and a few steps of 0.05 carry it on.
    states = assert_every_member_is_itself(study_of(Half), rtol=2**-5, atol=2e-2)
    assert {leaf.dtype for leaf in jax.tree.leaves(states.params)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.models
def test_an_optax_chain_with_a_traced_peak_and_no_decay_on_slopes():
    def chain(config: Config) -> optax.GradientTransformation:
        unit = optax.warmup_cosine_decay_schedule(0.0, 1.0, 2, 5)
        return optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(
                sweeps.scaled_schedule(unit, config.learning_rate),
                weight_decay=config.decay,
                mask=weight_decay_mask,
            ),
        )

    space = {"learning_rate": [0.05, 0.1], "decay": [0.0, 10.0]}
    study = study_of(Sloped, space=space, optimizer=chain)
    states = assert_every_member_is_itself(study)
    slopes = nnx.filter_state(states.params, Alpha)
    kernels = states.params["hidden"]["kernel"]
    # The decay of 10 shrinks kernels by far more than it moves slopes, which it leaves alone.
    assert float(jnp.abs(kernels[1]).mean()) < 0.7 * float(jnp.abs(kernels[0]).mean())
    assert jnp.abs(jax.tree.leaves(slopes)[0][1] - 0.25).max() < 0.1


@pytest.mark.parametrize("name", cases(["cnn", "linen cnn", "mlp", "linen mlp"], ["linen mlp"], "models"))
def test_lowering_changes_the_program_and_not_the_model(name):
    fast, plain = (study_of(MODELS[name], lowering=lowering) for lowering in ("auto", None))
    one, other = (train_together(study)[1] for study in (fast, plain))
    for mine, theirs in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        # The same sums in another order, five steps on.
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
    texts = [str(jax.make_jaxpr(_gradient(study))(0.1)) for study in (fast, plain)]
    assert "optimization_barrier" in texts[0] and "optimization_barrier" not in texts[1]
    assert nnx.Conv(1, 1, (3, 3), rngs=nnx.Rngs(0)).conv_general_dilated is jax.lax.conv_general_dilated


def _gradient(study: sweeps.Study) -> Any:
    def step(alpha: Any) -> Any:
        config, key = Config(alpha=alpha), jax.random.key(0)
        assert study.trial.data is not None
        batch = jax.tree.map(lambda array: jnp.asarray(array[:8]), study.trial.data.train)
        return study.trial.step(config, study.trial.init(config, key), batch, key)[1]

    return step


def test_own_loss_metrics_and_inspect():
    def loss(outputs, targets, config):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets) * (1 + config.alpha)

    trial = small_trial(
        loss=loss,
        metrics={"top": lambda outputs, targets: outputs.max(axis=-1), "n": lambda outputs, targets: targets},
        inspect=lambda model, inputs: {
            "bias": jnp.abs(model.hidden.bias[...]).sum(),
            "rows": inputs.shape[0],
        },
    )
    study = small_study(trial=trial, metric="test/n", mode="max")
    results = sweeps.run(study, progress=False, members_per_chunk=10)
    assert set(results.metric_names) == {"train/loss", "test/loss", "test/top", "test/n", "bias", "rows"}
    assert set(results.final("rows")) == {20.0}
    targets = small_data().evaluation[1]
    assert results.final("test/n") == pytest.approx([targets.mean()] * 9)


def test_regression_is_squared_error():
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(40, 6)).astype(np.float32)
    targets = inputs[:, :1] * 2
    trial = sweeps.supervised(
        config=MLPConfig,
        model=lambda config, rngs: Linear(6, 1, rngs=rngs),
        optimizer=lambda config: optax.sgd(0.1),
        data=sweeps.Data((inputs, targets), (inputs, targets)),
        batch_size=40,
    )
    study = sweeps.Study(trial, steps=100, metric="test/loss", mode="min")
    results = sweeps.run(study, progress=False, members_per_chunk=1)
    assert set(results.metric_names) == {"train/loss", "test/loss"}
    assert results.final()[0] < 1e-4  # gradient descent on a quadratic: it converges
    flat = trial_with_targets(trial, targets[:, 0])
    with pytest.raises(
        StudyError, match=r"`outputs.shape == targets.shape` must hold.*\(40, 1\) and \(40,\)"
    ):
        sweeps.run(sweeps.Study(flat, steps=1, metric="test/loss"), progress=False)


def trial_with_targets(trial, targets):
    data = sweeps.Data((trial.data.train[0], targets), (trial.data.evaluation[0], targets))
    return trial._replace(data=data)


class Branching(nnx.Module):
    def __init__(self, config: Config, rngs: nnx.Rngs):
        self.logits = nnx.Linear(64, 3, rngs=rngs)
        self.scale = 2.0 if config.alpha > 0.2 else 1.0

    def __call__(self, x):
        return self.logits(x.reshape(len(x), -1)) * self.scale


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": lambda c, rngs: "model"}, "returns an nnx or linen Module` must hold, but got a str"),
        (
            {"loss": lambda outputs, targets: outputs[:, :2].T},
            r"`loss is a scalar or has one value per example`",
        ),
        (
            {"loss": lambda outputs, targets: targets},
            "`loss is a floating-point number` must hold, but got int32",
        ),
        (
            {"metrics": {"odd": lambda outputs, targets: jnp.zeros(3)}},
            "`odd is a scalar or has one value per example`",
        ),
        (
            {"inspect": lambda model, inputs: {"wide": jnp.zeros(2)}},
            r"`metric wide is a scalar` must hold.*\(2,\)",
        ),
        ({"lowering": "fast"}, "`lowering is 'auto' or None` must hold, but got 'fast'"),
        (
            {"model": Branching},
            r"`no Python branch on a traced field` must hold.* alpha \(test_supervised.py, line \d+\).*"
            r"`alpha: Annotated\[float, sweeps.static\]`",
        ),
        (
            {
                "model": lambda c, rngs: nnx.Sequential(
                    lambda x: x.reshape(len(x), -1), nnx.Dropout(c.rate, rngs=rngs)
                ),
                "space": {"rate": [0.1, 0.2]},
            },
            "branch on a traced field.*one on rate.*sweeps.Dropout",
        ),
        (
            {
                "optimizer": lambda c: optax.sgd(
                    optax.warmup_cosine_decay_schedule(0.0, c.learning_rate, 2, 5)
                ),
                "space": {"learning_rate": [0.1, 0.2]},
            },
            "branch on a traced field.*one on learning_rate.*sweeps.scaled_schedule",
        ),
    ],
)
def test_what_is_wrong_with_a_trial_is_said_before_compiling(changes, message, monkeypatch):
    monkeypatch.setattr("sweeps.engine.program.build", None)
    with pytest.raises(StudyError, match=message):
        sweeps.run(study_of(**({"model": Normed} | changes)), progress=False)


@pytest.mark.parametrize(
    ("train", "batch_size", "message"),
    [
        (
            (np.zeros((9, 6), np.float32), np.zeros(8, np.int32)),
            4,
            r"all arrays of train have one length.*\[9, 8\]",
        ),
        (
            (np.zeros((9, 6), np.float32), np.zeros(9, np.int32)),
            10,
            "batch_size <= 9, the examples` must hold.* 10",
        ),
        (
            (np.zeros((9, 6), np.float32), np.zeros(9, np.int32)),
            0,
            "`1 <= batch_size` must hold.*batch_size=0$",
        ),
        (
            (np.zeros((9, 6), np.float32), np.zeros(9, np.int32)),
            np.int64(4),
            r"and be a whole number, but got batch_size=np.int64\(4\); int\(batch_size\) is one to Python",
        ),
    ],
)
def test_data_that_cannot_be_cut_into_batches_is_refused(train, batch_size, message):
    trial = small_trial(data=sweeps.Data(train, small_data().evaluation), batch_size=batch_size)
    with pytest.raises(StudyError, match=message):
        sweeps.run(small_study(trial=trial), progress=False)


def test_a_state_that_changes_its_form_is_refused():
    trial = small_trial()

    def step(config, state, batch, key):
        state, metrics = trial.step(config, state, batch, key)
        return state._replace(rest={"count": jnp.zeros(3)}), metrics

    def narrower(config, state, batch, key):
        state, metrics = trial.step(config, state, batch, key)
        return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), state), metrics

    with pytest.raises(StudyError, match="of the form that init made` must hold, but got a change in.*count"):
        sweeps.run(small_study(trial=trial._replace(step=step)), progress=False)
    with pytest.raises(StudyError, match=r"but got bfloat16\[8\] for float32\[8\] at .*hidden.*bias"):
        sweeps.run(small_study(trial=trial._replace(step=narrower)), progress=False)


@pytest.mark.parametrize("kind", ["python number", "array", "tracer"])
def test_leaky_relu_of_any_kind_of_slope_splits_and_merges_inside_transforms(kind):
    def value(alpha, x):
        model = LeakyReLU(0.5 if kind == "python number" else alpha)
        graphdef, state = nnx.split(model)
        return nnx.merge(graphdef, state)(x)

    alphas, x = jnp.array([0.5, 0.25]), jnp.array([-2.0, 3.0])
    if kind == "array":
        assert value(alphas[0], x).tolist() == [-1.0, 3.0]
    expected = [[-1.0, 3.0], [-1.0 if kind == "python number" else -0.5, 3.0]]
    assert jax.jit(jax.vmap(value, in_axes=(0, None)))(alphas, x).tolist() == expected
