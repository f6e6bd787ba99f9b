import pytest

from sweeps.host.memory import free_ram


def test_free_memory_is_what_the_system_and_the_cgroup_leave(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert free_ram(tmp_path) == 8000 * 1024
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("500\n")
    assert free_ram(tmp_path) == 8000 * 1024
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("2000\n")
    assert free_ram(tmp_path) == 1500


@pytest.mark.parametrize(
    ("group", "files"),
    [
        # A pod that has read its data: most of what it has taken is files, which the kernel gives back.
        ("0::/", {"memory.max": 8000, "memory.current": 7900, "memory.stat": "anon 6\ninactive_file 900\n"}),
        # A job of SLURM's, and a service of systemd's: the outermost group has no limit.
        (
            "0::/slurm/job_7/step_0",
            {"slurm/job_7/memory.max": 3000, "slurm/job_7/memory.current": 2000,
             "slurm/job_7/step_0/memory.max": "max", "slurm/job_7/step_0/memory.current": 2000},
        ),
        (
            "4:cpu,cpuacct:/\n3:memory:/a service",
            {"memory/memory.limit_in_bytes": 2**63 - 4096, "memory/memory.usage_in_bytes": 5000,
             "memory/a service/memory.limit_in_bytes": 4000, "memory/a service/memory.usage_in_bytes": 3200,
             "memory/a service/memory.stat": "inactive_file 7\ntotal_inactive_file 200\n"},
        ),
        # A container of Docker's: its group is called as the host calls it, and seen as the outermost.
        ("3:memory:/docker/5f", {"memory/memory.limit_in_bytes": 2000, "memory/memory.usage_in_bytes": 1000}),
        ("0::/../other", {"memory.max": 1000, "memory.current": 0, "../other/memory.max": 5}),
        ("damaged", {"memory.max": 1000, "memory.current": 0}),
    ],
    ids=["pod", "job", "service", "docker", "outside", "damaged"],
)  # fmt: skip
def test_free_memory_is_what_the_groups_leave_that_a_process_is_in(group, files, tmp_path):
    written = {
        "proc/meminfo": "MemAvailable: 8000 kB\n",
        "proc/self/cgroup": f"{group}\n",
        **{f"sys/fs/cgroup/{name}": f"{text}\n" for name, text in files.items()},
    }
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_ram(tmp_path) == 1000
