import sys
from pathlib import Path
from types import ModuleType

import pytest

from sweeps.cli.importing import import_file, import_module
from sweeps.errors import StudyError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = ("broken", "neighbour", "own")
    for name in names:  # other tests' files may have these names too
        sys.modules.pop(name, None)
    before = {**sys.modules}
    yield
    for name in names:
        sys.modules.pop(name, None)
    assert sys.modules.items() >= before.items()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import math\n\nmath.sqrt(-1)\n", r"ValueError: math domain error \(broken\.py, line 3\); python"),
        ("x = (\n", r"SyntaxError: '\(' was never closed \(broken\.py, line 1\)"),
        ("raise RuntimeError('first\\nsecond')", r"RuntimeError: first second \(broken\.py, line 1\)"),
        ("import no_such_module_at_all", r"No module named 'no_such_module_at_all' \(broken\.py, line 1\)"),
        ("import neighbour", r"KeyError: 'x' \(neighbour\.py, line 2\)"),
        ("def f():\n    f()\nf()\n", r"RecursionError: .* \(broken\.py, line 2\)"),
        ("import argparse\nargparse.ArgumentParser().parse_args(['x'])",
        r"SystemExit: 2 \(broken\.py, line 2\)"), ("import json\njson.loads('{')",
        r"JSONDecodeError: .* \(broken\.py, line 2\)"), ("import sweeps\nsweeps.grid()",
        r"at least one value` must hold in grid, but got none \(broken\.py, line 2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("load", [lambda: import_file(Path("broken.py")), lambda: import_module("broken")])
def test_what_a_study_raises_is_said_with_its_line(load, code, message, capsys):
    Path("neighbour.py").write_text("x = {}\nx['x']\n")
    Path("broken.py").write_text(code)
    with pytest.raises(StudyError, match=message) as caught:
        load()
    assert "\n" not in str(caught.value) and "broken" not in sys.modules


def test_a_file_that_fails_leaves_modules_and_their_path_as_they_were():
    Path("broken.py").write_text("1 / 0\n")
    sys.modules["broken"] = before = ModuleType("broken")
    path = list(sys.path)
    with pytest.raises(StudyError, match="division by zero"):
        import_file(Path("broken.py"))
    assert sys.modules["broken"] is before and sys.path == path


@pytest.mark.parametrize("name", ["random", "numpy", "__main__", "antigravity", "jax"])
def test_a_file_with_the_name_of_a_module_does_not_take_its_place(name):
    Path(f"{name}.py").write_text("raise SystemExit('it was run')\n")
    before, path = sys.modules.get(name), list(sys.path)
    with pytest.raises(
        StudyError, match=rf"{name}.py has the name of a module that others import. Rename it, to my_"
    ):
        import_file(Path(f"{name}.py"))
    assert sys.modules.get(name) is before and sys.path == path


def test_a_file_is_read_as_utf_8_and_finds_its_neighbours():
    Path("mine").mkdir()
    Path("mine/neighbour.py").write_text("alpha = 'α'\n", encoding="utf-8")
    Path("mine/own.py").write_text("from neighbour import alpha\nσ = alpha + 'é'\n", encoding="utf-8")
    assert vars(import_file(Path("mine/own.py")))["σ"] == "αé"
    Path("mine/own.py").write_text("σ = 'once more'\n", encoding="utf-8")
    assert vars(import_file(Path("mine/own.py")))["σ"] == "once more"
