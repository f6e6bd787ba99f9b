"""Sweeps that are killed, stopped, and resumed. About 4 minutes on two cores; `pytest -m durable`."""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import pytest
from flax import nnx

import sweeps
from lrelu_jax import LeakyReLU
from sweeps.store.chunks import read_manifest
from sweeps.store.lock import holder
from tests.sweeps.killed import study

pytestmark = pytest.mark.durable
SCRIPT = Path(__file__).parents[1] / "killed.py"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    cache = tmp_path_factory.getbasetemp().parent / "xla-of-killed-sweeps"
    return os.environ | {
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(SCRIPT.parents[2]),
    }


@pytest.fixture(scope="module")
def whole(environment, tmp_path_factory):
    """A run that nothing interrupted, and how many moments it has."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    done = call(environment, "run", directory)
    assert done.returncode == 0, done.stderr
    return sweeps.load(directory), int(done.stdout)


def call(environment, *words):
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def kill(environment, directory, draw, moments):
    """Starts a run and kills it at a moment drawn from one tenth of it."""
    drawn = random.Random(draw)
    for _ in range(5):
        # One draw from each tenth: planning, training, checkpoints, commits and tables all get theirs.
        moment = 1 + moments * draw // 10 + drawn.randrange(moments // 10)
        ended = call(environment, "run", directory, moment)
        if ended.returncode != 0:
            assert ended.returncode == -signal.SIGKILL, ended.stderr
            return
        # A slow disk makes for fewer checkpoints, and so for fewer moments: this run had ended before.
        moments = int(ended.stdout)
        shutil.rmtree(directory)
    pytest.fail("five runs ended before the moments drawn for them")


@pytest.mark.parametrize("draw", range(10))
def test_a_sweep_killed_at_a_random_moment_ends_with_the_same_tables(draw, environment, whole, tmp_path):
    expected, moments = whole
    directory = tmp_path / "run"
    kill(environment, directory, draw, moments)
    if not directory.exists():  # not even the manifest was there: nothing was begun
        assert draw == 0
        resumed = call(environment, "run", directory)
    else:
        again = call(environment, "resume", directory, 1 + random.Random(-draw).randrange(12))
        assert again.returncode in (0, -signal.SIGKILL), again.stderr
        resumed = call(environment, "resume", directory)
    assert resumed.returncode == 0, resumed.stderr
    results = sweeps.load(directory)
    for kind in ("members", "metrics"):
        one, other = (getattr(found, kind).to_pandas() for found in (results, expected))
        assert one.equals(other)  # bit for bit, and NaN where there was NaN
    for folder in ("kept", "chunks"):
        assert results.directory is not None and expected.directory is not None
        names = [sorted(os.listdir(found / folder)) for found in (results.directory, expected.directory)]
        assert names[0] == names[1]
    assert not list(directory.rglob("*.tmp")) and not (directory / "checkpoints").exists()


def test_sigterm_leaves_a_checkpoint_and_exit_status_143(environment, tmp_path):
    directory = tmp_path / "run"
    words = ["run", "digits-mlp", "seed=range(2)", "--steps", "20000", "--members-per-chunk", "32", "--quiet"]
    code = "import sys; from sweeps.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words, "--out", str(directory)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        until = time.monotonic() + 120
        while (holder(directory) or {}).get("step", 0) < 100:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 143
    assert f"go on with: sweeps resume {directory}" in said.decode()
    (folder,) = (directory / "checkpoints").glob("*/*")
    assert int(folder.name.split("-")[0]) >= 100 and not (directory / "lock").exists()


def test_sigterm_while_compiling_ends_the_process_too(environment, tmp_path):
    code = (
        "import os, signal, sys, threading, time; import sweeps; from sweeps.executors import inline\n"
        "def stuck(*words, **options):\n"
        "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "    time.monotonic(); signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "    import ctypes; ctypes.CDLL(None).sleep(1); ctypes.CDLL(None).sleep(600)\n"
        "inline.train = stuck\n"
        "from tests.sweeps.killed import study\n"
        "sweeps.run(study(), out=sys.argv[1], members_per_chunk=4, progress=False)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 143, done.stderr
    assert time.monotonic() - began < 300  # it would have been stuck for 600
    assert read_manifest(tmp_path / "run")["plan"]["chunks"] == 4


@dataclasses.dataclass(frozen=True)
class Mixed:
    kind: Literal["mlp", "cnn"] = "mlp"
    width: int = 8
    alpha: float = 0.1
    learning_rate: float = 0.01


class Net(nnx.Module):
    def __init__(self, config: Mixed, rngs: nnx.Rngs):
        uniform = nnx.initializers.lecun_uniform()
        if config.kind == "cnn":
            self.first = nnx.Conv(1, config.width, (3, 3), kernel_init=uniform, rngs=rngs)
        else:
            self.first = nnx.Linear(64, config.width, kernel_init=uniform, rngs=rngs)
        features = config.width * (64 if config.kind == "cnn" else 1)
        self.last = nnx.Linear(features, 10, kernel_init=uniform, rngs=rngs)
        self.kind, self.activation = config.kind, LeakyReLU(config.alpha)

    def __call__(self, inputs):
        images = inputs.reshape(-1, 8, 8, 1) if self.kind == "cnn" else inputs
        return self.last(self.activation(self.first(images)).reshape(len(inputs), -1))


def test_every_kind_of_member_of_a_mixed_sweep_is_replayed_bit_for_bit(tmp_path):
    import optax

    trial = sweeps.supervised(
        config=Mixed,
        model=Net,
        optimizer=lambda config: optax.sgd(config.learning_rate),
        data=sweeps.data.digits(),
        batch_size=64,
    )
    space = {"kind": ["mlp", "cnn"], "width": [4, 8], "learning_rate": [0.01, 1e20], "seed": range(3)}
    mixed = sweeps.Study(trial, steps=20, metric="test/accuracy", space=space)
    results = sweeps.run(mixed, out=tmp_path / "run", members_per_chunk=4, progress=False)
    assert set(results.members["status"].to_pylist()) == {"done", "diverged"}
    assert len(set(results.members["group"].to_pylist())) == 4
    for member in (1, 4, 7, 10, 12, 17, 18, 23):  # each kind and width, calm and diverged
        found = sweeps.replay(tmp_path / "run", member, mixed, progress=False)
        assert found.same and found.differences == [], member


def test_a_sweep_begun_on_two_devices_ends_on_one(environment, whole, tmp_path):
    expected, moments = whole
    directory = tmp_path / "run"
    killed = call(environment, "run", directory, moments // 2)
    assert killed.returncode == -signal.SIGKILL
    resumed = call(environment | {"JAX_NUM_CPU_DEVICES": "1"}, "resume", directory)
    assert resumed.returncode == 0, resumed.stderr
    results = sweeps.load(directory)
    assert results.members["status"].to_pylist() == expected.members["status"].to_pylist()
    early = expected.metrics["step"].to_numpy() <= 10
    assert results.metrics["step"].equals(expected.metrics["step"])
    one, other = (found.metrics["train/loss"].to_numpy()[early] for found in (results, expected))
    np.testing.assert_allclose(one, other, rtol=1e-5)  # guarantee 1: across settings, for ten steps
    assert jax.device_count() >= 2 and study().steps == 24
