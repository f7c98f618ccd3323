"""What agents say leaves before the facts: a day's file is written anew without it, and the old one deleted.

Deleting a column's rows would give no space back to the disk; a deleted file does, at once. The new
file is complete before it takes the old one's place, so a crash leaves one or both, and never less.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final

import duckdb

from taximeter_collector.ingest.content import LONG_BYTES, content_key_expression, content_patterns
from taximeter_collector.sql_files import read_sql, run_script
from taximeter_collector.store.data_files import DAY_TABLES
from taximeter_collector.store.lending import transaction
from taximeter_collector.store.migrations import migrate
from taximeter_collector.store.recovery import ATTACH_OPTIONS, quoted
from taximeter_collector.store.store import Store

PIECE_ROWS: Final = 50_000
"""So many rows are one transaction; then the writer has the processor for as long as it took."""
_NEW: Final = "without_content"


class Interrupted(Exception):
    """The collector stops: the day's old file stays, and all is begun anew another time."""


def drop_content(
    store: Store, day: date, rest: Callable[[float], bool], grace: Callable[[], bool]
) -> None:
    """Replace the file of ``day``, which takes no more rows, by one without content.

    ``rest`` waits so many seconds and ``grace`` until no query can still read the old file; both
    say whether the collector stops meanwhile. Raises Interrupted, duckdb.Error or OSError.
    """
    old = store.files.catalog_of(day)
    file = store.files.lean_file(day)
    unfinished = file.with_name(f"{file.name}.new")
    with store.cursor() as cursor:
        try:
            _copy(cursor, old, unfinished, rest)
            cursor.execute(f"detach {_NEW}")
        except BaseException:
            cursor.execute(f"detach database if exists {_NEW}")
            _remove(unfinished)
            raise
    unfinished.replace(file)
    _sync_directory(file.parent)
    store.files.replace_day(old, file)
    if not grace():
        store.files.delete_catalog(old)


def _copy(
    cursor: duckdb.DuckDBPyConnection, old: str, file: Path, rest: Callable[[float], bool]
) -> None:
    _remove(file)
    cursor.execute(f"attach '{quoted(file)}' as {_NEW} {ATTACH_OPTIONS}")
    migrate(cursor, _NEW, DAY_TABLES)
    script = read_sql("retention/without_content").replace("{old}", old).replace("{new}", _NEW)
    keys = content_key_expression(content_patterns(cursor))
    pieces = cursor.execute(
        read_sql("retention/pieces").replace("{old}", old), {"rows": PIECE_ROWS}
    ).fetchall()
    for first, last in pieces:
        started = time.monotonic()
        with transaction(cursor):
            values = {"keys": keys, "long": LONG_BYTES, "first": first, "last": last}
            run_script(cursor, script, values)
        if rest(time.monotonic() - started):
            raise Interrupted
    cursor.execute(f"checkpoint {_NEW}")
    for table in DAY_TABLES:
        counts = cursor.execute(
            f"select (select count(*) from {old}.{table}), (select count(*) from {_NEW}.{table})"
        ).fetchall()[0]
        if counts[0] != counts[1]:
            raise duckdb.InternalException(f"{table} has {counts[0]} rows, its copy {counts[1]}")


def _remove(file: Path) -> None:
    for part in (file.with_name(f"{file.name}.wal"), file):
        part.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """The new name must be on the disk before the old file leaves it."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
