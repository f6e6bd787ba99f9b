"""Runs a trial's functions on shapes alone, so that what is wrong with them is said before compiling."""

import hashlib
import math
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sweeps.population import configure
from sweeps.space import StudyError
from sweeps.streams import check_stream, is_stream
from sweeps.trial import Data, Study, Trial

# What JAX raises where Python asks a tracer for its value.
CONCRETIZATION = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
PACKAGES = ("site-packages", "dist-packages")


class Checked(NamedTuple):
    """What is known of a static group before anything is compiled.

    Attributes:
        metrics: the names of the metrics that an evaluation reports.
        digest: of the program of one member: its operations, their shapes and constants.
    """

    metrics: list[str]
    digest: str


def check(study: Study, statics: dict[str, Any], values: dict[str, np.ndarray]) -> Checked:
    """Checks the trial of a static group.

    Args:
        study: the study.
        statics: the static values of the group.
        values: the traced values of one of its members, arrays of one row.

    Raises:
        StudyError: a function branches in Python on a traced field, a step changes the shapes of the
            state, or a metric is not a scalar.
    """
    numbers = {name: column[0].item() for name, column in values.items()}
    key, batch = jax.random.key(0), example_batch(study)
    evaluation = (study.trial.data or Data(None, None)).evaluation
    traced = {name: jnp.asarray(value) for name, value in numbers.items()}

    def trace(fixed: dict[str, Any], traced: dict[str, Any]) -> Checked:
        run = _one_step(study.trial, statics | fixed)
        program, metrics = jax.make_jaxpr(run, return_shape=True)(traced, key, batch, evaluation)
        return Checked(list(metrics), _digest(program))

    try:
        return trace({}, traced)
    except CONCRETIZATION as error:
        culprits = []
        for name in numbers:
            rest = {other: value for other, value in traced.items() if other != name}
            try:
                trace({name: numbers[name]}, rest)
                culprits.append(name)
            except CONCRETIZATION:
                pass
        raise StudyError(_explanation(culprits or list(numbers), error)) from error


def check_data(study: Study) -> None:
    """Checks that the parts of the training data have one length, and that there is a batch of them.

    Raises:
        StudyError: they do not.
    """
    data, size = study.trial.data, study.trial.batch_size
    if size is not None and (not isinstance(size, int) or size < 1):
        raise StudyError(f"`1 <= batch_size` must hold, but got {size!r}")
    for name, part in (data or Data(None, None))._asdict().items():
        if part is None:
            continue
        if is_stream(part):
            if name == "evaluation":
                raise StudyError(f"`evaluation is arrays` must hold, but got a {type(part).__name__}")
            check_stream(part, chunks=1)
            continue
        lengths = [np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(part)]
        if len(set(lengths)) > 1:
            raise StudyError(f"`all arrays of {name} have one length` must hold, but got {lengths}")
        if name == "train" and size is not None and size > lengths[0]:
            raise StudyError(f"`batch_size <= {lengths[0]}, the examples` must hold, but got {size}")


def example_batch(study: Study) -> Any:
    """A batch of the shape that steps will see, made of zeros; None where there is no training data."""
    data, size = study.trial.data, study.trial.batch_size
    if data is None or data.train is None:
        return None
    if is_stream(data.train):
        return jax.tree.map(
            lambda array: jnp.zeros(np.shape(array), np.asarray(array).dtype), next(iter(data.train))
        )
    return jax.tree.map(
        lambda array: jnp.zeros((size or len(array), *array.shape[1:]), array.dtype), data.train
    )


