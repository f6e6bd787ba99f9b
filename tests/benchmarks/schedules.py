"""Searches and schedules against the plain thing: `python -m tests.benchmarks.schedules --out DIR`.

`halving`: 243 points of (alpha, learning rate, weight decay, dropout) of an MLP on digits, one seed. The full
sweep and halving run in a process each, in turn, after one run of each that fills the compilation cache: the
times are of whole sweeps, planning and reading the cache included, imports not.

`search`: Hyperband, and TPE in batches of 32, against random search, at equal member-steps, ten times each.

`pbt`: population-based training against the best fixed learning rate on a noisy quadratic, where the learning
rate should fall: large steps come near, and only small ones come to rest.
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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from matplotlib.figure import Figure

import sweeps
from sweeps.schedules import schedule
from tests.benchmarks.populations import machine

POINTS, HALVING = 243, "halving(eta=3)"
REPETITIONS, BATCH, TRIED = 10, 32, 96  # points that random search and TPE try


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


def sweep(thinning: str) -> dict[str, float]:
    """Seconds of one sweep, and what its winner scores."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        thinned = None if thinning == "full" else thinning
        out = Path(folder) / "run"
        results = sweeps.run(
            study(), search="sobol", samples=POINTS, schedule=thinned, out=out, progress=False
        )
        return {"seconds": time.monotonic() - began, "score": results.best().mean}


def halving(rounds: int, out: Path) -> list[str]:
    """The full sweep and halving in turn, as a table."""
    found: dict[str, list[dict[str, float]]] = {"full": [], HALVING: []}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(rounds + 1):  # the first fills the cache
            for name, runs in found.items():
                runs.append(_in_a_process(name, cache))
    lines = [f"{POINTS} points, {rounds} rounds", "", "| sweep | seconds, median (range) | winner |"]
    lines.append("| --- | --- | --- |")
    for name, runs in found.items():
        seconds = [run["seconds"] for run in runs[1:]]
        spread = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        lines.append(f"| {name} | {spread} | {runs[-1]['score']:.4f} |")
    pairs = zip(found["full"][1:], found[HALVING][1:], strict=True)
    shares = [thinned["seconds"] / full["seconds"] for full, thinned in pairs]
    share = statistics.median(shares)
    return [*lines, "", f"halving takes {share:.2f} of the full sweep's time (wanted: at most 0.25)"]


def search(repetitions: int, out: Path) -> list[str]:
    """Hyperband and TPE against random search at equal member-steps, as a table and a picture."""
    wanted, budget = study(), TRIED * 500
    hyperband = sweeps.hyperband()
    points = TRIED
    while schedule.budget(hyperband, wanted.steps, points + 1, 1) <= budget:
        points += 1
    methods: dict[str, dict[str, Any]] = {
        "random": {"search": "random", "samples": TRIED},
        f"TPE, batches of {BATCH}": {"search": sweeps.tpe(BATCH), "samples": TRIED},
        f"Hyperband over {points} random points": {
            "search": "random", "samples": points, "schedule": hyperband,
        },
    }  # fmt: skip
    scores: dict[str, list[float]] = {name: [] for name in methods}
    curves: dict[str, list[np.ndarray]] = {name: [] for name in methods}
    grid = np.linspace(0, 1, 101)
    for repetition in range(repetitions):
        for name, options in methods.items():
            results = sweeps.run(wanted, root_seed=repetition, progress=False, **options)
            scores[name].append(results.best().mean)
            spent, best = _curve(results, BATCH if options["search"] == "tpe" else points)
            place = np.searchsorted(spent, grid * budget, side="right") - 1
            curves[name].append(np.where(place < 0, np.nan, best[np.maximum(place, 0)]))
            print(f"repetition {repetition}, {name}: {scores[name][-1]:.4f}", file=sys.stderr, flush=True)
    lines = [f"{budget:,} member-steps each, {repetitions} repetitions", ""]
    lines += [
        "| search | best accuracy: median (range) | better than random search in |",
        "| --- | --- | --- |",
    ]
    for name, found in scores.items():
        spread = f"{np.median(found):.4f} ({min(found):.4f} to {max(found):.4f})"
        pairs = list(zip(found, scores["random"], strict=True))
        won = f"{sum(a > b for a, b in pairs)}, equal in {sum(a == b for a, b in pairs)}"
        lines.append(f"| {name} | {spread} | {won if name != 'random' else ''} |")
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, found), color in zip(curves.items(), ("#0072b2", "#d55e00", "#009e73"), strict=True):
        seen = ~np.isnan(np.stack(found)).any(axis=0)  # nothing is known before the first evaluation
        low, middle, high = np.quantile(np.stack(found)[:, seen], [0.25, 0.5, 0.75], axis=0)
        axes.plot(grid[seen] * budget, middle, color=color, label=name)
        axes.fill_between(grid[seen] * budget, low, high, color=color, alpha=0.15, linewidth=0)
    axes.set_xlabel("member-steps")
    axes.set_ylabel("best test accuracy seen so far")
    axes.set_ylim(0.9, 1)
    axes.legend(title=f"median and quartiles of {repetitions}", frameon=False)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "searches.png", dpi=160)
    return lines


