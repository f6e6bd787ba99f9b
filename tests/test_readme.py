"""Every README: its Python examples run as they stand, its commands exist, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from sweeps.cli.arguments import make_parser
from sweeps.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = {
    str(place): (ROOT / place / "README.md").read_text()
    for place in (".", "lrelu_jax", "sweeps", "sweeps/studies", "tests/benchmarks")
}
EXAMPLES = [
    pytest.param(
        code,
        id=f"{place}: {code.splitlines()[0]}",
        marks=pytest.mark.studies
        if "sweeps.studies" in code
        else (),  # half a minute of planning and training
    )
    for place, page in PAGES.items()
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
]
COMMANDS = list(
    dict.fromkeys(
        line.strip()
        for page in PAGES.values()
        for line in re.findall(r"^    (sweeps .*)$", page, re.MULTILINE)
    )
)


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs_as_pasted(code, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_there_is(command):
    make_parser().parse_args(shlex.split(command, comments=True)[1:])


@pytest.mark.studies
def test_the_commands_on_a_small_run_do_what_is_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    mine = [command for command in COMMANDS if "runs/small" in command]
    for command in sorted(mine, key=lambda command: not command.startswith("sweeps run")):
        assert main(shlex.split(command, comments=True)[1:]) == 0, command
    assert (tmp_path / "runs/small/report.html").stat().st_size > 0


def anchors(page: str) -> set[str]:
    """The places in a page that a link may name, as code hosts make them of headings."""
    titles = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("place", PAGES)
def test_a_link_leads_somewhere(place):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[place]):
        if target.startswith("https://"):  # tests use no network
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / place / path).resolve()
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text()) if there.is_file() else False, target


def test_the_first_page_is_one_page():
    assert len(PAGES["."].splitlines()) <= 150


def test_start_is_two_lines_that_each_do_all_their_setup():
    start = PAGES["."].partition("## Start\n")[2].partition("\n## ")[0]
    commands = [line.strip() for line in start.splitlines() if line.startswith("    ")]
    assert commands == [
        "pip install -e '.[sweeps]' && sweeps run digits-mlp",
        "pip install -e '.[test]' && pytest",
    ]
