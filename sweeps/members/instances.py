"""Values by name to a configuration and back, nested dataclasses included."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from sweeps.errors import StudyError
from sweeps.space.fields import Nested, nested


def build(config: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """A configuration, built as the user's own code would build it.

    Args:
        config: the dataclass.
        values: the value of every field, None for one that is not there.
        prefix: what the names of this dataclass's fields begin with.
    """
    parts, given = nested(config), {}
    for field in dataclasses.fields(config):
        name = f"{prefix}{field.name}"
        if field.name in parts:
            inner = _class_of(parts[field.name], values.get(name))
            given[field.name] = None if inner is None else build(inner, values, f"{name}.")
        elif field.init:
            given[field.name] = values[name]
    return config(**given)


def configure(
    config: type, statics: Mapping[str, Any], values: Mapping[str, Any], prefix: str = "", others: Any = ()
) -> Any:
    """A configuration with traced values; `__post_init__` has seen the concrete ones and does not run.

    Args:
        config: the dataclass.
        statics: the static fields' values, and what `__post_init__` set.
        values: the traced fields' values.
        prefix: what the names of this dataclass's fields begin with.
        others: the dataclasses that might be in its place, whose fields it has not.
    """
    known = {**statics, **values}
    instance, parts, own = object.__new__(config), nested(config), _names(config)
    foreign = {name for other in others for name in _names(other)} - own
    for name, value in known.items():
        short = name.removeprefix(prefix)
        if name.startswith(prefix) and "." not in short and short not in foreign and short not in parts:
            object.__setattr__(instance, short, value)
    for short, part in parts.items():
        name = f"{prefix}{short}"
        inner = _class_of(part, known.get(name))
        classes = part.classes.values()
        value = None if inner is None else configure(inner, statics, values, f"{name}.", classes)
        object.__setattr__(instance, short, value)
    return instance


def attributes(instance: Any, prefix: str = "") -> dict[str, Any]:
    """The attributes of a configuration, fields or not, those of nested ones under dotted names.

    Args:
        instance: the configuration.
        prefix: what the names begin with.

    Raises:
        StudyError: `__post_init__` has put something else in the place of a nested one.
    """
    names = dict.fromkeys((*getattr(instance, "__dict__", ()), *_names(type(instance))))
    parts, found = nested(type(instance)), {}
    for short in names:
        if not hasattr(instance, short):
            continue
        name, value = f"{prefix}{short}", getattr(instance, short)
        if short not in parts:
            found[name] = value
            continue
        part, kind = parts[short], type(value)
        if not (kind in part.classes.values() or (value is None and part.optional)):
            raise StudyError(
                f"`{name} is {' or '.join(part.classes)}` must hold after __post_init__, but got a "
                f"{kind.__name__}"
            )
        if part.choice:
            found[name] = None if value is None else kind.__name__
        if value is not None:
            found |= attributes(value, f"{name}.")
    return found


def _class_of(part: Nested, chosen: str | None) -> type | None:
    """The class that a nested field has; None if it has none."""
    if not part.choice:
        return next(iter(part.classes.values()))
    return None if chosen is None else part.classes[chosen]


def _names(config: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}
