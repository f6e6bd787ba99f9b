"""What is said of the compilation cache is what JAX did."""

import os
import subprocess
import sys

CODE = """
import jax
from sweeps.host.compilation import count_programs, use_cache

use_cache()
for _ in range(2):
    programs = count_programs()
    jax.jit(lambda x: x * 3 + 1)(2.0)
    print(programs.hits, programs.requests - programs.hits, programs.said())
    jax.clear_caches()
"""


def test_programs_from_the_cache_are_told_from_those_compiled(tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    first, second = (line.split(" ", 2) for line in done.stdout.splitlines())
    assert first[0] == "0" and int(first[1]) > 0
    assert int(second[0]) == int(first[1]) and second[1] == "0"
    assert second[2] == f"programs: {second[0]} read from the compilation cache, 0 compiled"
    assert any((tmp_path / "lrelu-jax" / "xla").iterdir())
