"""What of a study travels to the workers of a Ray cluster: its own code, and no secrets beside it."""

import fnmatch
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

from sweeps.errors import StudyError
from sweeps.trial import Study

# Besides names that begin with a dot, such as .env and .ssh, none of which travels.
KEYS = (
    "*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.pkcs12", "*.ppk", "*.jks", "*.keystore", "*.kdb", "*.kdbx",
    "*.gpg", "*.ovpn", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*private*key*",
    "*.env", "*.env.*", "*.tfstate", "*.tfstate.*", "*.tfvars", "*service?account*", "*serviceaccount*",
    "*api?key*", "*apikey*", "*passwd*", "*netrc*", "kubeconfig*", "*token*",
)  # fmt: skip
# In names of files and folders; a module's own name ends in one, as in aws_credentials.py.
WORDS = ("credential", "secret", "password")
MOST_BYTES = 100 * 2**20


class Shipment(NamedTuple):
    """The files that travel.

    Attributes:
        folder: the folder that the study's module is found from.
        files: paths relative to it.
        size: their bytes together.
        left_out: those that look like secrets, and stay.
    """

    folder: Path
    files: list[Path]
    size: int
    left_out: list[Path]


def shipment(study: Study) -> Shipment | None:
    """What the study's module needs from its own folder; None where nothing has to travel.

    That is what git tracks there, and the modules that this process has imported from there. A module that is
    installed is taken to be installed on the workers too; one of a script's own travels with the functions.

    Args:
        study: the study.

    Raises:
        StudyError: it is too much to send.
    """
    folder = _folder(study)
    if folder is None:
        return None
    found = sorted(_tracked(folder) | _imported(folder))
    left_out = [path for path in found if _secret(path)]
    files = [path for path in found if path not in set(left_out)]
    size = sum((folder / path).stat().st_size for path in files)
    if size > MOST_BYTES:
        raise StudyError(
            f"`at most {MOST_BYTES >> 20} MiB are sent to the workers` must hold, but got {size >> 20} MiB "
            f"that git tracks in {folder}; install the study on the workers, or say what to send with "
            f"sweeps.ray(runtime_env={{'working_dir': …}})"
        )
    return Shipment(folder, files, size, left_out)


def pack(shipped: Shipment, place: Path) -> str:
    """Copies a shipment to an empty folder, and says what it is.

    Args:
        shipped: the shipment.
        place: the folder.
    """
    for path in shipped.files:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(shipped.folder / path, place / path)
    stay = f"; {', '.join(map(str, shipped.left_out[:3]))} may be secret and stay" if shipped.left_out else ""
    count, size = len(shipped.files), shipped.size / 2**10
    return f"{count} files of {shipped.folder} ({size:.0f} KiB) go to the workers{stay}"


def _folder(study: Study) -> Path | None:
    """Where the study's module is found from; None where it is installed, or a script."""
    name = study.trial.config.__module__.partition(".")[0]
    module = sys.modules.get(name)
    found = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    if name in ("__main__", "sweeps") or found is None:
        return None
    path = Path(found).resolve()
    folder = path.parent.parent if path.name == "__init__.py" or path.is_dir() else path.parent
    return None if _installed(folder) else folder


def _installed(path: Path) -> bool:
    places = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib")]
    return any(path.is_relative_to(place) for place in places) or "site-packages" in path.parts


def _tracked(folder: Path) -> set[Path]:
    """The files that git tracks in a folder and below; none where git does not know it."""
    try:
        command = ["git", "-C", str(folder), "ls-files", "-z"]
        listed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return set()
    names = [Path(name) for name in listed.decode(errors="surrogateescape").split("\0") if name]
    return {name for name in names if (folder / name).is_file()}


def _imported(folder: Path) -> set[Path]:
    """The source files in a folder and below that this process has imported."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = {Path(file).resolve() for file in files if isinstance(file, str)}
    own = {path for path in paths if path.is_relative_to(folder) and path.is_file() and not _installed(path)}
    return {path.relative_to(folder) for path in own}


def _secret(path: Path) -> bool:
    if any(part.startswith(".") for part in path.parts):
        return True
    name = path.name.lower()
    if path.suffix == ".py":  # token.py is a module, and credentials.py is none to send
        return name.removesuffix(".py").removesuffix("s").endswith(WORDS)
    return any(fnmatch.fnmatch(name, like) for like in KEYS) or any(
        word in part.lower() for part in path.parts for word in WORDS
    )
