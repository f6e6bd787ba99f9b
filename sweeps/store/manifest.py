"""What a run is: the study as it was asked for, by what it was run, and how it was planned."""

import functools
import hashlib
import importlib.metadata
import json
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from sweeps.errors import StudyError, quoted, resume_line
from sweeps.host.devices import cpu_cores
from sweeps.store.checksums import Damaged, sealed, unsealed
from sweeps.store.durable import replace_text, set_aside, writing

FORMAT_VERSION = 1
MANIFEST, COPY = "manifest.json", ".manifest.json"  # nothing else says what the run is, so there are two

ABSENT = {"select": "last"}  # what a manifest means that does not say it, an earlier version's
PACKAGES = ("lrelu-jax", "jax", "jaxlib", "flax", "optax", "numpy")
NUMERICAL = ("jax", "jaxlib")  # whose versions are part of the numerical setting
# So are these of JAX's settings: with another, the same program gives other numbers.
SETTINGS = (
    "jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl", "jax_threefry_partitionable",
    "jax_random_seed_offset", "jax_high_dynamic_range_gumbel", "jax_softmax_custom_jvp",
    "jax_disable_most_optimizations",
)  # fmt: skip


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest of a run directory and its copy, or replaces them.

    Args:
        directory: the run directory.
        manifest: what the run is.

    Raises:
        StudyError: it cannot be written.
    """
    text = sealed({"format_version": FORMAT_VERSION, **manifest}, indent=2)
    with writing(str(directory / MANIFEST)):
        for name in (MANIFEST, COPY):
            replace_text(directory / name, text)


def read_manifest(directory: str | Path) -> dict[str, Any]:
    """The manifest of a run directory, or its copy where it is damaged.

    Raises:
        StudyError: there is none, both are damaged, or a later version of this package wrote it.

    Warns:
        UserWarning: it is damaged, and the copy is read.
    """
    found, _, why = _found(Path(directory))
    if why is not None:
        warnings.warn(
            f"{why}; the copy in {COPY} is read, and `{resume_line(directory)}` puts it back", stacklevel=2
        )
    return found


def lengths(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """How many steps a run had before each time that it was given more, and how many it has now.

    Args:
        manifest: what the run is.

    Example:
        >>> lengths({"steps": 24, "earlier": [{"steps": 12}, {"steps": 24}]})
        (12, 24)
    """
    earlier = {part.get("steps") or manifest["steps"] for part in manifest.get("earlier", ())}
    return tuple(sorted(earlier | {manifest["steps"]}))


def lengths_of(directory: Path) -> tuple[int, ...]:
    """What `lengths` says of a run directory; nothing if it has no manifest that can be read.

    Args:
        directory: the run directory.
    """
    try:
        return lengths(_found(directory)[0])
    except (StudyError, KeyError):
        return ()


def damage(directory: Path) -> str | None:
    """What is wrong with the manifest of a run directory, or with its copy; None if nothing is.

    Args:
        directory: the run directory.
    """
    found, _, why = _found(directory)
    copy = _read(directory / COPY)
    if why is None and copy is not None and copy != (found, True):
        return f"{directory / COPY} {copy if isinstance(copy, str) else 'is of another run'}"
    return why


def has_manifest(directory: Path) -> bool:
    """Whether a folder is a run directory, damaged or not."""
    return any((directory / name).exists() for name in (MANIFEST, COPY))


def restore(directory: Path) -> str | None:
    """Puts back what is damaged of the manifest and its copy, from the other; says what, or None.

    Call it only while holding the directory's lock.

    Args:
        directory: the run directory.
    """
    found, safe, why = _found(directory)
    damaged = [name for name in (MANIFEST, COPY) if _read(directory / name) != (found, True)]
    for name in damaged if safe else ():
        path = directory / name
        if path.exists():
            set_aside(directory, path)
    if damaged:  # also of an earlier version, which had no copy
        write_manifest(directory, found)
    return None if why is None else f"{why}; it is put back from its copy"


def _found(directory: Path) -> tuple[dict[str, Any], bool, str | None]:
    """What the run is, whether a checksum says so, and why it is the copy's, if it is."""
    first, second = _read(directory / MANIFEST), _read(directory / COPY)
    if first is None and second is None:
        raise StudyError(f"{quoted(str(directory))} is no run directory: there is no {MANIFEST} in it.")
    later = isinstance(first, tuple) and not first[1] and first[0]["format_version"] != FORMAT_VERSION
    instead = isinstance(second, tuple) and second[1] and not (isinstance(first, tuple) and first[1])
    chosen, why = first, None
    if instead and not later:
        said = "is missing" if first is None else "has no checksum"
        chosen, why = second, f"{directory / MANIFEST} {said if not isinstance(first, str) else first}"
    if not isinstance(chosen, tuple):
        raise StudyError(
            f"`{directory / MANIFEST} is a readable manifest` must hold, but got one that "
            f"{chosen or 'is missing'}, and no copy that can be read; put it back from a backup, or start a "
            f"new run. chunks/*/members.parquet and metrics.parquet can be read without it"
        )
    version = chosen[0]["format_version"]
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StudyError(
            f"`format_version <= {FORMAT_VERSION}` must hold, but got {version}; update lrelu-jax"
        )
    return *chosen, why


def _read(path: Path) -> tuple[dict[str, Any], bool] | str | None:
    """A manifest and whether it has a checksum; what is wrong with it; or None if there is none."""
    try:
        return unsealed(path, ("format_version",))
    except FileNotFoundError:
        return None
    except Damaged as error:
        return str(error).removeprefix(f"{path.name} ")


def fingerprint(asked: Mapping[str, Any], digests: Mapping[str, Any]) -> str:
    """One word for what was asked for, the data and the programs.

    Args:
        asked: what was asked for.
        digests: of the data and of the programs.
    """
    # What an earlier version did not say is left out where it means the same.
    said = {key: value for key, value in asked.items() if key not in ABSENT or value != ABSENT[key]}
    return hashlib.sha256(json.dumps([said, digests], sort_keys=True).encode()).hexdigest()


@functools.cache
def _version(package: str) -> str:
    """Every chunk says some, and each takes milliseconds to find."""
    return importlib.metadata.version(package)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that matter."""
    found = {package: _version(package) for package in PACKAGES}
    return {"python": platform.python_version(), **found}


def jax_settings() -> dict[str, Any]:
    """Those of JAX's settings that change numbers."""
    return {name: getattr(jax.config, name, None) for name in SETTINGS}


def setting(mesh: Any, loop: str, per_device: int) -> dict[str, Any]:
    """A numerical setting: within one, equal members have equal bits.

    Args:
        mesh: the devices.
        loop: the loop mode.
        per_device: members per device.
    """
    device = mesh.devices.flat[0]
    return {
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": mesh.size,
        "members_per_device": per_device,
        "loop": loop,
        "threads": cpu_cores(),
        **{package: _version(package) for package in NUMERICAL},
        **jax_settings(),
    }


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two descriptions, one line each: `steps: 100, now 200`.

    Args:
        recorded: the earlier one.
        now: the later one; what the earlier one does not know of is left out.
    """
    found = []
    for name in recorded:
        before, after = recorded.get(name), now.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += [f"{name}.{line}" for line in differences(before, after)]
        elif before != after:
            found.append(f"{name}: {_said(before)}, now {_said(after)}")
    return found


def _said(value: Any) -> str:
    return "nothing" if value is None else str(value)
