"""The contracts a user fills in: `Trial` for one member, `Study` for the sweep of it."""

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from sweeps.grammar import as_domain
from sweeps.space import Domain, StudyError

Metrics = dict[str, Any]
traced = "traced"
static = "static"
COLUMNS = ("member", "step", "group", "status", "diverged_at", "stopped_at")  # of the results, besides seed


class Data(NamedTuple):
    """What a trial learns from and is judged on.

    Attributes:
        train: a pytree of arrays with one leading axis of examples, or an iterable of batches.
        evaluation: a pytree of arrays, handed whole to `Trial.evaluate`.
    """

    train: Any
    evaluation: Any


class Trial(NamedTuple):
    """Pure functions for ONE member; none of them ever sees the population.

    Attributes:
        config: the frozen dataclass that names the hyperparameters.
        data: the data, or None.
        init: `(config, key) -> state`, any pytree of arrays.
        step: `(config, state, batch, key) -> (state, metrics)`; metrics are scalars by name.
        evaluate: `(config, state, evaluation_data) -> metrics`.
        batch_size: examples per batch; None hands `step` the whole of `data.train`.
        diverged: `(config, state, metrics) -> bool`, asked after every step; None asks whether any
            floating-point number of the state, or a metric named `train/loss`, is not finite.
        model: `(config, state) -> model`, what a state that was kept is loaded into; None leaves it a state.
    """

    config: type
    data: Data | None
    init: Callable[..., Any]
    step: Callable[..., tuple[Any, Metrics]]
    evaluate: Callable[..., Metrics]
    batch_size: int | None = None
    diverged: Callable[..., Any] | None = None
    model: Callable[..., Any] | None = None


class Field(NamedTuple):
    """One hyperparameter: its name, whether it is traced, its type and its default."""

    name: str
    traced: bool
    kind: Any
    optional: bool
    default: Any


def function(train: Callable[..., Metrics], *, config: type) -> Trial:
    """A whole run that is one function, as a Trial of one step.

    Args:
        train: `train(config, key) -> metrics`, pure and traceable.
        config: the frozen dataclass that names the hyperparameters.

    Returns:
        A Trial for `Study(trial, steps=1, …)`.

    Example:
        >>> import dataclasses, jax
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     x: float = 0.0
        >>> trial = function(lambda config, key: {"value": (config.x - 1) ** 2}, config=Config)
    """
    return Trial(
        config=config,
        data=None,
        init=lambda config, key: {},
        step=lambda config, state, batch, key: (state, train(config, key)),
        evaluate=lambda config, state, data: {},
        diverged=lambda config, state, metrics: False,
    )


