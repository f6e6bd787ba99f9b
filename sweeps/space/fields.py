"""The fields of a configuration, those of nested dataclasses under dotted names."""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from sweeps.errors import StudyError, brief

traced = "traced"
static = "static"
COLUMNS = ("member", "step", "group", "status", "diverged_at", "stopped_at")  # of the results
ENGINES = {
    "seed": "range(8)",
    "fold": "folds(5)",
}  # names of the space that are no fields, and what they take


class Branch(NamedTuple):
    """One of the choices under which a field exists.

    Attributes:
        when: the fields that choose a class, from the outside in, and the name of the class.
        default: the field's default there.
    """

    when: tuple[tuple[str, str], ...]
    default: Any


class Field(NamedTuple):
    """One hyperparameter: its name, whether it is traced, its type and its default.

    A field of a nested dataclass is called `optimizer.learning_rate`. Where several dataclasses are possible
    (`optimizer: Adam | Sgd`), `optimizer` is a field itself, whose values are their names, and a field of
    one exists only in its `branches`; a field without any exists always.
    """

    name: str
    traced: bool
    kind: Any
    optional: bool
    default: Any
    branches: tuple[Branch, ...] = ()


class Nested(NamedTuple):
    """A field whose type is a dataclass, or one of several.

    Attributes:
        classes: the dataclasses by name.
        choice: whether there is one to choose, so that a field holds its name.
        optional: whether None will do.
    """

    classes: dict[str, type]
    choice: bool
    optional: bool


def fields(config: type) -> tuple[Field, ...]:
    """The hyperparameters of a configuration: float fields are traced, all others static.

    `Annotated[int, sweeps.traced]` and `Annotated[float, sweeps.static]` overrule; `float | None`
    is traced where it is set. A frozen dataclass is nested; of `Adam | Sgd`, or `Adam | None`, one is chosen.

    Args:
        config: a frozen dataclass.

    Returns:
        One `Field` per dataclass field, in order; a field that chooses a class comes before those of the
        class.

    Raises:
        StudyError: it is not a frozen dataclass, or a field is named `seed`, `fold` or as a column of
            the results.
    """
    found: dict[str, Field] = {}
    for field in _walk(config, dataclasses.MISSING, "", (), ()):
        other = found.get(field.name, field)
        if (other.traced, other.kind, other.optional) != (field.traced, field.kind, field.optional):
            raise StudyError(
                f"`{field.name} has one type in all classes that have it` must hold, but got "
                f"{_said(other)} and {_said(field)}; give one of them another name"
            )
        branches = other.branches if other is field else other.branches + field.branches
        found[field.name] = other._replace(branches=branches)
    return tuple(found.values())


@functools.cache
def nested(config: type) -> Mapping[str, Nested]:
    """The fields of a dataclass whose own fields are fields of the configuration.

    Args:
        config: a frozen dataclass.

    Raises:
        StudyError: two classes of one field have the same name.
    """
    hints, found = typing.get_type_hints(config, include_extras=True), {}
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        options = (
            [option for option in typing.get_args(hint) if option is not type(None)] if union else [hint]
        )
        if field.init and options and all(map(_is_frozen, options)):
            classes = {option.__name__: option for option in options}
            if len(classes) < len(options):
                raise StudyError(
                    f"`the classes of {field.name} have different names` must hold, but got "
                    f"{', '.join(option.__name__ for option in options)}"
                )
            optional = type(None) in typing.get_args(hint) if union else False
            found[field.name] = Nested(classes, optional or len(classes) > 1, optional)
    return types.MappingProxyType(found)


def classes_of(config: type) -> tuple[type, ...]:
    """A configuration's class and all that are nested in it.

    Args:
        config: a frozen dataclass.
    """
    inner = (own for part in nested(config).values() for own in part.classes.values())
    return (config, *(each for own in inner for each in classes_of(own)))


