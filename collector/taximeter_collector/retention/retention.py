"""Old data leaves: what agents say first, then whole day files; rows of the roll-ups are kept longer.

A day's file is detached and deleted, so its space comes back at once. It is taken out of the views some
time before, so that a query which still reads it ends first. What the roll-ups say of those days stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final

import duckdb

from taximeter.settings.settings import StoreSettings
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.retention.content_retention import Interrupted, drop_content
from taximeter_collector.sql_files import read_sql, run_script
from taximeter_collector.store.lending import transaction
from taximeter_collector.store.store import Store

logger: Final = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 3600.0
GRACE_S: Final = 40.0
"""A query may take 30 s."""


class Retention:
    """The thread that looks every hour for days that are older than is to be kept."""

    def __init__(
        self,
        store: Store,
        rollups: Deriver,
        settings: StoreSettings,
        *,
        grace_s: float = GRACE_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._rollups, self._settings = store, rollups, settings
        self._grace_s, self._now = grace_s, now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; a day that waits to be deleted is deleted after the next start."""
        self._stop.set()
        self._thread.join(timeout=60)

    def look(self) -> list[date]:
        """Let go of all that is too old; return the days whose spans were deleted."""
        gone = []
        if self._settings.retention_days:
            gone = self._drop_days(self._oldest(self._settings.retention_days))
        if self._settings.content_retention_days:
            self._drop_content(self._oldest(self._settings.content_retention_days))
        if self._settings.rollup_retention_days:
            self._drop_rows(self._oldest(self._settings.rollup_retention_days))
        return gone

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except (duckdb.Error, OSError) as error:
                logger.error("old data could not be deleted, next try in an hour: %s", error)
            self._stop.wait(LOOK_EVERY_S)

    def _oldest(self, days: int) -> date:
        return self._now().date() - timedelta(days=days)

    def _drop_days(self, oldest: date) -> list[date]:
        old: dict[date, str] = self._rollups.run(lambda cursor: self._hide(cursor, oldest)).result()
        if old and not self._stop.wait(self._grace_s):
            with self._store.files.files_stay():
                for catalog in old.values():
                    self._store.files.delete_catalog(catalog)
            logger.info(
                "spans, logs and metrics received before %s are deleted (store.retention_days = %d)",
                oldest,
                self._settings.retention_days,
            )
            return list(old)
        return []

    def _drop_content(self, oldest: date) -> None:
        for day in self._store.files.days_with_content():
            if day >= oldest or self._stop.is_set():
                return
            with suppress(Interrupted), self._store.files.files_stay():
                drop_content(
                    self._store, day, self._stop.wait, lambda: self._stop.wait(self._grace_s)
                )
                logger.info(
                    "what agents said on %s is deleted (store.content_retention_days = %d)",
                    day,
                    self._settings.content_retention_days,
                )

    def _hide(self, cursor: duckdb.DuckDBPyConnection, oldest: date) -> dict[date, str]:
        """Take the days that are too old, and followed to their end, out of the views."""
        days = self._store.files.days()[
            :-1
        ]  # the newest stays: it says where the counting of commits was
        old = [day for day in days if day < oldest and self._is_followed(cursor, day)]
        if not old:
            return {}
        with transaction(cursor):  # an import numbers older days after younger ones
            for day in old:
                _leave_behind(cursor, self._store.files.catalog_of(day))
        hidden = self._store.files.hide_days(old)
        cursor.execute(
            "update rollup.progress set kept_from_batch ="
            " coalesce((select min(batch) from export_request), derived_batch + 1)"
        )
        return dict(zip(old, hidden, strict=True))

    def _is_followed(self, cursor: duckdb.DuckDBPyConnection, day: date) -> bool:
        row = cursor.execute(
            f"select coalesce(max(batch), 0) <= (select derived_batch from rollup.progress)"
            f" from {self._store.files.catalog_of(day)}.span"
        ).fetchone()
        return bool(row and row[0])

    def _drop_rows(self, oldest: date) -> None:
        before = datetime(oldest.year, oldest.month, oldest.day, tzinfo=UTC)

        def drop(cursor: duckdb.DuckDBPyConnection) -> None:
            with transaction(cursor):
                run_script(cursor, read_sql("retention/rollups"), {"before": before})

        self._rollups.run(drop).result()


def _leave_behind(cursor: duckdb.DuckDBPyConnection, catalog: str) -> None:
    """Say of the traces that began in a day's file that their first spans are no longer kept."""
    for table in ("request", "aside"):
        cursor.execute(
            f"update rollup.{table} set first_batch = 0"
            f" where first_batch in (select batch from {catalog}.export_request)"
        )
