"""The README's Python examples run as they stand."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: code.splitlines()[0])
def test_an_example_runs_as_pasted(code, capsys):
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


def test_start_is_two_lines_that_each_do_all_their_setup():
    start = README.partition("## Start\n")[2].partition("\n## ")[0]
    commands = [line.strip() for line in start.splitlines() if line.startswith("    ")]
    assert commands == [
        "pip install -e '.[sweeps]' && sweeps run digits-mlp",
        "pip install -e '.[test]' && pytest",
    ]
