"""Workers that are processes of this host: their tables, their ends, and that nothing of them is left.

The long ones, `pytest -m durable`, take about 3 minutes.
"""

import dataclasses
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

import sweeps
from sweeps.engine.chunks import Chunk
from sweeps.engine.plan import Plan
from sweeps.engine.program import make_mesh
from sweeps.errors import StudyError
from sweeps.executors import dispatcher
from sweeps.executors.assignment import Assignment, Hand, Task
from sweeps.executors.fork_server import ForkServer, serving
from sweeps.executors.pool import Died, Failed
from sweeps.executors.processes import Processes, ProcessPool, parse, ready
from sweeps.executors.worker import adopt
from sweeps.host import compilation, memory
from sweeps.host.devices import cpu_cores, jax_is_used
from sweeps.host.progress import Display
from sweeps.store import chunks as store
from sweeps.store import heartbeats
from tests.sweeps import clustered, plain, tiny_networks

pytestmark = [
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(sys.platform != "linux", reason="Linux alone"),
]
HERE, ROOT = Path(clustered.__file__).parent, Path(clustered.__file__).parents[2]
WORD = f"{HERE / 'clustered.py'}:long"
COMMAND = [sys.executable, "-c", "import sys; from sweeps.cli.main import main; sys.exit(main(sys.argv[1:]))"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
WIDTH = 4  # members per chunk: sixteen members make four chunks


def command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env=ENVIRONMENT | variables,
    )  # fmt: skip


