"""Links are printed as such only where a terminal knows them."""

import re
from pathlib import Path

import pytest

from sweeps.host.links import link


@pytest.mark.parametrize(
    ("environment", "knows"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "4000"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "screen-256color", "VTE_VERSION": "7600"}, False),
        ({"TERM": "dumb", "WT_SESSION": "1"}, False),
        ({}, False),
    ],
)
def test_a_terminal_that_knows_links_gets_one(environment, knows, tmp_path):
    path = tmp_path / "a run" / "report.html"
    address = path.as_uri()
    assert link(path, False, environment) == address and "%20" in address
    said = link(path, True, environment)
    assert said == (f"\x1b]8;;{address}\x1b\\{address}\x1b]8;;\x1b\\" if knows else address)
    assert re.sub(r"\x1b\]8;;[^\x1b]*\x1b\\", "", said) == address


def test_an_address_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert link(Path("report.html"), False, {}) == (tmp_path / "report.html").resolve().as_uri()
