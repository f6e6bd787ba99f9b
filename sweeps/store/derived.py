"""`members.parquet` and `metrics.parquet` of a run directory, derived from its committed chunks.

Readers take the rows from them where they are known to be those of the chunks, which are far more files, and
from the chunks otherwise.
"""

import hashlib
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.errors import resume_line
from sweeps.store import checksums
from sweeps.store import chunks as store
from sweeps.store.checksums import READING_ERRORS, sealed, unsealed
from sweeps.store.chunks import KINDS, ORDER, committed, read_file, scheduled
from sweeps.store.durable import replace, replace_text, writing
from sweeps.store.manifest import lengths_of
from sweeps.store.rungs import RUNGS
from sweeps.store.statuses import Status

TABLES, RECORD = ("members.parquet", "metrics.parquet"), "derived.json"
WINDOW = 100_000  # members whose rows are in memory at once

CHUNKS_BETWEEN = 250  # that are committed between two times that the tables of a run are extended
SECONDS_BETWEEN = 50  # for each that it took the last time

Pending = Callable[[np.ndarray], pa.Table]


class Held(NamedTuple):
    """What the tables hold.

    Attributes:
        usable: whether they are what was written, of chunks that are all there as they were.
        missing: the folders of committed chunks whose rows they do not hold.
    """

    usable: bool
    missing: list[Path]


def read(
    directory: Path,
    kind: str,
    members: int,
    columns: Sequence[str] | None = None,
    tables: Held | None = None,
) -> pa.Table | None:
    """The rows of a run in the order of member and step, those of members that are pending among them.

    Args:
        directory: the run directory.
        kind: `members` or `metrics`.
        members: how many the run has.
        columns: the columns wanted, `member` and `status` of members among them; None takes all.
        tables: what `held` has said; None asks.

    Returns:
        The rows; None if no chunk is committed.

    Warns:
        UserWarning: something is damaged, and its rows are left out.
    """
    tables = tables or held(directory)
    if tables.usable and not tables.missing:
        return read_file(directory / f"{kind}.parquet", columns)
    if tables.usable and not scheduled(directory, committed(directory)):
        return _completed(directory, kind, columns, tables.missing)
    found = store.read(directory, kind, columns)
    if found is None or kind == "metrics" or len(found) >= members:
        return found
    pending = announced(directory, columns)
    if pending is None:
        return found
    pending = pending.filter(~np.isin(pending["member"].to_numpy(), found["member"].to_numpy()))
    for name, value in (("status", Status.PENDING), ("diverged_at", None), ("stopped_at", None)):
        if name in pending.column_names:
            column = pa.array([value] * len(pending), pending[name].type)
            pending = pending.set_column(pending.column_names.index(name), name, column)
    return pa.concat_tables([found, pending], promote_options="permissive").sort_by(ORDER[:1])


def held(directory: Path) -> Held:
    """What the tables hold of the chunks that are committed now.

    Args:
        directory: the run directory.
    """
    return _held(directory, _chunks(directory))


def _held(directory: Path, now: dict[str, str] | None) -> Held:
    try:
        record, safe = unsealed(directory / RECORD, ("chunks", "rungs", *TABLES))
        same = all(checksums.digest(directory / name) == record[name] for name in TABLES)
        if now is None or not (safe and same and record["rungs"] == _decisions(directory)):
            return Held(False, [])
        if any(now.get(name) != word for name, word in record["chunks"].items()):
            return Held(False, [])
        missing = [name for name in now if name not in record["chunks"]]
        return Held(True, [directory / store.CHUNKS / name for name in missing])
    except READING_ERRORS:
        return Held(False, [])


def _completed(directory: Path, kind: str, columns: Sequence[str] | None, missing: list[Path]) -> pa.Table:
    """The rows that a table holds, and those of the chunks that it does not."""
    table = read_file(directory / f"{kind}.parquet", columns)
    more = [read_file(folder / f"{kind}.parquet", columns) for folder in store.readable(directory, missing)]
    if kind == "members":  # they waited when the table was written
        ids = [each["member"].to_numpy() for each in more]
        table = table.filter(~np.isin(table["member"].to_numpy(), np.concatenate([np.zeros(0, int), *ids])))
    found = pa.concat_tables([table, *more], promote_options="permissive")
    return found.sort_by(ORDER[: 1 + (kind == "metrics")])


def announce(directory: Path, count: int, pending: Pending) -> None:
    """Writes rows of all members that are known before they are trained, unless there are some.

    Args:
        directory: the run directory.
        count: how many members are known.
        pending: ids to rows.
    """
    path = directory / TABLES[0]
    try:
        known = pq.read_metadata(path).num_rows
        found = read_file(path) if 0 < known < count else None  # a search has asked for more
    except READING_ERRORS:
        known, found = 0, None
    if known >= count:
        return
    if found is None:
        rows = _windows([], count, pending)
    else:
        more = pending(np.arange(known, count))
        rows = iter([pa.concat_tables([found, more], promote_options="permissive")])
    with writing(str(path)):
        _write_windows(path, rows)


def withdraw(directory: Path) -> None:
    """Removes what was announced of members that are others now."""
    with writing(str(directory / TABLES[0])):
        (directory / TABLES[0]).unlink(missing_ok=True)


