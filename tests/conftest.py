"""Settings for every test: two XLA devices on any machine, strict shapes, and one cache of programs."""

import gc
import os
import signal

import jax
import pytest
from hypothesis import settings

# Sharding is tested everywhere, so every test process sees more than one device, and the commands that it
# calls or begins take as many, however many cores there are. It must be set before the first array is made.
jax.config.update("jax_num_cpu_devices", 2)
os.environ["JAX_NUM_CPU_DEVICES"] = "2"
jax.config.update("jax_numpy_rank_promotion", "raise")

# Property tests draw the same examples in every run, and may take as long as they need on a busy machine.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

CACHE = "JAX_COMPILATION_CACHE_DIR"
# Where the compiler has a choice, half of its time goes into the newer way to emit loops.
QUICKLY = {"xla_cpu_use_fusion_emitters": "False"}


def pytest_configure(config):
    """Programs are compiled once, whichever process runs them: workers inherit the variable.

    They stay in pytest's own cache, so that the next run compiles what has changed; `--cache-clear` forgets.
    """
    # What a shell begins in the background ignores Ctrl-C, and so would the commands that tests begin.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        programs = config.cache.mkdir("programs")
        for measured in programs.glob("sweeps-measured-*"):  # what a plan knew would be known to tests
            measured.unlink(missing_ok=True)
        os.environ[CACHE] = str(programs)
        # Many tests begin a command, which would compile the whole package each time.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    jax.config.update("jax_compilation_cache_dir", os.environ[CACHE])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_collection_finish():
    """What is imported by now stays until the end, so nobody looks through it for garbage, nor often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True, scope="session")
def no_power_failure():
    """Nothing waits for the disk: a process that is killed loses nothing of what it wrote before."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def compiled_quickly():
    """Programs that run a few times are not worth XLA's effort, where rounding is not the subject.

    As long as tests of a file run; nothing compiled so is left for others.
    """
    from sweeps.engine import compiler, program  # here: types are checked in what is imported after plugins

    options = program.compiler_options
    quickly = {name: value for name, value in QUICKLY.items() if compiler.is_known(name, value)}
    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(program, "compiler_options", lambda mesh: options(mesh) | quickly)
        yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        del os.environ[CACHE]