def _curve(results: sweeps.Results, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Member-steps spent, and the best score seen by then, at every evaluation.

    The members of a batch are trained side by side, batches one after the other.
    """
    rows = results.metrics
    member, step, score = (rows[name].to_numpy() for name in ("member", "step", "test/accuracy"))
    last = np.zeros(len(results.members), np.int64)
    np.maximum.at(last, member, step)
    spent, best = [], []
    for first in range(0, len(last), batch):
        before, ends = last[:first].sum(), last[first : first + batch]
        here = (member >= first) & (member < first + batch)
        for at in np.unique(step[here]):
            spent.append(before + np.minimum(ends, at).sum())
            best.append(np.nanmax(score[here & (step == at)]))
    return np.asarray(spent), np.maximum.accumulate(best)


@dataclasses.dataclass(frozen=True)
class Rate:
    """A learning rate, and nothing else."""

    learning_rate: float = 0.1


def noisy_quadratic() -> sweeps.Study:
    """Descent on half the sum of h w² over curvatures h from 0.01 to 1, with noise in every gradient."""
    curvatures = jnp.logspace(-2, 0, 32)

    def loss(state: Any) -> Any:
        return jnp.sum(curvatures * state["w"] ** 2) / 2

    def step(config: Rate, state: Any, batch: Any, key: Any) -> tuple[Any, dict[str, Any]]:
        gradient = curvatures * state["w"] + jax.random.normal(key, (32,))
        return {"w": state["w"] - config.learning_rate * gradient}, {"train/loss": loss(state)}

    trial = sweeps.Trial(
        config=Rate,
        data=None,
        init=lambda config, key: {"w": 10 * jax.random.normal(key, (32,))},
        step=step,
        evaluate=lambda config, state, data: {"loss": loss(state)},
    )
    space = {"learning_rate": "log_uniform(1e-3, 1)"}
    return sweeps.Study(trial, steps=2000, metric="loss", mode="min", space=space, evaluate_every=50)


def pbt(repetitions: int, out: Path) -> list[str]:
    """Population-based training against the best of as many fixed learning rates."""
    wanted, found = noisy_quadratic(), {"best fixed learning rate": [], "population-based training": []}
    for repetition in range(repetitions):
        for name, thinning in zip(found, (None, "pbt"), strict=True):
            results = sweeps.run(
                wanted,
                search="random",
                samples=BATCH,
                schedule=thinning,
                root_seed=repetition,
                progress=False,
            )
            found[name].append(results.best().mean)
    lines = [
        f"Loss of a noisy quadratic, {BATCH} members, {wanted.steps} steps, {repetitions} repetitions",
        "",
    ]
    lines += ["| | loss: median (range) |", "| --- | --- |"]
    for name, losses in found.items():
        lines.append(f"| {name} | {np.median(losses):.4g} ({min(losses):.4g} to {max(losses):.4g}) |")
    pairs = zip(found["population-based training"], found["best fixed learning rate"], strict=True)
    return [*lines, "", f"population-based training is better in {sum(a < b for a, b in pairs)} of them"]


ROWS = {"halving": (halving, 3), "search": (search, REPETITIONS), "pbt": (pbt, REPETITIONS)}


def main() -> None:
    """Runs the rows asked for and prints their tables."""
    parser = argparse.ArgumentParser(description="searches and schedules against the plain thing")
    parser.add_argument("--only", default=",".join(ROWS), help=f"of {','.join(ROWS)}")
    parser.add_argument("--rounds", type=int, help="how often each is repeated")
    parser.add_argument("--out", type=Path, default=Path("."), help="a folder for schedules.md and pictures")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(ROWS):
        parser.error(f"`--only is of {', '.join(ROWS)}` must hold, but got {', '.join(unknown)}")
    sweeps.use_cpu_cores()
    if options.one:
        print(json.dumps(sweep(options.one)))
        return
    parts = [machine()]
    for name in options.only.split(","):
        row, usual = ROWS[name]
        parts += [f"### {name}", "\n".join(row(options.rounds or usual, options.out))]
        print(parts[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "schedules.md").write_text("\n\n".join(parts) + "\n")


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
