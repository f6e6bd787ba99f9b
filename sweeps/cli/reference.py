"""What STUDY may be on the command line: a ready study, `module:object`, `file.py:object`, a TOML file."""

import ast
import contextlib
import dataclasses
import inspect
import sys
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sweeps.cli.importing import files_of, import_file, import_module, own_code
from sweeps.data.named import read_images
from sweeps.errors import StudyError, brief, cut, quoted, unknown
from sweeps.space.domains import text
from sweeps.space.grammar import as_domain
from sweeps.trial import Study

READY = Path(__file__).parents[1] / "studies"
STUDY_KEYS = {
    "steps": int, "metric": str, "mode": str, "select": str, "samples": int, "evaluate_every": int,
    "batches": str,
}  # fmt: skip
RUN_KEYS = {"search": str, "schedule": str, "executor": str, "keep_states": bool}
KINDS = {"study": str, "space": dict, **STUDY_KEYS, **RUN_KEYS}  # what a study file says, and its type
NAMES = {str: "text", dict: "a table", int: "a whole number", bool: "true or false"}


class Reference(NamedTuple):
    """A study that was named.

    Attributes:
        name: what the run is called.
        study: the study.
        options: what a TOML file says of the run, such as `search`.
    """

    name: str
    study: Study
    options: dict[str, Any]


