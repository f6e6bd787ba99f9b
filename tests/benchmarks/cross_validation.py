"""Cross-validation against scikit-learn's search over PyTorch: `python -m tests.benchmarks.cross_validation`.

Eight slopes, eight seeds and five stratified folds of the digits' training images, 320 networks. `sweeps.run`
is timed as it is called, in a process of its own, compiling and planning included, then once more in the same
process; `GridSearchCV` runs with a process per core, which is what a user of PyTorch would write. Both report
the accuracy on the fold that was held out. Their seeds and folds are drawn differently, so the means agree
within their intervals, which are Nadeau and Bengio's (2003) for folds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

FOLDS = 5
METRIC = "validation/accuracy"


def space(alphas: int, seeds: int) -> dict[str, Any]:
    """The slopes and the seeds, which both sides train."""
    return {"alpha": np.linspace(0, 0.3, alphas).tolist(), "seed": list(range(seeds))}


def by_sweeps(alphas: int, seeds: int, calls: int) -> dict[str, Any]:
    """Seconds of each whole call, and the accuracy of every slope by seed and fold."""
    import dataclasses

    import sweeps
    from tests.benchmarks import networks

    study = networks.study_of(networks.WORK["mlp"])
    every = {**space(alphas, seeds), "fold": sweeps.folds(FOLDS)}
    study = dataclasses.replace(study, metric=METRIC, space=every)
    seconds, found = [], np.zeros(0)
    for _ in range(calls):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            results = sweeps.run(study, out=Path(folder) / "run", progress=False)
            found = results.to_xarray()[METRIC].isel(step=-1).transpose("alpha", "seed", "fold").values
        seconds.append(time.monotonic() - began)
    return {"seconds": seconds, "accuracy": found.tolist()}


def by_scikit_learn(alphas: int, seeds: int, cores: int) -> dict[str, Any]:
    """The same for a grid search over a PyTorch estimator."""
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    import sweeps
    from tests.benchmarks.torch_estimator import TorchMLP

    inputs, targets = sweeps.data.digits().train
    cut = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    began = time.monotonic()
    search = GridSearchCV(TorchMLP(), space(alphas, seeds), cv=cut, n_jobs=cores, refit=False)
    search.fit(np.asarray(inputs, np.float32), np.asarray(targets))
    seconds = time.monotonic() - began
    splits = np.stack([search.cv_results_[f"split{fold}_test_score"] for fold in range(FOLDS)], axis=-1)
    return {"seconds": [seconds], "accuracy": splits.reshape(alphas, seeds, FOLDS).tolist()}


def interval(accuracy: np.ndarray) -> tuple[float, float]:
    """The mean over seeds and folds, and half of its 95 % interval."""
    count = accuracy.size
    inflated = 1 / count + 1 / (FOLDS - 1)
    half = stats.t.ppf(0.975, count - 1) * np.sqrt(inflated * accuracy.var(ddof=1))
    return float(accuracy.mean()), float(half)


def table(alphas: int, seeds: int, ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """What both found, and what it took."""
    first, again, grid = ours["seconds"][0], min(ours["seconds"][1:]), theirs["seconds"][0]
    rows = [
        f"{alphas} slopes x {seeds} seeds x {FOLDS} folds = {alphas * seeds * FOLDS} networks, 300 steps",
        "",
        "| | seconds | times sweeps |",
        "| --- | --- | --- |",
        f"| `sweeps.run`, first call in a process | {first:.1f} | 1 |",
        f"| `sweeps.run`, second call | {again:.1f} | {again / first:.2f} |",
        f"| `GridSearchCV` over PyTorch, a process per core | {grid:.1f} | {grid / first:.2f} |",
        "",
        "| slope | sweeps | PyTorch | within the intervals |",
        "| --- | --- | --- | --- |",
    ]
    pairs = zip(space(alphas, seeds)["alpha"], ours["accuracy"], theirs["accuracy"], strict=True)
    for alpha, mine, other in pairs:
        (mean, half), (their, their_half) = interval(np.asarray(mine)), interval(np.asarray(other))
        same = "yes" if abs(mean - their) <= np.hypot(half, their_half) else "no"
        rows.append(f"| {alpha:.3f} | {mean:.4f} ± {half:.4f} | {their:.4f} ± {their_half:.4f} | {same} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alphas", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--only", choices=["sweeps", "sklearn"])
    options = parser.parse_args()
    alphas, seeds = options.alphas, options.seeds
    if options.only == "sweeps":
        print(json.dumps(by_sweeps(alphas, seeds, calls=3)))
    elif options.only == "sklearn":
        print(json.dumps(by_scikit_learn(alphas, seeds, len(os.sched_getaffinity(0)))))
    else:
        ours, theirs = (_in_a_process(only, alphas, seeds) for only in ("sweeps", "sklearn"))
        print("\n".join(table(alphas, seeds, ours, theirs)))


def _in_a_process(only: str, alphas: int, seeds: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.cross_validation", "--only", only]
    command += ["--alphas", str(alphas), "--seeds", str(seeds)]
    with tempfile.TemporaryDirectory() as cache:  # a first call finds nothing compiled
        environment = os.environ | {"XDG_CACHE_HOME": cache}
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
