"""The engine as a contender: `engine_contender.py mlp` trains whole populations as the planner chose.

A round is what `sweeps.run` does in steady state: every chunk is initialised, trained and evaluated, by the
programs and at the width that planning measured and chose. Tracing, compiling and planning come before.
Started once per core, each process has its core to itself and one device, as a worker of a cluster has.
"""

import sys
from typing import Any

import jax
import numpy as np

import sweeps
from sweeps.engine import autotune
from sweeps.engine import chunks as planning
from sweeps.engine import program as execute
from sweeps.engine.bench import place
from sweeps.engine.examples import example_batch
from sweeps.engine.failure import check_group
from sweeps.members.population import populate, traced_columns
from tests.benchmarks import networks
from tests.benchmarks.contenders import pin, serve


class Engine:
    """A study on all cores, planned and compiled.

    Args:
        study: what to train.
        devices: how many devices share it; None for all.
        two_widths: whether to compile two widths in any case, so that the memory per member is known.
    """

    def __init__(self, study: sweeps.Study, devices: int | None = None, two_widths: bool = False):
        self.study, self.population = study, populate(study, None, 0)
        self.mesh = execute.make_mesh(jax.devices()[:devices])
        digest = check_group(study, self.population, 0).digest
        self.bench = place(study, self.population, self.mesh, 0)._replace(digest=digest)
        self.choice = autotune.choose(self.bench, remember=not two_widths)
        self.program = self.bench.program(self.choice.best.loop)
        most = self.choice.best.per_device * self.mesh.size
        self.chunks = planning.cut(self.population.groups, self.mesh.size, most)

    def train(self) -> dict[str, np.ndarray]:
        """Trains every member; returns the metrics of each after the last step."""
        found = []
        for chunk in self.chunks:
            ids = np.resize(chunk.members, chunk.width)
            members = execute.place_members(
                self.mesh, traced_columns(self.population, ids), self.population.seeds[ids]
            )
            carry = self.program.init(self.bench.root, members, example_batch(self.study))
            steps = np.int32(0), np.int32(self.study.steps)
            carry = self.program.advance(self.bench.root, members, carry, self.bench.train, *steps)
            metrics, _ = self.program.evaluate(members, carry, self.bench.evaluation, steps[1])
            found.append({name: np.asarray(rows)[: len(chunk.members)] for name, rows in metrics.items()})
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def main() -> None:
    pin()
    work = networks.WORK[sys.argv[1]]
    sweeps.use_cpu_cores()
    engine = Engine(networks.study_of(work))
    width = engine.chunks[0].width

    def train(members: int) -> dict[str, Any]:
        del members  # a population is trained whole
        metrics = engine.train()
        return {
            "loss": float(np.mean(metrics["test/loss"])),
            "accuracy": float(np.mean(metrics["test/accuracy"])),
            "plan": f"{width} members at once, {width // engine.mesh.size} per core, {engine.program.loop}",
            "measured": [each._asdict() for each in engine.choice.measurements],
        }

    serve(train, work.members)


if __name__ == "__main__":
    main()
