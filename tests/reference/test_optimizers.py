from typing import Any

import jax
import numpy as np
import optax
import pytest
from flax import nnx

import sweeps
from tests.reference import data, loops, optimizers
from tests.reference.comparison import Config, assert_same, sweep, trial_of
from tests.reference.loops import Plan, Run
from tests.reference.nnx_models import MLP

PLAN = Plan(data.vectors())


def test_clipping_masked_decay_a_schedule_and_a_plateau(tmp_path):
    unit = optax.warmup_cosine_decay_schedule(0.0, 1.0, 3, PLAN.steps)

    def train(config: Config, seed: int) -> Run:
        schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, 3, PLAN.steps)
        optimizer = optimizers.regularised(schedule)
        return loops.train_nnx(lambda rngs: MLP(config, rngs), optimizer, PLAN, seed)

    trial = trial_of(MLP, lambda rate: optimizers.regularised(sweeps.scaled_schedule(unit, rate)), PLAN)
    assert_same(sweep(trial, PLAN, tmp_path), train, PLAN)


@pytest.mark.models
def test_lookahead_on_several_transforms_of_several_steps(tmp_path):
    trial = trial_of(MLP, lambda rate: optimizers.with_slow_weights(optimizers.lookahead(rate)), PLAN)
    assert_same(sweep(trial, PLAN, tmp_path), train_with_lookahead, PLAN)


def train_with_lookahead(config: Config, seed: int) -> Run:
    """As optax documents it: the parameters are fast and slow ones, and gradients those of the fast."""
    optimizer = optimizers.lookahead(config.learning_rate)
    graph, params = nnx.split(MLP(config, nnx.Rngs(loops.initial_key(PLAN, seed))))
    both: Any = optax.LookaheadParams.init_synced(params)
    state = optimizer.init(both)

    @jax.jit
    def step(both: Any, state: Any, inputs: Any, targets: Any) -> Any:
        def objective(fast: Any) -> jax.Array:
            return loops.cross_entropy(nnx.merge(graph, fast)(inputs), targets).mean()

        value, gradients = jax.value_and_grad(objective)(both.fast)
        updates, state = optimizer.update(gradients, state, both)
        return optax.apply_updates(both, updates), state, value

    losses = []
    for batch, _ in loops.batches(PLAN, seed):
        both, state, value = step(both, state, *batch)
        losses.append(value)
    outputs = nnx.merge(graph, both.fast)(PLAN.data[1][0])
    return Run(np.asarray(losses), loops.by_path(both.fast), {}, outputs)
