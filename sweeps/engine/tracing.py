"""Runs a trial's functions on shapes alone, so that what is wrong with them is said before compiling."""

import hashlib
import math
import re
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sweeps.engine.arithmetic import operations
from sweeps.engine.examples import example_batch
from sweeps.engine.folds import Judged, evaluated, split
from sweeps.errors import StudyError
from sweeps.members.population import configure
from sweeps.models.annealing import annealed, changes
from sweeps.space.fields import classes_of
from sweeps.trial import COLUMNS, ENGINES, Data, Study

# What JAX raises where Python asks a tracer for its value.
CONCRETIZATION = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # in which JAX prints programs on a terminal
PACKAGES = ("site-packages", "dist-packages")


class Checked(NamedTuple):
    """What is known of a static group before anything is compiled.

    Attributes:
        metrics: the names of the metrics that an evaluation reports.
        digest: of the program of one member: its operations, their shapes and constants.
        divergence: of what says that it diverged, which is no part of that program.
        static: traced fields that the space leaves out, and whose concrete values the model asks for.
        calls_back: whether the program calls Python, in the process that trains it.
        operations: how much arithmetic the program does, by which groups are compared.
    """

    metrics: list[str]
    digest: str
    divergence: str = ""
    static: tuple[str, ...] = ()
    calls_back: bool = False
    operations: float = 0.0


def check(
    study: Study,
    statics: dict[str, Any],
    values: dict[str, np.ndarray],
    membership: np.ndarray | None = None,
) -> Checked:
    """Checks the trial of a static group.

    Args:
        study: the study.
        statics: the static values of the group.
        values: the traced values of one of its members, arrays of one row.
        membership: the fold of every training example; None without folds.

    Raises:
        StudyError: a function branches in Python on a traced field that is swept, a step changes the shapes
            of the state, or a metric is not a scalar.
    """
    numbers = {name: column[0].item() for name, column in values.items()}

    def attempt(concrete: Sequence[str]) -> Checked | Exception:
        return _traced(study, statics, numbers, concrete, membership)

    found = attempt(())
    if isinstance(found, Checked):
        return found
    left_out = [name for name in numbers if name not in study.domains]
    found = attempt(left_out)
    if isinstance(found, Exception):
        culprits = [
            name
            for name in numbers
            if name in study.domains and isinstance(attempt([*left_out, name]), Checked)
        ]
        raise StudyError(_explanation(culprits or list(numbers), found)) from found
    for name in left_out:  # those that need not be static stay traced
        fewer = attempt([other for other in found.static if other != name])
        found = fewer if isinstance(fewer, Checked) else found
    return found


def coloured_digest(study: Study, statics: dict[str, Any], values: dict[str, np.ndarray]) -> str:
    """The digest of the program's text in colours, which earlier versions took on a terminal.

    Args:
        study: the study.
        statics: the static values of the group.
        values: the traced values of one of its members, arrays of one row.
    """
    numbers = {name: column[0].item() for name, column in values.items()}
    program, *_ = _program(study, statics, numbers, (), None)  # which knew of no folds
    return _digest(program.pretty_print(use_color=True), program)


def _program(
    study: Study,
    statics: dict[str, Any],
    numbers: dict[str, Any],
    concrete: Sequence[str],
    membership: np.ndarray | None,
) -> tuple[Any, dict[str, Any], Any]:
    """The program of one member, from initialisation to evaluation, what it reports, and its divergence."""
    key, batch = jax.random.key(0), example_batch(study)
    data = study.trial.data or Data(None, None)
    evaluation = data.evaluation
    if membership is not None:
        evaluation = Judged(split(data.train, membership), evaluation)
    statics, stepped = statics | {name: numbers[name] for name in concrete}, []
    run = _one_step(study, statics, stepped.append)
    traced = {name: jnp.asarray(value) for name, value in numbers.items() if name not in concrete}
    # No more than the program needs: what it is known by must not change where nothing changes over time.
    step = jnp.int32(0) if changes(study.trial.config) else None
    program, metrics = jax.make_jaxpr(run, return_shape=True)(traced, key, batch, evaluation, step)

    def diverged(values: dict[str, Any], state: Any, metrics: Any, step: Any) -> Any:
        config = annealed(configure(study.trial.config, statics, values), step, study.steps)
        return study.trial.diverged and study.trial.diverged(config, state, metrics)

    return program, metrics, jax.make_jaxpr(diverged)(traced, *stepped[0], step)


