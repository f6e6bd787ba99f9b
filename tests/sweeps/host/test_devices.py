import os
import subprocess
import sys

import pytest

from sweeps.host import devices

SPLIT = "import jax, sweeps; sweeps.use_cpu_cores(); print(jax.local_device_count())"


def printed(code, **environment):
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    }
    words = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(words, capture_output=True, text=True, env=inherited | environment, check=False)


def test_there_is_one_device_per_core():
    assert printed(SPLIT).stdout == f"{devices.cpu_cores()}\n"
    assert printed(SPLIT, JAX_NUM_CPU_DEVICES="3").stdout == "3\n"


def test_a_process_that_already_runs_is_only_told():
    late = "import jax; jax.config.update('jax_num_cpu_devices', 3); jax.devices(); " + SPLIT
    done = printed(late, JAX_NUM_CPU_DEVICES="4")
    assert "UserWarning: `use_cpu_cores() comes before JAX is first used` must hold" in done.stderr
    assert "3 device(s), which are kept" in done.stderr


@pytest.mark.parametrize(
    ("pjrt", "plain", "expected"),
    [("1", "1000", 1), ("1000", "1", None), ("", "1", 1), ("0", "1", 1), ("many", "1", 1), ("", "0", None)],
)
def test_as_many_cores_as_xla_has_threads(pjrt, plain, expected, monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    cores = devices.cpu_cores()
    monkeypatch.setenv("PJRT_NPROC", pjrt)
    monkeypatch.setenv("NPROC", plain)
    assert devices.cpu_cores() == (expected or cores)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="threads are counted as Linux names them")
def test_a_limit_on_threads_overrules_what_the_environment_says():
    # From 0.12 on there are as many for compiling and for calling. A thread may end while they are counted.
    count = """import glob, os, jax
jax.devices()
names = [open(name).read() for name in glob.glob("/proc/self/task/*/comm") if os.path.exists(name)]
print(sum("XLAEigen" in name for name in names))
"""
    limit = "from sweeps.host.devices import limit_threads; limit_threads(1)\n"
    asked = {"PJRT_NPROC": "3", "NPROC": "2"}
    assert printed(count, **asked).stdout == "3\n"  # XLA reads these names, in this order
    assert printed(limit + count, **asked).stdout == "1\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000"}, float("inf")),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, float("inf")),
        ({"cpu.max": "damaged"}, float("inf")),
        # A service of systemd's, which has no more than what is around it leaves.
        ({"a.slice/cpu.max": "150000 100000", "a.slice/b.service/cpu.max": "400000 100000"}, 1.5),
        ({"cpu.max": "max 100000", "a.slice/b.service/cpu.max": "100000 100000"}, 1.0),
        ({"cpu/a.slice/b.service/cpu.cfs_quota_us": "200000",
          "cpu/a.slice/b.service/cpu.cfs_period_us": "100000"}, 2.0),
        ({}, float("inf")),
    ],
)  # fmt: skip
def test_the_limit_of_a_cgroup(files, expected, tmp_path):
    groups = "4:cpu,cpuacct:/a.slice/b.service\n0::/a.slice/b.service\n"
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()} | {"proc/self/cgroup": groups}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert devices._cgroup_cores(tmp_path) == expected


def test_whether_jax_is_used_is_told_without_using_it():
    look = "(jax_is_used(), jax.config.jax_num_cpu_devices)"
    code = f"import jax; from sweeps.host.devices import jax_is_used; print({look}, {look}); "
    code += f"jax.devices(); print({look})"
    done = printed("import jax; jax.config.update('jax_num_cpu_devices', 3); " + code)
    assert done.stdout == "(False, 3) (False, 3)\n(True, 3)\n", done.stderr
    assert printed(f"{code}; print(jax.local_device_count())").stdout.endswith("\n1\n")


def test_a_platform_that_is_not_there_is_said():
    code = """import jax, sweeps
from sweeps.host.devices import check_devices
jax.config.update("jax_platforms", "nowhere")
try:
    check_devices()
except sweeps.StudyError as error:
    print(error)
"""
    found = printed(code).stdout
    assert found.startswith("`JAX can use the platform nowhere` must hold, but got RuntimeError: ")
    assert found.endswith("; JAX_PLATFORMS=cpu takes the CPU\n")
