"""Times successive halving against the full sweep: `python -m tests.benchmarks.schedules`.

243 points of (alpha, learning rate, weight decay, dropout) of an MLP on digits, one seed. Each of the two
runs in a process of its own, in turn, after one run of each that fills the compilation cache: the times are
of whole sweeps, planning and reading the cache included, imports not.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import optax
from flax import nnx

import sweeps

POINTS, HALVING = 243, "halving(eta=3)"


@dataclasses.dataclass(frozen=True)
class Config:
    """What is swept."""

    alpha: float = 0.01
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    dropout: float = 0.0


class MLP(nnx.Module):
    """64 pixels, two hidden layers of 128 Leaky ReLU units with dropout, 10 classes."""

    def __init__(self, config: Config, rngs: nnx.Rngs):
        sizes = (64, 128, 128)
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.hidden = nnx.List([nnx.Linear(before, after, rngs=rngs) for before, after in pairs])
        self.dropout = sweeps.Dropout(config.dropout, rngs=rngs)
        self.logits = nnx.Linear(128, 10, rngs=rngs)
        self.alpha = nnx.data(config.alpha) if isinstance(config.alpha, jax.Array) else config.alpha

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (n, 10) of images (n, 64)."""
        for layer in self.hidden:
            images = self.dropout(jax.nn.leaky_relu(layer(images), self.alpha))
        return self.logits(images)


def study() -> sweeps.Study:
    """The study."""
    trial = sweeps.supervised(
        config=Config,
        model=MLP,
        optimizer=lambda config: optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
        data=sweeps.data.digits(),
        batch_size=128,
    )
    space = {
        "alpha": "uniform(0, 0.5)",
        "learning_rate": "log_uniform(1e-4, 1e-1)",
        "weight_decay": "log_uniform(1e-5, 1e-1)",
        "dropout": "uniform(0, 0.5)",
    }
    return sweeps.Study(trial, steps=500, metric="test/accuracy", space=space)


def sweep(schedule: str) -> dict[str, float]:
    """Seconds of one sweep, and what its winner scores."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        thinned = None if schedule == "full" else schedule
        out = Path(folder) / "run"
        results = sweeps.run(
            study(), search="sobol", samples=POINTS, schedule=thinned, out=out, progress=False
        )
        return {"seconds": time.monotonic() - began, "score": results.best().mean}


def main() -> None:
    """Runs both in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sweeps.use_cpu_cores()
        print(json.dumps(sweep(options.one)))
        return
    found: dict[str, list[dict[str, float]]] = {"full": [], HALVING: []}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(options.rounds + 1):  # the first fills the cache
            for name, runs in found.items():
                runs.append(_in_a_process(name, cache))
    print(f"jax {jax.__version__}, {POINTS} points, {options.rounds} rounds\n")
    print("| sweep | seconds, median (range) | winner |\n| --- | --- | --- |")
    for name, runs in found.items():
        seconds = [run["seconds"] for run in runs[1:]]
        spread = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        print(f"| {name} | {spread} | {runs[-1]['score']:.4f} |")
    pairs = zip(found["full"][1:], found[HALVING][1:], strict=True)
    shares = [thinned["seconds"] / full["seconds"] for full, thinned in pairs]
    print(f"\nhalving takes {statistics.median(shares):.2f} of the full sweep's time (wanted: at most 0.25)")


def _in_a_process(name: str, cache: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.schedules", "--one", name]
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
