"""What travels to workers of this host: functions and classes whole, where a worker could not import them."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any


def pickled(value: Any, whole: Iterable[ModuleType]) -> bytes:
    """A value as bytes.

    Args:
        value: the value.
        whole: modules whose functions and classes travel with it, rather than by their names.
    """
    import cloudpickle  # functions that are in no module, as studies are full of, travel whole

    with contextlib.ExitStack() as last:
        for module in whole:
            cloudpickle.register_pickle_by_value(module)
            last.callback(cloudpickle.unregister_pickle_by_value, module)
        return cloudpickle.dumps(value)


def not_found_again() -> Iterator[ModuleType]:
    """Modules that were read from a file which a new process would not find by their name.

    Such are those that were loaded from a file with no place on the path, and the main module of a process
    that `multiprocessing` has spawned.
    """
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." in name or name == "__main__" or name in sys.stdlib_module_names:
            continue
        if isinstance(file, str) and getattr(module, "__name__", None) == name and not _found(name, file):
            yield module


def _found(name: str, file: str) -> bool:
    """Whether the import system finds a module in this file."""
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)  # which finders of old have not
        if find_spec is not None and (spec := find_spec(name, None)) is not None:
            return not spec.has_location or Path(str(spec.origin)).resolve() == Path(file).resolve()
    return False
