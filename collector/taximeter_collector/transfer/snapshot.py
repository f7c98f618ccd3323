"""The data files as they are at one moment, copied while the collector runs: nobody waits.

What is written to (the roll-ups, the last two days) is copied by DuckDB in one read transaction
each, so commits go on meanwhile. The roll-ups first: what they have followed is then surely in the
days. Older days are checkpointed, and the files linked.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import duckdb

from taximeter_collector.store.data_files import DAY_TABLES, ROLLUP_TABLES
from taximeter_collector.store.recovery import ATTACH_OPTIONS, quoted
from taximeter_collector.store.store import Store
from taximeter_collector.transfer.manifest import Manifest

_COPY: Final = "transfer_copy"
LIVE_DAYS: Final = timedelta(days=1)


def take_backup(store: Store, folder: Path) -> Manifest:
    """Copy the data files into ``folder``, which lies in the data directory. Raises duckdb.Error, OSError."""
    made_at = datetime.now(UTC)
    rows = {}
    with store.files.files_stay(), store.cursor() as cursor:
        rows["rollup.duckdb"] = _copy(cursor, "rollup", folder / "rollup.duckdb", ROLLUP_TABLES)
        for day in store.files.days():
            catalog = store.files.catalog_of(day)
            file = folder / store.files.file_of(catalog).name
            if _is_live(day, made_at.date()):
                rows[file.name] = _copy(cursor, catalog, file, DAY_TABLES)
            else:
                cursor.execute(f"checkpoint {catalog}")
                _link(store.files.file_of(catalog), file)
                rows[file.name] = count_rows(cursor, catalog, DAY_TABLES)
    manifest = Manifest("backup", made_at.isoformat(), rows)
    manifest.write(folder)
    return manifest


def count_rows(
    cursor: duckdb.DuckDBPyConnection, catalog: str, tables: tuple[str, ...]
) -> dict[str, int]:
    """Return how many rows each table of an attached file has."""
    return {
        table: int(cursor.execute(f"select count(*) from {catalog}.{table}").fetchall()[0][0])
        for table in tables
    }


def _is_live(day: date, today: date) -> bool:
    return day >= today - LIVE_DAYS


def _copy(
    cursor: duckdb.DuckDBPyConnection, catalog: str, file: Path, tables: tuple[str, ...]
) -> dict[str, int]:
    cursor.execute(f"attach '{quoted(file)}' as {_COPY} {ATTACH_OPTIONS}")
    try:
        cursor.execute(f"copy from database {catalog} to {_COPY}")
        cursor.execute(f"checkpoint {_COPY}")
        return count_rows(cursor, _COPY, tables)
    finally:
        cursor.execute(f"detach database if exists {_COPY}")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