def largest_array(study: Study, statics: dict[str, Any], values: dict[str, Any]) -> int:
    """The bytes of the largest array in one step of one member, an activation or a parameter.

    Args:
        study: the study.
        statics: the static values of its group.
        values: its traced values, an array each.
    """
    trial, key = study.trial, jax.random.key(0)

    def step(values: dict[str, Any], batch: Any) -> Any:
        config = configure(trial.config, statics, values)
        return trial.step(config, trial.init(config, key), batch, key)

    traced = {name: jax.ShapeDtypeStruct((), column.dtype) for name, column in values.items()}
    text = str(jax.make_jaxpr(step)(traced, example_batch(study)))
    shapes = re.findall(r":[a-z]+(\d+)\[(\d[\d,]*)\]", text)
    sizes = [int(bits) // 8 * math.prod(map(int, shape.split(","))) for bits, shape in shapes]
    return max(sizes, default=0)


def scalars(metrics: dict[str, Any]) -> dict[str, jax.Array]:
    """The metrics as float32 scalars.

    Raises:
        StudyError: they are not a dict, or one is not a scalar.
    """
    if not isinstance(metrics, dict):
        raise StudyError(f"`metrics are a dict of scalars` must hold, but got a {type(metrics).__name__}")
    found = {}
    for name, value in metrics.items():
        value = jnp.asarray(value)
        if value.shape != ():
            raise StudyError(f"`metric {name} is a scalar` must hold, but got shape {value.shape}")
        found[name] = value.astype(jnp.float32)
    return found


def data_digest(data: Data | None) -> str:
    """A digest of the data's arrays; of a stream, only that it is one.

    Args:
        data: the data of a trial.
    """
    found = hashlib.sha256()
    for part in data or ():
        if is_stream(part):
            found.update(b"stream")
            continue
        for leaf in jax.tree.leaves(part):
            array = np.ascontiguousarray(leaf)
            found.update(f"{array.shape}{array.dtype}".encode())
            found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()[:32]


def _digest(program: Any) -> str:
    """A digest of a traced program that is the same in every process."""
    found = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", str(program)).encode())
    for constant in program.consts:
        if not jnp.issubdtype(jnp.result_type(constant), jax.dtypes.prng_key):
            found.update(np.asarray(constant).tobytes())
    return found.hexdigest()[:32]


def _one_step(trial: Trial, statics: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Initialisation, a step and an evaluation of one member."""

    def run(values: dict[str, Any], key: jax.Array, batch: Any, evaluation: Any) -> dict[str, Any]:
        config = configure(trial.config, statics, values)
        before = trial.init(config, key)
        after, metrics = trial.step(config, before, batch, key)
        _check_state(before, after)
        return scalars(metrics) | scalars(trial.evaluate(config, after, evaluation))

    return run


def _check_state(before: Any, after: Any) -> None:
    """Raises if a step returns a state of another form, which a loop cannot carry."""
    first, second = (jax.tree_util.tree_flatten_with_path(state)[0] for state in (before, after))
    if jax.tree.structure(before) != jax.tree.structure(after):
        paths = [{jax.tree_util.keystr(path) for path, _ in leaves} for leaves in (first, second)]
        changed = sorted(paths[0] ^ paths[1])[:3] or "another tree structure"
        raise StudyError(
            f"`step returns a state of the form that init made` must hold, but got a change in {changed}"
        )
    for (path, old), (_, new) in zip(first, second, strict=True):
        if (jnp.shape(old), jnp.result_type(old)) != (jnp.shape(new), jnp.result_type(new)):
            forms = [f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" for leaf in (new, old)]
            raise StudyError(
                f"`step returns a state of the form that init made` must hold, but got {forms[0]} "
                f"for {forms[1]} at {jax.tree_util.keystr(path)}"
            )


def _explanation(fields: list[str], error: BaseException) -> str:
    names = " or ".join(fields) or "a traced value"
    first = fields[0] if fields else "field"
    return (
        f"`no Python branch on a traced field` must hold, but got one on {names}{_place(error)}; use "
        f"jnp.where, or make it static, one program per value: `{first}: Annotated[float, sweeps.static]`. A "
        f"dropout rate may be traced in sweeps.Dropout, a schedule's peak in sweeps.scaled_schedule"
    )


def _place(error: BaseException) -> str:
    """Where in the user's own code it happened: the innermost frame outside of installed packages."""
    own = Path(__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not any(package in path.parts for package in PACKAGES) and own not in path.parents:
            return f" ({path.name}, line {frame.lineno})"
    return ""
