"""The page of `sweeps watch`: who may read it, and what it says while chunks come and go."""

import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import sweeps
from sweeps.cli.main import main
from sweeps.errors import StudyError
from sweeps.report import live
from sweeps.report.watching import Watch
from sweeps.store import checkpoints, derived
from sweeps.store import chunks as store
from sweeps.store.checkpoints import Checkpoint
from sweeps.store.heartbeats import Record
from sweeps.store.lock import LOCK, locked
from tests.sweeps import plain


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of several chunks."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    sweeps.run(plain.study(steps=6), out=folder, progress=False, members_per_chunk=4)
    return folder


@pytest.fixture
def directory(whole, tmp_path, monkeypatch):
    """A copy of it, of which nothing is committed yet."""
    monkeypatch.setattr(live, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(live, "REST", 0.0)
    copy = Path(shutil.copytree(whole, tmp_path / "run"))
    rows = sweeps.load(whole).members
    for name in ("members.parquet", "metrics.parquet", "derived.json", "report.html"):
        (copy / name).unlink(missing_ok=True)
    for folder in store.committed(copy):
        shutil.rmtree(folder)
    status = rows.set_column(rows.column_names.index("status"), "status", [["pending"] * len(rows)])
    derived.announce(copy, len(rows), lambda ids: status.take(ids))
    return copy


def commit(whole, directory, place):
    """Commits one of the chunks of the finished run."""
    folder = store.committed(whole)[place]
    store.commit(directory, folder.name, *store.read_chunk(folder), store.read_setting(folder))
    return directory / store.CHUNKS / folder.name


@contextlib.contextmanager
def served(directory):
    with Watch(directory) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def get(server, path=None, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    with contextlib.closing(connection):
        connection.request(method, f"/{server.token}/" if path is None else path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()


def state(server, version=-1):
    answer, body = get(server, f"/{server.token}/state.json?version={version}")
    assert answer.status == 200, body
    return json.loads(body)


def test_only_who_has_the_token_is_answered(directory):
    with served(directory) as server:
        answer, body = get(server)
        assert answer.status == 200 and b"<title>" in body and len(server.token) >= 32
        for path in (
            "/",
            "",
            f"/{server.token[:-1]}/",
            f"/{server.token}x/",
            "/x/state.json",
            "//",
            "/é"[:1] + "%C3%A9/",
        ):
            assert get(server, path or "/")[0].status == 403, path
        assert get(server, f"/{server.token}/manifest.json")[0].status == 404
        assert get(server, f"/{server.token}/../run/manifest.json")[0].status == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert get(server, method=method)[0].status == 501
        answer, body = get(server, method="HEAD")
        assert answer.status == 200 and body == b"" and int(answer.headers["Content-Length"]) > 500


def test_a_page_that_was_led_here_by_another_name_is_refused(directory):
    with served(directory) as server:
        port = server.server_address[1]
        for host in (
            f"127.0.0.1:{port}",
            f"localhost:{port}",
            "localhost",
            "localhost:9999",
            f"[::1]:{port}",
        ):
            assert get(server, Host=host)[0].status == 200, host
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1.evil.example",
            "localhost.evil:80",
            "",
            ":80",
        ):
            assert get(server, Host=host)[0].status == 403, host


def test_nothing_else_is_listened_on_and_nothing_leaves_the_page(directory):
    with served(directory) as server:
        assert server.server_address[0] == "127.0.0.1"
        answer, body = get(server)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe-eval" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        addresses = re.findall(rb'(?:src|href)="([^"]*)"', body)
        assert addresses and all(b"//" not in each and not each.startswith(b"/") for each in addresses)
        for name in ("watch.js", "page.css"):
            answer, body = get(server, f"/{server.token}/{name}", **{"Accept-Encoding": "gzip"})
            assert answer.status == 200 and answer.headers["Content-Encoding"] == "gzip"
            assert len(body) < 40_000


def test_what_is_shown_goes_on_with_the_chunks(whole, directory):
    first, *rest = range(len(store.committed(whole)))
    results = sweeps.load(whole)
    with served(directory) as server:
        before = state(server)
        assert before["state"] == "stopped" and before["counts"] == {"pending": len(results.members)}
        assert before["drawn"]["curves"] is None and before["best"] is None
        commit(whole, directory, first)
        after = state(server, before["version"])
        assert after["version"] > before["version"] and after["counts"]["done"] == 4
        assert (
            after["drawn"]["best"]["x"] == [4, 8, 12, 16, 20, 24] and after["drawn"]["best"]["trained"] == 24
        )
        assert state(server, after["version"])["drawn"] is None  # nothing is new
        for place in rest:
            commit(whole, directory, place)
        last = state(server, after["version"])
        assert last["state"] == "ended" and last["counts"] == {"done": len(results.members)}
        best = results.best()
        assert f"{100 * best.mean:.4g} % test accuracy at step 6" in last["best"]
        # The curves are the means over seeds, by NumPy alone; the best so far never gets worse.
        curves, table = last["drawn"]["curves"], results.metrics.to_pandas()
        for place, each in enumerate(curves["configurations"]):
            own = table[table["member"].isin(each["members"])].groupby("step")[best.metric].mean()
            assert curves["metrics"][best.metric]["mean"][place] == pytest.approx(own.to_list(), rel=1e-4)
        assert curves["metrics"][best.metric]["mean"][0][-1] == pytest.approx(best.mean, rel=1e-4)
        assert (np.diff(last["drawn"]["best"]["y"]) >= 0).all()
        assert state(server)["state"] == "ended"  # it stays


def test_a_run_under_way_is_shown_before_anything_is_committed(whole, directory):
    rows = sweeps.load(whole).members
    with served(directory) as server, locked(directory) as lock:
        lock.say(
            {
                "phase": "timing 16 members at once",
                "trained": 0,
                "of": 96,
                "rate": None,
                "left": None,
                "best": None,
            }
        )
        now = state(server)
        assert (
            now["state"] == "running" and now["heading"] == "Timing 16 members at once" and now["share"] == 0
        )
        said = {"chunk": "0-0-0-6", "members": 4, "step": 3, "steps": 6}
        lock.say(
            {
                "trained": 12,
                "of": 96,
                "rate": 6.0,
                "left": 14.0,
                "best": [3, 2, 0.625, 2],
                "phase": "",
                **said,
            }
        )
        Record(directory, "worker-1").say(said)
        now = state(server)
        assert now["heading"] == "Training: 12 %, 0:14 left" and now["rate"] == "6 member-steps a second"
        assert now["counts"] == {"running": 4, "pending": len(rows) - 4} and now["points"] == [[12, 0.625, 3]]
        assert now["best"].startswith("62.5 % test accuracy at step 3, mean of 2 seeds: alpha=")
        assert now["workers"][0][0] == "worker-1" and now["workers"][0][3] == "3/6"
        # What a chunk was evaluated to until its checkpoint is drawn with it.
        values = {"test/accuracy": np.array([0.1, 0.2, 0.3, 0.4])}
        flight = Checkpoint(3, np.arange(4), [np.zeros((4, 2))], [(2, values), (3, values)], {}, 0)
        checkpoints.save(directory, "0-0-0-6-4", flight)
        now = state(server, now["version"])
        assert now["drawn"]["curves"]["steps"] == [2, 3]
        place = [each["members"] for each in now["drawn"]["curves"]["configurations"]].index([0, 1, 2])
        assert now["drawn"]["curves"]["metrics"]["test/accuracy"]["mean"][place] == pytest.approx([0.2, 0.2])
        (folder,) = (directory / checkpoints.CHECKPOINTS).iterdir()
        shutil.rmtree(folder)
        commit(whole, directory, 0)
        assert state(server)["drawn"]["curves"]["steps"] == [1, 2, 3, 4, 5, 6]
    assert not (directory / LOCK).exists()


def test_a_damaged_file_is_named_and_the_rest_is_shown(whole, directory):
    folders = [commit(whole, directory, place) for place in range(2)]
    with served(directory) as server:
        assert state(server)["damaged"] == []
        path = folders[0] / "metrics.parquet"
        path.write_bytes(path.read_bytes()[:-40] + b"x" * 40)
        now = state(server)
        assert (
            len(now["damaged"]) == 1 and str(folders[0]) in now["damaged"][0] and now["counts"]["done"] == 4
        )
        (directory / "manifest.json").write_text("{")
        now = state(server)
        assert any("manifest.json" in line for line in now["damaged"]) and now["counts"]["done"] == 4
        (directory / ".manifest.json").write_text("{")
        assert any("manifest.json" in line for line in state(server)["damaged"])
        shutil.rmtree(directory)
        assert state(server)["state"] == "gone"


def test_the_report_of_now_is_there_on_demand(whole, directory):
    with served(directory) as server:
        path = f"/{server.token}/report.html"
        answer, body = get(server, path)
        assert answer.status == 404 and b"Nothing is finished" in body
        commit(whole, directory, 0)
        answer, body = get(server, path)
        assert answer.status == 200 and b"plain" in body and b"are not trained yet" in body


def test_nothing_is_written_and_the_lock_is_free(whole, directory):
    commit(whole, directory, 0)

    def everything():
        return {path: path.stat().st_mtime_ns for path in [directory, *directory.rglob("*")]}

    before, failed = everything(), []
    with served(directory) as server:
        for path in ("state.json", "", "report.html"):
            get(server, f"/{server.token}/{path}")
        assert everything() == before

        def look():
            try:
                for _ in range(40):
                    state(server)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            with locked(directory):
                time.sleep(0.005)
        for thread in threads:
            thread.join()
    assert not failed


def test_chunks_may_come_and_go_while_they_are_read(whole, directory):
    count = len(store.committed(whole))
    end, failed = threading.Event(), []

    def come_and_go():
        try:
            while not end.is_set():
                folders = [commit(whole, directory, place) for place in range(count)]
                for folder in folders:
                    shutil.rmtree(folder)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=come_and_go)
    with served(directory) as server:
        thread.start()
        seen = [state(server)["counts"].get("done", 0) for _ in range(60)]
        end.set()
        thread.join()
        assert not failed and max(seen) <= len(sweeps.load(whole).members)
        for place in range(count):
            commit(whole, directory, place)
        assert state(server)["counts"] == {"done": len(sweeps.load(whole).members)}


def test_a_wrong_folder_or_port_is_one_message(directory, capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, message in (
            ([str(tmp_path / "none")], "is no run directory: there is no manifest.json in it"),
            (
                [str(directory), "--port", port],
                f"Port {port} cannot be listened on: Address already",
            ),
            ([str(directory), "--port", "65536"], "a number from 0 to 65535, not 65536"),
            ([str(directory), "--port", "-1"], "a number from 0 to 65535, not -1"),
        ):
            assert main(["watch", *words]) == 2
            captured = capsys.readouterr()
            assert captured.out == "" and len(captured.err.splitlines()) == 1 and message in captured.err


def test_a_port_that_is_taken_is_refused(directory):
    with Watch(directory) as server:
        with pytest.raises(StudyError, match="cannot be listened on"):
            Watch(directory, server.server_address[1])


@contextlib.contextmanager
def ended(process):
    """However the block is left, nobody waits for the process."""
    try:
        yield
    finally:
        process.kill()


def test_ctrl_c_ends_it_with_one_line(directory):
    code = "import sys; from sweeps.cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "watch", str(directory)]
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        ended(process),
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert re.fullmatch(rf"{directory} is shown at http://127\.0\.0\.1:\d+/[\w-]+/ until Ctrl-C\n", line)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "" and err.strip() == "sweeps watch: stopped"


def test_an_end_is_seen_while_the_tables_are_not_read(directory, monkeypatch):
    monkeypatch.setattr(live, "REST", 1e9)  # they were long to read
    with served(directory) as server:
        with locked(directory) as lock:
            lock.say({"phase": "planning"})
            assert state(server)["state"] == "running"
            lock.say({"phase": "compiling"})
            assert state(server)["heading"] == "Compiling"
        assert state(server)["state"] == "stopped"
