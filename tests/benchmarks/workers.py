"""Two workers of a Ray cluster against two local devices: `python -m tests.benchmarks.workers`.

Both have two cores. Efficiency is the local time over the cluster's for one sweep of MLPs, from the plan to
the last table, and with starting and planning; overhead is what a chunk takes that trains almost nothing.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import sweeps
from sweeps import compilation
from tests.benchmarks import networks
from tests.benchmarks.contenders import ROOT
from tests.benchmarks.populations import machine, verdict
from tests.sweeps import tiny_networks

SMALL_CHUNKS = 50


class Times:
    """Seconds of sweeps, by what ran them.

    Attributes:
        whole: from the call to the results.
        training: from the plan to the results.
    """

    def __init__(self):
        self.whole: list[float] = []
        self.training: list[float] = []

    def take(self, study: sweeps.Study, **options: Any) -> None:
        """Runs a sweep in a folder of its own."""
        with tempfile.TemporaryDirectory() as folder:
            out, began = Path(folder) / "run", time.time()
            sweeps.run(study, out=out, progress=False, **options)
            ended = time.time()
            self.whole.append(ended - began)
            self.training.append(
                ended - (out / "manifest.json").stat().st_mtime
            )  # written last with the plan


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="two workers of a Ray cluster against two local devices")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    sweeps.use_cpu_cores()
    compilation.use_cache()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    executor = sweeps.ray(cluster.address, worker_cpus=1, runtime_env=environment)
    work = networks.WORK["mlp"]
    study = networks.study_of(work, options.steps)
    # The same members per device in both: eight at once here are four in each of two workers.
    per_device, small = 4, tiny_networks.study(20 * SMALL_CHUNKS)
    local, remote, short = Times(), Times(), {None: Times(), "ray": Times()}
    for _ in range(options.rounds + 1):  # the first fills the compilation cache
        local.take(study, members_per_chunk=2 * per_device)
        remote.take(study, members_per_chunk=per_device, executor=executor)
        short[None].take(small, members_per_chunk=20, devices=jax.devices()[:1])
        one = executor._replace(workers=1)
        short["ray"].take(small, members_per_chunk=20, executor=one)
    cluster.shutdown()
    lines = ["| | local devices | workers | efficiency | target |", "| --- | --- | --- | --- | --- |"]
    for name, target in (("training", 0.85), ("whole", None)):
        here, there = (np.asarray(getattr(times, name)[1:]) for times in (local, remote))
        efficiency = float(np.median(here / there))
        said = "the sweep, from its plan on" if name == "training" else "with starting and planning"
        lines.append(
            f"| {said} | {np.median(here):.1f} s | {np.median(there):.1f} s | {efficiency:.2f} | "
            f"{verdict(efficiency, target) if target else ''} |"
        )
    each = {key: np.median(times.training[1:]) / SMALL_CHUNKS for key, times in short.items()}
    lines += [
        "",
        f"{work.alphas * work.seeds} MLPs, "
        f"{options.steps} steps, {options.rounds} rounds. A chunk of 20 tiny networks takes "
        f"{1e3 * each['ray']:.0f} ms on one worker and {1e3 * each[None]:.0f} ms on one local device.",
    ]
    print(machine(), "", *lines, sep="\n")
    print(f"load average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