def ready_studies() -> dict[str, str]:
    """The names of the ready studies, with the first line of each one's docstring."""
    found = {}
    for path in sorted(READY.glob("[a-z]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem.replace("_", "-")] = docstring.partition("\n")[0]
    return found


def resolve(reference: str, images: str | None = None) -> Reference:
    """Finds the study that a person named.

    Args:
        reference: a ready study's name, `module:object`, `path/to/file.py:object`, or a `.toml` file.
        images: `KIND=PATH` of the images to run it on, which its module's `make` takes; None leaves its own.

    Raises:
        StudyError: there is no such study, it is not a `Study`, or it takes no other images.
    """
    return _resolve(reference, images, ())


def _resolve(reference: str, images: str | None, within: tuple[Path, ...]) -> Reference:
    if reference.endswith(".toml"):
        return _from_toml(Path(reference), images, within)
    where, colon, attribute = reference.rpartition(":")
    if not colon:
        known = ready_studies()
        if reference not in known:
            raise StudyError(_no_study(reference, known))
        where, attribute = f"sweeps.studies.{reference.replace('-', '_')}", "study"
    module = import_file(Path(where)) if where.endswith(".py") else import_module(where)
    with own_code(f"`{where} gives its {attribute}`", "mend it there"):
        study = getattr(module, attribute, None)
    if study is None:
        known = [name for name, value in vars(module).items() if isinstance(value, Study)]
        raise StudyError(unknown(f"{where} has no study", attribute, known))
    if not isinstance(study, Study):
        cure = "; give what it returns a name there, and ask for that" if inspect.isfunction(study) else ""
        raise StudyError(f"`{reference} is a sweeps.Study` must hold, but got a {type(study).__name__}{cure}")
    if images is not None:
        if attribute != "study" or not hasattr(module, "make"):
            raise StudyError(f"`a study with make(data)` must hold for --data, but {reference} has none")
        data = read_images(images)
        with own_code(f"`{where} makes a study of {images}`", "mend it there"):
            study = module.make(data)
    name = (
        reference if not colon else attribute if attribute != "study" else Path(where).stem.rpartition(".")[2]
    )
    return Reference(name or attribute, study, {})


def _no_study(word: str, known: Collection[str]) -> str:
    """What is said where a word without a colon names no ready study."""
    if word.endswith(".py"):
        return f"Add the study's name: {cut(word)}:study."
    near = unknown("Unknown study", word, known)
    if near.endswith("?"):
        return near
    return (
        f"Unknown study {quoted(word)}. `sweeps list` shows those that are ready; your own is module:object, "
        f"file.py:object or a .toml file."
    )


def rebuild(directory: Path, recorded: Mapping[str, Any], *, trust: bool = False, **changes: Any) -> Study:
    """The study of a run, found again by what its manifest says of it, with some of its values changed.

    What is going to be imported is said on standard error before it is, for a run directory may come from
    someone else.

    Args:
        directory: the run directory.
        recorded: its manifest.
        trust: whether code that lies inside the run directory is run all the same.
        **changes: `space` and `steps`, where they are not as the run was started with; None changes nothing.

    Raises:
        StudyError: the run was started from Python, its study is no longer there, or it lies inside the run
            directory.
    """
    reference = recorded["reference"]
    if reference is None:
        raise StudyError(
            "`a run that was started by the command` must hold, but got one started from Python, whose study "
            "has no name; call sweeps.resume(directory, study) or sweeps.replay(directory, member, study)"
        )
    word, folder = reference["study"], Path(reference["folder"])
    if word not in ready_studies():
        print(f"this run's study is {word}, imported from {folder}", file=sys.stderr)
        if not trust and any(place.is_relative_to(directory.resolve()) for place in _places(word, folder)):
            raise StudyError(
                f"`a study outside of the run directory` must hold, but got {word} in {folder}, code that "
                f"came with the run; read it, and --trust runs it"
            )
    if folder.is_dir():
        sys.path.append(str(folder))  # where its module was found
    # What the study imports is looked for where the process is, and that may be the run directory.
    apart = not trust and Path.cwd().is_relative_to(directory.resolve())
    elsewhere = folder if folder.is_dir() else directory.resolve().parent
    with contextlib.chdir(elsewhere) if apart else contextlib.nullcontext():
        study = resolve(word, reference.get("data")).study
    space = {field: as_domain(value, field) for field, value in reference["space"].items()}
    steps = reference["steps"] if changes["steps"] is None else changes["steps"]
    return with_options(study, space | changes["space"], steps=steps)


def _places(word: str, folder: Path) -> list[Path]:
    """Where the code of a study that is named so lies."""
    where = word.rpartition(":")[0]
    named = [folder.resolve(), (folder / where).resolve(), (folder / word).resolve()]
    return named if where.endswith(".py") or word.endswith(".toml") else named + files_of(where, folder)


def describe(
    word: str, space: Mapping[str, Any], steps: int | None, images: str | None = None
) -> dict[str, Any]:
    """What a manifest says of a study that was named, so that `rebuild` finds it again from anywhere.

    Args:
        word: what the study was named by.
        space: the fields that were changed.
        steps: the steps, if they were changed.
        images: `KIND=PATH` of its images, if they were changed.
    """
    where, colon, attribute = word.rpartition(":")
    if word.endswith(".toml"):
        word = str(Path(word).resolve())
    elif where.endswith(".py"):
        word = f"{Path(where).resolve()}{colon}{attribute}"
    changed = {field: text(domain) for field, domain in space.items()}
    said = {"study": word, "folder": str(Path.cwd()), "space": changed, "steps": steps}
    if images is None:
        return said
    kind, equals, path = images.partition("=")
    return {**said, "data": f"{kind}={Path(path).expanduser().resolve()}" if equals else images}


def with_options(study: Study, space: dict[str, Any], **changes: Any) -> Study:
    """The study with some fields of its space and some of its values changed; None changes nothing."""
    changes = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(study, space={**study.space, **space}, **changes)


def _from_toml(path: Path, images: str | None, within: tuple[Path, ...]) -> Reference:
    """The study of a file, which may change that of another; `within` are those that name this one."""
    table = _table(path)
    if path.resolve() in within:
        raise StudyError(f"{path} names itself as its study. Name another.")
    named = _resolve(table["study"], images, (*within, path.resolve()))
    changes = {key: table[key] for key in STUDY_KEYS if key in table}
    if "metric" in table:
        changes = {"mode": None} | changes  # that of the named study was another metric's
    space = {**named.study.space, **table.get("space", {})}
    try:
        study = dataclasses.replace(named.study, space=space, **changes)
    except StudyError as error:
        raise StudyError(f"in {path}: {error}") from error
    return Reference(path.stem, study, named.options | {key: table[key] for key in RUN_KEYS if key in table})


def _table(path: Path) -> dict[str, Any]:
    """What a study file says, its keys known and of their types."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"`{path} can be read` must hold, but got: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # what is no TOML, no UTF-8, no path, or nested too deep
        raise StudyError(f"`{path} is TOML` must hold, but got: {' '.join(str(error).split())}") from error
    for key, value in table.items():
        if key not in KINDS:
            raise StudyError(unknown(f"{path} has the unknown key", key, KINDS))
        if type(value) is not (kind := KINDS[key]):
            raise StudyError(f"`{key} is {NAMES[kind]}` must hold in {path}, but got {brief(value)}")
    if "study" not in table:
        raise StudyError(f'{path} names no study. Add a line such as study = "digits-mlp".')
    return table
