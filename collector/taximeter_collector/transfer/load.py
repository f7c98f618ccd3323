"""Parquet files of another store into this one: what was received there counts here, each once.

A group commit that is here already (same digest of a request, same time of receipt) is left out, so
an import that was broken off or made twice changes nothing more. Derived rows come along for traces
that this store has not: their prices stay, and those whose spans are gone stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb

from taximeter_collector.derive.derive import derive_again, derive_step, derived_batch
from taximeter_collector.sql_files import read_sql, run_script
from taximeter_collector.store.data_files import DAY_TABLES
from taximeter_collector.store.lending import transaction
from taximeter_collector.store.store import Store
from taximeter_collector.transfer.manifest import read_manifest
from taximeter_collector.transfer.parquet import TRACE_KEYS

_ROWS_AT_ONCE: Final = 20_000


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import added: rows as received, by table, and traces with their derived rows."""

    rows: dict[str, int]
    traces: int


def import_parquet(store: Store, folder: Path) -> Imported:
    """Add what ``folder`` holds. No collector runs on the store. Raises NotUsable, duckdb.Error."""
    manifest = read_manifest(folder, "export")
    days = sorted({name[-18:-8] for name in manifest.rows if name.startswith("span-")})
    with store.cursor() as cursor, duckdb.connect() as source:
        source.execute("set TimeZone = 'UTC'")
        _follow(store, cursor, [])
        _number_batches(cursor, source, folder, days)
        traces = _add_derived(cursor, source, folder)
        rows = dict.fromkeys(DAY_TABLES, 0)
        for day in days:
            catalog = store.files.day_for(datetime.fromisoformat(day).replace(tzinfo=UTC))
            with transaction(cursor):
                for table in DAY_TABLES:
                    with _given(cursor, source, folder / f"{table}-{day}.parquet"):
                        rows[table] += _add_received(cursor, f"{catalog}.{table}")
        _follow(store, cursor, _minutes(cursor))
    return Imported(rows, traces)


def _number_batches(
    cursor: duckdb.DuckDBPyConnection,
    source: duckdb.DuckDBPyConnection,
    folder: Path,
    days: list[str],
) -> None:
    """Fill ``t_batch``: the other store's commits that are not here, with the numbers they get."""
    cursor.execute("create or replace temp table t_digest"
                   " (digest blob, received_at timestamptz, batch ubigint)")  # fmt: skip
    for day in days:
        with _given(cursor, source, folder / f"export_request-{day}.parquet"):
            cursor.execute("insert into t_digest select digest, received_at, batch from t_given")
    run_script(cursor, read_sql("transfer/number_batches"), {})


def _add_derived(
    cursor: duckdb.DuckDBPyConnection, source: duckdb.DuckDBPyConnection, folder: Path
) -> int:
    """Add the derived rows of traces that this store has not; return how many traces."""
    for table in TRACE_KEYS:
        cursor.execute(f"create or replace temp table t_{table} as from rollup.{table} limit 0")
        with _given(cursor, source, folder / f"{table}.parquet"):
            cursor.execute(f"insert into t_{table} by name from t_given")
    run_script(cursor, read_sql("transfer/new_traces"), {})
    with transaction(cursor):
        run_script(cursor, read_sql("transfer/add_derived"), {})
    return int(cursor.execute("select count(*) from t_trace").fetchall()[0][0])


def _add_received(cursor: duckdb.DuckDBPyConnection, table: str) -> int:
    added = cursor.execute(
        f"insert into {table} by name select g.* replace (b.new_batch as batch)"
        " from t_given g join t_batch b using (batch)"
    ).fetchall()
    return int(added[0][0])


@contextmanager
def _given(
    cursor: duckdb.DuckDBPyConnection, source: duckdb.DuckDBPyConnection, file: Path
) -> Iterator[None]:
    """Let ``cursor``, which can read no file outside its data directory, read one as ``t_given``."""
    # A cursor each: a join with nothing leaves the rest of a file unread, and that is an open answer.
    with source.cursor() as parquet:
        reader = parquet.read_parquet(str(file)).to_arrow_reader(_ROWS_AT_ONCE)
        cursor.register("t_given", reader)
        try:
            yield
        finally:
            cursor.unregister("t_given")
            reader.close()


def _follow(store: Store, cursor: duckdb.DuckDBPyConnection, minutes: Sequence[datetime]) -> None:
    """Derive what has come, and ``minutes`` of derived rows that came."""
    after = derived_batch(cursor)
    while (reached := derive_step(cursor, store.prices, after)) > after:
        after = reached
    if minutes:
        derive_again(cursor, store.prices, [], minutes, after)


def _minutes(cursor: duckdb.DuckDBPyConnection) -> list[datetime]:
    found = cursor.execute("select epoch_ms(minute) from t_minute").fetchall()
    return [datetime.fromtimestamp(ms / 1000, UTC) for (ms,) in found]