def alone(out: Path, steps: int) -> Path:
    """The same sweep in one process, with a worker's devices and threads."""
    done = command(
        "run", WORD, "--steps", str(steps), "--members-per-chunk", str(WIDTH), "--out", str(out), "--quiet",
        NPROC="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return alone(tmp_path_factory.mktemp("alone") / "short", 60)


def tables(directory: Path) -> list[dict]:
    return [pq.read_table(directory / f"{kind}.parquet").to_pydict() for kind in store.KINDS]


def run(out: Path, study: sweeps.Study | None = None, **options: Any) -> sweeps.Results:
    wanted: dict[str, Any] = {"members_per_chunk": WIDTH, "executor": "processes", "progress": False}
    return sweeps.run(clustered.study(steps=60) if study is None else study, out=out, **(wanted | options))


def test_tables_are_those_of_one_process_on_a_core(short, tmp_path):
    assert jax_is_used()  # so that the server is a new process
    run(tmp_path / "run")
    assert tables(tmp_path / "run") == tables(short)
    setting = store.read_manifest(tmp_path / "run")["numerical_setting"]
    assert (setting["devices"], setting["threads"]) == (1, 1)
    assert not (tmp_path / "run" / "workers").exists()


@pytest.mark.durable
def test_the_command_trains_in_processes_that_are_copies_of_it_and_replays_a_member(short, tmp_path):
    out = tmp_path / "run"
    words = ["--steps", "60", "--members-per-chunk", str(WIDTH), "--executor", "processes"]
    done = command("run", WORD, *words, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert tables(out) == tables(short)
    assert "programs: 0 read from the compilation cache, 0 compiled" not in done.stderr
    again = command("replay", str(out), "5")
    assert again.returncode == 0, again.stdout + again.stderr


def test_workers_import_what_this_process_does_whatever_folder_it_runs_in(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, slope in ((here, 100), (there, 1)):
        folder.mkdir()
        (folder / "slopes.py").write_text(f"SLOPE = {slope}\n")
    (there / "script.py").write_text(
        "import dataclasses, jax.numpy as jnp, slopes, sweeps\n"
        "Config = dataclasses.make_dataclass('Config', [('alpha', float, 0.0)], frozen=True)\n"
        "trial = sweeps.function(lambda config, key: {'loss': slopes.SLOPE * config.alpha}, config=Config)\n"
        "study = sweeps.Study(trial, steps=1, metric='loss', space={'alpha': [1.0, 2.0]})\n"
        "jnp.ones(1).sum()\n"  # so that the server is a new process
        "found = sweeps.run(study, out='run', executor='processes', members_per_chunk=1, progress=False)\n"
        "print(found.final().tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, there / "script.py"], cwd=here, env=ENVIRONMENT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[1.0, 2.0]\n", "")


def test_what_only_workers_fail_at_is_said_in_its_own_words(tmp_path):
    driver = os.getpid()

    def init(config, key):
        if os.getpid() != driver:
            raise ValueError("no such file here\nbut elsewhere")
        return plain.init(config, key)

    study = dataclasses.replace(plain.study(), trial=plain.trial._replace(init=init))
    message = "^`a worker can plan the study` must hold, but got ValueError: no such file here$"
    with pytest.raises(StudyError, match=message):
        run(tmp_path / "run", study)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([4, 8], "`a worker can plan the study` must hold, but got another program: something in a module"),
        ([8], "`a worker trains what this process has traced` must hold, but got another program: "),
    ],
)
def test_a_module_that_was_changed_after_its_import_is_noticed(changed, message, tmp_path, monkeypatch):
    study = plain.study(steps=2, space={"width": [4, 8], "seed": range(2)})
    name = f"scaled_{len(changed)}"
    (tmp_path / f"{name}.py").write_text(
        "from tests.sweeps import plain\n"
        "CHANGED = []\n"
        "def init(config, key):\n"
        "    state = plain.init(config, key)\n"
        "    return {**state, 'bias': 3 * state['bias']} if config.width in CHANGED else state\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    scaled = importlib.import_module(name)
    monkeypatch.setattr(scaled, "CHANGED", changed)
    with pytest.raises(StudyError, match=message):
        run(tmp_path / "run", dataclasses.replace(study, trial=study.trial._replace(init=scaled.init)))


def test_what_is_no_string_on_the_path_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    assert jax_is_used()  # so that the server is a new process
    with serving() as server:
        connection, pid = server.fork()
        assert alive(pid)
        connection.close()


def test_workers_keep_no_programs_where_the_cache_is_off(tmp_path):
    off = {"jax_enable_compilation_cache": False, "jax_compilation_cache_dir": str(tmp_path / "cache")}
    before = {name: getattr(jax.config, name) for name in off}
    adopt(off)
    try:
        assert jax_is_used()  # so that the server is a new process
        run(tmp_path / "run", plain.study(space={"seed": range(2)}))
    finally:
        adopt(before)
    assert not list((tmp_path / "cache").glob("jit_*"))


@pytest.mark.durable
def test_rounds_and_batches_of_a_search(tmp_path):
    study = clustered.study(steps=40)
    options: dict[str, Any] = {"schedule": "halving(eta=2, min_steps=10)"}
    here = sweeps.run(study, out=tmp_path / "here", progress=False, members_per_chunk=WIDTH, **options)
    there = run(tmp_path / "there", study, **options)
    for name in ("status", "stopped_at"):
        assert there.members[name].to_pylist() == here.members[name].to_pylist()
    space = {"alpha": sweeps.uniform(0, 0.5), "seed": range(2)}
    searched = dataclasses.replace(study, space=space)
    found = run(tmp_path / "tpe", searched, search=sweeps.tpe(points_per_batch=3), samples=6)
    assert len(found.members) == 12 and set(found.members["status"].to_pylist()) == {"done"}


def test_a_chunk_that_always_fails_is_marked_and_the_others_finish(tmp_path):
    results = run(tmp_path / "run", clustered.failing(os.getpid()), executor=Processes(attempts=2))
    rows = results.members.to_pylist()
    assert {row["status"] for row in rows if row["kind"] == "bad"} == {"failed"}
    assert {row["status"] for row in rows if row["kind"] == "good"} == {"done"}
    errors = [store.read_setting(folder).get("error") for folder in store.committed(tmp_path / "run")]
    assert "RuntimeError: no such <kernel> here" in errors and None in errors


class Unpicklable:
    def __reduce__(self):
        raise TypeError("a thing of this process alone")


class Deadly:
    """What ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (3,)


class Missing:
    """What asks for a module that is nowhere when it is unpickled."""

    def __reduce__(self):
        return importlib.import_module, ("no_such_module",)


def holding(thing) -> sweeps.Study:
    study = tiny_networks.study(10)

    def step(config, state, batch, key, thing=thing):
        return study.trial.step(config, state, batch, key)

    return dataclasses.replace(study, trial=study.trial._replace(step=step))


def test_a_study_that_cannot_be_sent_is_refused(tmp_path):
    message = "`the study can be pickled` must hold for workers that are processes, but got a thing of this"
    with pytest.raises(sweeps.StudyError, match=message):
        run(tmp_path / "run", holding(Unpicklable()))
    assert not (tmp_path / "run").exists()


def test_workers_that_die_as_they_begin_are_given_up(tmp_path):
    message = "Workers die as soon as they start, 5 in a row: worker-\\d ended with status 3"
    with pytest.raises(sweeps.StudyError, match=message):
        run(tmp_path / "run", holding(Deadly()))
    assert not (tmp_path / "run").exists()


def test_workers_that_die_as_they_plan_are_given_up(tmp_path):
    driver = os.getpid()

    def init(config, key):
        if os.getpid() != driver:
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does where memory is short
        return plain.init(config, key)

    study = dataclasses.replace(plain.study(), trial=plain.trial._replace(init=init))
    message = "Workers die while they plan, 5 in a row: .*SIGKILL; if that is for want of memory, a smaller"
    with pytest.raises(sweeps.StudyError, match=message):
        run(tmp_path / "run", study)
    assert not (tmp_path / "run").exists()


def test_a_study_that_workers_cannot_take_is_told_what_to_do(tmp_path):
    message = "got ModuleNotFoundError: No module named 'no_such_module'; leave executor out"
    with pytest.raises(sweeps.StudyError, match=message):
        run(tmp_path / "run", holding(Missing()))


def test_an_executor_has_no_devices_of_the_caller(tmp_path):
    assert parse("processes", None) == Processes() and parse(None, [1]) is None
    with pytest.raises(sweeps.StudyError, match="`devices is None` must hold with .*got 1"):
        run(tmp_path / "run", devices=[object()])


def test_other_systems_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(
        sweeps.StudyError, match="`executor='processes' is for Linux` must hold, but got darwin"
    ):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_worker_does_as_it_is_told_and_says_how_it_ended():
    with ready(Processes()) as executor:
        pool = ProcessPool(executor)
        first, second = pool.hire("worker-1"), pool.hire("worker-2")
        job = pool.share("not a job")
        for worker in (first, second):
            call = pool.call(worker, "begin", job)
            assert pool.ready([call], 60) == [call]
            with pytest.raises(Failed, match="AttributeError: 'str' object has no attribute 'directory'"):
                pool.answer(call)
            assert worker.keys == {job.key}
        assert pool.ready([first], 0) == []
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(Died, match="worker-1 was killed by SIGKILL"):
            pool.answer(pool.call(first, "begin", job))
        pool.dismiss(first)
        pool.disband([second])
        assert executor.server.ended(second.pid) == "ended with status 0"


WITHOUT_OUTPUT = """
import sys
sys.stdout = None  # as it is where a service was started with it closed
from sweeps.executors.fork_server import ForkServer, serving
with serving() as server:  # a copy of this process
    connection, pid = server.fork()
    connection.send_bytes(b"worker-1")
    connection.send_bytes(b"")  # it is asked to end
    print(server.ended(pid), file=sys.stderr)
"""


def test_workers_begin_and_end_without_standard_output():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OUTPUT], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("", "ended with status 0\n")


def test_a_server_that_was_killed_is_said():
    mine, theirs = socket.socketpair()
    theirs.close()
    with mine:
        for ask in (ForkServer(mine).fork, lambda: ForkServer(mine).ended(1)):
            with pytest.raises(
                StudyError, match="workers are forked off is there` must hold, but it has ended"
            ):
                ask()


def test_workers_end_with_the_block():
    with serving() as server:
        connection, pid = server.fork()
        assert alive(pid)
    assert not alive(pid)
    connection.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="accelerators have memory of their own")
def test_as_many_threads_as_asked_for_and_a_share_of_the_memory(monkeypatch):
    cores = cpu_cores()
    for asked, expected in [("1", 1), ("1000", cores), ("0", cores), ("many", cores)]:
        monkeypatch.setenv("NPROC", asked)
        assert cpu_cores() == expected
    monkeypatch.setattr(memory, "free_ram", lambda: 4096.0)
    mesh = make_mesh(jax.devices()[:1])
    assert [memory.available_bytes(mesh, count) for count in (1, 4)] == [2048, 512]


def test_programs_of_other_processes_are_counted():
    programs = compilation.count_programs()
    compilation.count_elsewhere((3, 2))
    assert programs.said() == "programs: 2 read from the compilation cache, 1 compiled"
    assert programs.taken() == (3, 2) and programs.taken() == (0, 0)


def watched(out: Path, act) -> threading.Thread:
    """Calls `act(record)` once, with the first worker that has trained a step; waits for at most a minute."""

    def watch():
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for record in heartbeats.read(out).values():
                if record["step"] > 0:
                    return act(record)
            time.sleep(0.05)
        raise AssertionError("no worker trained a step in a minute")

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return alone(tmp_path_factory.mktemp("alone") / "long", clustered.STEPS)


@pytest.mark.durable
def test_a_study_that_hangs_while_workers_plan_is_said(tmp_path):
    driver = os.getpid()

    def init(config, key):
        while os.getpid() != driver:
            time.sleep(0.1)
        return plain.init(config, key)

    study = dataclasses.replace(plain.study(), trial=plain.trial._replace(init=init))
    with pytest.raises(StudyError, match="No worker has planned the study in 2 s. Does a function"):
        sweeps.run(study, out=tmp_path / "run", executor=Processes(time_limit=2), progress=False)
    assert not (tmp_path / "run").exists()


def test_an_evaluation_is_given_the_time_that_it_takes():
    chunk = Chunk(0, np.arange(4), 4, 0, 9)
    assignment, record = Assignment(Hand("worker-1", None), Task(chunk)), {"chunk": chunk.name, "step": 3}
    assignment.silent(record)
    assignment.seen -= 100
    assert assignment.silent(record) > 99
    assert assignment.silent(record | {"evaluating": True}) < 1  # which is a sign of life


@pytest.mark.durable
def test_a_long_evaluation_in_a_worker_is_a_sign_of_life(tmp_path, monkeypatch, capsys):
    driver, evaluated = os.getpid(), tmp_path / "evaluated"

    def wait(loss):
        if os.getpid() != driver:
            time.sleep(25)
            evaluated.touch()
        return np.asarray(loss)

    def evaluate(config, state, data):
        found = plain.evaluate(config, state, data)
        loss = jax.pure_callback(wait, found["test/loss"], found["test/loss"], vmap_method="expand_dims")
        return found | {"test/loss": loss}

    trial = plain.trial._replace(evaluate=evaluate)
    study = plain.study(trial=trial, steps=2, space={"seed": range(2)})
    monkeypatch.setattr(dispatcher, "LEAST_LIMIT", 15.0)  # seconds, for two short steps
    monkeypatch.setattr(dispatcher, "LIMIT_FACTOR", 0.0)
    results = run(tmp_path / "run", study, progress=True)
    assert results.members["status"].to_pylist() == ["done"] * 2 and evaluated.exists()
    said = capsys.readouterr().err
    assert "no sign of life" not in said and "is tried again" not in said


def test_how_long_a_worker_may_be_silent():
    crew, chunk = object.__new__(dispatcher.Crew), Chunk(0, np.arange(4), 4, 5, 25)
    crew.executor, crew.common = Processes(), Plan(1, 4, "scan", {}, 3.0, 7.0)
    assert crew._limit(chunk, evaluating=False) == 60 + 10 * (7 + 20 * 3)
    assert crew._limit(chunk, evaluating=True) == 1800
    crew.common = Plan(1, 4, "scan")
    assert crew._limit(chunk, evaluating=False) == 1800  # it could not be timed
    crew.executor = Processes(time_limit=8)
    assert crew._limit(chunk, evaluating=False) == crew._limit(chunk, evaluating=True) == 8


def test_time_in_which_all_workers_compile_is_kept_apart():
    crew, display = object.__new__(dispatcher.Crew), Display(8, 800, shown=False)
    crew.display, crew.trained, crew.groups = display, {0}, {0, 1, 2}
    narrow, wide, wider = (Task(Chunk(group, np.arange(4), 4, 0, 100)) for group in range(3))
    display.finish(narrow.chunk.name, 4, 100, 0)
    for tasks, phase in [((narrow, wide), ""), ((wide, wider), "compiling 2 of 3"), ((), "")]:
        crew.running = {number: Assignment(Hand("worker", None), task) for number, task in enumerate(tasks)}
        display.doing("")
        crew._say_compiling()
        assert display.phase == phase
    crew.running, display.phase = {0: Assignment(Hand("worker", None), wide)}, "measuring on 2 workers"
    crew._say_compiling()
    assert display.phase == "measuring on 2 workers"


def test_a_group_that_is_reached_is_said_to_be_compiled_before_it_is_trained(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(Display, "compiling", lambda display, program, of: said.append((program, of)))
    monkeypatch.setattr(dispatcher, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(ProcessPool, "room", lambda pool: 1)
    study = plain.study(space={"width": [4, 8], "seed": range(2)})
    found = sweeps.run(study, out=tmp_path / "run", executor=Processes(), progress=False)
    assert {*found.members["status"].to_pylist()} == {"done"} and set(said) == {(2, 2)}


@pytest.mark.durable
@pytest.mark.parametrize(("number", "limit"), [(signal.SIGKILL, None), (signal.SIGSTOP, 8)])
def test_a_worker_that_ends_badly_costs_its_chunk_alone(long, tmp_path, number, limit, capsys):
    thread = watched(tmp_path / "run", lambda record: os.kill(record["pid"], number))
    executor = Processes(time_limit=limit)
    run(tmp_path / "run", clustered.study(), executor=executor, progress=True)
    thread.join()
    again = [line for line in capsys.readouterr().err.splitlines() if "is tried again, attempt 2" in line]
    assert len(again) == 1 and tables(tmp_path / "run") == tables(long)


@pytest.mark.durable
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_process_and_goes_on(long, tmp_path, number):
    out = tmp_path / "run"
    words = ["run", WORD, "--members-per-chunk", str(WIDTH), "--out", str(out)]
    driver = subprocess.Popen(
        [*COMMAND, *words, "--executor", "processes"], env=ENVIRONMENT, cwd=ROOT,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    workers = []

    def act(record):
        workers.extend(found["pid"] for found in heartbeats.read(out).values())
        # Ctrl-C reaches all processes of a terminal.
        (os.killpg if number == signal.SIGINT else os.kill)(driver.pid, number)

    thread = watched(out, act)
    _, said = driver.communicate(timeout=120)
    thread.join()
    assert "Traceback" not in said
    end = time.monotonic() + 60
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert workers and not any(map(alive, workers))
    if number != signal.SIGKILL:
        assert driver.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert f"go on with: sweeps resume {out}" in said
        assert list((out / "checkpoints").iterdir())  # what was trained is kept, not only what was committed
    done = command("resume", str(out))  # in processes, since the run began in such
    assert done.returncode == 0, done.stderr
    assert tables(out) == tables(long)
