"""Tables on a terminal: no word of them is cut, and decimal points stand under one another."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from rich import console as rich
from rich.cells import cell_len
from rich.table import Table

BETWEEN = 2  # columns of nothing
NUMBER = re.compile(r"-?\d+(?=$|[.e])")


class Console(rich.Console):
    """A console that raises where nobody reads any more, as `print` does."""

    def on_broken_pipe(self) -> NoReturn:
        """Raises: of itself it would end the process, with a status that has another meaning here."""
        raise BrokenPipeError("Nobody reads what is printed.")


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        heading: what stands above it.
        cells: text, row by row.
        justify: `left`, `right` or `center`.
        needed: whether it is there however narrow the terminal is; others are left out, the last first.
    """

    heading: str
    cells: Sequence[str]
    justify: Any = "right"
    needed: bool = True


def print_table(columns: Sequence[Column], console: rich.Console | None = None) -> list[str]:
    """Prints a table as wide as its words are.

    Args:
        columns: of the table.
        console: where to print; None takes standard output.

    Returns:
        The headings of columns for which there was no room.
    """
    console = console or Console()
    room = console.width if console.is_terminal else 10**6
    widths = [max(map(cell_len, (column.heading, *column.cells))) + BETWEEN for column in columns]
    left_out: list[int] = []
    for place in reversed(range(len(columns))):
        if (
            sum(widths) - sum(widths[gone] for gone in left_out) - BETWEEN > room
            and not columns[place].needed
        ):
            left_out.append(place)
    table = Table(box=None, header_style="bold", pad_edge=False)
    shown = [column for place, column in enumerate(columns) if place not in left_out]
    for column in shown:
        table.add_column(column.heading, justify=column.justify, no_wrap=True)
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*cells)
    needed = sum(width for place, width in enumerate(widths) if place not in left_out)
    console.width = max(console.width, needed)  # what is wider than the terminal is its own to fold
    console.print(table, markup=False, highlight=False)
    return [columns[place].heading for place in sorted(left_out)]


def say(sentence: str, console: rich.Console | None = None) -> None:
    """Prints a sentence: on a terminal in lines that end with a word, elsewhere in one.

    Args:
        sentence: the sentence.
        console: where to print; None takes standard output.
    """
    console = console or Console()
    console.print(sentence, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def aligned(cells: Sequence[str]) -> list[str]:
    """Numbers with so many spaces behind them that their points stand under one another at the right.

    Args:
        cells: text; what is no number stays as it is.

    Example:
        >>> aligned(["0.1", "0.025", "3", "1e-05", "none"])
        ['0.1  ', '0.025', '3    ', '1e-05', 'none']
    """
    tails = [len(cell) - found.end() if (found := NUMBER.match(cell)) else None for cell in cells]
    longest = max((tail for tail in tails if tail is not None), default=0)
    return [
        cell if tail is None else cell + " " * (longest - tail)
        for cell, tail in zip(cells, tails, strict=True)
    ]
