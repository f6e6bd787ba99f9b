"""What of a study travels whole to workers that are new processes."""

import importlib.util
import pickle
import subprocess
import sys

from sweeps.executors.pickling import not_found_again, pickled
from tests.sweeps import plain

LOAD = "import pickle, sys; doubled, slope = pickle.load(sys.stdin.buffer); print(doubled(slope))"
SOURCE = """import dataclasses
FACTOR = 2
Slope = dataclasses.make_dataclass("Slope", [("alpha", float, 0.3)], frozen=True)
Slope.__module__ = __name__
def doubled(slope):
    return FACTOR * slope.alpha
"""


def loaded(path, name):
    """A module that was read from a file, without a place on the path."""
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_a_module_that_a_new_process_would_not_find_travels_whole(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "slope_file", None)  # which is undone at the end
    module = loaded(tmp_path / "slope file.py", "slope_file")
    whole = list(not_found_again())
    assert module in whole
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input=pickled((module.doubled, module.Slope()), whole), capture_output=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"0.6\n", b"")


def test_a_module_of_this_name_elsewhere_is_not_the_one_that_was_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "slope_twice", None)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "slope_twice.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "there")
    assert loaded(tmp_path / "slope_twice.py", "slope_twice") in list(not_found_again())


def test_what_can_be_imported_travels_by_its_name():
    assert b"plain" in pickled(plain.step, []) and pickle.loads(pickled(plain.step, [])) is plain.step