def kind_of(hint: Any) -> tuple[Any, bool]:
    """The type that a hint names, and whether None will do."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = typing.get_args(hint) if union else (hint,)
    kinds = [option for option in options if option is not type(None)]
    return kinds[0] if len(kinds) == 1 else Any, len(kinds) < len(options)


def hashable(name: str, value: Any) -> Any:
    """The value of a field, if it is hashable; a StudyError otherwise."""
    try:
        hash(value)
    except TypeError:
        cure = "a tuple would do"
        if dataclasses.is_dataclass(value):
            cure = "write @dataclass(frozen=True), and its fields are fields of the configuration"
        kind = f"a {type(value).__name__}; {cure}"
        raise StudyError(f"`field {name} is hashable` must hold, but got {kind}") from None
    return value


def _walk(
    config: type,
    given: Any,
    prefix: str,
    when: tuple[tuple[str, str], ...],
    within: tuple[type, ...],
) -> Iterator[Field]:
    """The fields of a class, from the outside in.

    Args:
        config: the class.
        given: the default that a field of this type has, whose values are the defaults here; or none.
        prefix: what the names begin with.
        when: the choices under which the class is there.
        within: the classes around it.
    """
    _check_class(config, within)
    hints = typing.get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        name = f"{prefix}{field.name}"
        _check_name(name)
        if not field.init:
            continue  # __post_init__ sets it
        default = _default(field) if given is dataclasses.MISSING else getattr(given, field.name)
        part = nested(config).get(field.name)
        if part is None:
            yield _leaf(name, hints[field.name], default, when)
            continue
        if not (default is dataclasses.MISSING or type(default) in part.classes.values()
                or (default is None and part.optional)):  # fmt: skip
            raise StudyError(
                f"`the default of {name} is of its type, {' or '.join(part.classes)}` must hold, but got "
                f"{brief(default)}"
            )
        if part.choice:
            chosen = default if default in (None, dataclasses.MISSING) else type(default).__name__
            kind = Literal[tuple(part.classes)]  # pyright: ignore[reportInvalidTypeArguments]
            yield _field(Field(name, False, kind, part.optional, chosen), when)
        for own, inner in part.classes.items():
            of_class = default if type(default) is inner else dataclasses.MISSING
            chosen_so = (*when, (name, own)) if part.choice else when
            yield from _walk(inner, of_class, f"{name}.", chosen_so, (*within, config))


def _leaf(name: str, hint: Any, default: Any, when: tuple[tuple[str, str], ...]) -> Field:
    mark = None
    if typing.get_origin(hint) is Annotated:
        marks = [item for item in hint.__metadata__ if item in (traced, static)]
        hint, mark = hint.__origin__, marks[0] if marks else None
    kind, optional = kind_of(hint)
    if default is not dataclasses.MISSING:
        hashable(name, default)
    is_traced = kind is float if mark is None else mark == traced
    return _field(Field(name, is_traced, kind, optional, default), when)


def _field(field: Field, when: tuple[tuple[str, str], ...]) -> Field:
    """The field as it is under these choices."""
    if not when:
        return field
    return field._replace(default=dataclasses.MISSING, branches=(Branch(when, field.default),))


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _is_frozen(hint: Any) -> bool:
    return (
        inspect.isclass(hint) and dataclasses.is_dataclass(hint) and hint.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]
    )


def _check_class(config: Any, within: tuple[type, ...]) -> None:
    if not (inspect.isclass(config) and dataclasses.is_dataclass(config)):
        raise StudyError(f"`config is a frozen dataclass` must hold, but got {config!r}")
    if not _is_frozen(config):
        name = config.__name__
        raise StudyError(
            f"`config is a frozen dataclass` must hold, but got {name}; write @dataclass(frozen=True)"
        )
    if config in within:
        raise StudyError(
            f"{config.__name__} has a field of its own type. A configuration cannot be within itself."
        )


def _check_name(name: str) -> None:
    if name in ENGINES:
        raise StudyError(
            f"A field cannot be named {name}, which every study has. Leave it out, and say "
            f"{name}={ENGINES[name]} in the space."
        )
    if name in COLUMNS:
        raise StudyError(
            f"A field cannot be named {name}, as a column of the results is. Others are "
            f"{', '.join(other for other in COLUMNS if other != name)}."
        )


def _said(field: Field) -> str:
    kind = getattr(field.kind, "__name__", str(field.kind)).replace("typing.", "")
    return ("traced " if field.traced and field.kind is not float else "") + kind
