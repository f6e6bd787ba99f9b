"""What is raised where a request cannot be met, and how a message names the nearest known word."""

import difflib
import importlib
from collections.abc import Iterable
from typing import Any

MOST_CHARACTERS = 80  # of a value in a message


class StudyError(ValueError):
    """What was asked for cannot be done; the message says what must hold and what was got."""


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


def unknown(name: Any, known: Iterable[str]) -> str:
    """How a message names something unknown: what was got, and the nearest or all that exist."""
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5) if isinstance(name, str) else []
    return f"{brief(name)}; " + (
        f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known) or 'none'}"
    )
