"""What the program of a static group was when members of it were first trained."""

import re
from pathlib import Path

import jax

from sweeps.store.checksums import Damaged, sealed, unsealed
from sweeps.store.durable import replace_text, writing

PROGRAMS = "programs"


def first_digest(directory: Path, group: int, digest: str) -> str:
    """The digest of a group's program that was taken down first; this one, if none was.

    JAX says the same program in other words from version to version, so each has a digest of its own.

    Args:
        directory: the run directory.
        group: the group.
        digest: of its program now.

    Raises:
        StudyError: it cannot be written.
    """
    path = directory / PROGRAMS / f"{group}-jax-{jax.__version__}"
    try:
        return _digest(path)
    except (FileNotFoundError, Damaged):
        pass
    with writing(str(path)):
        path.parent.mkdir(exist_ok=True)
        replace_text(path, sealed({"digest": digest}))
    return digest


def damage(directory: Path) -> dict[Path, str]:
    """The records that cannot be read, and why.

    Args:
        directory: the run directory.
    """
    found = {}
    for path in (directory / PROGRAMS).glob("*-jax-*"):
        try:
            _digest(path)
        except FileNotFoundError:
            pass
        except Damaged as error:
            found[path] = str(error)
    return found


def _digest(path: Path) -> str:
    try:
        return unsealed(path, ("digest",))[0]["digest"]
    except Damaged:
        try:
            found = path.read_text(encoding="utf-8")  # as earlier versions wrote it
        except (OSError, UnicodeDecodeError):
            found = ""
        if re.fullmatch(r"[0-9a-f]{32}", found):
            return found
        raise
