"""`optuna-dashboard` over an exported sweep, asked over loopback as a browser asks it; half a minute."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import sweeps
from sweeps.results import export
from tests.sweeps import tiny_networks

pytestmark = pytest.mark.browser


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def dashboard(storage: str, log: Path):
    """The address of a dashboard that answers."""
    program = shutil.which("optuna-dashboard", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("optuna-dashboard is missing: pip install optuna-dashboard")
    port = free_port()
    with log.open("w") as said:
        running = subprocess.Popen(
            [program, storage, "--host", "127.0.0.1", "--port", str(port)], stdout=said, stderr=said
        )
        try:
            end = time.monotonic() + 60
            while True:
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    ask(f"http://127.0.0.1:{port}/api/studies")
                    break
                assert running.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait()


def ask(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)


def test_an_exported_sweep_is_shown(tmp_path):
    pytest.importorskip("optuna")
    study = tiny_networks.study(20)
    results = sweeps.run(study, out=tmp_path / "run", progress=False)
    (path,) = export.write(results, "optuna", tmp_path)
    with dashboard(f"sqlite:///{path}", tmp_path / "log") as address:
        (found,) = ask(f"{address}/api/studies")["study_summaries"]
        assert found["study_name"] == "study" and found["directions"] == ["minimize"]
        shown = ask(f"{address}/api/studies/{found['study_id']}?after=0")
    values = [trial["values"][0] for trial in shown["trials"]]
    assert len(values) == 20
    assert sorted(values) == pytest.approx(sorted(results.final().tolist()))
