"""A person's own code, imported; what it raises is said in one message, with the line that did."""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from sweeps.engine.tracing import PACKAGES, where
from sweeps.errors import StudyError, cut, quoted


def import_module(name: str) -> ModuleType:
    """Imports a module by its name, from the folder of the process first.

    Args:
        name: the name, such as `package.module`.

    Raises:
        StudyError: there is no such module, or it raises.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        cure = "Write package.module:study or path/to/file.py:study."
        if os.path.isfile(f"{name}.py"):
            cure = f"Name the file: {name}.py:study."
        raise StudyError(f"{quoted(name)} is no module. {cure}")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    can = f"`{cut(name)} can be imported`"
    with own_code(can, f"python -c 'import {cut(name)}' shows all of it"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                raise StudyError(f"{cut(str(error))}. Write file.py:study for a file.") from None
            raise


def files_of(name: str, folder: Path) -> list[Path]:
    """The files that importing a module would run, its packages' among them; nothing is imported.

    Args:
        name: the name, such as `package.module`.
        folder: what is looked at besides the folder of the process and Python's own path.
    """
    importlib.invalidate_caches()
    places = [str(Path.cwd()), *sys.path, str(folder)]
    files = []
    for part in name.split("."):
        spec = PathFinder.find_spec(part, places)
        if spec is None:
            break
        if spec.origin is not None:  # a package without a file of its own has none
            files.append(Path(spec.origin).resolve())
        places = list(spec.submodule_search_locations or [])
    return files


def import_file(path: Path) -> ModuleType:
    """Imports a file as a module with the file's name.

    Args:
        path: the file, whose name ends in `.py`.

    Raises:
        StudyError: there is none, another module has its name, or it raises.
    """
    if not os.path.isfile(path):
        raise StudyError(f"There is no file {quoted(str(path))}.")
    if _is_taken(path):
        raise StudyError(
            f"{path} has the name of a module that others import. Rename it, to "
            f"my_{path.stem.strip('_')}.py say."
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    before, path_before = sys.modules.get(path.stem), list(sys.path)
    sys.modules[path.stem] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent.resolve()))  # its neighbours can be imported, as when it is run
    try:
        with own_code(f"`{path} can be imported`", f"python {path} shows all of it"):
            spec.loader.exec_module(module)
    except BaseException:
        sys.path[:] = path_before
        del sys.modules[path.stem]
        if before is not None:
            sys.modules[path.stem] = before
        raise
    return module


@contextlib.contextmanager
def own_code(what: str, cure: str) -> Iterator[None]:
    """Says in one message what a person's own code raises, and where.

    Args:
        what: what must hold for it.
        cure: what to do about it.

    Raises:
        StudyError: it raised, or tried to end the process.
    """
    try:
        yield
    except StudyError as error:
        raise StudyError(f"{error}{where(error)}") from error
    except SyntaxError as error:
        place = f" ({Path(error.filename).name}, line {error.lineno})" if error.filename else ""
        raise StudyError(
            f"{what} must hold, but got {type(error).__name__}: {error.msg}{place}; {cure}"
        ) from error
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise StudyError(f"{what} must hold, but got {said}{where(error)}; {cure}") from error


def _is_taken(path: Path) -> bool:
    """Whether a module of Python's own or an installed one has the file's name."""
    name = path.stem
    if name in sys.stdlib_module_names or name == "__main__":
        return True
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a name with dots in it, or one that only stands in `sys.modules`
        return False
    if spec is None or spec.origin is None:
        return False
    origin = Path(spec.origin)
    return any(package in origin.parts for package in PACKAGES) and origin.resolve() != path.resolve()
