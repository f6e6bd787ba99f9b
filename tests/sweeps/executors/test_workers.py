"""What workers need besides Ray itself: cores of their own, records, and the words of `sweeps.ray`."""

import io
import json
import math
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from rich.console import Console

import sweeps
from sweeps.cli.main import main
from sweeps.engine import autotune
from sweeps.engine.chunks import Chunk
from sweeps.engine.plan import examine
from sweeps.executors import ray_cluster
from sweeps.executors.pool import Died, Failed
from sweeps.executors.processes import parse
from sweeps.executors.worker import Job, Worker
from sweeps.host.compilation import Programs
from sweeps.host.cores import claim
from sweeps.host.progress import Display, Running
from sweeps.members.request import make_request
from sweeps.members.sampling import Sampling
from sweeps.store import chunks as store
from sweeps.store import heartbeats
from sweeps.store.heartbeats import Record, Superseded
from sweeps.store.lock import LOCK, locked
from sweeps.store.status import status
from tests.sweeps import plain, tiny_networks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"worker_cpus": 0}, "`1 <= worker_cpus` must hold and be a whole number, but got 0"),
        ({"worker_gpus": -1}, "`0 <= worker_gpus` must hold"),
        ({"workers": 0}, "`1 <= workers` must hold"),
        ({"attempts": 0}, "`1 <= attempts` must hold"),
        ({"time_limit": 0}, "`0 < time_limit` must hold, but got 0"),
    ],
)
def test_what_cannot_be_a_worker_is_refused(options, message):
    with pytest.raises(sweeps.StudyError, match=message):
        sweeps.ray(**options)


def test_an_executor_is_one_of_three(tmp_path):
    study = tiny_networks.study(10)
    assert parse(None, None) is None and parse("ray", None) == sweeps.ray()
    with pytest.raises(sweeps.StudyError, match='Unknown executor "dask". Choose inline, processes, ray'):
        sweeps.run(study, executor="dask", out=tmp_path / "run")
    with pytest.raises(sweeps.StudyError, match="`out` must be given with an executor"):
        sweeps.run(study, executor="ray")
    with pytest.raises(sweeps.StudyError, match="`out` must be given with an executor"):
        sweeps.run(study, executor="processes")


def test_without_ray_the_line_to_install_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        sweeps.StudyError, match=r"`ray is installed` must hold.*pip install 'lrelu-jax\[ray\]'"
    ):
        sweeps.run(tiny_networks.study(10), executor="ray", out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--executor", "dask"],
            'Unknown executor "dask". Choose processes, inline or ray.',
        ),
        (["--executor", "process"], 'Unknown executor "process". Did you mean "processes"?'),
        (["--executor", "inline", "--address", "auto"], "must be given with --address, but got inline"),
        (["--worker-cpus", "2"], "`--executor ray` must be given with --worker-cpus, but got none"),
        (["--devices", "99"], "devices <= "),
    ],
)
def test_the_command_refuses_it_too(words, message, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["run", "digits-mlp", "--out", str(out), "--quiet", *words]) == 2
    assert message in capsys.readouterr().err and not out.exists()


class Cluster:
    """Ray as far as its nodes go."""

    def __init__(self, *nodes):
        self.found = [{"Alive": True, "Resources": node} for node in nodes]

    def nodes(self):
        return [*self.found, {"Alive": False, "Resources": {"CPU": 64.0}}]


