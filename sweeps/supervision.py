"""`supervised`: a Trial from a Flax model, an optax optimiser and a data set."""

import inspect as signatures
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from sweeps.divergence import any_non_finite
from sweeps.network import evaluation_model, lowered, lowered_linen, train_outputs, variables
from sweeps.space import StudyError
from sweeps.trial import Data, Trial

# Evaluation runs in batches of this many examples, so that its memory does not grow with the set.
EVALUATION_BATCH = 1024

Loss = Callable[..., Any]


class Training(NamedTuple):
    """What one member carries from step to step.

    Attributes:
        params: what the optimiser changes: NNX `Param`s, or Linen's `params` collection.
        rest: all other variables, such as batch statistics; random streams are not among them.
        optimizer: the optimiser's state.
    """

    params: Any
    rest: Any
    optimizer: Any


def supervised(
    *,
    config: type,
    model: Callable[[Any, nnx.Rngs], Any],
    optimizer: Callable[[Any], optax.GradientTransformation],
    data: Data,
    batch_size: int,
    loss: Loss | None = None,
    metrics: Mapping[str, Loss] | None = None,
    inspect: Callable[[Any, Any], Mapping[str, Any]] | None = None,
    lowering: str | None = "auto",
    diverge_above: float | None = None,
) -> Trial:
    """A Trial that trains a Flax model on pairs of inputs and targets.

    The model is built again from the configuration inside every step, so what a configuration says
    always holds; only its variables are carried along.

    Args:
        config: the frozen dataclass that names the hyperparameters.
        model: `(config, rngs) -> nnx.Module or flax.linen.Module`.
        optimizer: `config -> optax.GradientTransformation`.
        data: `Data` whose two parts are `(inputs, targets)`, first axis the examples.
        batch_size: examples per training batch.
        loss: `(outputs, targets) -> scalar or one value per example`, may take a keyword `config`.
            The default is softmax cross-entropy for integer targets, squared error for floats.
        metrics: named functions of the same arguments, reported as `test/<name>`. The default is
            `accuracy` for integer targets.
        inspect: `(model, inputs) -> dict of scalars`, called with the evaluation model and the whole
            of the evaluation inputs at each evaluation.
        lowering: `"auto"` runs convolutions and dense layers that still have Flax's default in the form
            that is fast for a population; None leaves the model alone.
        diverge_above: a training loss above this counts as divergence.

    Returns:
        A Trial that reports `train/loss`, `test/loss`, `test/<metric>` and what `inspect` returns.

    Raises:
        StudyError: the model is not a Flax module, or the loss is not a scalar or one value per example.

    Example:
        >>> import dataclasses, optax, sweeps
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     learning_rate: float = 1e-3
        >>> trial = sweeps.supervised(
        ...     config=Config,
        ...     model=lambda config, rngs: nnx.Linear(64, 10, rngs=rngs),
        ...     optimizer=lambda config: optax.adam(config.learning_rate),
        ...     data=sweeps.data.digits(),
        ...     batch_size=128,
        ... )
    """
    if lowering not in ("auto", None):
        raise StudyError(f"`lowering is 'auto' or None` must hold, but got {lowering!r}")
    lower = lowering == "auto"
    loss = _with_config(loss or default_loss)
    measured = {name: _with_config(metric) for name, metric in (metrics or {}).items()}
    if metrics is None and jnp.issubdtype(data.evaluation[1].dtype, jnp.integer):
        measured = {"accuracy": _with_config(accuracy)}

    def build(config: Any, key: jax.Array) -> Any:
        module = model(config, nnx.Rngs(key))
        return lowered(module) if lower else module

    def init(config: Any, key: jax.Array) -> Training:
        params, rest = variables(build(config, key), key, data.evaluation[0])
        return Training(params, rest, optimizer(config).init(params))

    def step(config: Any, state: Training, batch: Any, key: jax.Array) -> tuple[Training, dict[str, Any]]:
        inputs, targets = batch

        def objective(params: Any) -> tuple[Any, Any]:
            with lowered_linen(lower):
                outputs, rest = train_outputs(build(config, key), params, state.rest, inputs, key)
            return jnp.mean(_examples("loss", loss(outputs, targets, config), inputs)), rest

        (value, rest), gradients = jax.value_and_grad(objective, has_aux=True)(state.params)
        transform = optax.with_extra_args_support(optimizer(config))
        updates, optimizer_state = transform.update(gradients, state.optimizer, state.params, value=value)
        params = optax.apply_updates(state.params, updates)
        return Training(params, rest, optimizer_state), {"train/loss": value}

    def evaluate(config: Any, state: Training, evaluation: Any) -> dict[str, Any]:
        key = jax.random.key(0)  # nothing random runs in evaluation, but a module may ask for streams
        module = evaluation_model(build(config, key), state.params, state.rest)

        def on_batch(batch: Any) -> dict[str, Any]:
            inputs, targets = batch
            outputs = module(inputs)
            values = {
                name: metric(outputs, targets, config) for name, metric in {"loss": loss, **measured}.items()
            }
            return {name: jnp.mean(_examples(name, value, inputs)) for name, value in values.items()}

        with lowered_linen(lower):
            means = _mean_over_batches(on_batch, evaluation)
            inspected = dict(inspect(module, evaluation[0])) if inspect else {}
        return {f"test/{name}": value for name, value in means.items()} | inspected

    def diverged(config: Any, state: Training, metrics: dict[str, Any]) -> Any:
        bad = any_non_finite((state.params, metrics["train/loss"]))
        return bad if diverge_above is None else bad | (metrics["train/loss"] > diverge_above)

    def restored(config: Any, state: Training) -> Any:
        return evaluation_model(model(config, nnx.Rngs(0)), state.params, state.rest)

    return Trial(config, data, init, step, evaluate, batch_size, diverged, restored)


