"""The contracts a user fills in: `Trial` for one member, `Study` for the sweep of it."""

import dataclasses
import importlib
import inspect
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sweeps.errors import StudyError, brief, unknown
from sweeps.space.bounds import whole_number
from sweeps.space.checking import check_room, check_value, is_function, one_of
from sweeps.space.domains import Choice, Domain, Grid, grid, text
from sweeps.space.fields import COLUMNS as COLUMNS
from sweeps.space.fields import ENGINES as ENGINES
from sweeps.space.fields import Field as Field
from sweeps.space.fields import fields as fields
from sweeps.space.fields import static as static
from sweeps.space.fields import traced as traced
from sweeps.space.folds import Folds
from sweeps.space.grammar import as_domain
from sweeps.space.values import values_of

Metrics = dict[str, Any]
LARGER_IS_BETTER = ("accuracy", "r2", "f1", "auc", "reward")  # the last word of a metric's name
SMALLER_IS_BETTER = ("loss", "error", "mse", "mae", "perplexity")
MAX_STEPS = 2**31 - 1  # which programs count in int32


class Data(NamedTuple):
    """What a trial learns from and is judged on.

    Attributes:
        train: a pytree of arrays with one leading axis of examples, or an iterable of batches.
        evaluation: a pytree of arrays, handed whole to `Trial.evaluate`; with folds, None takes the fold that
            is held out.
    """

    train: Any
    evaluation: Any


