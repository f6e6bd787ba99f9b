"""The small grammar of domains that code, TOML and the shell share; parsed, never evaluated."""

import ast
import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sweeps.space import (
    Choice,
    Domain,
    Grid,
    Linspace,
    Logspace,
    LogUniform,
    Normal,
    Scalar,
    StudyError,
    Uniform,
    choice,
    grid,
    linspace,
    log_uniform,
    logspace,
    normal,
    uniform,
    whole_range,
)  # fmt: skip


def as_domain(value: Any, field: str = "") -> Domain:
    """Reads what a person may write for a field: a domain, its text, a list, or one value.

    Args:
        value: a domain, a `range`, a string of the grammar, a sequence of scalars, or a scalar.
        field: the field's name, for the message.

    Raises:
        StudyError: it is none of these.

    Example:
        >>> as_domain("linspace(0, 0.5, 64)")
        Linspace(start=0.0, stop=0.5, num=64)
        >>> as_domain([1, 2])
        Grid(values=(1, 2))
    """
    where = f"field `{field}`: " if field else ""
    try:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, Grid | Linspace | Logspace | Uniform | LogUniform | Normal | Choice):
            return value
        if isinstance(value, range):
            return whole_range(value.start, value.stop, value.step)
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, np.generic):
            value = value.item()
        return grid(*value) if isinstance(value, Sequence) else grid(value)
    except StudyError as error:
        raise StudyError(f"{where}{error}") from None


def parse(source: str) -> Domain:
    """Parses the grammar of domains; nothing is evaluated.

    The grammar: a call of `grid`, `linspace`, `logspace`, `range`, `uniform`, `log_uniform`,
    `normal` or `choice` with literal arguments; a list or tuple of literals; or one literal. A
    literal is a number, `true`/`false`, `none`, a quoted string or a bare word.

    Args:
        source: the text, such as `linspace(0, 0.5, 64)`.

    Raises:
        StudyError: the text is not of the grammar, or an argument is out of bounds.

    Example:
        >>> parse("range(8)")
        range(0, 8)
        >>> parse("adam")
        Grid(values=('adam',))
    """
    try:
        node = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise StudyError(f"`a value, a list or {FORMS}` must hold, but got {source[:80]!r}") from None
    if not isinstance(node, ast.Call):
        return grid(*_literals(node)) if isinstance(node, ast.List | ast.Tuple) else grid(_literal(node))
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)[:40]
    if name not in CONSTRUCTORS:
        nearest = difflib.get_close_matches(name, CONSTRUCTORS, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise StudyError(f"`one of {', '.join(CONSTRUCTORS)}` must be called, but got {name!r}{hint}")
    arguments = [_literal(argument) for argument in node.args]
    keywords = {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
    try:
        return CONSTRUCTORS[name](*arguments, **keywords)
    except StudyError:
        raise
    except (TypeError, ValueError) as error:
        raise StudyError(f"`{FORM[name]}` must hold, but got {source[:80]!r} ({error})") from None


def _literals(node: ast.List | ast.Tuple) -> list[Scalar]:
    return [_literal(element) for element in node.elts]


def _literal(node: ast.expr) -> Scalar:
    match node:
        case ast.Constant(value=value) if isinstance(value, float | int | bool | str | None):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=float() | int() as value)):
            return -value
        case ast.Name(id=word):
            return WORDS.get(word, word)
        case _:
            raise StudyError(
                f"`a number, a word or a quoted string` must hold, but got {ast.unparse(node)[:80]!r}"
            )


WORDS: dict[str, Scalar] = {"true": True, "false": False, "none": None, "null": None}
CONSTRUCTORS: dict[str, Callable[..., Domain]] = {
    "grid": grid,
    "linspace": linspace,
    "logspace": logspace,
    "range": whole_range,
    "uniform": uniform,
    "log_uniform": log_uniform,
    "normal": normal,
    "choice": choice,
}
FORM = {
    "grid": "grid(value, …)",
    "linspace": "linspace(start, stop, num)",
    "logspace": "logspace(start, stop, num)",
    "range": "range(stop), range(start, stop) or range(start, stop, step)",
    "uniform": "uniform(low, high)",
    "log_uniform": "log_uniform(low, high)",
    "normal": "normal(mean, std)",
    "choice": "choice(value, …)",
}
FORMS = "linspace(start, stop, num), range(stop), uniform(low, high), …"
