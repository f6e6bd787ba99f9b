"""All ready studies with claims, run one after the other, and the page of what they found."""

import importlib
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeps.claims.page import Outcome, document, markdown
from sweeps.cli.reference import describe, ready_studies
from sweeps.data.named import read_images
from sweeps.driver.loop import Origin, Settings, resume, run_as
from sweeps.errors import StudyError, unknown
from sweeps.members.request import request_again
from sweeps.report.drawing import saved
from sweeps.report.wording import count
from sweeps.results.results import Results, load
from sweeps.store.chunks import CONFIRMATION, MANIFEST, read_manifest
from sweeps.store.durable import replace, writing
from sweeps.store.lock import holder
from sweeps.store.statuses import UNFINISHED
from sweeps.trial import Study

PAGE, TABLE = "reproduction.html", "reproduction.md"
DPI = 130


def claiming(only: Sequence[str] = ()) -> dict[str, ModuleType]:
    """The ready studies that claims are made of, by name.

    Args:
        only: the names of those wanted; empty for all.

    Raises:
        StudyError: there is no such study, or no claim is made of it.
    """
    lines = ready_studies()
    found = {name: importlib.import_module(f"sweeps.studies.{name.replace('-', '_')}") for name in lines}
    found = {name: module for name, module in found.items() if getattr(module, "CLAIMS", ())}
    for name in only:
        if name not in found:
            raise StudyError(unknown("There is no ready study with claims called", name, found))
    return {name: module for name, module in found.items() if not only or name in only}


def reproduce(
    directory: str | Path,
    modules: dict[str, ModuleType],
    *,
    data: str | None = None,
    progress: bool = True,
    say: Callable[[str], Any] = print,
) -> list[Outcome]:
    """Runs studies, or goes on with them, or reads them where they are done; writes the page of all.

    A study that fails is named on the page, and the others run all the same.

    Args:
        directory: the folder of the run directories, one per study, and of the page.
        modules: the studies' modules by name.
        data: `KIND=PATH` of the images for the studies on images; None leaves them digits.
        progress: whether to show progress on standard error.
        say: called with a line per study that is done.

    Returns:
        What became of each study.

    Raises:
        StudyError: the data cannot be read, or the page cannot be written.
        KeyboardInterrupt: Ctrl-C; what was done is kept, and the same call goes on from there.
    """
    folder = Path(directory)
    images = None if data is None else read_images(data)
    with writing("out"):
        folder.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for place, (name, module) in enumerate(modules.items(), 1):
        taken = data if hasattr(module, "make") else None  # without images there is nothing to exchange
        line = (module.__doc__ or "").strip().partition("\n")[0]
        try:
            study = module.study if taken is None else module.make(images)
            results = _results(folder / name, name, study, getattr(module, "OPTIONS", {}), taken, progress)
            outcome = _outcome(name, line, module, results, folder)
        except Exception as error:  # any failure is that study's alone
            outcome = Outcome(name, line, tuple(module.CLAIMS), (), "", None, _reason(error))
        outcomes.append(outcome)
        verdicts = "; ".join(finding.verdict for finding in outcome.findings)
        say(f"{place}/{len(modules)} {name}: {outcome.error or verdicts}")
    with writing(str(folder / PAGE)):
        for file, text in ((PAGE, document(outcomes, data)), (TABLE, markdown(outcomes))):
            replace(folder / file, lambda path, text=text: path.write_text(text, encoding="utf-8"))
    return outcomes


def _results(
    directory: Path, name: str, study: Study, options: dict[str, Any], data: str | None, progress: bool
) -> Results:
    """The results of a study: read, gone on with, or run anew."""
    if not (directory / MANIFEST).exists():
        origin = Origin(name, describe(name, {}, None, data))
        return run_as(origin, study, Settings(out=directory, progress=progress, **options))
    recorded = read_manifest(directory)
    before = (recorded.get("reference") or {}).get("data")
    if before != (None if data is None else describe(name, {}, None, data)["data"]):
        raise StudyError(
            f"`the data of {directory}` must be what the run began with, {before or 'digits'}, but got "
            f"{data or 'digits'}; name another --out"
        )
    request_again(recorded, study)
    return load(directory) if _finished(directory, recorded) else resume(directory, study, progress=progress)


def _finished(directory: Path, recorded: dict[str, Any]) -> bool:
    """Whether every member came to its end, those on fresh seeds too, and nobody is at it."""
    if holder(directory):
        return False
    try:
        results = load(directory)
    except StudyError:  # nothing is done yet
        return False
    parts = [results] + ([results.confirmation] if results.confirmation else [])
    if recorded["confirm"] and not (directory / CONFIRMATION / MANIFEST).exists():
        return False
    if recorded["confirm"] and results.confirmation is None:
        return False
    return all(
        len(part.members) == part.manifest["members"]
        and not set(UNFINISHED) & set(part.members["status"].to_pylist())
        for part in parts
    )


def _outcome(name: str, line: str, module: ModuleType, results: Results, folder: Path) -> Outcome:
    """What the study found, with its picture drawn into the folder."""
    findings = tuple(module.findings(results))
    path = folder / f"{name}.png"
    with writing(str(path)):
        saved(module.picture(results), path, dpi=DPI)
    seeds = len(set(results.members["seed"].to_pylist()))
    size = (
        f"{count(len(results.members), 'run')} of {count(results.manifest['steps'], 'step')}, "
        f"{count(seeds, 'seed')} each"
    )
    fresh = results.confirmation
    if fresh is not None:
        again = len(set(fresh.members["seed"].to_pylist()))
        size += f", and the winner and the default on {count(again, 'fresh seed')}"
    return Outcome(name, line, tuple(module.CLAIMS), findings, f"{size}.", path, None)


def _reason(error: Exception) -> str:
    """The error in one line; where in the code, if it is not one that a message was written for."""
    if isinstance(error, StudyError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return " ".join(f"{type(error).__name__}: {error} ({where})".split())
