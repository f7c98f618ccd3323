"""What is stored as Parquet files: as received, a file a day and table, and as derived, a file a table.

Money is DECIMAL(38, 0) pico-USD there: Parquet knows no HUGEINT, and DOUBLE would round it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from taximeter_collector.store.data_files import DAY_TABLES
from taximeter_collector.store.recovery import quoted
from taximeter_collector.store.store import Store
from taximeter_collector.transfer.manifest import Manifest

TRACE_KEYS: Final = {
    "request": "request_id",
    "aside": "trace_id",
    "call": "trace_id",
    "call_link": "trace_id",
    "tool_call": "trace_id",
    "agent_run": "trace_id",
}
"""Derived tables that travel, and which column names the trace. Minutes are computed from them again."""
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def export_parquet(
    store: Store, folder: Path, since: datetime | None = None, until: datetime | None = None
) -> Manifest:
    """Write what was received in [since, until) and what was derived of it into ``folder``.

    Without both, what was derived of spans that are no longer kept comes too. ``folder`` lies in the
    data directory. Raises duckdb.Error, OSError.
    """
    made_at, rows = datetime.now(UTC), {}
    window = {"since": since or _FIRST, "until": until or _LAST}
    of_window = "" if since is None and until is None else _OF_WINDOW
    with store.files.files_stay(), store.cursor() as cursor:
        cursor.execute("begin")
        try:
            for table, key in TRACE_KEYS.items():
                sql = f"select {_columns(cursor, f'rollup.{table}')} from rollup.{table}"
                sql += of_window.format(key=key)
                named = window if of_window else {}
                rows[f"{table}.parquet"] = {
                    table: _write(cursor, sql, named, folder / f"{table}.parquet")
                }
            for day in store.files.days():
                for table in DAY_TABLES:
                    name = f"{table}-{day.isoformat()}.parquet"
                    source = f"{store.files.catalog_of(day)}.{table}"
                    sql = f"select {_columns(cursor, source)} from {source} where {_RECEIVED}"
                    rows[name] = {table: _write(cursor, sql, window, folder / name)}
        finally:
            cursor.execute("rollback")
    manifest = Manifest("export", made_at.isoformat(), rows)
    manifest.write(folder)
    return manifest


_RECEIVED: Final = "received_at >= $since and received_at < $until"
_OF_WINDOW: Final = f" where {{key}} in (select trace_id from span where {_RECEIVED})"


def _columns(cursor: duckdb.DuckDBPyConnection, table: str) -> str:
    columns = cursor.execute(f"describe {table}").fetchall()
    return ", ".join(
        f'"{name}"::decimal(38, 0) as "{name}"' if kind == "HUGEINT" else f'"{name}"'
        for name, kind, *_ in columns
    )


def _write(cursor: duckdb.DuckDBPyConnection, sql: str, window: dict[str, Any], file: Path) -> int:
    written = cursor.execute(
        f"copy ({sql}) to '{quoted(file)}' (format parquet, compression zstd, row_group_size 16384)",
        window or None,
    ).fetchall()
    return int(written[0][0])
