"""Many claimants of one lock at once: never two holders, whatever the last one left. A minute, if quiet."""

import subprocess
import sys

import pytest

# A script, since its processes are copies of one another, which a process that runs JAX should not make.
RACES = '''
import ctypes, os, resource, signal, sys, time
from pathlib import Path
from sweeps.errors import StudyError
from sweeps.store import lock as locks
from sweeps.store.lock import locked

locks.PATIENCE_SECONDS = 0.02
folder, way, claimants, races = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def claim(place, start):
    """Holds the lock for a moment, and says 3 if another holds it too."""
    while time.monotonic() < start:
        pass
    for _ in range(200):
        try:
            with locked(place):
                try:
                    os.close(os.open(place / "inside", os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    os._exit(3)
                time.sleep(0.002)
                os.unlink(place / "inside")
                os._exit(0)  # as if killed: the file stays where it is
        except StudyError:
            time.sleep(0.001)
    os._exit(4)

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(5)
    return pid

def leave(place):
    """A holder that dies."""
    with locked(place) as lock:
        if way == "child":  # what it has started has the file open, as a copy made in C has
            other = os.dup(lock.descriptor)
            if os.fork() == 0:
                time.sleep(0.02)
                os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

if way == "full":  # nothing can be written, so records are empty
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
worst = set()
for race in range(races):
    place = folder / str(race)
    place.mkdir()
    os.waitpid(child(lambda: leave(place)), 0)
    start = time.monotonic() + 0.01
    def work():
        if way == "namespace":  # each sees itself as process 1, on a host of the same name
            if ctypes.CDLL(None).unshare(0x20000000):
                os._exit(6)
            inner = child(lambda: claim(place, start))
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
        claim(place, start)
    found = [os.waitpid(pid, 0)[1] for pid in [child(work) for _ in range(claimants)]]
    worst |= {os.waitstatus_to_exitcode(status) for status in found}
print(sorted(worst))
'''


@pytest.mark.durable
@pytest.mark.parametrize("claimants", [2, 4])
@pytest.mark.parametrize("way", ["child", "namespace", "full"])
def test_no_two_of_many_claimants_hold_it(way, claimants, tmp_path):
    command = [sys.executable, "-c", RACES, str(tmp_path), way, str(claimants), "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.stdout == "[6]\n":
        pytest.skip("process namespaces need root")
    assert done.stdout == "[0]\n", done.stderr
