"""What this machine measured of a program before, kept in the process and beside the compilation cache."""

import contextlib
import hashlib
import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax

from sweeps.engine.bench import Bench
from sweeps.engine.chunks import Measurement
from sweeps.engine.compiler import compiler_options
from sweeps.host.devices import cpu_cores
from sweeps.store.durable import replace_text


class Known(NamedTuple):
    """What is known of a program on such devices.

    Attributes:
        member_bytes: what one member keeps in the cache: its state, and what a step makes of it.
        loop: the loop that suits it as far as its arithmetic tells.
        convolves: whether it has convolutions that are not lowered.
        measurements: the candidates that were compiled and timed.
        processes: what a process per core takes of the time that these devices take for it; None if that was
            not measured.
    """

    member_bytes: int
    loop: str
    convolves: bool
    measurements: tuple[Measurement, ...] = ()
    processes: float | None = None


_known: dict[str, Known] = {}


def name_of(bench: Bench) -> str:
    """What the measurements of a program are kept under: all that they depend on, but for its width and loop.

    Args:
        bench: the program, its data and its devices.
    """
    device = bench.mesh.devices.flat[0]
    depends = [
        device.platform, device.device_kind, bench.mesh.size, bench.workers, cpu_cores(),
        jax.__version__, version("jaxlib"), compiler_options(bench.mesh), bench.digest, bench.study.batches,
        [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves((bench.train, bench.evaluation))],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:32]


def recall(name: str) -> Known | None:
    """What is known; None if nothing is.

    Args:
        name: as `name_of` says.
    """
    if name in _known or (path := _path(name)) is None:
        return _known.get(name)
    try:
        return _read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # nothing, or a damaged file, which is written over


def keep(name: str, known: Known) -> None:
    """Remembers.

    Args:
        name: as `name_of` says.
        known: what is known.
    """
    _known[name] = known
    path = _path(name)
    if path is None:
        return
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not the run
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(known._asdict()))


def _path(name: str) -> Path | None:
    """Where it is kept on the disk; None without a compilation cache."""
    cache = getattr(jax.config, "jax_compilation_cache_dir", None)
    return Path(cache) / f"sweeps-measured-{name}.json" if cache else None


def _read(kept: dict[str, Any]) -> Known:
    timed = [
        Measurement(int(width), str(loop), float(seconds), float(compiled), int(needed))
        for width, loop, seconds, compiled, needed in kept["measurements"]
    ]
    if not all(each.per_device > 0 and 0 < each.seconds_per_step < math.inf for each in timed):
        raise ValueError("not a measurement")
    processes = kept.get("processes")
    return Known(
        int(kept["member_bytes"]), str(kept["loop"]), bool(kept["convolves"]), tuple(timed),
        None if processes is None else float(processes),
    )  # fmt: skip
