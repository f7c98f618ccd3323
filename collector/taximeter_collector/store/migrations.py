"""Versions of the data files: an older one is migrated when it is opened, a newer one refused.

Each file says its version in table ``file_format``; a file without that table is of version 0. A
file is migrated in one transaction, so a crash leaves it as it was. What a version changed beside
new columns is `sql/migrations/<version>_<rollup or spans>.sql`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from taximeter_collector.sql_files import read_sql, run_script, sql_names
from taximeter_collector.store.directory_lock import UnusableStoreError

FORMAT: Final = 2
"""The version that this release writes: raise it with any change to a table."""


class NewerFormat(UnusableStoreError):
    """A file was written by a newer release; the message says what to do."""


def check_format(con: duckdb.DuckDBPyConnection, catalog: str, file: Path) -> None:
    """Raise NewerFormat when an attached file is of a version that this release can't read."""
    version = file_version(con, catalog)
    if version is not None and version > FORMAT:
        raise NewerFormat(
            f"{file} has format {version}, this release reads up to {FORMAT}: start the release"
            " that wrote it, or restore a backup from before"
        )


def file_version(con: duckdb.DuckDBPyConnection, catalog: str) -> int | None:
    """Return the version of an attached file; None for an empty one."""
    tables = con.execute(
        "select table_name from duckdb_tables() where database_name = $1", [catalog]
    ).fetchall()
    if ("file_format",) not in tables:
        return 0 if tables else None
    row = con.execute(f"select max(version) from {catalog}.file_format").fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def migrate(con: duckdb.DuckDBPyConnection, catalog: str, tables: tuple[str, ...]) -> None:
    """Bring an attached file to `FORMAT`, all or nothing; an empty one gets its ``tables``."""
    version = file_version(con, catalog)
    if version == FORMAT:
        return
    con.execute("begin")
    try:
        con.execute(f"use {catalog}")
        for table in (*tables, "file_format"):
            con.execute(read_sql(f"tables/{table}"))
            if version is not None:
                _add_columns(con, catalog, table)
        con.execute("use memory")
        for step in range(FORMAT if version is None else version, FORMAT):
            _run_step(con, catalog, step + 1)
        con.execute(f"delete from {catalog}.file_format")
        con.execute(f"insert into {catalog}.file_format values ({FORMAT})")
        con.execute("commit")
    except BaseException:
        con.execute("rollback")
        raise
    finally:
        con.execute("use memory")


def _run_step(con: duckdb.DuckDBPyConnection, catalog: str, version: int) -> None:
    name = f"migrations/{version}_{'rollup' if catalog == 'rollup' else 'spans'}"
    if name in sql_names("migrations"):
        script = read_sql(name).replace("{noted}", read_sql("ingest/noted"))
        run_script(con, script.replace("{file}", catalog), {})


def _add_columns(con: duckdb.DuckDBPyConnection, catalog: str, table: str) -> None:
    """Give a table of an older version the columns that it lacks; its old rows have NULL there."""
    script = read_sql(f"tables/{table}")
    con.execute(script.replace(f"table if not exists {table} ", "or replace temp table wanted ", 1))
    missing = con.execute(
        "select column_name, column_type from (describe temp.wanted) where column_name not in"
        f" (select column_name from (describe {catalog}.{table}))"
    ).fetchall()
    for column, kind in missing:
        con.execute(f'alter table {catalog}.{table} add column "{column}" {kind}')
    con.execute("drop table temp.wanted")
