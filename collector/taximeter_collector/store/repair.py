"""`taximeter repair`: opens the stopped collector's files, reads every row, saves what can be read, and reports.

Files that do not open are mended or set aside as at any start. One that opens and holds damaged blocks is
set aside too, and its readable rows are copied into a new file; damaged roll-ups are derived again by the
collector. Nothing is deleted. Exit codes: 0 all is whole, 1 something was lost or set aside, 2 it can't be tried.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing

import duckdb

from taximeter.pricing import PriceFileError
from taximeter.settings.settings import SettingsError, load_settings
from taximeter_collector.store.data_files import DAY_TABLES, ROLLUP
from taximeter_collector.store.directory_lock import UnusableStoreError
from taximeter_collector.store.store import Store, StoreError, open_store

PIECES = (65_536, 2_048)
"""Rows copied at once, then those of one vector: a damaged block takes all rows that lie in it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="taximeter repair", description="Checks and mends the files of a stopped collector."
    )
    parser.add_argument("--config", metavar="FILE", help="taximeter.toml")
    parser.add_argument("--data-dir", metavar="DIR", help="where the data lies")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(given.config, os.environ, data_dir=given.data_dir)
        if not settings.store.data_dir.is_dir():
            raise SettingsError(f"There is no data directory {settings.store.data_dir}.")
        with closing(open_store(settings)) as store:
            return repair(store)
    except (SettingsError, PriceFileError, UnusableStoreError) as error:
        print(f"taximeter repair: {error}", file=sys.stderr)
        return 2
    except (StoreError, OSError, duckdb.Error) as error:
        print(f"taximeter repair: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        return 1


def repair(store: Store) -> int:
    """Check every file, save what is readable of damaged ones, print and acknowledge all alarms."""
    for name, file in store.files.catalogs().items():
        damage = first_damage(store, name)
        print(f"{file.name}: {'whole' if damage is None else f'damaged: {damage}'}")
        if damage is not None:
            _replace(store, name, damage)
    alarms = store.incidents.alarms
    for alarm in alarms:
        print(f"{alarm['at'][:19]} {alarm['message']}")
    store.incidents.acknowledge()
    print(f"{len(alarms)} events told; the status will not show them again." if alarms else "Nothing was lost.")  # fmt: skip
    return int(bool(alarms))


def first_damage(store: Store, name: str) -> str | None:
    """Return DuckDB's words about the first block of a file that can't be read; None if all can."""
    with store.cursor() as cursor:
        tables = cursor.execute(
            "select table_name from duckdb_tables() where database_name = $1", [name]
        ).fetchall()
        for (table,) in tables:
            try:
                cursor.execute(f"select bit_xor(hash(t)) from {name}.{table} t").fetchall()
            except duckdb.Error as error:
                return str(error).partition("\n")[0]
    return None


def _replace(store: Store, name: str, damage: str) -> None:
    kept = store.files.replace(name, damage)
    if name == ROLLUP:
        print("  the roll-ups are derived again when the collector starts")
        return
    with store.cursor() as cursor:
        cursor.execute(f"attach '{str(kept).replace(chr(39), chr(39) * 2)}' as damaged (read_only)")
        try:
            for table in DAY_TABLES:
                saved, lost = copy_readable(cursor, f"damaged.{table}", f"{name}.{table}")
                print(f"  {table}: {saved:,} rows saved, {lost:,} lost")
        finally:
            cursor.execute("detach damaged")
    store.files.note_stored(name)


def copy_readable(cursor: duckdb.DuckDBPyConnection, source: str, target: str) -> tuple[int, int]:
    """Copy the rows that can be read; return how many were, and how many were not."""
    try:
        rows = cursor.execute(f"select coalesce(max(rowid) + 1, 0) from {source}").fetchall()
    except duckdb.Error:
        return 0, 0
    return _copy(cursor, source, target, 0, int(rows[0][0]), PIECES)


def _copy(
    cursor: duckdb.DuckDBPyConnection,
    source: str,
    target: str,
    start: int,
    end: int,
    pieces: Sequence[int],
) -> tuple[int, int]:
    saved = lost = 0
    for at in range(start, end, pieces[0]):
        last = min(at + pieces[0], end)
        try:
            done = cursor.execute(
                f"insert into {target} by name from {source} where rowid >= $1 and rowid < $2",
                [at, last],
            ).fetchall()
            saved += int(done[0][0])
        except duckdb.Error:
            more = (0, last - at)
            if len(pieces) > 1:
                more = _copy(cursor, source, target, at, last, pieces[1:])
            saved, lost = saved + more[0], lost + more[1]
    return saved, lost


if __name__ == "__main__":
    sys.exit(main())
