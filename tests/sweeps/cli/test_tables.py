"""Printed tables: whole words, points under points, one order."""

import functools
import io
import re

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

import sweeps
from sweeps.cli import tables
from sweeps.cli.summary import print_summary
from sweeps.cli.tables import Column, aligned, print_table, say
from tests.sweeps.synthetic_runs import run_of

HEADINGS = [
    "alpha",
    "learning_rate",
    "test/accuracy",
    "95 % interval",
    "train/loss",
    "test/dead_units/hidden1",
]


def printed(columns, width, terminal=True):
    file = io.StringIO()
    left_out = print_table(columns, Console(file=file, width=width, force_terminal=terminal, no_color=True))
    text = file.getvalue()
    for code in ("\x1b[1m", "\x1b[0m"):
        text = text.replace(code, "")
    return text.splitlines(), left_out


@pytest.mark.parametrize("width", [20, 60, 80, 100, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_no_word_is_cut(width, terminal):
    columns = [Column(name, ["0.1", "0.025"], needed=place < 4) for place, name in enumerate(HEADINGS)]
    lines, left_out = printed(columns, width, terminal)
    shown = [name for name in HEADINGS if name not in left_out]
    assert lines[0].split() == " ".join(shown).split() and len(lines) == 3
    assert set(HEADINGS[:4]) <= set(shown) and (not left_out or terminal)
    assert max(map(len, lines)) <= width or shown == HEADINGS[:4] or not terminal
    assert (width >= 100) <= (shown == HEADINGS)


def test_points_stand_under_points():
    cells = aligned(["0.1", "0.025", "12", "1e-05", "-3.5", "–"])
    places = [cell.index(point) for cell, point in zip(cells[:2], "..", strict=True)]
    lengths = {len(f"{cell:>9}") for cell in cells}
    assert places == [1, 1] and lengths == {9}
    at = [f"{cell:>9}".find(".") for cell in cells if "." in cell]
    assert len(set(at)) == 1
    assert f"{cells[2]:>9}".rstrip().endswith("12") and len(f"{cells[2]:>9}".rstrip()) == at[0]


def summary(results, monkeypatch, capsys, columns="80"):
    monkeypatch.setenv("COLUMNS", columns)
    print_summary(results)
    return capsys.readouterr().out.splitlines()


def test_the_best_is_first_and_what_was_stopped_says_where_and_with_what_score(monkeypatch, capsys):
    stopped = {member: 20 if member < 12 else 50 for member in (*range(4), *range(8, 16))}
    results = run_of({"alpha": "grid"}, 4, levels={"alpha": [0.0, 0.1, 0.2, 0.3]}, stopped=stopped)
    lines = summary(results, monkeypatch, capsys)
    table = lines[1:5]
    assert table[0].split()[0] == "0.1" and table[0].rstrip().endswith("best")
    # Those stopped at step 50 come before those stopped at step 20, the better of these first.
    ends = [line.partition("stopped at step ")[2] for line in table[1:]]
    assert [end.split()[0] for end in ends] == ["50", "20", "20"]
    scores = [float(end.split()[-1]) for end in ends]
    assert scores[1] >= scores[2]
    metrics = results.metrics.to_pandas()
    for line, score in zip(table[1:], scores, strict=True):
        place = [0.0, 0.1, 0.2, 0.3].index(float(line.split()[0]))
        own = metrics[metrics["member"].isin(range(4 * place, 4 * place + 4))]
        last = own[own["step"] == stopped[4 * place]]["test/accuracy"]
        assert score == pytest.approx(float(np.mean(last)), abs=1e-4)


@pytest.mark.parametrize(
    ("scale", "shown"), [(1.0, r"0\.\d{4}"), (1e-7, r"\d\.\d{1,3}e-08"), (1e12, r"\d\.\d+e\+11")]
)
def test_scores_of_any_size_have_digits(scale, shown, monkeypatch, capsys):
    found = run_of({"alpha": "grid"}, 4, levels={"alpha": [0.0, 0.1, 0.3]}, metric="test/mse", mode="min")
    metrics = found.metrics.to_pandas()
    metrics["test/mse"] *= scale
    results = sweeps.Results(found.manifest, None, (found.members, pa.Table.from_pandas(metrics)))
    lines = summary(results, monkeypatch, capsys)
    for line in lines[1:4]:
        assert re.fullmatch(rf"{shown} +{shown} to {shown}", " ".join(line.split()[1:5]))


def test_columns_there_is_no_room_for_are_named(monkeypatch, capsys):
    results = run_of(
        {"alpha": "grid"}, 4, levels={"alpha": [0.0, 0.1]}, extra=[f"test/loss_{n}" for n in range(9)]
    )
    lines = summary(results, monkeypatch, capsys)
    assert lines[0].split()[-1] == "test/loss_8"  # a pipe has no edge
    assert not any("no room for" in line for line in lines)
    file = io.StringIO()
    terminal = functools.partial(Console, file=file, width=80, force_terminal=True, no_color=True)
    monkeypatch.setattr(tables, "Console", terminal)
    print_summary(results)
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).split())
    (named,) = re.findall(r"no room for the columns (.*), which the report has", text)
    assert named.endswith('"test/loss_8"') and "test/loss_8" not in text.partition("no room")[0]


def test_the_best_of_a_halving_fits_a_narrow_terminal(monkeypatch):
    file = io.StringIO()
    terminal = functools.partial(Console, file=file, width=80, force_terminal=True, no_color=True)
    monkeypatch.setattr(tables, "Console", terminal)
    levels = {"alpha": [0.06449, 0.2195, 0.4284], "learning_rate": [0.002545]}
    results = run_of({"alpha": "grid"}, 2, levels=levels, stopped=dict.fromkeys(range(2, 6), 50))
    print_summary(results)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in file.getvalue().splitlines()]
    assert max(map(len, lines)) <= 80
    assert "to the best" not in lines[0]  # one alone has a value
    assert re.search(r"stopped at step 50 with 0\.\d{4}$", lines[2])


def test_a_sentence_ends_its_lines_with_words_on_a_terminal_and_is_one_line_elsewhere():
    sentence = "none of the other configurations is measurably worse than the best " * 3
    for terminal in (True, False):
        file = io.StringIO()
        say(sentence.strip(), Console(file=file, width=50, force_terminal=terminal, no_color=True))
        lines = file.getvalue().splitlines()
        assert " ".join(map(str.strip, lines)) == sentence.strip()
        assert (len(lines) > 3 and max(map(len, lines)) <= 50) is terminal
