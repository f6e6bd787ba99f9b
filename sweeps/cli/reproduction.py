"""All ready studies with claims, run one after the other, and the page of what they found."""

import importlib
import math
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from sweeps.claims.forest import forest
from sweeps.claims.page import Outcome, document, markdown
from sweeps.cli.reference import describe, ready_studies
from sweeps.cli.sizes import Pilot, enlarged, needs, seconds_of, sizes, timed
from sweeps.data.named import read_images
from sweeps.driver.extension import extend
from sweeps.driver.loop import Origin, Settings, resume, run_as
from sweeps.errors import StudyError, brief, unknown
from sweeps.members.request import request_again
from sweeps.report.drawing import saved
from sweeps.report.reproduction import circumstances
from sweeps.report.wording import count
from sweeps.results.results import Results, load
from sweeps.space.bounds import finite
from sweeps.space.domains import text
from sweeps.store.chunks import CONFIRMATION, MANIFEST, read_manifest
from sweeps.store.durable import publish, replace, writing
from sweeps.store.lock import LOCK, holder
from sweeps.store.statuses import UNFINISHED
from sweeps.trial import Study

PAGE, TABLE = "reproduction.html", "reproduction.md"
FOREST, NARROW = "forest", "forest-narrow"
DPI = 130
SAID = ("data", "seeds", "root seed", "steps", "space", "versions", "hardware", "fingerprint")


class Task(NamedTuple):
    """A study that is reproduced.

    Attributes:
        name: of the study.
        module: where it is.
        study: the study, on the images that are used.
        data: those images, as they were named; None for the study's own.
    """

    name: str
    module: ModuleType
    study: Study
    data: str | None

    @property
    def options(self) -> dict[str, Any]:
        """How it is run."""
        return getattr(self.module, "OPTIONS", {})

    @property
    def taken(self) -> str:
        """The data that it takes by name: those that were named, or its own."""
        own = getattr(self.module, "DATA", "digits") if hasattr(self.module, "make") else "the study's own"
        return self.data or own

    @property
    def confirms(self) -> bool:
        """Whether the winner runs again on fresh seeds: no such run can be extended, for another may win."""
        return bool(self.options.get("confirm"))


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
    minutes: float | int | None = None,
    progress: bool = True,
    say: Callable[[str], Any] = print,
) -> list[Outcome]:
    """Runs studies, or goes on with them, or reads them where they are done; writes the page of all.

    Each study's own seeds are the pilot of a larger run, which has the seeds that a power of 90 % takes and
    is done, cheapest first, as far as the minutes reach. One that is there is read, whatever the minutes. A
    study that fails is named on the page, and the others run all the same.

    Args:
        directory: the folder of the run directories, one per study, and of the page.
        modules: the studies' modules by name.
        data: `KIND=PATH` of the images for the studies on images; None leaves them their own.
        minutes: how long all may take, the studies at their own sizes included, which are run in any case;
            None makes no larger run.
        progress: whether to show progress on standard error.
        say: called with a line per study that is done.

    Returns:
        What became of each study.

    Raises:
        StudyError: the minutes are none, the data cannot be read, or the page cannot be written.
        KeyboardInterrupt: Ctrl-C; what was done is kept, and the same call goes on from there.
    """
    if minutes is not None and (finite(minutes) or 0) <= 0:
        raise StudyError(f"`0 < minutes` must hold and be a finite number, but got {brief(minutes)}")
    ends = -math.inf if minutes is None else time.monotonic() + 60 * minutes
    folder = Path(directory)
    images = None if data is None else read_images(data)
    with writing("out"):
        folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, Outcome] = {}
    larger: list[tuple[Task, Pilot]] = []
    for place, (name, module) in enumerate(modules.items(), 1):
        try:
            taken = data if hasattr(module, "make") else None  # without images there is nothing to exchange
            task = Task(name, module, module.study if taken is None else module.make(images), taken)
            results = _results(folder / name, task, task.study, task.options, progress)
            outcomes[name], pilot = _outcome(task, results, folder)
            larger += [(task, pilot)] if sizes(pilot) else []
        except Exception as error:  # any failure is that study's alone
            outcomes[name] = _failed(name, module, error)
        say(f"{place}/{len(modules)} {_line(outcomes[name])}")
    _write(folder, list(outcomes.values()), data)
    for task, pilot in sorted(larger, key=lambda each: min(size.minutes or 0 for size in sizes(each[1]))):
        try:
            outcome = _at_size(folder, task, pilot, ends, progress)
        except Exception as error:
            outcome = _failed(task.name, task.module, error)
        if outcome is not None:
            outcomes[task.name] = outcome
            say(f"larger {_line(outcome)}")
            _write(folder, list(outcomes.values()), data)
    return list(outcomes.values())


