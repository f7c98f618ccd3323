"""Owns the DuckDB files: one in-memory instance with the data files attached.

A file a received day (spans, logs, metrics, request digests), one file for the roll-ups. Everyone
else gets a cursor for the length of a ``with`` block. Layout and reasons: docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Lock
from typing import Final

import duckdb
import pyarrow as pa

from taximeter.rule_rows import RuleRow
from taximeter.settings import ToolsSettings
from taximeter_collector.dialects import load_rules, load_tool_rules
from taximeter_collector.metrics import METRICS
from taximeter_collector.prices import PriceBook
from taximeter_collector.sql_files import read_sql, sql_names

DAY_TABLES: Final = ("span", "log_record", "metric", "export_request")
ROLLUP_TABLES: Final = (
    "call",
    "call_link",
    "tool_call",
    "agent_run",
    "request",
    "usage_minute",
    "aside",
    "progress",
    "repricing",
    "repriced_call",
)
_ATTACH_OPTIONS: Final = "(row_group_size 16384)"


class StoreError(Exception):
    """The store can't be opened or written; the message says what to do."""


class Store:
    """The data directory's files, attached and locked down."""

    def __init__(
        self,
        data_dir: Path,
        price_overrides: Path | None = None,
        memory: str = "1GB",
        tools: ToolsSettings = ToolsSettings(),  # noqa: B008 - frozen
        dialects: Sequence[RuleRow] = (),
    ) -> None:
        """Open or create the files. ``dialects`` are the user's rows above the shipped rules.

        Raises StoreError when another process holds the files, SettingsError for a wrong row.
        """
        self.data_dir = data_dir
        self._lock = Lock()
        self._days: set[str] = set()
        data_dir.mkdir(parents=True, exist_ok=True)
        self._con = duckdb.connect(":memory:")
        self._con.execute(
            "set enable_progress_bar = false; set TimeZone = 'UTC'; set threads = 2;"
            "set checkpoint_threshold = '64MB'; set preserve_insertion_order = false;"
            f"set memory_limit = '{memory}';"
            f"set temp_directory = '{_quoted(data_dir / 'tmp')}';"
        )
        load_rules(self._con, dialects)
        self._price_overrides = price_overrides
        load_tool_rules(self._con, tools)
        self.prices = PriceBook(self._con, price_overrides)
        for name in sql_names("macros"):
            self._con.execute(read_sql(name))
        self._attach("rollup", data_dir / "rollup.duckdb", ROLLUP_TABLES)
        self._con.execute(
            "insert into rollup.progress (derived_batch) select 0"
            " where not exists (from rollup.progress)"
        )
        for file in sorted(data_dir.glob("spans-????-??-??.duckdb")):
            self._attach(_day_name(file.stem.removeprefix("spans-")), file, DAY_TABLES)
        self.day_for(datetime.now(UTC))
        self._publish_metrics()
        for name in sql_names("views"):
            self._con.execute(read_sql(name))
        self._lock_down()

    def _publish_metrics(self) -> None:
        """Make the registry a table, so that people and programs find the definitions by SQL."""
        fields = ("name", "unit", "description", "better", "dimensions", "sql")
        rows = [{name: getattr(metric, name) for name in fields} for metric in METRICS.values()]
        self._con.register("registry", pa.Table.from_pylist(rows))
        self._con.execute(
            "create table metric_definitions as"
            " select name, unit, description, better as direction, dimensions, sql from registry;"
            "create table ingest_status"
            " (signal varchar, fate varchar, reason varchar, items bigint)"
        )
        self._con.unregister("registry")

    def _lock_down(self) -> None:
        """Leave the instance no way out of the data directory and no setting to change."""
        self._con.execute(
            f"set allowed_directories = ['{_quoted(self.data_dir)}/'];"
            "set autoinstall_known_extensions = false; set autoload_known_extensions = false;"
            "set allow_community_extensions = false; set enable_external_access = false;"
            "set python_enable_replacements = false; set lock_configuration = true"
        )

    def _attach(self, name: str, file: Path, tables: tuple[str, ...]) -> None:
        try:
            self._con.execute(f"attach '{_quoted(file)}' as {name} {_ATTACH_OPTIONS}")
            self._con.execute(f"use {name}")
            for table in tables:
                self._con.execute(read_sql(f"tables/{table}"))
                self._add_columns(name, table)
        except duckdb.IOException as error:
            if "lock" in str(error):
                raise StoreError(
                    f"{self.data_dir} is in use by another collector: stop it, or choose another"
                    " directory with --data-dir"
                ) from None
            raise StoreError(f"cannot open {file}: {error}") from None
        finally:
            self._con.execute("use memory")
        if name != "rollup":
            self._days.add(name)
            self._create_day_views()

    def _add_columns(self, catalog: str, table: str) -> None:
        """Give a table of an older version the columns that it lacks; its old rows have NULL there."""
        script = read_sql(f"tables/{table}")
        wanted = script.replace(f"table if not exists {table} ", "or replace temp table wanted ", 1)
        self._con.execute(wanted)
        missing = self._con.execute(
            "select column_name, column_type from (describe temp.wanted) where column_name not in"
            f" (select column_name from (describe {catalog}.{table}))"
        ).fetchall()
        for column, kind in missing:
            self._con.execute(f'alter table {catalog}.{table} add column "{column}" {kind}')

    def _create_day_views(self) -> None:
        for table in DAY_TABLES:
            parts = [f"select * from {day}.{table}" for day in sorted(self._days)]
            self._con.execute(
                f"create or replace view {table} as {' union all by name '.join(parts)}"
            )

    def day_for(self, received_at: datetime) -> str:
        """Return the catalog name of the day's file, created when the day is new."""
        day = received_at.date()
        name = _day_name(day.isoformat())
        with self._lock:
            if name not in self._days:
                self._attach(name, self._file_of(day), DAY_TABLES)
        return name

    def days(self) -> list[date]:
        """Return the days that have a file, the oldest first."""
        with self._lock:
            return sorted(_day_of(name) for name in self._days)

    def catalog_of(self, day: date) -> str:
        """Return the catalog name of a day's file."""
        return _day_name(day.isoformat())

    def hide_days(self, days: Sequence[date]) -> None:
        """Take these days out of what queries read; their files stay until `delete_day`."""
        with self._lock:
            self._days -= {self.catalog_of(day) for day in days}
            self._create_day_views()

    def delete_day(self, day: date) -> None:
        """Delete the file of a day that is hidden. Raises OSError or duckdb.Error."""
        file = self._file_of(day)
        with self._lock:
            self._con.execute(f"detach {self.catalog_of(day)}")
        for part in (file.with_name(f"{file.name}.wal"), file):
            part.unlink(missing_ok=True)

    def _file_of(self, day: date) -> Path:
        return self.data_dir / f"spans-{day.isoformat()}.duckdb"

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor for writing; only the writer and the roll-ups ask for one."""
        cursor = self._con.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend a cursor inside a read-only transaction."""
        with self.cursor() as cursor:
            cursor.execute("begin transaction read only")
            try:
                yield cursor
            finally:
                with suppress(duckdb.Error):
                    cursor.execute("rollback")

    @property
    def price_version(self) -> str:
        """Library version and digest of the override file."""
        return self.prices.version

    def load_prices(
        self, cursor: duckdb.DuckDBPyConnection, *, is_trial: bool = False
    ) -> PriceBook:
        """Read the price list anew; from now on it prices, unless it is for a trial on ``cursor``.

        Only the follower may change what prices. Raises PriceFileError.
        """
        cursor.execute("begin")
        try:
            book = PriceBook(cursor, self._price_overrides, is_trial=is_trial)
            cursor.execute("commit")
        except BaseException:
            cursor.execute("rollback")
            raise
        if not is_trial:
            self.prices = book
        return book

    def size_bytes(self) -> int:
        """Return the size of all data files with their write-ahead logs."""
        return sum(file.stat().st_size for file in self.data_dir.glob("*.duckdb*"))

    def close(self) -> None:
        """Checkpoint the files and close them."""
        with self._lock:
            for name in (*self._days, "rollup"):
                with suppress(duckdb.Error):
                    self._con.execute(f"checkpoint {name}")
            self._con.close()


def _day_name(day: str) -> str:
    return f"day_{date.fromisoformat(day):%Y%m%d}"


def _day_of(name: str) -> date:
    return datetime.strptime(name, "day_%Y%m%d").date()


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("'", "''")
