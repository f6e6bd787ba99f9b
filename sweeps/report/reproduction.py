"""How to get the same numbers again: the command or the Python, the versions, the hardware, the seeds."""

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from sweeps.report.wording import count
from sweeps.results.results import Results

OPTIONS = (
    "samples", "search", "points_per_batch", "schedule", "root_seed", "members_per_chunk", "confirm",
    "keep_best",
)  # fmt: skip
USUAL = {"root_seed": 0, "confirm": 0, "keep_best": 0, "search": "grid"}
MEMBER = "MEMBER"
WARM = "# the search began with the points of an earlier run, which has to be named:"


def recipe(manifest: Mapping[str, Any]) -> str:
    """What to type: a command where the run was started by one, else the call in Python.

    Args:
        manifest: what the run was.
    """
    options = {
        name: manifest[name] for name in OPTIONS if manifest.get(name) not in (None, USUAL.get(name, None))
    }
    reference = manifest.get("reference")
    if reference:
        if manifest.get("earlier"):  # it was extended since it was started
            reference = {**reference, "space": manifest["space"], "steps": manifest["steps"]}
        return _command(reference, options, _is_warm(manifest))
    return _call(manifest, options)


def replay(results: Results) -> str | None:
    """What trains MEMBER of a run again: a command where the run was started by one, else the call in Python.

    Args:
        results: of the run.

    Returns:
        It; None of a run that is nowhere.
    """
    if results.directory is None:
        return None
    if results.manifest.get("reference"):
        return f"{shlex.join(['sweeps', 'replay', str(results.directory)])} {MEMBER}"
    return f"sweeps.replay({str(results.directory)!r}, {MEMBER}, study)"


def _is_warm(manifest: Mapping[str, Any]) -> bool:
    """Whether the search began with points of another run."""
    return bool((manifest.get("history") or {}).get("points"))


def _call(manifest: Mapping[str, Any], options: dict[str, Any]) -> str:
    """The call in Python."""
    if batch := options.pop("points_per_batch", None):
        warm = ", warm_start=…" if _is_warm(manifest) else ""
        options["search"] = f"sweeps.{options['search']}(points_per_batch={batch}{warm})"
    elif "search" in options:
        options["search"] = repr(options["search"])
    words = "".join(
        f", {name}={value if name == 'search' else repr(value)}" for name, value in options.items()
    )
    space = manifest.get("space") or {}
    select = "select='best', " if manifest.get("select") == "best" else ""
    select += "batches='per_seed', " if manifest.get("batches") == "per_seed" else ""
    lines = [
        *([WARM] if _is_warm(manifest) else []),
        "import sweeps",
        f"# {manifest.get('study', 'study')}: the study that was run; its space is written below",
        f"study = sweeps.Study(trial, steps={manifest['steps']}, metric={manifest['metric']!r}, "
        f"mode={manifest['mode']!r}, {select}space={{",
        *(f"    {name!r}: {domain!r}," for name, domain in space.items()),
        "})",
        f'results = sweeps.run(study, out="runs/again"{words})',
    ]
    return "\n".join(lines)


def circumstances(results: Results) -> list[tuple[str, str]]:
    """Versions, hardware and seeds, as labels and values.

    Args:
        results: a run.
    """
    manifest = results.manifest
    setting = manifest.get("numerical_setting") or {}
    said = [
        ("space", "; ".join(f"{name} = {domain}" for name, domain in (manifest.get("space") or {}).items())),
        ("seeds", _seeds(results)),
        ("root seed", _text(manifest.get("root_seed"))),
        ("samples", _text(manifest.get("samples"))),
        ("search", _text(manifest.get("search"))),
        ("schedule", _text(manifest.get("schedule"))),
        ("steps", f"{manifest['steps']:,}"),
        ("batch size", _text(manifest.get("batch_size"))),
        ("batches", _text(manifest.get("batches"))),
        ("the same for all", "; ".join(f"{name} = {value}" for name, value in _fixed(results).items())),
        (
            "versions",
            ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items()),
        ),
        ("hardware", _hardware(setting)),
        ("numerical setting", ", ".join(f"{name} {value}" for name, value in setting.items())),
        ("fingerprint", _text(manifest.get("fingerprint"))),
    ]
    return [(label, value) for label, value in said if value]


def _command(reference: Mapping[str, Any], options: Mapping[str, Any], warm: bool) -> str:
    words = ["sweeps", "run", str(reference["study"])]
    words += [f"{field}={domain}" for field, domain in (reference.get("space") or {}).items()]
    if reference.get("steps") is not None:
        words += ["--steps", str(reference["steps"])]
    if reference.get("data") is not None:
        words += ["--data", str(reference["data"])]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    line = shlex.join(words)
    if warm:
        line = f"{WARM}\n{line} --warm-start DIR"
    # A ready study is found from anywhere; a module only from the folder it was named in.
    elsewhere = ":" in str(reference["study"]) or str(reference["study"]).endswith(".toml")
    folder = reference.get("folder")
    return f"cd {shlex.quote(str(folder))}\n{line}" if folder and elsewhere else line


def _seeds(results: Results) -> str:
    seeds = np.unique(results.members["seed"].to_numpy())
    if len(seeds) > 2 and np.all(np.diff(seeds.astype(np.int64)) == 1):
        return f"{seeds[0]} to {seeds[-1]} ({count(len(seeds), 'seed')})"
    listed = ", ".join(map(str, seeds[:16].tolist()))
    return listed + (f", … ({count(len(seeds), 'seed')})" if len(seeds) > 16 else "")


def _fixed(results: Results) -> dict[str, Any]:
    """The fields that did not vary."""
    fields = [name for name in results.manifest.get("fields", ()) if name not in results.swept]
    first = results.members.slice(0, 1).to_pylist()[0]
    return {name: first[name] for name in fields if name in first}


def _hardware(setting: Mapping[str, Any]) -> str:
    if not setting:
        return ""
    kind = setting["device_kind"] if setting["device_kind"] != setting["platform"] else setting["platform"]
    return f"{count(setting['devices'], 'device')} ({kind}), {count(setting['threads'], 'CPU core')}"


def _text(value: Any) -> str:
    return "" if value is None else str(value)