def default_loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Softmax cross-entropy for integer targets, squared error for floats; one value per example.

    Args:
        outputs: logits `(n, classes)`, or predictions of the targets' shape.
        targets: class numbers `(n,)`, or numbers of any shape `(n, …)`.

    Raises:
        StudyError: predictions and float targets differ in shape.
    """
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
    if outputs.shape != targets.shape:
        raise StudyError(
            f"`outputs.shape == targets.shape` must hold for squared error, but got {outputs.shape} and "
            f"{targets.shape}; reshape one of them, or pass `loss`"
        )
    return jnp.square(outputs - targets)


def accuracy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Whether the largest logit is the target's; one value per example."""
    return (jnp.argmax(outputs, axis=-1) == targets).astype(jnp.float32)


class Dropout(nnx.Module):
    """Dropout whose rate may differ per member: `flax.nnx.Dropout` for a traced rate.

    Zeroes each element with probability `rate` and scales the others by 1 / (1 - rate).

    Args:
        rate: the probability, a number or a tracer.
        deterministic: whether to leave inputs as they are; `model.train()` and `model.eval()` set it.
        rng_collection: the random stream to draw from.
        rngs: where the stream comes from.

    References:
        Srivastava et al., 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting.

    Example:
        >>> Dropout(0.5, deterministic=True)(jnp.ones(3))
        Array([1., 1., 1.], dtype=float32)
    """

    def __init__(
        self,
        rate: Any,
        *,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs | None = None,
    ):
        self.rate = nnx.data(rate) if isinstance(rate, jax.Array) else rate
        self.deterministic = deterministic
        self.rngs = None if rngs is None else rngs[rng_collection].fork()

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """The inputs, dropped out in training mode."""
        if self.deterministic:
            return inputs
        if self.rngs is None:
            raise ValueError("`rngs` must be given to Dropout in training mode, but got None; pass rngs=rngs")
        return drop(self.rngs(), inputs, self.rate)


def drop(key: jax.Array, inputs: jax.Array, rate: Any) -> jax.Array:
    """Zeroes each element with probability `rate`, traced or not, and scales the others by 1 / (1 - rate).

    Args:
        key: the random key.
        inputs: an array of any shape.
        rate: the probability; at 1 everything is zero, with a gradient of zero.
    """
    keep = 1.0 - jnp.asarray(rate)
    mask = jax.random.bernoulli(key, keep, inputs.shape)
    scaled = inputs / jnp.where(keep > 0, keep, 1).astype(inputs.dtype)
    return jnp.where(mask, scaled, jnp.zeros_like(inputs))


def scaled_schedule(unit_schedule: optax.Schedule, peak: Any) -> optax.Schedule:
    """A schedule whose height may differ per member: `peak` times a schedule of height one.

    Several of optax's schedules branch in Python on their peak and refuse a traced one.

    Args:
        unit_schedule: a schedule whose numbers are all static, such as
            `optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100)`.
        peak: what multiplies it, a number or a tracer.

    Example:
        >>> schedule = scaled_schedule(optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100), 0.5)
        >>> float(schedule(10))
        0.5
    """
    return lambda count: unit_schedule(count) * peak


def _with_config(metric: Loss) -> Loss:
    """The function with its configuration always passed, whether or not it takes one."""
    try:
        takes_config = "config" in signatures.signature(metric).parameters
    except (TypeError, ValueError):  # a callable without a readable signature takes two arguments
        takes_config = False
    if takes_config:
        return lambda outputs, targets, config: metric(outputs, targets, config=config)
    return lambda outputs, targets, config: metric(outputs, targets)


def _examples(name: str, values: Any, inputs: Any) -> jax.Array:
    """The values, checked to be a scalar or one (or more) per example."""
    values, count = jnp.asarray(values), jax.tree.leaves(inputs)[0].shape[0]
    if values.ndim and values.shape[0] != count:
        raise StudyError(
            f"`{name} is a scalar or has one value per example` must hold, but got shape {values.shape} "
            f"for {count} examples"
        )
    if not jnp.issubdtype(values.dtype, jnp.floating):
        if name == "loss":
            raise StudyError(f"`loss is a floating-point number` must hold, but got {values.dtype}")
        values = values.astype(jnp.float32)
    return values


def _mean_over_batches(on_batch: Callable[[Any], dict[str, Any]], data: Any) -> dict[str, Any]:
    """Means over all examples, a batch at a time; the short last batch counts by its length."""
    count = jax.tree.leaves(data)[0].shape[0]
    whole = count // EVALUATION_BATCH
    if whole == 0:
        return on_batch(data)

    def batches(array: jax.Array) -> jax.Array:
        return array[: whole * EVALUATION_BATCH].reshape(whole, EVALUATION_BATCH, *array.shape[1:])

    means = jax.tree.map(jnp.mean, jax.lax.map(on_batch, jax.tree.map(batches, data)))
    rest = count - whole * EVALUATION_BATCH
    if rest == 0:
        return means
    last = on_batch(jax.tree.map(lambda array: array[-rest:], data))
    share = rest / count
    return {name: means[name] * (1 - share) + last[name] * share for name in means}