@dataclasses.dataclass(frozen=True)
class Study:
    """A trial, how long it runs, how it is judged and what varies.

    Args:
        trial: what one member is.
        steps: how many steps a member is trained.
        metric: the metric that ranks members, such as `test/accuracy`.
        mode: `max` or `min`.
        space: field name to domain (or its text); `seed` takes levels of whole numbers ≥ 0.
        evaluate_every: steps between evaluations; None makes ten of them. The last step is always
            evaluated.
        batches: `shared` gives every member the same batches, so that members are compared on the
            same data; `per_seed` draws an order for each seed.

    Raises:
        StudyError: a value is out of bounds, or a field of the space is not in the configuration.
    """

    trial: Trial
    _: dataclasses.KW_ONLY
    steps: int
    metric: str
    mode: str = "max"
    space: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    evaluate_every: int | None = None
    batches: str = "shared"

    def __post_init__(self):
        _whole("steps", self.steps)
        if self.evaluate_every is not None:
            _whole("evaluate_every", self.evaluate_every)
        _one_of("mode", self.mode, ("max", "min"))
        _one_of("batches", self.batches, ("shared", "per_seed"))
        known = [field.name for field in fields(self.trial.config)]
        for name in self.space:
            if name != "seed" and name not in known:
                raise StudyError(
                    f"`a field of {self.trial.config.__name__}` must hold, but got {unknown(name, known)}"
                )
        domains = {name: as_domain(value, name) for name, value in self.space.items()}
        object.__setattr__(self, "space", types.MappingProxyType(domains))

    @property
    def domains(self) -> Mapping[str, Domain]:
        """The space, every field read into its domain."""
        return typing.cast(Mapping[str, Domain], self.space)

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        """The step counts after which members are evaluated; the last is `steps`."""
        if self.evaluate_every is None:
            return tuple(sorted({-(-self.steps * i // 10) for i in range(1, 11)}))
        return (*range(self.evaluate_every, self.steps, self.evaluate_every), self.steps)


def fields(config: type) -> tuple[Field, ...]:
    """The hyperparameters of a configuration: float fields are traced, all others static.

    `Annotated[int, sweeps.traced]` and `Annotated[float, sweeps.static]` overrule; `float | None`
    is traced where it is set.

    Args:
        config: a frozen dataclass.

    Returns:
        One `Field` per dataclass field, in order.

    Raises:
        StudyError: it is not a frozen dataclass, or a field is named `seed` or as a column of the results.
    """
    if not (inspect.isclass(config) and dataclasses.is_dataclass(config)):
        raise StudyError(f"`config is a frozen dataclass` must hold, but got {config!r}")
    if not config.__dataclass_params__.frozen:  # pyright: ignore[reportAttributeAccessIssue]
        name = config.__name__
        raise StudyError(
            f"`config is a frozen dataclass` must hold, but got {name}; write @dataclass(frozen=True)"
        )
    hints = typing.get_type_hints(config, include_extras=True)
    found = []
    for field in dataclasses.fields(config):
        if field.name == "seed":
            raise StudyError(
                "`no field named seed` must hold: seed is the engine's; say seed=range(8) in the space"
            )
        if field.name in COLUMNS:
            raise StudyError(
                f"`no field named as a column of the results` must hold, but got {field.name}; other columns "
                f"are {', '.join(name for name in COLUMNS if name != field.name)}"
            )
        hint, mark = hints[field.name], None
        if typing.get_origin(hint) is Annotated:
            marks = [item for item in hint.__metadata__ if item in (traced, static)]
            hint, mark = hint.__origin__, marks[0] if marks else None
        options = (
            typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
        )
        kinds = [option for option in options if option is not type(None)]
        kind = kinds[0] if len(kinds) == 1 else Any
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is not dataclasses.MISSING:
            _hashable(field.name, default)
        is_traced = kind is float if mark is None else mark == traced
        found.append(Field(field.name, is_traced, kind, len(kinds) < len(options), default))
    return tuple(found)


def check_value(field: Field, value: Any) -> Any:
    """The value as its field holds it: a float field takes whole numbers too.

    Raises:
        StudyError: the value is not of the field's type.
    """
    if value is None and field.optional:
        return None
    kind = field.kind
    if typing.get_origin(kind) is Literal:
        return _one_of(f"field `{field.name}`", value, typing.get_args(kind))
    accepted = {
        float: isinstance(value, float | int) and not isinstance(value, bool),
        int: isinstance(value, float | int) and not isinstance(value, bool) and value == int(value),
        bool: isinstance(value, bool),
        str: isinstance(value, str),
    }
    if kind in accepted:
        if not accepted[kind]:
            raise StudyError(f"`field {field.name} is {kind.__name__}` must hold, but got {value!r}")
        return kind(value)
    return _hashable(field.name, value)


def unknown(name: str, known: Iterable[str]) -> str:
    """How a message names something unknown: what was got, and the nearest or all that exist."""
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"{name!r}; " + (
        f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known) or 'none'}"
    )


def _whole(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise StudyError(f"`1 <= {name}` must hold and be a whole number, but got {name}={value!r}")


def _one_of(name: str, value: Any, options: tuple) -> Any:
    if value not in options:
        names = [str(option) for option in options]
        raise StudyError(
            f"`{name} is one of {', '.join(names)}` must hold, but got {unknown(str(value), names)}"
        )
    return value


def _hashable(name: str, value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        kind = type(value).__name__
        raise StudyError(
            f"`field {name} is hashable` must hold, but got a {kind}; a tuple would do"
        ) from None
    return value
