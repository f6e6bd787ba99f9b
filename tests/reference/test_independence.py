import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLAIN = ("data", "folds", "linen_models", "loops", "nnx_models", "optimizers", "tests_of_means")


@pytest.mark.parametrize("name", PLAIN)
def test_what_the_engine_is_measured_by_imports_nothing_of_it(name):
    imported = set()
    for node in ast.walk(ast.parse((HERE / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = {module for module in imported if module.split(".")[0] in ("sweeps", "lrelu_jax", "tests")}
    assert own <= {f"tests.reference.{other}" for other in PLAIN} | {"tests.reference.nnx_models.leaky"}
