"""What STUDY may be on the command line: a ready study, `module:object`, `file.py:object`, a TOML file."""

import ast
import dataclasses
import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sweeps.grammar import as_domain
from sweeps.image_sets import read_images
from sweeps.space import StudyError, text
from sweeps.trial import Study, unknown

READY = Path(__file__).parent / "studies"
STUDY_KEYS = ("steps", "metric", "mode", "evaluate_every", "batches")
RUN_KEYS = ("samples", "search", "schedule")


class Reference(NamedTuple):
    """A study that was named.

    Attributes:
        name: what the run is called.
        study: the study.
        options: what a TOML file says of the run, such as `samples`.
    """

    name: str
    study: Study
    options: dict[str, Any]


def ready_studies() -> dict[str, str]:
    """The names of the ready studies, with the first line of each one's docstring."""
    found = {}
    for path in sorted(READY.glob("[a-z]*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
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
    if reference.endswith(".toml"):
        return _from_toml(Path(reference), images)
    where, colon, attribute = reference.rpartition(":")
    if not colon:
        known = ready_studies()
        if reference not in known:
            forms = "a ready study, module:object, file.py:object or a .toml file"
            raise StudyError(f"`STUDY is {forms}` must hold, but got {unknown(reference, known)}")
        where, attribute = f"sweeps.studies.{reference.replace('-', '_')}", "study"
    module = _module_from_file(Path(where)) if where.endswith(".py") else _module(where)
    if not hasattr(module, attribute):
        known = [name for name, value in vars(module).items() if isinstance(value, Study)]
        raise StudyError(f"`{where} has the study named` must hold, but got {unknown(attribute, known)}")
    study = getattr(module, attribute)
    if not isinstance(study, Study):
        raise StudyError(f"`{reference} is a sweeps.Study` must hold, but got a {type(study).__name__}")
    if images is not None:
        if attribute != "study" or not hasattr(module, "make"):
            raise StudyError(f"`a study with make(data)` must hold for --data, but {reference} has none")
        study = module.make(read_images(images))
    name = (
        reference if not colon else attribute if attribute != "study" else Path(where).stem.rpartition(".")[2]
    )
    return Reference(name or attribute, study, {})


def rebuild(recorded: Mapping[str, Any], **changes: Any) -> Study:
    """The study of a run, found again by what its manifest says of it, with some of its values changed.

    Args:
        recorded: the manifest.
        **changes: `space` and `steps`, where they are not as the run was started with; None changes nothing.

    Raises:
        StudyError: the run was started from Python, or its study is no longer there.
    """
    reference = recorded["reference"]
    if reference is None:
        raise StudyError(
            "`a run that was started by the command` must hold, but got one started from Python, whose study "
            "has no name; call sweeps.resume(directory, study) or sweeps.replay(directory, member, study)"
        )
    if Path(reference["folder"]).is_dir():
        sys.path.append(reference["folder"])  # where its module was found
    study = resolve(reference["study"], reference.get("data")).study
    space = {field: as_domain(value, field) for field, value in reference["space"].items()}
    steps = reference["steps"] if changes["steps"] is None else changes["steps"]
    return with_options(study, space | changes["space"], steps=steps)


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
    kind, _, path = images.partition("=")
    return {**said, "data": f"{kind}={Path(path).expanduser().resolve()}"}


def with_options(study: Study, space: dict[str, Any], **changes: Any) -> Study:
    """The study with some fields of its space and some of its values changed; None changes nothing."""
    changes = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(study, space={**study.space, **space}, **changes)


def _from_toml(path: Path, images: str | None) -> Reference:
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise StudyError(f"`{path} can be read` must hold, but got: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"`{path} is TOML` must hold, but got: {error}") from error
    known = ("study", "space", *STUDY_KEYS, *RUN_KEYS)
    for key in table:
        if key not in known:
            raise StudyError(f"`a key of a study file` must hold in {path}, but got {unknown(key, known)}")
    if not isinstance(table.get("study"), str):
        raise StudyError(f'`study = "name"` must be in {path}, but got {table.get("study")!r}')
    space = table.get("space", {})
    if not isinstance(space, dict):
        raise StudyError(f"`[space]` must be a table in {path}, but got {space!r}")
    named = resolve(table["study"], images)
    study = with_options(named.study, space, **{key: table.get(key) for key in STUDY_KEYS})
    return Reference(path.stem, study, {key: table[key] for key in RUN_KEYS if key in table})


def _module(name: str) -> Any:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise StudyError(f"`{name} can be imported` must hold, but got: {error}") from error
        raise


def _module_from_file(path: Path) -> Any:
    if not path.is_file():
        raise StudyError(f"`{path} is a file` must hold, but there is none")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent.resolve()))  # its neighbours can be imported, as when it is run
    spec.loader.exec_module(module)
    return module
