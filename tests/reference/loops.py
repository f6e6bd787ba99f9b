"""Training loops as one writes them by hand with Flax and optax, on the documented keys and batches.

One member is trained at a time, for real: no vmap, no scan over steps, hyperparameters are Python numbers.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

fold_in = jax.random.fold_in


class Run(NamedTuple):
    """What a member was like.

    Attributes:
        losses: the training loss of each step.
        params: its parameters after the last step, by path.
        rest: its other variables, by path.
        outputs: what it makes of the whole evaluation set, in evaluation mode.
    """

    losses: np.ndarray
    params: dict[str, np.ndarray]
    rest: dict[str, np.ndarray]
    outputs: Any


class Plan(NamedTuple):
    """What each member is trained on.

    Attributes:
        data: `(inputs, targets)` to train on and to judge by.
        batch_size: examples per step.
        steps: how many steps.
        root_seed: what all randomness derives from.
        per_seed: whether the order of the examples depends on the member's seed.
        folds: the fold of every training example; None trains on all.
        fold: which of the folds is held out.
    """

    data: Any
    batch_size: int = 16
    steps: int = 10
    root_seed: int = 5
    per_seed: bool = False
    folds: Any = None
    fold: int = 0

    @property
    def root(self) -> jax.Array:
        """The key that every other key is folded from."""
        return jax.random.key(self.root_seed, impl="threefry2x32")


def initial_key(plan: Plan, seed: int) -> jax.Array:
    """The key that a member of this seed is initialised from."""
    return fold_in(fold_in(plan.root, 0), seed)


def batches(plan: Plan, seed: int) -> Iterator[tuple[Any, jax.Array]]:
    """Each step's batch and key: epochs in a drawn order, consecutive slices, the remainder dropped.

    With folds, what is held out is left out of the order, and an epoch is that of the largest fold.
    """
    inputs, targets = plan.data[0]
    folds = np.full(len(inputs), -1) if plan.folds is None else plan.folds
    largest = 0 if plan.folds is None else np.bincount(folds).max()
    per_epoch = (len(inputs) - largest) // plan.batch_size
    for step in range(plan.steps):
        epoch, place = divmod(step, per_epoch)
        order_key = fold_in(fold_in(plan.root, 2), epoch)
        if plan.per_seed:
            order_key = fold_in(order_key, seed)
        order = np.asarray(jax.random.permutation(order_key, len(inputs)))
        order = order[folds[order] != plan.fold]
        rows = order[place * plan.batch_size : (place + 1) * plan.batch_size]
        yield (inputs[rows], targets[rows]), fold_in(fold_in(fold_in(plan.root, 1), seed), step)


def cross_entropy(outputs: jax.Array, targets: Any) -> jax.Array:
    """Softmax cross-entropy of each example, in float32 at least."""
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    return -jnp.take_along_axis(jax.nn.log_softmax(outputs), targets[:, None], axis=1)[:, 0]


def squared_error(outputs: jax.Array, targets: Any) -> jax.Array:
    """The squared error of each number."""
    return (outputs - targets) ** 2


def nnx_trainer(
    build: Callable[[nnx.Rngs], nnx.Module],
    optimizer: optax.GradientTransformation,
    loss: Callable[..., jax.Array] = cross_entropy,
) -> Callable[[Plan, int], Run]:
    """Trains members of one configuration, by plan and seed; what they share is compiled once.

    A model is built once; each step's random streams are those of a model built anew.

    Args:
        build: makes the model.
        optimizer: what changes its parameters.
        loss: `(outputs, targets) -> one value per example, or their mean`.
    """

    @nnx.jit
    def step(model: Any, state: Any, batch: Any, key: jax.Array) -> jax.Array:
        inputs, targets = batch
        nnx.update(model, nnx.state(build(nnx.Rngs(key)), nnx.RngState))
        value, gradients = nnx.value_and_grad(lambda model: loss(model(inputs), targets).mean())(model)
        state.update(model, gradients, value=value)
        nnx.pop(model, nnx.Intermediate)
        return value

    apply = nnx.jit(lambda model, inputs: model(inputs))

    def train(plan: Plan, seed: int) -> Run:
        model: Any = build(nnx.Rngs(initial_key(plan, seed)))
        model.train()
        state: Any = nnx.Optimizer(model, optimizer, wrt=nnx.Param)
        losses = [step(model, state, batch, key) for batch, key in batches(plan, seed)]
        params, rest = (
            nnx.state(model, nnx.Param),
            nnx.state(model, nnx.Not(nnx.Any(nnx.Param, nnx.RngState))),
        )
        params, rest = (
            by_path(params),
            by_path(rest),
        )  # copies: evaluation may change a model, as WeightNorm does
        model.eval()
        return Run(np.asarray(losses), params, rest, apply(model, plan.data[1][0]))

    return train


def train_nnx(
    build: Callable[[nnx.Rngs], nnx.Module],
    optimizer: optax.GradientTransformation,
    plan: Plan,
    seed: int,
    loss: Callable[..., jax.Array] = cross_entropy,
) -> Run:
    """Trains one member."""
    return nnx_trainer(build, optimizer, loss)(plan, seed)


def train_linen(
    module: Any,
    optimizer: optax.GradientTransformation,
    plan: Plan,
    seed: int,
    loss: Callable[..., jax.Array] = cross_entropy,
    mode: Callable[[bool], dict[str, bool]] = lambda train: {},
) -> Run:
    """Trains a Linen model, initialised on one example of zeros in evaluation mode.

    Args:
        module: the model.
        optimizer: what changes its parameters.
        plan: what it is trained on.
        seed: the member's.
        loss: `(outputs, targets) -> one value per example, or their mean`.
        mode: the keywords that tell the model whether it trains.
    """
    example = jnp.zeros((1, *plan.data[0][0].shape[1:]), plan.data[0][0].dtype)
    variables = dict(module.init(streams(initial_key(plan, seed)), example, **mode(False)))
    variables.pop("intermediates", None)  # what was sown is an output
    params, rest = variables.pop("params"), variables
    state = optimizer.init(params)
    optimizer = optax.with_extra_args_support(optimizer)

    def step(params: Any, rest: Any, state: Any, inputs: Any, targets: Any, key: jax.Array) -> Any:
        def objective(params: Any) -> tuple[jax.Array, Any]:
            outputs, changed = module.apply(
                {"params": params, **rest}, inputs, rngs=streams(key), mutable=list(rest), **mode(True)
            )
            return loss(outputs, targets).mean(), changed

        (value, rest), gradients = jax.value_and_grad(objective, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params, value=value)
        return optax.apply_updates(params, updates), rest, state, value

    step, losses = jax.jit(step), []
    for batch, key in batches(plan, seed):
        params, rest, state, value = step(params, rest, state, *batch, key)
        losses.append(value)
    apply = jax.jit(lambda variables, inputs: module.apply(variables, inputs, **mode(False)))
    outputs = apply({"params": params, **rest}, plan.data[1][0])
    return Run(np.asarray(losses), by_path(params), by_path(rest), outputs)


def streams(key: jax.Array) -> dict[str, jax.Array]:
    """The random streams of a Linen model: each is folded from the member's key by its place.

    The names are those that Flax's layers ask for; any other name draws from `params`, as Linen's own
    `make_rng` does for a stream that it was not given.
    """
    return {name: fold_in(key, place) for place, name in enumerate(("params", "dropout", "default"))}


def by_path(state: Any) -> dict[str, np.ndarray]:
    """The arrays of a state by their path."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
