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


HOMELESS = """
import os, pwd

def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = unknown
from sweeps.host.compilation import use_cache
from sweeps.host.cores import claim
import jax
use_cache()
print(jax.config.jax_compilation_cache_dir, len(claim(1)) <= 1)
"""


def test_a_user_without_a_home_has_no_cache(tmp_path):
    left_out = ("HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "JAX_COMPILATION_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS], env=environment | {"TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("None True\n", "")
