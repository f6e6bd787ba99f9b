"""The control groups that this process is in, which say what a container, a job or a service may use."""

from pathlib import Path, PurePosixPath


def own(controller: str, root: Path = Path("/")) -> list[Path]:
    """The folders in which a limit on this process may be: of its own group, and of all that this one is in.

    A container mostly sees its own group as the outermost. Elsewhere, as in a job of SLURM's or a service of
    systemd's, that has no limits, and those of a group further in hold.

    Args:
        controller: `memory` or `cpu`.
        root: where `proc` and `sys` are.
    """
    place = root / "sys/fs/cgroup"
    found = [place, place / controller]  # of the second version of cgroups, and of the first
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers and controller not in controllers.split(","):
            continue
        base, parts = place / controller if controllers else place, PurePosixPath(path).parts[1:]
        if ".." not in parts:  # which is outside of what this container sees
            found += [base.joinpath(*parts[: depth + 1]) for depth in range(len(parts))]
    return found


def read(path: Path) -> str:
    """The text of a file; nothing if it cannot be read.

    Args:
        path: the file.
    """
    try:
        return path.read_text()
    except OSError:
        return ""
