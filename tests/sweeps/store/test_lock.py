import json
import os
import signal
import subprocess
import sys

import pytest

from sweeps.errors import StudyError
from sweeps.store import lock

HOLD = """
import sys, time
from pathlib import Path
from sweeps.store.lock import locked
with locked(Path(sys.argv[1])) as lock:
    lock.say({"chunk": "0-0", "step": 7})
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holding(tmp_path):
    """A process that holds the lock of a directory."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_process_is_refused_and_the_first_is_named(tmp_path, holding):
    found = lock.holder(tmp_path)
    assert found is not None and (found["pid"], found["chunk"], found["step"]) == (holding.pid, "0-0", 7)
    with pytest.raises(
        StudyError, match=rf"one process at a time .*got process {holding.pid} on .*wait for it"
    ):
        with lock.locked(tmp_path):
            pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holding):
    holding.send_signal(signal.SIGKILL)
    holding.wait()
    assert (tmp_path / "lock").exists() and lock.holder(tmp_path) is None
    with lock.locked(tmp_path):
        found = lock.holder(tmp_path)
        assert found is not None and found["pid"] == os.getpid()
    assert not (tmp_path / "lock").exists()


def test_the_lock_is_taken_over_from_the_children_of_a_dead_process(tmp_path):
    code = HOLD.replace(
        "time.sleep(60)", "import os\n    if os.fork():\n        os._exit(0)\n    time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        process.wait()
        with lock.locked(tmp_path):  # the child still has the locked file open
            found = lock.holder(tmp_path)
            assert found is not None and found["pid"] == os.getpid()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_a_process_number_that_was_used_again_is_told_apart(tmp_path):
    (tmp_path / "lock").write_text(
        json.dumps({"pid": os.getpid(), "started": "1", "host": os.uname().nodename})
    )
    assert lock.holder(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_record_names_nobody(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    assert lock.holder(tmp_path) is None
    with lock.locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(StudyError, match="can be written` must hold, but got: No such file"):
        with lock.locked(tmp_path / "missing"):
            pass
