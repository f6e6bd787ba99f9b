"""What is raised where a request cannot be met, and how a message names the nearest known word."""

import difflib
import importlib
import re
import shlex
from collections.abc import Iterable
from typing import Any

MOST_CHARACTERS = 80  # of a value in a message
MOST_CHOICES = 20  # that are listed
# Control characters but for the end of a line, and those that turn the direction of writing.
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class StudyError(ValueError):
    """What was asked for cannot be done; the message says why, and what can be done instead."""


def imported(package: str, pip: str, purpose: str = "") -> Any:
    """A package that not everybody has, imported when it is needed.

    Args:
        package: its name.
        pip: what `pip install` gets it by.
        purpose: what needs it, after `must hold`.

    Raises:
        StudyError: it is not installed; the message names the line that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        needed = f"`{package.partition('.')[0]} is installed` must hold{purpose}"
        raise StudyError(f"{needed}, but it is not: pip install {pip}") from error


def brief(value: Any) -> str:
    """How a message shows a value that may be long: its first characters.

    Example:
        >>> brief(0.5), brief("a" * 100) == "'" + "a" * 78 + "…"
        ('0.5', True)
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python prints, or nested too deep
        text = f"a very long {type(value).__name__}"
    return cut(text)


def cut(text: str) -> str:
    """The first characters of a text that may be long."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def quoted(text: str) -> str:
    r"""How a message shows what a person wrote, on one line.

    Example:
        >>> print(quoted("it's"), quoted("a\0b"))
        "it's" "a\x00b"
    """
    return f'"{cut(repr(text)[1:-1])}"'.replace("\\'", "'")


def printable(text: str) -> str:
    r"""A text of somebody else's, such as an error's, with what a terminal would obey escaped; lines stay.

    Example:
        >>> print(printable("a \x1b[31mred\x1b[0m word"))
        a \x1b[31mred\x1b[0m word
    """
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def resume_line(directory: Any) -> str:
    """The command that goes on with a run, as a shell takes it.

    Args:
        directory: the run directory.

    Example:
        >>> print(resume_line("runs/a b"))
        sweeps resume 'runs/a b'
    """
    return shlex.join(["sweeps", "resume", str(directory)])


def unknown(said: str, name: Any, known: Iterable[str]) -> str:
    """Says that there is no such thing, and the nearest that there is, or all of them.

    Args:
        said: the sentence up to the name: `Unknown search`, `Config has no field`.
        name: what was given.
        known: what there is.

    Example:
        >>> print(unknown("Config has no field", "alhpa", ["alpha", "width"]))
        Config has no field "alhpa". Did you mean "alpha"?
        >>> print(unknown("Unknown search", "bayes", ["grid", "random", "tpe"]))
        Unknown search "bayes". Choose grid, random or tpe.
    """
    known, given = list(known), quoted(name) if isinstance(name, str) else brief(name)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5) if isinstance(name, str) else []
    if nearest:
        return f'{said} {given}. Did you mean "{nearest[0]}"?'
    if not known:
        return f"{said} {given}, and no other."
    *others, last = known[:MOST_CHOICES] if len(known) <= MOST_CHOICES else [*known[:MOST_CHOICES], "…"]
    return f"{said} {given}. Choose {', '.join(others)}{' or ' if others else ''}{last}."
