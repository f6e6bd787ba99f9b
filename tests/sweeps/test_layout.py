"""Data flows one way: a room imports only from rooms above its own in this list."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sweeps

SWEEPS = Path(__file__).parents[2] / "sweeps"
ROOMS = """
    errors host ops space statistics trial schedules store data search models linen members engine results
    executors report driver claims studies cli
""".split()
FILES = sorted(path for path in SWEEPS.rglob("*.py") if path != SWEEPS / "__init__.py")


def room(path: Path) -> str:
    """The folder at the top of `sweeps` that a file is in, or the file itself where it lies there."""
    return path.relative_to(SWEEPS).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms of `sweeps` that a file imports from, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "sweeps":
            inside = node.module.split(".")[1:2]
            found |= set(inside) or {alias.name for alias in node.names}
    return found - {"__doc__", "__version__"}


@pytest.mark.parametrize("name", ROOMS)
def test_a_file_imports_only_from_its_room_and_rooms_above(name):
    near = set(ROOMS[: ROOMS.index(name) + 1])
    strays = {str(path.relative_to(SWEEPS)): imported(path) - near for path in FILES if room(path) == name}
    if name == "studies":  # they use public names, as a user would
        near = near | set(dir(sweeps))
    assert not {path: rooms - near for path, rooms in strays.items() if rooms - near}


def test_every_file_has_its_room():
    assert {room(path) for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("name", [name for name in ROOMS if (SWEEPS / name).is_dir() and name != "data"])
def test_a_room_says_what_it_is_for_and_imports_nothing(name):
    body = ast.parse((SWEEPS / name / "__init__.py").read_text()).body
    assert len(body) == 1 and isinstance(body[0], ast.Expr)


def test_no_room_has_the_name_of_a_public_function():
    public = {name for name in dir(sweeps) if callable(getattr(sweeps, name))}
    assert not public & set(ROOMS)


def test_only_studies_use_both_packages():
    for path in [*SWEEPS.rglob("*.py"), *(SWEEPS.parent / "lrelu_jax").rglob("*.py")]:
        words = path.read_text()
        if path.parent.name != "studies":
            other = "lrelu_jax" if path.is_relative_to(SWEEPS) else "sweeps"
            assert f"import {other}" not in words and f"from {other}" not in words, path


def test_the_activations_need_none_of_the_extras():
    blocked = "matplotlib optuna pyarrow rich sklearn scipy xarray sweeps".split()
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))"
    # Flax imports rich for its own tables, so rich alone cannot be kept away from it.
    code = code.replace("'rich', ", "") + "; import lrelu_jax; print(lrelu_jax.leaky_relu(-2.0, 0.5))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "-1.0\n", done.stderr


def test_importing_the_engine_leaves_tables_and_figures_for_later():
    late = "pyarrow matplotlib sklearn scipy.stats xarray pandas".split()
    code = (
        f"import sys, sweeps; print([name for name in {late!r} if name in sys.modules], 'run' in dir(sweeps))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[] True\n", done.stderr
