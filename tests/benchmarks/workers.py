"""Two workers against two local devices: `python -m tests.benchmarks.workers [--executor processes]`.

Both have two cores. Efficiency is the local time over the workers' for one sweep of MLPs, from the plan to
the last table, and with starting and planning; overhead, of a Ray cluster's workers, is what one more chunk
takes that trains almost nothing.
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import sweeps
from sweeps.host import compilation
from tests.benchmarks import networks
from tests.benchmarks.contenders import ROOT
from tests.benchmarks.populations import machine, verdict
from tests.sweeps import tiny_networks

FEW, MANY, SMALL = 25, 100, 20  # chunks, and members of each


class Times:
    """Seconds of sweeps, by what ran them.

    Attributes:
        whole: from the call to the results.
        training: from the plan to the results.
        processor: of this process, all threads.
    """

    def __init__(self):
        self.whole: list[float] = []
        self.training: list[float] = []
        self.processor: list[float] = []

    def take(self, study: sweeps.Study, **options: Any) -> None:
        """Runs a sweep in a folder of its own."""
        with tempfile.TemporaryDirectory() as folder:
            out, began, used = Path(folder) / "run", time.time(), time.process_time()
            sweeps.run(study, out=out, progress=False, **options)
            ended = time.time()
            self.processor.append(time.process_time() - used)
            self.whole.append(ended - began)
            self.training.append(
                ended - (out / "manifest.json").stat().st_mtime
            )  # written last with the plan


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description="two workers against two local devices")
    parser.add_argument("--executor", choices=("ray", "processes"), default="ray")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    sweeps.use_cpu_cores()
    compilation.use_cache()
    with contextlib.ExitStack() as last:
        executor = last.enter_context(clustered()) if options.executor == "ray" else options.executor
        measure(options, executor)


@contextlib.contextmanager
def clustered() -> Iterator[Any]:
    """A Ray cluster of two nodes of one core each."""
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    yield sweeps.ray(cluster.address, worker_cpus=1, runtime_env=environment)
    cluster.shutdown()


def measure(options: argparse.Namespace, executor: Any) -> None:
    """Measures and prints."""
    on_ray = options.executor == "ray"
    work = networks.WORK["mlp"]
    study = networks.study_of(work, options.steps)
    # The same members per device in both: eight at once here are four in each of two workers.
    per_device, one = 4, executor._replace(workers=1) if on_ray else None
    local, remote = Times(), Times()
    short = {(where, chunks): Times() for where in ("local", "ray") for chunks in (FEW, MANY) if on_ray}
    for _ in range(options.rounds + 1):  # the first fills the compilation cache
        local.take(study, members_per_chunk=2 * per_device)
        remote.take(study, members_per_chunk=per_device, executor=executor)
        for (where, chunks), times in short.items():
            place = {"devices": jax.devices()[:1]} if where == "local" else {"executor": one}
            times.take(tiny_networks.study(SMALL * chunks), members_per_chunk=SMALL, **place)
    lines = ["| | local devices | workers | efficiency | target |", "| --- | --- | --- | --- | --- |"]
    for name, target in (("training", 0.85), ("whole", None)):
        here, there = (np.asarray(getattr(times, name)[1:]) for times in (local, remote))
        efficiency = float(np.median(here / there))
        part = "the sweep, from its plan on" if name == "training" else "with starting and planning"
        lines.append(
            f"| {part} | {np.median(here):.1f} s | {np.median(there):.1f} s | {efficiency:.2f} | "
            f"{verdict(efficiency, target) if target else ''} |"
        )

    def each(where: str, what: str) -> float:
        """Milliseconds of one chunk more."""
        few, many = (float(np.median(getattr(short[where, chunks], what)[1:])) for chunks in (FEW, MANY))
        return 1e3 * (many - few) / (MANY - FEW)

    said = f"{work.alphas * work.seeds} MLPs, {options.steps} steps, {options.rounds} rounds."
    if on_ray:
        said += (
            f" One more chunk of {SMALL} tiny networks takes {each('ray', 'training'):.0f} ms on one worker "
            f"and {each('local', 'training'):.0f} ms on one local device; the driver's processor is busy for "
            f"{each('ray', 'processor'):.1f} ms of it."
        )
    lines += ["", said]
    print(machine(), "", *lines, sep="\n")
    print(f"load average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
