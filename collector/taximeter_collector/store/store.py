"""Owns the DuckDB instance: rules, prices, views, and the data files attached (`data_files.py`).

Everyone else gets a cursor for the length of a ``with`` block. Layout and reasons: docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from taximeter.settings.rule_rows import RuleRow
from taximeter.settings.settings import Settings, ToolsSettings
from taximeter_collector.dialects import load_rules, load_tool_rules
from taximeter_collector.metrics import METRICS
from taximeter_collector.prices import PriceBook
from taximeter_collector.sql_files import read_sql, sql_names
from taximeter_collector.store.data_files import DataFiles
from taximeter_collector.store.directory_lock import DirectoryLock, StoreError
from taximeter_collector.store.health import GIB, Health
from taximeter_collector.store.incidents import Incidents
from taximeter_collector.store.lending import Lending, transaction
from taximeter_collector.store.recovery import quoted

__all__ = ["Store", "StoreError", "open_store"]


class Store:
    """The data directory's files, attached and locked down."""

    def __init__(
        self,
        data_dir: Path,
        price_overrides: Path | None = None,
        memory: str = "256MB",
        tools: ToolsSettings = ToolsSettings(),  # noqa: B008 - frozen
        dialects: Sequence[RuleRow] = (),
        *,
        checkpoint_threshold: str = "64MB",
        min_free_bytes: int = GIB,
    ) -> None:
        """Open or create the files. ``dialects`` are the user's rows above the shipped rules.

        A damaged file is mended or set aside, and `incidents` tells it. Raises StoreError when another
        process holds the files, they can't be written or are of a newer release, SettingsError for a
        wrong row.
        """
        self.data_dir = data_dir
        self._directory = DirectoryLock(data_dir)
        self._con = duckdb.connect(":memory:")
        self._lending = Lending(self._con)
        self.incidents = Incidents(data_dir)
        self.health = Health(data_dir, min_free_bytes, self.incidents)
        self.files = DataFiles(self._con, data_dir, self._lending, self.incidents, self.health)
        try:
            self._open(price_overrides, memory, checkpoint_threshold, tools, dialects)
        except BaseException:
            self._con.close()
            self.files.let_go()
            self._directory.close()
            raise

    def _open(
        self,
        price_overrides: Path | None,
        memory: str,
        checkpoint_threshold: str,
        tools: ToolsSettings,
        dialects: Sequence[RuleRow],
    ) -> None:
        self._con.execute(
            "set enable_progress_bar = false; set TimeZone = 'UTC'; set threads = 1;"
            f"set checkpoint_threshold = '{checkpoint_threshold}'; set preserve_insertion_order = false;"
            f"set memory_limit = '{memory}';"
            f"set temp_directory = '{quoted(self.data_dir / 'tmp')}';"
        )
        load_rules(self._con, dialects)
        self._price_overrides = price_overrides
        load_tool_rules(self._con, tools)
        self.prices = PriceBook(self._con, price_overrides)
        for name in sql_names("macros"):
            self._con.execute(read_sql(name))
        self.files.attach_all()
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
            f"set allowed_directories = ['{quoted(self.data_dir)}/'];"
            "set autoinstall_known_extensions = false; set autoload_known_extensions = false;"
            "set allow_community_extensions = false; set enable_external_access = false;"
            "set python_enable_replacements = false; set lock_configuration = true"
        )

    def cursor(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Lend a cursor for writing; only the writer and the roll-ups ask for one."""
        return self._lending.cursor()

    def read(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Lend a cursor inside a read-only transaction."""
        return self._lending.reader()

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
        with transaction(cursor):
            book = PriceBook(cursor, self._price_overrides, is_trial=is_trial)
        if not is_trial:
            self.prices = book
        return book

    def note_damage(self, error: BaseException) -> None:
        """Raise an alarm, once until somebody has looked, for a block that could not be read."""
        if any(alarm["event"] == "block_damaged" for alarm in self.incidents.alarms):
            return
        self.incidents.report(
            "block_damaged",
            "A part of a data file can't be read. Stop the collector and run `taximeter repair`, which saves the rest"
            f" of the file. DuckDB said: {str(error).partition(chr(10))[0][:200]}",
        )

    def size_bytes(self) -> int:
        """Return the size of all data files with their write-ahead logs."""
        return sum(file["bytes"] + file["wal_bytes"] for file in self.files.sizes())

    def report(self) -> dict[str, Any]:
        """Return the state of the store for /v1/status."""
        return self.health.as_dict() | {
            "detached": self.files.detached(),
            "alarms": self.incidents.alarms,
            "events": self.incidents.recent,
            "files": self.files.sizes(),
        }

    def close(self) -> None:
        """Checkpoint the files and close them."""
        self.files.close()
        self._con.close()
        self._directory.close()


def open_store(settings: Settings) -> Store:
    """Return the store that the settings describe. Raises what `Store` raises."""
    return Store(
        settings.store.data_dir,
        settings.prices.file,
        settings.store.memory,
        settings.tools,
        settings.dialects,
        checkpoint_threshold=settings.store.checkpoint_threshold,
        min_free_bytes=settings.store.min_free_bytes,
    )