def derive(directory: Path, count: int, pending: Pending, anew: bool = True) -> None:
    """Writes `members.parquet` and `metrics.parquet` from the chunks, each whole or not at all.

    Members are taken a window at a time, so that memory does not grow with their number.

    Args:
        directory: the run directory.
        count: how many members the run has.
        pending: ids to the rows of members that no chunk holds yet.
        anew: whether to read every chunk, also those whose rows the tables hold already.
    """
    now = _chunks(directory)  # a worker may commit more meanwhile
    names, sums = list(now or store.committed_names(directory)), dict[str, str]()
    wanted = [directory / store.CHUNKS / name for name in names]
    several = scheduled(directory, wanted)
    tables = Held(False, []) if anew or several else _held(directory, now)
    folders = store.readable(directory, wanted := tables.missing if tables.usable else wanted)
    for kind, name in zip(KINDS, TABLES, strict=True):
        files, path = [str(folder / name) for folder in folders], directory / name
        if kind == "members" and folders and several:
            rows = _merged(directory, count, pending)
        elif files or tables.usable or kind == "members":
            files = [str(path), *files] if tables.usable else files
            rows = _windows(files, count, pending if kind == "members" else None)
        else:
            continue
        with writing(str(path)):
            _write_windows(path, rows)
            sums[name] = checksums.digest(path)
    if now is not None and len(sums) == len(TABLES) and len(folders) == len(wanted):
        record = sealed({"chunks": now, "rungs": _decisions(directory), **sums})
        with writing(str(directory / RECORD)):
            replace_text(directory / RECORD, record)


class Extension:
    """The tables of a run that goes on, extended now and then: whoever reads it need not open every chunk.

    Args:
        directory: the run directory, of a run without a schedule.
    """

    def __init__(self, directory: Path):
        self.directory, self.waiting, self.due = directory, 0, 0.0

    def commit(self, count: int, pending: Pending) -> None:
        """Takes note of a chunk that is committed.

        Args:
            count: how many members the run has.
            pending: ids to the rows of members that no chunk holds yet.
        """
        self.waiting += 1
        began = time.monotonic()
        if self.waiting >= CHUNKS_BETWEEN and began >= self.due:
            derive(self.directory, count, pending, anew=False)
            now = time.monotonic()
            self.waiting, self.due = 0, now + SECONDS_BETWEEN * (now - began)


def announced(directory: Path, columns: Sequence[str] | None = None) -> pa.Table | None:
    """The rows of members that were written before these were trained, or at the end of an earlier process.

    Args:
        directory: the run directory.
        columns: the columns wanted; None takes all.

    Returns:
        The rows; None if there are none that can be read.

    Warns:
        UserWarning: they are damaged.
    """
    try:
        return read_file(directory / TABLES[0], columns)
    except FileNotFoundError:
        return None
    except READING_ERRORS as error:
        warnings.warn(f"{directory / TABLES[0]} is damaged ({error}); members without rows of their own are "
                      f"left out until `{resume_line(directory)}`", stacklevel=4)  # fmt: skip
        return None


def _chunks(directory: Path) -> dict[str, str] | None:
    """One word for what each chunk holds; None where one has no checksums."""
    found, place = dict[str, str](), os.fspath(directory / store.CHUNKS)
    for name in store.committed_names(directory):
        try:
            with open(f"{place}/{name}/{checksums.CHECKSUMS}", "rb", buffering=0) as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()
        except OSError:
            return None
    return found


def _decisions(directory: Path) -> str:
    """One word for what was decided, and for the ends of a run that was given more steps."""
    ends = lengths_of(directory)
    found = hashlib.sha256(repr(ends).encode() if len(ends) > 1 else b"")
    for path in sorted((directory / RUNGS).glob("[0-9]*.json")):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def _merged(directory: Path, count: int, pending: Pending) -> Iterator[pa.Table]:
    """The rows of the members of a run with several intervals, which must be seen together."""
    found = store.read(directory, "members")
    assert found is not None  # there are chunks of several intervals
    missing = pending(np.setdiff1d(np.arange(count), found["member"].to_numpy()))
    yield pa.concat_tables([found, missing], promote_options="permissive").sort_by(ORDER[:1])


def _windows(files: list[str], count: int, pending: Pending | None) -> Iterator[pa.Table]:
    """The rows of the files in the order of members, some members at a time."""
    from pyarrow import dataset  # which imports pandas, where there is one

    schemas = [pq.read_schema(file) for file in files]
    schema = pa.unify_schemas(schemas, promote_options="permissive") if schemas else None
    found = dataset.dataset(files, schema=schema, format="parquet") if files else None
    for first in range(0, count, WINDOW):
        ids = np.arange(first, min(first + WINDOW, count))
        parts: list[pa.Table] = []
        if found is not None:
            member = dataset.field("member")
            wanted = (member >= first) & (member < first + len(ids))
            if pending is not None:  # rows of those that waited when a table was written
                wanted &= dataset.field("status") != Status.PENDING
            parts.append(found.to_table(filter=wanted))
        if pending is not None:
            there = parts[0]["member"].to_numpy() if parts else np.zeros(0, int)
            parts.append(pending(np.setdiff1d(ids, there)))
        yield pa.concat_tables(parts, promote_options="permissive").sort_by(ORDER[: 1 + (pending is None)])


def _write_windows(path: Path, windows: Iterator[pa.Table]) -> None:
    def write(temporary: Path) -> None:
        first = next(windows)
        with pq.ParquetWriter(temporary, first.schema, write_page_checksum=True) as writer:
            writer.write_table(first)
            for window in windows:
                writer.write_table(window.cast(first.schema))

    replace(path, write)
