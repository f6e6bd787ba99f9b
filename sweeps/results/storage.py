"""The URL of an Optuna storage: opened, and shown without its password."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from sweeps.errors import StudyError
from sweeps.search.optuna_samplers import load, quiet

HIDDEN = "***"
USER = re.compile(r"(?<=://)([^:@/?]*):(.+)@", re.DOTALL)  # up to the last @, which a password may hold too
NAMED = re.compile(r"(?i)[?&;](?:\w*(?:passw|pwd|secret|token|key)\w*)=([^&;#]+)")
IN_MEMORY = re.compile(r"sqlite(\+\w+)?:(//)?/?(:memory:)?(\?.*)?", re.DOTALL)


def masked(storage: str, said: str | None = None) -> str:
    """A storage's URL, or what is said of it, without the password.

    Args:
        storage: the URL.
        said: a text that may repeat it, or a part of it; None takes the URL itself.

    Example:
        >>> masked("mysql://me:a@b@host/optuna?sslpassword=c")
        'mysql://me:***@host/optuna?sslpassword=***'
        >>> masked("mysql://me:a%40b@host/optuna", "no access with 'a@b'")
        "no access with '***'"
    """
    if said is None:
        hidden = USER.sub(rf"\1:{HIDDEN}@", storage)
        return NAMED.sub(lambda found: found[0][: -len(found[1])] + HIDDEN, hidden)
    user = USER.search(storage)
    secrets = {*NAMED.findall(storage), *([user[2]] if user else [])}
    forms = {form(secret) for secret in secrets for form in (str, unquote, unquote_plus, quote, quote_plus)}
    for form in (storage, *sorted(forms - {""}, key=len, reverse=True)):
        said = said.replace(form, masked(storage) if form == storage else HIDDEN)
    return said


@contextlib.contextmanager
def database(storage: str, what: str) -> Iterator[Any]:
    """Optuna, kept quiet; whatever goes wrong with the database is said without its password.

    Args:
        storage: the URL.
        what: what is done with the database, for the message.

    Raises:
        StudyError: Optuna is not installed, or the database refused.
    """
    optuna = load()
    try:
        with quiet(optuna):
            yield optuna
    except StudyError:
        raise
    except Exception as error:  # every database has errors of its own
        first = next(iter(str(error).splitlines()), "")
        raise StudyError(
            f"`storage is the URL of a database that can be {what}` must hold, but got {masked(storage)!r} "
            f"({type(error).__name__}: {masked(storage, first)}); sqlite:///optuna.db is a file"
        ) from None  # whose own words may repeat the password


def reachable(storage: str) -> None:
    """Raises a StudyError unless there is an Optuna storage there that stays, or one can be made.

    Args:
        storage: its URL.
    """
    if not isinstance(storage, str) or IN_MEMORY.fullmatch(storage):
        raise StudyError(
            f"`storage is the URL of a database that stays` must hold, but got {storage!r}, which names no "
            f"file; sqlite:///optuna.db is one"
        )
    with connected(storage):
        pass


@contextlib.contextmanager
def connected(storage: str) -> Iterator[Any]:
    """The storage, whose connections are closed at the end.

    Args:
        storage: its URL.

    Raises:
        StudyError: Optuna is not installed, or the database cannot be opened.
    """
    with database(storage, "opened") as optuna:
        relational = not storage.startswith("redis")
        found = optuna.storages.RDBStorage(storage) if relational else optuna.storages.get_storage(storage)
    try:
        yield found
    finally:
        if relational:
            found.remove_session()
            found.engine.dispose()
