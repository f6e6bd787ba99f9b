"""Sweeps of very many members. About 2 minutes on two cores; `pytest -m scale`."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pyarrow.parquet as pq
import pytest

import sweeps
from sweeps.engine import program

SCRIPT = Path(__file__).parents[1] / "tiny_networks.py"


def peak_bytes(members: int, out: Path) -> int:
    """The peak memory of a process that sweeps so many tiny networks."""
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": str(SCRIPT.parents[2])}
    words = [sys.executable, str(SCRIPT), str(members), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.scale
def test_a_million_members_take_no_more_memory_than_ten_thousand(tmp_path):
    few, many = (peak_bytes(members, tmp_path / str(members)) for members in (10_000, 1_000_000))
    assert many <= 1.5 * few
    members = pq.read_table(tmp_path / "1000000" / "members.parquet", columns=["member", "status"])
    assert members["member"].to_numpy().tolist() == list(range(1_000_000))
    assert set(members["status"].unique().to_pylist()) == {"done"}
    assert pq.read_metadata(tmp_path / "1000000" / "metrics.parquet").num_rows == 1_000_000


@dataclasses.dataclass(frozen=True)
class Sized:
    alpha: float = 0.1
    size: int = 2


@pytest.mark.scale
def test_ten_thousand_combinations_compile_as_many_programs_as_static_values(monkeypatch):
    traces, built, build = [], [], program.build

    def step(config, state, batch, key):
        traces.append(config.size)
        return state * config.alpha, {"train/loss": state.sum()}

    def counted(*arguments):
        built.append(arguments[1])
        return build(*arguments)

    monkeypatch.setattr(program, "build", counted)
    trial = sweeps.Trial(
        config=Sized,
        data=None,
        init=lambda config, key: jnp.ones(config.size),
        step=step,
        evaluate=lambda config, state, data: {"sum": state.sum()},
    )
    space = {"size": [1, 2, 4, 8], "alpha": sweeps.linspace(0, 1, 2500)}
    results = sweeps.run(
        sweeps.Study(trial, steps=2, metric="sum", mode="max", space=space),
        members_per_chunk=500,
        progress=False,
    )
    assert len(results.members) == 10_000 and [statics["size"] for statics in built] == [1, 2, 4, 8]
    # Each is traced by the check, by the carry's shapes and by its one program, however many members.
    assert all(traces.count(size) == traces.count(1) <= 4 for size in (1, 2, 4, 8))
    alphas, sizes = (results.members[name].to_numpy() for name in ("alpha", "size"))
    # Two products of float32 numbers, rounded each time.
    assert results.final("sum") == pytest.approx(sizes * alphas**2, rel=1e-6)
