"""The small grammar of domains that code, TOML and the shell share; parsed, never evaluated."""

import ast
import enum
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sweeps.errors import StudyError, cut, quoted, unknown
from sweeps.space.domains import (
    Domain,
    Grid,
    Linspace,
    Logspace,
    Sampled,
    choice,
    grid,
    linspace,
    log_uniform,
    logspace,
    normal,
    uniform,
    whole_range,
)
from sweeps.space.folds import Folds, folds
from sweeps.space.values import Value
from sweeps.space.whole import int_log_uniform, int_uniform

BRACKETS = {"(": ")", "[": "]", "{": "}"}
FORMS = "a value, a list, linspace(start, stop, num), range(stop), uniform(low, high) or the like"


def as_domain(value: Any, field: str = "") -> Domain:
    """Reads what a person may write for a field: a domain, its text, a list, or one value.

    Args:
        value: a domain, a `range`, a string of the grammar, a sequence or an array of values, or one value.
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
        if isinstance(value, str) and not isinstance(value, enum.Enum):
            return parse(value)
        if isinstance(value, Grid | Linspace | Logspace | Sampled | Folds):
            return value
        if isinstance(value, range):
            return whole_range(value.start, value.stop, value.step)
        if hasattr(type(value), "__array__"):  # of NumPy, of JAX, or a column
            value = np.asarray(value).tolist()
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        return grid(*value) if listed else grid(value)
    except StudyError as error:
        raise StudyError(f"{where}{error}") from None


def parse(source: str) -> Domain:
    """Parses the grammar of domains; nothing is evaluated.

    The grammar: a call of `grid`, `linspace`, `logspace`, `range`, `uniform`, `log_uniform`, `int_uniform`,
    `int_log_uniform`, `normal`, `choice` or `folds` with literal arguments; a list or tuple of literals; or
    one literal. A literal is a number, `inf`, `true`/`false`, `none`, a quoted string, a bare word, words
    with dots between them (`jax.nn.relu`), or a tuple or list of literals inside a call or a list.

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
    node = expression(source)
    if not isinstance(node, ast.Call):
        listed = isinstance(node, ast.List | ast.Tuple)
        return grid(*_literals(node, source)) if listed else grid(_literal(node, source))
    name = written(node.func, source)
    if name not in CONSTRUCTORS:
        raise StudyError(unknown("Unknown domain", name, CONSTRUCTORS))
    arguments = [_literal(argument, source) for argument in node.args]
    names = [str(keyword.arg) for keyword in node.keywords]
    keywords = {str(keyword.arg): _literal(keyword.value, source) for keyword in node.keywords}
    try:
        if len(keywords) < len(names):
            raise TypeError("an argument is given twice")
        return CONSTRUCTORS[name](*arguments, **keywords)
    except StudyError:
        raise
    except (TypeError, ValueError) as error:
        said = cut(" ".join(str(error).split()))
        raise StudyError(f"Write {FORM[name]} instead of {quoted(source)}: {said}.") from None


def parse_value(source: str) -> Value:
    """Parses one literal, such as `(64, 'tanh', inf)`.

    Args:
        source: the text.

    Raises:
        StudyError: the text is not one.
    """
    return _literal(expression(source), source)


def expression(source: str, forms: str = FORMS) -> ast.expr:
    """The syntax of a text, read as a Python expression, which it only looks like.

    Args:
        source: the text.
        forms: what would do instead.

    Raises:
        StudyError: it does not even look like one.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python code, which this is not
            return ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        missing = _unclosed(source)
        if missing is not None:
            raise StudyError(f'Missing "{missing}" in {quoted(source)}.') from None
        raise StudyError(f"Cannot read {quoted(source)}. Write {forms}.") from None


def _unclosed(source: str) -> str | None:
    """The bracket that closes what is open at the end of a text; None if it is not that which it lacks."""
    waiting, quote = [], ""
    for sign in source:
        if quote or sign in "'\"":
            quote = "" if sign == quote else quote or sign
        elif sign in BRACKETS:
            waiting.append(BRACKETS[sign])
        elif sign in BRACKETS.values() and (not waiting or waiting.pop() != sign):
            return None
    return waiting[-1] if waiting and not quote else None


def written(node: ast.expr, source: str) -> str:
    """What a person wrote for a part of a text, however deep it is.

    Args:
        node: the part.
        source: the text.
    """
    return ast.get_source_segment(source.strip(), node) or source


def _literals(node: ast.List | ast.Tuple, source: str) -> list[Value]:
    return [_literal(element, source) for element in node.elts]


def _literal(node: ast.expr, source: str) -> Value:
    match node:
        case ast.List() | ast.Tuple():
            return tuple(_literals(node, source))
        case ast.Constant(value=value) if isinstance(value, float | int | bool | str | None):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=float() | int() as value)):
            return -value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id="inf")):
            return -math.inf
        case ast.Name(id=word):
            return WORDS.get(word, word)
        case ast.Attribute() if (words := _dotted(node)) is not None:
            return words
        case _:
            raise StudyError(
                f"Cannot read {quoted(written(node, source))}. Write a number, a word or a quoted string."
            )


def _dotted(node: ast.expr) -> str | None:
    """Words with dots between them, such as `jax.nn.relu`; None if it is more than that."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.insert(0, node.attr)
        node = node.value
    return ".".join([node.id, *words]) if isinstance(node, ast.Name) else None


WORDS: dict[str, Value] = {
    "true": True,
    "false": False,
    "none": None,
    "null": None,
    "inf": math.inf,
    "nan": math.nan,  # which is refused, but not as a word
}
CONSTRUCTORS: dict[str, Callable[..., Domain]] = {
    "grid": grid,
    "linspace": linspace,
    "logspace": logspace,
    "range": whole_range,
    "uniform": uniform,
    "log_uniform": log_uniform,
    "int_uniform": int_uniform,
    "int_log_uniform": int_log_uniform,
    "normal": normal,
    "choice": choice,
    "folds": folds,
}
FORM = {
    "grid": "grid(value, …)",
    "linspace": "linspace(start, stop, num)",
    "logspace": "logspace(start, stop, num)",
    "range": "range(stop), range(start, stop) or range(start, stop, step)",
    "uniform": "uniform(low, high)",
    "log_uniform": "log_uniform(low, high)",
    "int_uniform": "int_uniform(low, high)",
    "int_log_uniform": "int_log_uniform(low, high)",
    "normal": "normal(mean, std)",
    "choice": "choice(value, …)",
    "folds": "folds(num)",
}
