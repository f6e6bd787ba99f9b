"""Sweeps on a real Ray cluster of several nodes of this machine. About 3 minutes; `pytest -m cluster -n0`."""

import contextlib
import dataclasses
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import sweeps
from sweeps.executors.ray_cluster import Ray
from sweeps.store import chunks as store
from sweeps.store import heartbeats
from sweeps.store.lock import locked
from sweeps.store.status import status
from tests.sweeps import clustered

pytest.importorskip("ray", reason="Ray is not installed; pip install 'lrelu-jax[ray]'")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings(
        *(f"ignore::{kind}Warning" for kind in ("Resource", "Deprecation", "Future")),
        # A node that is added is forked off this process; what Python cannot raise there, pytest does.
        "ignore::RuntimeWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
]
HERE, ROOT = Path(clustered.__file__).parent, Path(clustered.__file__).parents[2]
COMMAND = [sys.executable, "-c", "import sys; from sweeps.cli.main import main; sys.exit(main(sys.argv[1:]))"]
WIDTH = 4  # members per chunk: sixteen members make four chunks


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=1)
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same sweep in one process, with a worker's devices and threads."""
    out = tmp_path_factory.mktemp("alone") / "run"
    core = sorted(os.sched_getaffinity(0))[0]
    subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{core}]); {COMMAND[-1]}",
         "run", f"{HERE / 'clustered.py'}:long",
         "--members-per-chunk", str(WIDTH), "--out", str(out), "--quiet"],
        check=True, cwd=ROOT, env=os.environ | {"MPLBACKEND": "Agg", "JAX_NUM_CPU_DEVICES": "1"},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return out


def on(cluster, **options: Any) -> Ray:
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    return sweeps.ray(cluster.address, **({"worker_cpus": 1, "runtime_env": environment} | options))


def tables(directory: Path) -> list[dict]:
    return [pq.read_table(directory / f"{kind}.parquet").to_pydict() for kind in store.KINDS]


def histories(directory: Path) -> dict[tuple[float, int], list[dict[str, Any]]]:
    """All rows of every member, by slope and seed, since its id depends on how many others there are."""
    results = sweeps.load(directory)
    members = {row.pop("member"): row for row in results.members.to_pylist()}
    found = {member: [row] for member, row in members.items()}
    for row in results.metrics.to_pylist():
        found[row.pop("member")].append(row)
    return {(members[member]["alpha"], members[member]["seed"]): rows for member, rows in found.items()}