def _at_size(folder: Path, task: Task, pilot: Pilot, ends: float | int, progress: bool) -> Outcome | None:
    """What the largest run found that is there, or that fits in the time that is left; None if none does."""
    found, minutes = sizes(pilot), (ends - time.monotonic()) / 60
    places = [folder / f"{task.name}-{size.seeds}-seeds" for size in found]
    larger = [enlarged(task.study, task.options, size) for size in found]
    there = [_whole(directory, study) for directory, (study, _) in zip(places, larger, strict=True)]
    for at, (size, directory) in enumerate(zip(found, places, strict=True)):
        begun, smaller = (directory / MANIFEST).exists(), [*there[at:], True].index(True)
        source = [*places[at:], folder / task.name][smaller]  # the pilot, or the largest run since
        done = None if task.confirms and not begun else seconds_of(directory if begun else source)
        if not there[at] and not size.after(done, pilot).fits(minutes):
            continue
        if not begun and not task.confirms:
            _copied(source, directory)
        limit = None if there[at] else minutes
        results = _results(directory, task, *larger[at], progress, limit)
        if there[at] or _whole(directory, larger[at][0]):
            return _outcome(task, results, folder, pilot)[0]
    return None


def _whole(directory: Path, study: Study) -> bool:
    """Whether a larger run has all of its seeds, and is done."""
    if not (directory / MANIFEST).exists():
        return False
    recorded = read_manifest(directory)
    return recorded["space"]["seed"] == text(study.domains["seed"]) and _finished(directory, recorded)


def _copied(smaller: Path, directory: Path) -> None:
    """A run directory again, to be extended there: what it has trained is not trained anew."""

    def copy(folder: Path) -> None:
        shutil.copytree(smaller, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LOCK))

    with writing(str(directory)):
        publish(directory, copy, changes=True)


def _line(outcome: Outcome) -> str:
    """A study's verdicts, or why it failed, and what more it takes."""
    verdicts = "; ".join(finding.verdict for finding in outcome.findings)
    more = f"; {outcome.needs}" if outcome.needs else ""
    return f"{outcome.name}: {outcome.error or verdicts}{more}"


def _write(folder: Path, outcomes: list[Outcome], data: str | None) -> None:
    """The page, the table, and the picture of all effects."""
    import matplotlib

    found = [(outcome.name, outcome.findings) for outcome in outcomes]
    paths = [folder / f"{name}.svg" for name in (FOREST, NARROW)]
    with writing(str(folder / PAGE)), matplotlib.rc_context({"svg.hashsalt": FOREST}):
        if there := any(finding.effects for _, findings in found for finding in findings):
            for path, narrow in zip(paths, (False, True), strict=True):
                forest(found, narrow).savefig(path, metadata={"Date": None})
            saved(forest(found), folder / f"{FOREST}.png", dpi=DPI)
        texts = {PAGE: document(outcomes, data, paths if there else ()), TABLE: markdown(outcomes, data)}
        for file, words in texts.items():
            replace(folder / file, lambda path, words=words: path.write_text(words, encoding="utf-8"))


def _results(
    directory: Path,
    task: Task,
    study: Study,
    options: dict[str, Any],
    progress: bool,
    minutes: float | int | None = None,
) -> Results:
    """The results of a study: read, gone on with, or run anew."""
    changed = {} if study is task.study else {"seed": study.domains["seed"]}
    reference = describe(task.name, changed, None, task.data)
    if not (directory / MANIFEST).exists():
        settings = Settings(out=directory, progress=progress, max_minutes=minutes, **options)
        with timed(directory):
            return run_as(Origin(task.name, reference), study, settings)
    recorded = read_manifest(directory)
    before = (recorded.get("reference") or {}).get("data")
    if before != reference.get("data"):
        raise StudyError(
            f"`the data of {directory}` must be what the run began with, "
            f"{before or task._replace(data=None).taken}, but got {task.taken}; name another --out"
        )
    if study is not task.study and recorded["space"]["seed"] != text(study.domains["seed"]):  # a copied pilot
        with timed(directory):
            return extend(directory, task.study, space=changed, progress=progress, max_minutes=minutes)
    request_again(recorded, study)
    if _finished(directory, recorded):
        return load(directory)
    with timed(directory):
        return resume(directory, study, progress=progress, max_minutes=minutes)


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


def _outcome(task: Task, results: Results, folder: Path, pilot: Pilot | None = None) -> tuple[Outcome, Pilot]:
    """What the study found, with its picture drawn into the folder, and its pilot, itself if None."""
    name, module = task.name, task.module
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
    seconds, facts = seconds_of(results.directory), _facts(task, results)
    pilot = pilot or Pilot(findings, seeds, seconds, task.confirms)
    more = needs(pilot, findings, seeds, seconds)
    line, claims = _about(module), tuple(module.CLAIMS)
    return Outcome(name, line, claims, findings, f"{size}.", path, None, facts, more), pilot


def _failed(name: str, module: ModuleType, error: Exception) -> Outcome:
    return Outcome(name, _about(module), tuple(module.CLAIMS), (), "", None, _reason(error))


def _about(module: ModuleType) -> str:
    """What a study is: the first line of its docstring."""
    return (module.__doc__ or "").strip().partition("\n")[0]


def _facts(task: Task, results: Results) -> tuple[tuple[str, str], ...]:
    """Data, seeds and versions."""
    digest = (results.manifest.get("digests") or {}).get("data")
    data = f"{task.taken}{f', digest {digest[:12]}' if digest else ''}"
    known = dict([("data", data), *circumstances(results)])
    return tuple((label, known[label]) for label in SAID if label in known)


def _reason(error: Exception) -> str:
    """The error in one line; where in the code, if it is not one that a message was written for."""
    if isinstance(error, StudyError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return " ".join(f"{type(error).__name__}: {error} ({where})".split())
