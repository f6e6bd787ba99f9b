import fcntl
import os
import sys
from pathlib import Path

import pytest

from sweeps.host import cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
OWN = f"sweeps-cores-{os.getuid()}"


@pytest.fixture(autouse=True)
def before(monkeypatch):
    """As many cores as the process has, whatever a container's share is; afterwards it has them again."""
    allowed = os.sched_getaffinity(0)
    monkeypatch.setattr(cores, "cpu_cores", lambda: len(allowed))
    files = set(os.listdir("/proc/self/fd"))
    yield
    os.sched_setaffinity(0, allowed)
    for descriptor in set(map(int, os.listdir("/proc/self/fd"))) - set(map(int, files)):
        try:
            if "sweeps-cores" in os.readlink(f"/proc/self/fd/{descriptor}"):
                os.close(descriptor)
        except OSError:
            pass


def test_a_core_is_held_by_one_process_alone(tmp_path):
    count = len(os.sched_getaffinity(0))
    held = cores.claim(count, tmp_path)
    assert held == sorted(os.sched_getaffinity(0)) and len(held) == count
    assert sorted(path.name for path in (tmp_path / OWN).iterdir()) == sorted(map(str, held))
    assert cores.claim(1, tmp_path, patience=0) == []  # another descriptor, as another process has it


def test_a_folder_of_someone_else_is_not_used(tmp_path, monkeypatch):
    shared, home = tmp_path / "shared", tmp_path / "home"
    (shared / OWN).mkdir(parents=True)
    monkeypatch.setattr(cores, "_places", lambda: [shared, home])
    real = Path.lstat

    def lstat(path):
        found = real(path)
        if path.parent != shared:
            return found
        return os.stat_result([found[0], *found[1:4], os.getuid() + 1, *found[5:]])

    monkeypatch.setattr(Path, "lstat", lstat)
    assert len(cores.claim(1)) == 1
    assert not list((shared / OWN).iterdir()) and list((home / OWN).iterdir())


@pytest.mark.parametrize("kind", ["link", "link to nothing", "file", "file for a place"])
def test_what_another_user_put_there_first_is_passed_over(kind, tmp_path, monkeypatch):
    shared, home, target = (tmp_path / name for name in ("shared", "home", "target"))
    target.mkdir()
    if kind == "file for a place":
        shared.write_text("")
    else:
        shared.mkdir()
    if kind == "link":
        (shared / OWN).symlink_to(target)
    elif kind == "link to nothing":
        (shared / OWN).symlink_to(tmp_path / "nowhere")
    elif kind == "file":
        (shared / OWN).write_text("")
    monkeypatch.setattr(cores, "_places", lambda: [shared, home])
    assert len(cores.claim(1)) == 1
    assert not list(target.iterdir()) and not (tmp_path / "nowhere").exists() and (home / OWN).is_dir()


def test_a_link_for_a_lock_is_not_followed_and_its_core_is_left(tmp_path):
    first, *others = sorted(os.sched_getaffinity(0))
    (tmp_path / OWN).mkdir(mode=0o700)
    (tmp_path / OWN / str(first)).symlink_to(tmp_path / "precious")
    assert cores.claim(1, tmp_path, patience=0) == others[:1]
    assert not (tmp_path / "precious").exists()


def test_cores_that_are_held_come_free_with_their_holder(tmp_path):
    first = min(os.sched_getaffinity(0))
    (tmp_path / OWN).mkdir(mode=0o700)
    with open(tmp_path / OWN / str(first), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert first not in cores.claim(1, tmp_path, patience=0)
