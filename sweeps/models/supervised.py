"""`supervised`: a Trial from a Flax model, an optax optimiser and a data set."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from sweeps.data.streams import is_stream, peekable
from sweeps.errors import StudyError
from sweeps.models.arguments import (
    as_parts,
    check_arguments,
    checked_optimizer,
    has_targets,
    inspected,
    without_evaluation,
)
from sweeps.models.arrays import drawn, hold
from sweeps.models.evaluation import measure
from sweeps.models.injected import injected
from sweeps.models.losses import (
    Loss,
    accuracy,
    default_loss,
    examples,
    label_range,
    mean_of,
    with_config,
    within_classes,
)
from sweeps.models.random_streams import renewed
from sweeps.models.variables import (
    evaluation_model,
    lowered,
    lowered_linen,
    train_outputs,
    unsharded,
    variables,
)
from sweeps.ops.finite import any_non_finite
from sweeps.ops.gradients import value_and_grad
from sweeps.trial import Data, Trial


class Training(NamedTuple):
    """What one member carries from step to step.

    Attributes:
        params: what the optimiser changes: NNX `Param`s, or Linen's `params` collection.
        rest: all other variables, such as batch statistics; random streams are not among them.
        optimizer: the optimiser's state.
        drawn: the arrays that were drawn once and that the module holds outside Variables, by place.
    """

    params: Any
    rest: Any
    optimizer: Any
    drawn: dict[str, jax.Array]


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
    always holds; what is carried along is its variables, and what it drew and holds outside of them.
    All random streams draw anew in every step, those too that the model makes itself.

    Args:
        config: the frozen dataclass that names the hyperparameters.
        model: `(config, rngs) -> nnx.Module or flax.linen.Module`.
        optimizer: `config -> optax.GradientTransformation`. Numbers that its state keeps, as with
            `optax.inject_hyperparams`, are in every step those of the configuration.
        data: `Data` whose two parts are `(inputs, targets)` or `(inputs, targets, weights)`, first axis the
            examples. Inputs that are a tuple or a dict of arrays are handed to the model as such, in one
            argument: `model((left, right))`. With weights, a number ≥ 0 per example, all means over examples
            are weighted, those of a batch too, and `loss` and `metrics` return one value per example.
            `evaluation` may be None where the space has folds; what a member holds out is reported as
            `validation/loss` and `validation/<metric>`.
        batch_size: examples per training batch.
        loss: `(outputs, targets) -> scalar or one value per example`, may take a keyword `config`.
            The default is softmax cross-entropy for integer targets, squared error for floats.
        metrics: named functions of the same arguments, reported as `test/<name>`. The default is
            `accuracy` for integer targets. In evaluation one value per example is averaged over the whole
            set; a scalar, such as F1 or AUC, is computed once on the outputs for the whole set, which are
            kept for it. The same holds for `loss`.
        inspect: `(model, inputs) -> dict of scalars`, called with the evaluation model and the whole
            of the evaluation inputs at each evaluation.
        lowering: `"auto"` runs convolutions and dense layers that still have Flax's default, max-pools
            without overlap, and sums in gradients in the form that is fast for a population; None leaves
            the model alone.
        diverge_above: a training loss above this counts as divergence.

    Returns:
        A Trial that reports `train/loss`, `test/loss`, `test/<metric>` and what `inspect` returns.

    Raises:
        StudyError: an argument is not of its form; or, when the trial is first run, what a function returns
            is not, or targets (of a stream, those of its first batch) are none that the default loss or
            accuracy can judge.

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
    check_arguments(data, model, optimizer, loss, metrics, inspect)
    lower, example = lowering == "auto", data.train if data.evaluation is None else data.evaluation
    targets = example[1]
    data = data._replace(train=peekable(data.train))
    # Of a stream the first batch stands for all: to read the rest may take longer than to train on it.
    first: Any = next(iter(data.train), None) if is_stream(data.train) else data.train
    labels = label_range(targets, *((first[1],) if has_targets(first) else ()))
    if metrics is None:
        judged = hasattr(targets, "dtype") and jnp.issubdtype(targets.dtype, jnp.integer)
        metrics = {"accuracy": within_classes(accuracy, labels)} if judged else {}
    loss = with_config(loss or within_classes(default_loss, labels))
    measured = {"loss": loss} | {name: with_config(metric) for name, metric in metrics.items()}

    # One short function for each part of a Trial: what they share is what was found above.
    def build(config: Any, key: jax.Array) -> Any:
        module = unsharded(model, config, key)
        return lowered(module) if lower else module

    def init(config: Any, key: jax.Array) -> Training:
        module = build(config, key)
        params, rest = variables(module, key, example[0])
        optimizer_state = checked_optimizer(optimizer(config)).init(params)
        return Training(params, rest, optimizer_state, drawn(module, partial(build, config), key))

    def step(config: Any, state: Training, batch: Any, key: jax.Array) -> tuple[Training, dict[str, Any]]:
        inputs, targets, weights = as_parts("a batch", batch)

        def objective(params: Any) -> tuple[Any, Any]:
            with lowered_linen(lower):
                module = renewed(build(config, key), partial(build, config), key)
                module = hold(module, state.drawn)
                outputs, *after = train_outputs(module, params, state.rest, inputs, key)
            return mean_of("loss", examples("loss", loss(outputs, targets, config), inputs), weights), after

        differentiated = value_and_grad if lower else partial(jax.value_and_grad, has_aux=True)
        (value, (params, rest)), gradients = differentiated(objective)(state.params)
        transform = optax.with_extra_args_support(optimizer(config))
        before = injected(state.optimizer, partial(transform.init, state.params))
        updates, optimizer_state = transform.update(gradients, before, params, value=value)
        params = optax.apply_updates(params, updates)
        return Training(params, rest, optimizer_state, state.drawn), {"train/loss": value}

    def evaluate(config: Any, state: Training, evaluation: Any) -> dict[str, Any]:
        if evaluation is None:
            raise without_evaluation()
        inputs, targets, weights = as_parts("data.evaluation", evaluation)

        def trained() -> Any:
            # Nothing random runs in evaluation, but a module may ask for streams.
            module = hold(build(config, jax.random.key(0)), state.drawn)
            return evaluation_model(module, state.params, state.rest)

        def outputs_of(inputs: Any) -> Any:
            # Made here: a module cannot change inside of a loop that it was made outside of.
            return trained()(inputs)

        functions = {name: partial(metric, config=config) for name, metric in measured.items()}
        with lowered_linen(lower):
            found = measure(outputs_of, functions, inputs, targets, weights)
            found = {f"test/{name}": value for name, value in found.items()}
            return found | (inspected(inspect(trained(), inputs), found) if inspect else {})

    def diverged(config: Any, state: Training, metrics: dict[str, Any]) -> Any:
        bad = any_non_finite((state.params, metrics["train/loss"]))
        return bad if diverge_above is None else bad | (metrics["train/loss"] > diverge_above)

    def restored(config: Any, state: Training) -> Any:
        module = hold(unsharded(model, config, jax.random.key(0)), state.drawn)
        return evaluation_model(module, state.params, state.rest)

    return Trial(config, data, init, step, evaluate, batch_size, diverged, restored)
