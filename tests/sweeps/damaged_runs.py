"""Runs that were killed midway, of every kind, and the ways in which their files may be damaged."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sweeps
from sweeps.driver import session
from sweeps.executors import inline
from sweeps.host.progress import Display
from sweeps.results.results import Results
from sweeps.store import checkpoints
from tests.sweeps import tiny_networks

OPTIONS: dict[str, Any] = {"members_per_chunk": 4, "progress": False, "checkpoint_minutes": 1e-9}


class Killed(NamedTuple):
    """A run directory as SIGKILL would have left it, and what comes of the run where nothing happens."""

    directory: Path
    study: sweeps.Study
    whole: Results


class Case(NamedTuple):
    """A kind of run.

    Attributes:
        options: of `sweeps.run`.
        chunk: the pattern of its chunk in flight when it is killed; None has it end.
        space: of its study.
        within: where that chunk's run directory is inside the run's.
        kinds: a regular expression of the kinds of files that other cases do not have likewise.
    """

    options: dict[str, Any]
    chunk: str | None
    space: dict[str, Any]
    within: str = ""
    kinds: str = ""


SPACE = {"alpha": [0.0, 0.3], "seed": range(4)}
MORE = {"alpha": [0.0, 0.1, 0.3, 0.5], "seed": range(4)}
HALVING = "halving(min_steps=2, eta=2)"
DRAWN = {"alpha": sweeps.uniform(0, 0.5), "seed": range(2)}
CASES = {
    "grid": Case({}, "0-8-0-8", {"alpha": [0.0, 0.1, 0.3], "seed": range(4)}),
    "halving": Case({"schedule": HALVING}, "*-4-8", MORE),
    "keep_best": Case({"keep_best": 2}, None, SPACE),
    "halving, keep_best": Case(
        {"schedule": HALVING, "keep_best": 2}, None, MORE, "", r"rungs|kept\.json|kept.*state/d/"
    ),
    "pbt": Case(
        {"schedule": "pbt(every=2)", "samples": 4},
        "*-4-6",
        DRAWN,
        "",
        r"rungs|evaluated/(checkpoint|state/d/)|chunks.*members",
    ),
    "hyperband": Case(
        {"schedule": "hyperband(min_steps=2, eta=2)"},
        "*-4-8",
        {"alpha": sweeps.linspace(0, 0.5, 9), "seed": range(2)},
        "",
        r"rungs|evaluated/(checkpoint|state/d/)|chunks.*members|^manifest",
    ),
    "tpe": Case(
        {"search": sweeps.tpe(points_per_batch=2), "samples": 6}, "0-8-0-8", DRAWN, "", r"chunks|^members"
    ),
    "confirm": Case(
        {"confirm": 2},
        "0-0-0-8",
        SPACE,
        "confirmation",
        r"confirmation/(\.?manifest|.*checkpoint\.json|.*state/d/|lock)",
    ),
}


def study_of(space: dict[str, Any]) -> sweeps.Study:
    trial = sweeps.Trial(
        tiny_networks.Config,
        tiny_networks.xor(),
        tiny_networks.init,
        tiny_networks.step,
        tiny_networks.evaluate,
    )
    return sweeps.Study(trial, steps=8, metric="test/loss", mode="min", space=space, evaluate_every=2)


def killed(case: Case, folder: Path) -> Killed:
    """Trains a run to its end, and takes its directory as it was while a chunk was in flight."""
    study, directory, moment = study_of(case.space), folder / "whole", folder / "killed"
    shown = Display.chunk

    def chunk(display: Display, name: str, running: Any) -> None:
        shown(display, name, running)
        there = directory / case.within / "checkpoints"
        if case.chunk and not moment.exists() and list(there.glob(f"{case.chunk}-*/[0-9]*")):
            shutil.copytree(directory, moment)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Display, "chunk", chunk)
        patched.setattr(checkpoints.Writer, "save", at_once)
        results = sweeps.run(study, out=directory, **OPTIONS, **case.options)
    if case.chunk is None:
        shutil.copytree(directory, moment)
    return Killed(moment, study, results)


def at_once(writer: checkpoints.Writer, name: str, checkpoint: checkpoints.Checkpoint) -> None:
    """Writes a checkpoint before training goes on, so that a copy of the directory is of one moment."""
    checkpoints.save(writer.directory, name, checkpoint)


def remembering(patched: pytest.MonkeyPatch) -> None:
    """Has each study examined and planned once, however often its runs are resumed."""
    for module, name, key in (
        (session, "examine", lambda study, population: (str(study.domains), len(population))),
        (
            inline,
            "prepare",
            lambda examined, *words, **options: (id(examined), *map(str, words), str(options)),
        ),
    ):
        patched.setattr(module, name, _remembered(getattr(module, name), key))


def _remembered(function: Callable, key: Callable) -> Callable:
    known: dict[Any, Any] = {}

    def call(*words: Any, **options: Any) -> Any:
        place = key(*words, **options)
        if place not in known:
            known[place] = words, function(*words, **options)  # the words live on, so that no id comes again
        return known[place][1]

    return call


def files(directory: Path, kinds: str = "") -> Iterator[tuple[str, Path]]:
    """One file of each kind that a run directory holds, by the name of the kind."""
    found: dict[str, Path] = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            found[kind(path.relative_to(directory))] = path
    yield from ((name, path) for name, path in found.items() if re.search(kinds, name))


def kind(path: Path) -> str:
    """`chunks/*/members.parquet`, of any chunk; files of a state are told apart by their names."""
    parts = list(path.parts)
    for place, part in enumerate(parts):
        if part[0].isdigit() or len(part) > 25:
            parts[place] = "*-evaluated" if part.endswith("-evaluated") else "*"
    return "/".join(parts)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 0x15
    path.write_bytes(content)


def other(path: Path) -> None:
    path.write_text(json.dumps({"format_version": 1, "step": "x", "members": 3}))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("else")


def deleted(path: Path) -> None:
    path.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": empty, "cut": cut, "garbled": garbled, "other JSON": other, "a folder": a_folder,
    "deleted": deleted,
}  # fmt: skip