def test_workers_take_the_smallest_node_unless_told():
    two = Cluster({"CPU": 8.0}, {"CPU": 4.0}, {"memory": 1.0})
    shape = ray_cluster.worker_shape(two, sweeps.ray(), None)
    assert shape == {"num_cpus": 4, "num_gpus": 0, "resources": {}} and ray_cluster.slots(two, shape) == 3
    assert ray_cluster.worker_shape(two, sweeps.ray(), 2)["num_cpus"] == 2  # a run that began on two cores
    both = Cluster({"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 2.0})
    shape = ray_cluster.worker_shape(both, sweeps.ray(worker_cpus=1), None)
    assert shape["num_gpus"] == 2 and ray_cluster.slots(both, shape) == 3
    shape = ray_cluster.worker_shape(both, sweeps.ray(worker_cpus=1, worker_gpus=1), None)
    assert ray_cluster.slots(both, shape) == 6
    with pytest.raises(
        sweeps.StudyError, match="`a node has room for a worker of 16 CPUs and 0 GPUs`.*CPU 8"
    ):
        ray_cluster.worker_shape(two, sweeps.ray(worker_cpus=16), None)
    assert ray_cluster.worker_shape(two, sweeps.ray(worker_cpus=16, workers=2), None)["num_cpus"] == 16


GENERIC = (
    "The actor died unexpectedly before finishing this task.\n\tpid: 7\n"
    "The actor is dead because its worker process has died. Worker exit detail: End of file. "
    "Some common causes include: (1) the process was killed by the OOM killer due to high memory usage"
)


@pytest.mark.parametrize(
    ("kind", "said", "memory"),
    [
        ("ActorDiedError", GENERIC, False),  # what may have been the cause is none that is known
        ("ActorDiedError", GENERIC.replace("End of file", "NODE_OUT_OF_MEMORY"), True),
        ("OutOfMemoryError", "Task was killed due to the node running low on memory.", True),
    ],
)
def test_a_worker_that_died_is_short_of_memory_only_where_ray_knows_it(kind, said, memory):
    class RayActorError(Exception):
        pass

    class OutOfMemoryError(Exception):
        pass

    error = {"OutOfMemoryError": OutOfMemoryError, "ActorDiedError": type(kind, (RayActorError,), {})}[kind]

    def get(call):
        raise error(said)

    known = SimpleNamespace(RayActorError=RayActorError, OutOfMemoryError=OutOfMemoryError)
    pool: Any = SimpleNamespace(ray=SimpleNamespace(get=get, exceptions=known))
    with pytest.raises(Died, match=f"^{kind}: (The actor is dead because|Task was killed)") as found:
        ray_cluster.RayPool.answer(pool, None)
    assert found.value.memory == memory and "common causes" not in str(found.value)


CLAIM = """
import json, sys
from pathlib import Path
from sweeps.host.cores import claim
print(json.dumps(claim(int(sys.argv[2]), Path(sys.argv[1]), patience=0.3)), flush=True)
sys.stdin.read()
"""


def test_no_core_has_two_workers(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or os.cpu_count() == 1:
        pytest.skip("one core")

    def worker(count):
        running = subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(tmp_path), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert running.stdout is not None
        return running, json.loads(running.stdout.readline())

    first, own = worker(1)
    second, others = worker(len(cores) - 1)
    third, none = worker(1)
    if own:  # where a quota rather than cores is given, nothing can be claimed
        assert len(own) == 1 and sorted(own + others) == cores and none == []
    first.kill()
    first.communicate()
    fourth, again = worker(1)
    assert again == own
    for process in (second, third, fourth):
        process.communicate()


def test_what_a_task_of_ray_raised_is_said_without_what_jax_adds_to_it():
    class RayTaskError(Exception):
        cause = ValueError("no such file here")

    def get(call):
        raise RayTaskError("Traceback\nValueError: no such file here\nSet JAX_TRACEBACK_FILTERING=off")

    other = type("Other", (Exception,), {})
    known = SimpleNamespace(RayActorError=other, OutOfMemoryError=other)
    pool: Any = SimpleNamespace(ray=SimpleNamespace(get=get, exceptions=known))
    with pytest.raises(Failed, match="^ValueError: no such file here$"):
        ray_cluster.RayPool.answer(pool, None)


@pytest.mark.parametrize(
    ("said", "timed"),
    [("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.", True), ("INTERNAL: no", False)],
)
def test_a_width_that_does_not_fit_is_planned_all_the_same_and_halved_when_it_is_trained(
    said, timed, tmp_path, monkeypatch
):
    def measure(*arguments):
        raise jax.errors.JaxRuntimeError(said)

    study = plain.study()
    asked = make_request(study, Sampling("grid", None, 0), None, name="plain")
    examined = examine(study, asked.population)
    monkeypatch.setattr(autotune, "measure", measure)
    worker = object.__new__(Worker)
    worker.job = Job(examined, str(tmp_path), 0, 0, False, 2, {}, 2, 2, 0.1)
    worker.prepared, worker.same, worker.programs = {}, set(), Programs()
    if timed:
        plan, _ = worker.measure(4, None)
        assert plan.members_per_chunk == 4 and math.isnan(plan.seconds_per_step)
    else:
        with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
            worker.measure(4, None)


HIRED = """
import json, sys
import jax
from sweeps.executors.worker import Worker
arguments, words = json.loads(sys.argv[1])
Worker(*arguments, **words)
print(jax.numpy.ones(1).dtype, jax.config.jax_default_matmul_precision)
"""


def test_a_worker_of_a_cluster_has_the_settings_of_jax_that_the_run_has():
    pool = object.__new__(ray_cluster.RayPool)
    pool.shape = {"num_cpus": 1, "num_gpus": 0, "resources": {}}
    pool.actor = SimpleNamespace(remote=lambda *arguments, **words: (arguments, words))
    with jax.enable_x64(True), jax.default_matmul_precision("float32"):
        hired = pool.hire("worker-1")
    done = subprocess.run(
        [sys.executable, "-c", HIRED, json.dumps(hired)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "float64 float32\n"


def test_more_cores_than_there_are_cannot_be_had(tmp_path):
    assert claim(10_000, tmp_path) == []


def test_a_worker_whose_run_has_gone_on_stops(tmp_path):
    with locked(tmp_path) as lock:
        record = Record(tmp_path, "worker-1", (tmp_path / LOCK, lock.holder()))
        record.say({"chunk": "0-0-0-10", "members": 4, "step": 3, "steps": 10})
        assert heartbeats.read(tmp_path)["worker-1"]["step"] == 3
        record.say({"chunk": "0-0-0-10", "members": 4, "step": 4, "steps": 10})
        assert heartbeats.read(tmp_path)["worker-1"]["step"] == 3  # at most once a second
        many = [Record(tmp_path, "worker-3", workers=count).seconds_between for count in (1, 100, 1000)]
        assert many == [1, 1, 10]
        Record(tmp_path, "worker-2", (tmp_path / LOCK, lock.holder() | {"pid": -1}))
        with pytest.raises(Superseded, match="is run by another process"):
            Record(tmp_path, "worker-2", (tmp_path / LOCK, lock.holder() | {"pid": -1})).check()
    with pytest.raises(Superseded, match="or by none"):
        record.check()
    heartbeats.forget(tmp_path, "worker-1")
    heartbeats.disband(tmp_path)
    assert not (tmp_path / "workers").exists()


def test_status_names_workers(tmp_path):
    sweeps.run(plain.study(), out=tmp_path / "run", progress=False, members_per_chunk=4)
    with locked(tmp_path / "run") as lock:
        lock.say({"workers": 2, "members": 8})
        record = Record(tmp_path / "run", "worker-7")
        record.say({"chunk": "0-0-0-10", "members": 4, "step": 3, "steps": 10})
        said = dict(status(tmp_path / "run"))
    assert said["running"].endswith("2 workers")
    assert "chunk 0-0-0-10, step 3/10, 0 s ago" in said["worker-7"]


def test_the_display_adds_up_what_runs_at_once():
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    with Display(16, 1600, console=console) as display:
        assert display._where() == "planning"
        display.doing("timing 16 members at once")
        assert display._where() == "timing 16 members at once"
        display.staff(2)
        display.chunk("a", Running(4, 50, 50, 1.0))
        display.chunk("b", Running(4, 25, 25, float("nan")))
        assert display._said() == "0/16 members, 8 running on 2 workers"
        assert display._where() == "step 25–50, loss 1" and display._completed() == 300
        display.finish("a", 4, 100, diverged=1)
        display.leave("b", failed=4, steps=100)
        display.stop(2)
        assert display._said() == "3/16 members, 2 stopped, 1 diverged, 4 failed on 2 workers"
        assert display._completed() == 400 and display.member_steps == 1200
        display.finish("c", 4, 10, diverged=0, last=False)
        assert display._said().startswith("3/16 members")


@pytest.mark.durable
def test_members_that_failed_are_trained_again(tmp_path):
    study = tiny_networks.study(20)
    expected = sweeps.run(study, out=tmp_path / "run", progress=False, members_per_chunk=10)
    folder = store.committed(tmp_path / "run")[0]
    members, metrics = store.read_chunk(folder)
    failed = members.set_column(
        members.column_names.index("status"), "status", [np.full(len(members), "failed").tolist()]
    )
    chunk = Chunk(0, members["member"].to_numpy(), 10, 0, 20)
    assert chunk.name == folder.name
    setting = store.read_setting(folder) | {"error": "RuntimeError: no <luck>", "details": ""}
    shutil.rmtree(folder)
    store.commit(tmp_path / "run", chunk.name, failed, metrics.slice(0, 0), setting)
    results = sweeps.load(tmp_path / "run")
    assert results.members["status"].to_pylist().count("failed") == 10
    page = results.report(tmp_path / "report.html").read_text()
    assert "RuntimeError: no &lt;luck&gt;" in page
    again = sweeps.resume(tmp_path / "run", study, progress=False)
    assert again.members.equals(expected.members) and again.metrics.equals(expected.metrics)
