"""`sweeps compare`: two runs, or two values of a field of one."""

import argparse
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa

from sweeps.cli.tables import Column, aligned, print_table, say
from sweeps.errors import StudyError, quoted
from sweeps.results.comparison import compare
from sweeps.results.results import Results, load
from sweeps.space.domains import Grid
from sweeps.space.grammar import as_domain

MOST_ROWS = 40


def run(options: argparse.Namespace) -> int:
    """Compares what the arguments name, prints it, and writes a page if they name one.

    Args:
        options: the parsed arguments.

    Returns:
        The exit status.
    """
    first, second, names = _sides(options.directory, options.others)
    found = compare(first, second, options.metric)
    from sweeps.report import comparison as page  # which imports matplotlib

    _print(page.headings(found), page.rows(found), page.answer(found, *names))
    if options.out is not None:
        print(page.write(found, *names, options.out))
    return 0


def _sides(directory: Path, others: list[str]) -> tuple[Results, Results, tuple[str, str]]:
    """What is compared, and what each is called."""
    results = load(directory)
    parts = [word for word in others if "=" in word and not Path(word).exists()]
    if len(others) == len(parts) == 2:
        first, second = (results.filter(**_condition(results, word)) for word in parts)
        return first, second, (parts[0].replace("=", " = "), parts[1].replace("=", " = "))
    if len(others) == 1 and not parts:
        return results, load(others[0]), (str(directory), others[0])
    command = shlex.join(["sweeps", "compare", str(directory)])
    raise StudyError(
        f"Compare two runs, or two values of a field: {command} DIR, or {command} alpha=0 alpha=0.1."
    )


def _condition(results: Results, word: str) -> dict[str, Any]:
    field, _, text = word.partition("=")
    column = results.members[field] if field in results.members.column_names else None
    if column is not None and pa.types.is_string(column.type) and text in column.unique().to_pylist():
        return {field: text}  # as tables show it: a word, a tuple
    domain = as_domain(text, field)
    if not isinstance(domain, Grid) or len(domain.values) != 1:
        raise StudyError(f"Give {field} one value, such as alpha=0.1, instead of {quoted(text)}.")
    return {field: domain.values[0]}


def _print(headings: list[str], rows: list[list[str]], sentences: list[str]) -> None:
    columns = zip(headings, zip(*rows[:MOST_ROWS], strict=True), strict=True)
    print_table([Column(name, aligned(list(cells)), "right" if name else "left") for name, cells in columns])
    if len(rows) > MOST_ROWS:
        print(f"… and {len(rows) - MOST_ROWS} more; --out has them all")
    print()
    for sentence in sentences:
        say(sentence)