def _traced(
    study: Study,
    statics: dict[str, Any],
    numbers: dict[str, Any],
    concrete: Sequence[str],
    membership: np.ndarray | None,
) -> Checked | Exception:
    """What tracing tells with some numbers concrete, or the error that asks for the value of another."""
    try:
        program, metrics, divergence = _program(study, statics, numbers, concrete, membership)
    except CONCRETIZATION as error:
        return error
    except AttributeError as error:
        problem = _without_attribute(error, study.trial.config)
        if problem is None:
            raise
        raise problem from error
    text, work = _text(program), operations(program.jaxpr)
    digests = _digest(text, program), _digest(_text(divergence), divergence)
    return Checked(list(metrics), *digests, tuple(concrete), "_callback[" in text, work)


def largest_array(study: Study, statics: dict[str, Any], values: dict[str, Any]) -> int:
    """The bytes of the largest array in one step of one member, an activation or a parameter.

    Args:
        study: the study.
        statics: the static values of its group.
        values: its traced values, an array each, as programs get them.
    """
    trial, key = study.trial, jax.random.key(0)

    def step(values: dict[str, Any], batch: Any) -> Any:
        config = annealed(configure(trial.config, statics, values), 0, study.steps)
        return trial.step(config, trial.init(config, key), batch, key)

    traced = {
        name: jax.ShapeDtypeStruct((), column.dtype, weak_type=column.weak_type)
        for name, column in values.items()
    }
    text = _text(jax.make_jaxpr(step)(traced, example_batch(study)))
    shapes = re.findall(r":[a-z]+(\d+)\[(\d[\d,]*)\]", text)
    sizes = [int(bits) // 8 * math.prod(map(int, shape.split(","))) for bits, shape in shapes]
    return max(sizes, default=0)


def as_python_numbers(array: np.ndarray) -> jax.Array:
    """The numbers as an array that promotes as Python's own do: `bfloat16 * 0.1` stays bfloat16.

    A hyperparameter is a Python number in a loop of one's own, and must not be more here: as a float32 it
    would widen a bfloat16 model, and be refused under `jax_numpy_dtype_promotion="strict"`. What is computed
    from such numbers alone (`1 - config.b2`) has the default float's precision.

    Args:
        array: floats, whole numbers or booleans of any shape.
    """
    if array.dtype.kind == "b":
        return jnp.asarray(array)
    # A fill value without a dtype is weakly typed, and an update keeps the type of what it updates.
    numbers = jnp.full(array.shape, 0.0 if array.dtype.kind == "f" else 0)
    return numbers.at[...].set(array.astype(numbers.dtype))


def scalars(metrics: dict[str, Any]) -> dict[str, jax.Array]:
    """The metrics as scalars that hold what was reported: whole numbers, and floats of at least float32.

    Args:
        metrics: what a step or an evaluation reports.

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
        exact = jnp.issubdtype(value.dtype, jnp.integer) or value.dtype == jnp.float64
        found[name] = value.astype(value.dtype if exact else jnp.float32)  # no longer weakly typed
    return found


def _text(program: Any) -> str:
    """The text of a traced program, whether or not it would be printed in colours."""
    return COLOUR.sub("", str(program))


def _digest(text: str, program: Any) -> str:
    """A digest of a traced program that is the same in every process."""
    found = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", text).encode())
    for constant in program.consts:
        if not jnp.issubdtype(jnp.result_type(constant), jax.dtypes.prng_key):
            found.update(np.asarray(constant).tobytes())
    return found.hexdigest()[:32]


def _one_step(
    study: Study, statics: dict[str, Any], stepped: Callable[[Any], None]
) -> Callable[..., dict[str, Any]]:
    """Initialisation, a step and an evaluation of one member; tells of what form state and metrics are."""
    trial = study.trial

    def run(values: dict[str, Any], key: jax.Array, batch: Any, evaluation: Any, step: Any) -> dict[str, Any]:
        config = annealed(configure(trial.config, statics, values), step, study.steps)
        before = trial.init(config, key)
        after, metrics = trial.step(config, before, batch, key)
        _check_state(before, after)
        stepped(jax.tree.map(_form, (after, scalars(metrics))))
        found = evaluated(lambda data: scalars(trial.evaluate(config, after, data)), evaluation, 0)
        _check_names(metrics, found)
        return scalars(metrics) | found

    return run


def _form(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))


def _check_names(stepped: dict[str, Any], evaluated: dict[str, Any]) -> None:
    """Raises if a metric would take the place of a column of the results, or of another metric."""
    taken = [name for name in (*stepped, *evaluated) if name in (*COLUMNS, *ENGINES)]
    if taken:
        raise StudyError(
            f"`no metric is named as a column of the results` must hold, but got {taken[0]}; "
            f"train/{taken[0]} or test/{taken[0]} would do"
        )
    both = [name for name in evaluated if name in stepped]
    if both:
        raise StudyError(
            f"`step and evaluate report metrics of different names` must hold, but got {both[0]} from both; "
            f"train/… and test/… would do"
        )


def _check_state(before: Any, after: Any) -> None:
    """Raises if a step returns a state of another form, which a loop cannot carry."""
    first, second = (jax.tree_util.tree_flatten_with_path(state)[0] for state in (before, after))
    if jax.tree.structure(before) != jax.tree.structure(after):
        paths = [{jax.tree_util.keystr(path) for path, _ in leaves} for leaves in (first, second)]
        changed = sorted(paths[0] ^ paths[1])[:3] or "another tree structure"
        raise StudyError(
            f"`step returns a state of the form that init made` must hold, but got a change in {changed}; "
            f"let init make what step adds, or let step leave it out"
        )
    for (path, old), (_, new) in zip(first, second, strict=True):
        if (jnp.shape(old), jnp.result_type(old)) != (jnp.shape(new), jnp.result_type(new)):
            forms = [f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" for leaf in (new, old)]
            raise StudyError(
                f"`step returns a state of the form that init made` must hold, but got {forms[0]} "
                f"for {forms[1]} at {jax.tree_util.keystr(path)}"
            )


def _without_attribute(error: AttributeError, config: type) -> StudyError | None:
    """What is said where a configuration lacks an attribute because a traced field is in it."""
    if not isinstance(error.obj, classes_of(config)) or error.name in dir(error.obj):
        return None
    return StudyError(
        f"`{type(error.obj).__name__}.{error.name} depends on no traced field` must hold for what "
        f"__post_init__ sets, but got a use of it{where(error)}; make it a property, or compute it where it "
        f"is used"
    )


def _explanation(fields: list[str], error: BaseException) -> str:
    names = " or ".join(fields) or "a traced value"
    first = fields[0] if fields else "field"
    return (
        f"`no Python branch on a traced field` must hold, but got one on {names}{where(error)}; use "
        f"jnp.where, or make it static, one program per value: `{first}: Annotated[float, sweeps.static]`. A "
        f"dropout rate may be traced in sweeps.Dropout, a schedule's peak in sweeps.scaled_schedule"
    )


def where(error: BaseException) -> str:
    """Where in the user's own code it happened: the innermost frame of what is not installed."""
    own = Path(__file__).parents[1]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        pythons = frame.filename.startswith("<frozen") or path.is_relative_to(sysconfig.get_path("stdlib"))
        if not pythons and not any(map(path.parts.count, PACKAGES)) and own not in path.parents:
            return f" ({path.name}, line {frame.lineno})"
    return ""