class Trial(NamedTuple):
    """Pure functions for ONE member; none of them ever sees the population.

    Attributes:
        config: the frozen dataclass that names the hyperparameters.
        data: the data, or None.
        init: `(config, key) -> state`, any pytree of arrays.
        step: `(config, state, batch, key) -> (state, metrics)`; metrics are scalars by name. Between two
            evaluations floats are averaged, and of whole numbers, which count something, the last is kept.
        evaluate: `(config, state, evaluation_data) -> metrics`, of other names than those of `step`; neither
            may report one that is named as a column of the results, such as `step` or `seed`. With folds it
            is given the training examples that a member holds out, too; what it reports of them as `test/x`
            or `x` is `validation/x`.
        batch_size: examples per batch; None hands `step` the whole of `data.train`, or with folds as many
            examples as every fold leaves, in a drawn order.
        diverged: `(config, state, metrics) -> bool`, asked after every step; None asks whether any
            floating-point number of the state, or a metric named `train/loss`, is not finite.
        model: `(config, state) -> model`, what a state that was kept is loaded into; None leaves it a state.
        static: fields that are static whatever their type, where the space leaves them out.
    """

    config: type
    data: Data | None
    init: Callable[..., Any]
    step: Callable[..., tuple[Any, Metrics]]
    evaluate: Callable[..., Metrics]
    batch_size: int | None = None
    diverged: Callable[..., Any] | None = None
    model: Callable[..., Any] | None = None
    static: tuple[str, ...] = ()


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
        mode: `max` or `min`. None takes it from the last word of the metric: accuracy, r2, f1, auc and reward
            are the better the larger they are; loss, error, mse, mae and perplexity the smaller. A study has
            what was found: `dataclasses.replace` with another metric needs `mode=None` to look again.
        select: `last` scores a member by the last of its evaluations, `best` by the best of them, wherever
            members are compared: ranking, schedules, searches, report. Its other metrics are those of the
            same evaluation. The best of several is optimistic, the more so the noisier and the more there
            are.
        space: field name to domain (or its text); `seed` takes levels of whole numbers ≥ 0, `fold` takes
            `sweeps.folds(5)`. Fields of a
            nested dataclass have names such as `optimizer.learning_rate`, or stand in a mapping under
            `optimizer`; where a class is to choose, `optimizer` takes classes or their names. An instance,
            `"alpha": sweeps.Linear(0.3, 0.0)`, gives all fields of a class one value each.
        where: which combinations there are. It is called with a dict of all fields' values: columns of those
            that vary, one value per point, for an array of booleans; or, where it does not take arrays or a
            field may be None or a tuple, with one point after the other. Where it is false, a combination is
            left out before anything is built, and a draw too, so that there may be fewer than `samples`; the
            searches that learn propose until there are as many. The seed is no part of it.
        samples: how many joint draws of the sampled fields; with another search than `grid`, how many points,
            of which None takes as many as a grid has, if no field is drawn.
        evaluate_every: steps between evaluations; None makes ten of them. The last step is always
            evaluated.
        batches: `shared` gives every member the same batches, so that members are compared on the
            same data; `per_seed` draws an order for each seed.
        earlier_steps: how many steps a run of it had before it was given more, ascending; `sweeps.extend`
            says so. Evaluations up to each stay where they were.

    Raises:
        StudyError: a value is out of bounds, a field of the space is not in the configuration, or the metric
            does not say whether more of it is better, and `mode` neither.
    """

    trial: Trial
    _: dataclasses.KW_ONLY
    steps: int
    metric: str
    mode: Any = None  # "max" or "min" of every study that is made
    select: str = "last"
    space: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    where: Any = None  # a function, if it is given
    samples: int | None = None
    evaluate_every: int | None = None
    batches: str = "shared"
    earlier_steps: tuple[int, ...] = ()

    def __post_init__(self):
        _whole("steps", self.steps)
        for name in ("evaluate_every", "samples"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name))
        if self.mode is None:
            object.__setattr__(self, "mode", _direction(self.metric))
        ends = (0, *self.earlier_steps, self.steps)
        if any(before >= after for before, after in itertools.pairwise(ends)):
            raise StudyError(
                f"`earlier_steps ascend and are fewer than steps={self.steps}` must hold, but got "
                f"{brief(self.earlier_steps)}; sweeps.extend sets them"
            )
        if self.where is not None and not callable(self.where):
            raise StudyError(f"`where is a function` must hold, but got {brief(self.where)}")
        one_of("mode", self.mode, ("max", "min"))
        one_of("select", self.select, ("last", "best"))
        one_of("batches", self.batches, ("shared", "per_seed"))
        object.__setattr__(self, "space", types.MappingProxyType(_domains(self.trial.config, self.space)))

    def __repr__(self) -> str:
        space = ", ".join(f"{name}={text(domain)}" for name, domain in self.domains.items())
        goal = f"{self.steps} step{'s' * (self.steps > 1)}; {self.mode} {self.metric}"
        goal += ", best of its evaluations" if self.select == "best" else ""
        return f"Study({self.trial.config.__name__}: {space or 'one member'}; {goal})"

    def _repr_html_(self) -> str:
        return importlib.import_module("sweeps.report.notebook").study_html(self)  # of rooms further down

    @property
    def domains(self) -> Mapping[str, Domain]:
        """The space, every field read into its domain."""
        return typing.cast(Mapping[str, Domain], self.space)

    @property
    def swept(self) -> dict[str, Domain]:
        """The domains of the fields, without `seed` and `fold`."""
        return {name: domain for name, domain in self.domains.items() if name not in ENGINES}

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        """The step counts after which members are evaluated; the last is `steps`."""
        found, before = list[int](), 0
        for steps in (*self.earlier_steps, self.steps):
            found += [step for step in self._evaluations(steps) if step > before]
            before = steps
        return tuple(found)

    def _evaluations(self, steps: int) -> Iterable[int]:
        """After which of so many steps members are evaluated."""
        if self.evaluate_every is None:
            return sorted({-(-steps * i // 10) for i in range(1, 11)})
        return (*range(self.evaluate_every, steps, self.evaluate_every), steps)


def _domains(config: type, space: Mapping[str, Any]) -> dict[str, Domain]:
    """A space as a user writes it, every field read into its domain."""
    known = {field.name: field for field in fields(config)}
    flat = dict(_flat(space, known))
    for name in flat:
        if name not in ENGINES and name not in known:
            raise StudyError(unknown(f"{config.__name__} has no field", name, known))
    domains = {name: _named(name, known, as_domain(value, name)) for name, value in flat.items()}
    for name, domain in domains.items():
        if name in known:
            check_room(known[name], domain)
        if isinstance(domain, Folds) != (name == "fold"):
            raise StudyError(
                f"`fold takes folds, and nothing else does` must hold, but got {name}={text(domain)}; "
                f'write space={{"fold": sweeps.folds(5)}}'
            )
    return domains


def _flat(space: Mapping[str, Any], known: Mapping[str, Field]) -> Iterator[tuple[str, Any]]:
    """The space with the fields of nested dataclasses under dotted names."""
    for name, value in space.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{name}.{inner}", own) for inner, own in _flat(value, known))
        elif dataclasses.is_dataclass(value) and not inspect.isclass(value):
            chosen = [(name, grid(type(value).__name__))] if name in known else []
            inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            yield from (*chosen, *((f"{name}.{own}", grid(level)) for own, level in inner.items()))
        else:
            yield name, value


def _named(name: str, known: Mapping[str, Field], domain: Domain) -> Domain:
    """The domain with classes by their names and functions as themselves, so that all know them alike."""
    field, choice = known.get(name), any(other.startswith(f"{name}.") for other in known)
    if field is None or not isinstance(domain, Grid | Choice) or not (choice or is_function(field.kind)):
        return domain
    values = [check_value(field, value) for value in domain.values]
    return type(domain)(values_of(f"field `{name}`", values))


def direction(metric: str) -> str | None:
    """Whether more of a metric is better, or less, by the last word of its name.

    Args:
        metric: its name.

    Returns:
        `max` or `min`; None where the name does not say.

    Example:
        >>> direction("test/accuracy"), direction("train/loss"), direction("test/dead_units")
        ('max', 'min', None)
    """
    *_, last = re.findall(r"[a-z0-9]+", str(metric).lower()) or [""]
    return "max" if last in LARGER_IS_BETTER else "min" if last in SMALLER_IS_BETTER else None


def _direction(metric: str) -> str:
    """Whether more of a metric is better, or less, if its name says so."""
    found = direction(metric)
    if found is None:
        words = ", ".join(LARGER_IS_BETTER + SMALLER_IS_BETTER)
        raise StudyError(
            f"`mode is given, or metric ends in one of {words}` must hold, but got metric={brief(metric)} "
            f'and no mode; mode="max" if more of it is better, mode="min" if less is'
        )
    return found


def _whole(name: str, value: Any) -> None:
    whole_number(name, value)
    if value > MAX_STEPS:
        raise StudyError(f"`{name} <= {MAX_STEPS:,}` must hold, but got {name}={brief(value)}")