@contextlib.contextmanager
def watching(directory: Path, act):
    """Calls `act(name, record)` once, with the first worker that has trained a step."""
    acted, over = [], threading.Event()

    def watch():
        while not acted and not over.is_set():
            for name, record in heartbeats.read(directory).items():
                if record["step"] > 0:
                    acted.append(act(name, record))
                    break
            time.sleep(0.1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield acted
    finally:
        over.set()
        thread.join()


def run(cluster, out: Path, study: sweeps.Study | None = None, **options: Any) -> sweeps.Results:
    study = clustered.study() if study is None else study
    wanted: dict[str, Any] = {
        "progress": False,
        "members_per_chunk": WIDTH,
        "executor": on(cluster),
    } | options
    return sweeps.run(study, out=out, **wanted)


def test_tables_are_those_of_a_run_in_one_process(cluster, alone, tmp_path):
    seen = []

    def look(name, record):
        end = time.monotonic() + 60
        # On a busy machine one worker trains while the other starts, and the driver counts it last.
        while (said := dict(status(tmp_path / "run"))) and time.monotonic() < end:
            if "2 workers" in said["running"] and "8 running" in said["members"]:
                break
            time.sleep(0.1)
        found = heartbeats.read(tmp_path / "run")
        cores = {other: os.sched_getaffinity(record["pid"]) for other, record in found.items()}
        seen.append((cores, said))

    with watching(tmp_path / "run", look):
        run(cluster, tmp_path / "run")
    assert tables(tmp_path / "run") == tables(alone)
    chunks = {folder.name: store.read_setting(folder) for folder in store.committed(tmp_path / "run")}
    assert chunks == {folder.name: store.read_setting(folder) for folder in store.committed(alone)}
    cores, said = seen[0]
    assert len(cores) == 2 and all(len(own) == 1 for own in cores.values())
    assert not set.intersection(*cores.values())  # no core has two workers
    assert "2 workers" in said["running"] and "8 running" in said["members"]
    assert re.search(rf"chunk 0-\d+-0-{clustered.STEPS}", said["worker-1"] + said["worker-2"])
    assert not (tmp_path / "run" / "workers").exists()


def kill(name, record):
    os.kill(record["pid"], signal.SIGKILL)
    return record["chunk"]


def stop(name, record):
    os.kill(record["pid"], signal.SIGSTOP)
    return record["chunk"]


def starve(name, record):
    used = int(Path(f"/proc/{record['pid']}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(record["pid"], resource.RLIMIT_AS, (used, used))
    return record["chunk"]


@pytest.mark.parametrize(("fault", "limit"), [(kill, None), (stop, 8), (starve, 60)])
def test_a_worker_that_ends_badly_costs_its_chunk_alone(cluster, alone, tmp_path, fault, limit, capsys):
    executor = on(cluster, time_limit=limit)
    with watching(tmp_path / "run", fault) as acted:
        run(cluster, tmp_path / "run", executor=executor, progress=True)
    assert acted
    again = [line for line in capsys.readouterr().err.splitlines() if "is tried again" in line]
    assert all(acted[0] in line and "attempt 2" in line for line in again)
    if fault is starve:  # halves of a chunk are another numerical setting; nothing may have failed at all
        assert pq.read_table(tmp_path / "run" / "members.parquet")["status"].to_pylist() == ["done"] * 16
    else:
        assert len(again) == 1 and tables(tmp_path / "run") == tables(alone)


@contextlib.contextmanager
def beside(cluster, out: Path, study: sweeps.Study | None = None):
    """A run in a thread, since nodes can only be added from the main one; entered once a step is trained."""
    errors: list[BaseException] = []

    def train():
        try:
            run(cluster, out, study)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    while thread.is_alive() and not any(record["step"] > 0 for record in heartbeats.read(out).values()):
        time.sleep(0.1)
    try:
        yield thread
    finally:
        thread.join()
    assert not errors, errors


def test_a_node_that_goes_costs_its_chunk_and_one_that_comes_takes_work(cluster, alone, tmp_path):
    # Twelve chunks: a node that comes needs a while to start, and must find work then.
    out, names = tmp_path / "run", set[str]()
    with beside(cluster, out, clustered.study(seeds=12)) as thread:
        while len(before := set(heartbeats.read(out))) < 2 and thread.is_alive():
            time.sleep(0.1)  # one may train while the other starts
        cluster.remove_node(list(cluster.worker_nodes)[0], allow_graceful=False)
        cluster.add_node(num_cpus=1)
        while thread.is_alive():
            names |= set(heartbeats.read(out))
            time.sleep(0.1)
    assert len(before) == 2 and len(names | before) == 3
    found = histories(out)
    assert len(found) == 48 and histories(alone).items() <= found.items()  # the first four seeds


def test_a_chunk_that_always_fails_is_marked_and_the_others_finish(cluster, tmp_path):
    study = clustered.failing(os.getpid())
    results = run(cluster, tmp_path / "run", study, executor=on(cluster, attempts=2))
    rows = results.members.to_pylist()
    assert {row["status"] for row in rows if row["kind"] == "bad"} == {"failed"}
    assert {row["status"] for row in rows if row["kind"] == "good"} == {"done"}
    errors = [store.read_setting(folder).get("error") for folder in store.committed(tmp_path / "run")]
    assert "RuntimeError: no such <kernel> here" in errors and None in errors
    page = results.report(tmp_path / "report.html").read_text()
    assert "no such &lt;kernel&gt; here" in page and "no such <kernel>" not in page
    failed = next(row["member"] for row in rows if row["status"] == "failed")
    with pytest.raises(sweeps.StudyError, match="`a member that was trained` must hold, but got"):
        sweeps.replay(tmp_path / "run", failed, study)
    again = sweeps.resume(tmp_path / "run", study, executor="inline", progress=False)  # where it can
    assert set(again.members["status"].to_pylist()) == {"done"}


def test_rounds_cross_workers_and_a_search_does_too(cluster, tmp_path):
    study = clustered.study(steps=40)
    options: dict[str, Any] = {"schedule": "halving(eta=2, min_steps=10)"}
    here = sweeps.run(study, out=tmp_path / "here", progress=False, members_per_chunk=WIDTH, **options)
    there = run(cluster, tmp_path / "there", study, **options)
    for name in ("status", "stopped_at"):
        assert there.members[name].to_pylist() == here.members[name].to_pylist()
    space = {"alpha": sweeps.uniform(0, 0.5), "seed": range(2)}
    searched = dataclasses.replace(study, space=space)
    found = run(cluster, tmp_path / "tpe", searched, search=sweeps.tpe(points_per_batch=3), samples=6)
    assert len(found.members) == 12 and set(found.members["status"].to_pylist()) == {"done"}


def test_a_driver_that_is_killed_is_followed_by_another(cluster, alone, tmp_path):
    word, out = f"{HERE / 'clustered.py'}:long", tmp_path / "run"
    command = [*COMMAND, "run", word, "--members-per-chunk", str(WIDTH), "--out", str(out),
               "--executor", "ray", "--address", cluster.address, "--worker-cpus", "1"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    driver = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    with watching(out, lambda name, record: driver.kill()) as acted:
        driver.wait(timeout=120)
    assert acted
    sweeps.resume(out, clustered.study(), executor=on(cluster), progress=False)
    assert tables(out) == tables(alone)


def test_ctrl_c_leaves_a_directory_that_goes_on(cluster, alone, tmp_path):
    word, out = f"{HERE / 'clustered.py'}:long", tmp_path / "run"
    command = [*COMMAND, "run", word, "--members-per-chunk", str(WIDTH), "--out", str(out),
               "--executor", "ray", "--address", cluster.address, "--worker-cpus", "1"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    driver = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    with watching(out, lambda name, record: driver.send_signal(signal.SIGINT)):
        _, said = driver.communicate(timeout=120)
    assert driver.returncode == 130 and f"go on with: sweeps resume {out}" in said
    assert "Traceback" not in said
    assert not (out / "workers").exists()
    done = sweeps.resume(out, clustered.study(), progress=False)  # here, on as many devices as a worker had
    assert set(done.members["status"].to_pylist()) == {"done"}


def test_a_second_driver_is_refused(cluster, tmp_path):
    study = clustered.study(steps=20)
    run(cluster, tmp_path / "run", study)
    with locked(tmp_path / "run"):
        with pytest.raises(sweeps.StudyError, match="`one process at a time runs .* but got process"):
            sweeps.resume(tmp_path / "run", study, executor=on(cluster), progress=False)


def test_a_module_that_workers_cannot_import_is_said_once(cluster, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text((HERE / "clustered.py").read_text())
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # pyright: ignore[reportMissingImports]

    study = only_here.study(steps=20)
    with pytest.raises(sweeps.StudyError, match="`a worker can take the study`.*No module named 'only_here'"):
        run(cluster, tmp_path / "run", study)
    assert not (tmp_path / "run").exists()
    shipped = sweeps.ray(cluster.address, worker_cpus=1)
    found = run(cluster, tmp_path / "run", study, executor=shipped)
    assert set(found.members["status"].to_pylist()) == {"done"}


def test_no_node_is_large_enough(cluster, tmp_path):
    with pytest.raises(sweeps.StudyError, match="`a node has room for a worker of 64 CPUs and 0 GPUs` must"):
        run(cluster, tmp_path / "run", executor=on(cluster, worker_cpus=64))
    assert not (tmp_path / "run").exists()
