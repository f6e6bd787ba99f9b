"""Compiled with all of XLA's optimisations, as users' programs are."""

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from tests.reference import data, linen_models, loops
from tests.reference.comparison import Config, assert_same, sweep, trial_of
from tests.reference.loops import Plan, Run
from tests.reference.nnx_models import MLP

# Of each seed's own batches, and on two devices.
PLAN = Plan(data.vectors(), per_seed=True)


SPACE = {"alpha": [0.1, 0.4], "learning_rate": [0.02], "seed": [3, 11]}


@pytest.fixture(scope="module", autouse=True)
def compilation():
    """None but JAX's own."""
    assert not jax.config.read("jax_disable_most_optimizations")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return sweep(trial_of(MLP, optax.adam, PLAN), PLAN, tmp_path_factory.mktemp("mlp"), devices=2, **SPACE)


def test_a_member_is_the_model_trained_with_flax_and_optax(swept):
    def train(config: Config, seed: int) -> Run:
        return loops.train_nnx(lambda rngs: MLP(config, rngs), optax.adam(config.learning_rate), PLAN, seed)

    assert_same(swept, train, PLAN)


def test_a_linen_member_is_the_model_trained_with_flax_and_optax(tmp_path):
    def train(config: Config, seed: int) -> Run:
        return loops.train_linen(linen_models.MLP(config), optax.adam(config.learning_rate), PLAN, seed)

    trial = trial_of(lambda config, rngs: linen_models.MLP(config), optax.adam, PLAN)
    assert_same(sweep(trial, PLAN, tmp_path, devices=2, **SPACE), train, PLAN)


def test_a_member_is_the_model_trained_with_pytorch(swept):
    torch = pytest.importorskip("torch", reason="the same network in PyTorch needs torch")

    def train(config: Config, seed: int) -> Run:
        torch.set_num_threads(1)
        flax = MLP(config, nnx.Rngs(loops.initial_key(PLAN, seed)))
        hidden, logits = torch.nn.Linear(6, 12), torch.nn.Linear(12, 3)
        layers = {"hidden": (flax.hidden, hidden), "logits": (flax.logits, logits)}
        for source, target in layers.values():
            target.weight.data = torch.tensor(np.asarray(source.kernel[...]).T.copy())
            target.bias.data = torch.zeros_like(target.bias)
        model = torch.nn.Sequential(hidden, torch.nn.LeakyReLU(config.alpha), logits)
        optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        losses = []
        for (inputs, targets), _ in loops.batches(PLAN, seed):
            optimizer.zero_grad()
            classes = torch.tensor(targets, dtype=torch.int64)
            loss = torch.nn.functional.cross_entropy(model(torch.tensor(inputs)), classes)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        params = {}
        for name, (_, layer) in layers.items():
            params[f"['{name}']['kernel'].value"] = layer.weight.detach().numpy().T
            params[f"['{name}']['bias'].value"] = layer.bias.detach().numpy()
        outputs = model(torch.tensor(PLAN.data[1][0])).detach().numpy()
        return Run(np.asarray(losses), params, {}, outputs)

    assert_same(swept, train, PLAN)
