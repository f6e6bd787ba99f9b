"""Data flows one way: a file imports only from files above it in this list."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SWEEPS = Path(__file__).parents[2] / "sweeps"
ORDER = """
    space grammar trial data image_sets lowering products pooling permutation network divergence supervision
    linen population axes optuna_search search optuna_mirror standing brackets evolution schedule streams
    planning devices checking execute measurement tables durability rungs store derivation lock checkpoints
    kept manifest proposals request intervals statistics claim labelled selection ranking results comparison
    dashboard export report.wording report.axes report.marginals report.drawing report.figures
    report.importance report.curves report.columns report.outcomes report.markup report.panels
    report.training_panels report.sentence report.reproduction report.page report.claims tuning compilation
    cores roster progress signals preparation training handover worker pool cluster ray_pool fork_server
    process_pool assignment crew course loop repetition status report.summary studies reference reproduction
    arguments cli
""".split()


def imported(path: Path) -> set[str]:
    """The modules of `sweeps` that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "sweeps":
            inside = node.module.partition(".")[2]
            found |= {inside} if inside else {alias.name for alias in node.names}
    return found - {"__doc__", "__version__"}


@pytest.mark.parametrize("name", [name for name in ORDER if name != "studies"])
def test_a_file_imports_only_from_files_above_it(name):
    above = ORDER[: ORDER.index(name)]
    assert imported(SWEEPS / f"{name.replace('.', '/')}.py") <= set(above)


def test_every_file_has_its_place():
    files = {".".join(path.relative_to(SWEEPS).with_suffix("").parts) for path in SWEEPS.rglob("*.py")}
    placed = {name for name in files if not name.endswith("__init__") and not name.startswith("studies.")}
    assert placed <= set(ORDER)


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
