"""The data files of one directory: attached, taken out of what queries read, put back, replaced, deleted.

A file a received day (spans, logs, metrics, request digests), one for the roll-ups. What is done about damage and
a full disk: docs/operations.md; layout and retention: docs/storage.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Final

import duckdb

from taximeter_collector.store.directory_lock import StoreError
from taximeter_collector.store.health import Health
from taximeter_collector.store.high_water import HighWater, Mark
from taximeter_collector.store.incidents import Incidents
from taximeter_collector.store.lending import Lending
from taximeter_collector.store.migrations import check_format, migrate
from taximeter_collector.store.recovery import Recovery, parts, stored

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
    "to_derive",
    "reused_key",
)
ROLLUP: Final = "rollup"
NEWEST_SPANS: Final = "newest_span"
REATTACH_WITHIN_S: Final = 5.0
_SHOWN: Final = (
    "trace_id", "span_id", "parent_span_id", "name", "kind", "dialect", "signal", "service_name", "service_version",
    "environment", "scope_name", "scope_version", "start_time", "end_time", "duration_ms", "status", "status_message",
    "error_type", "error_class", "session_id", "user_id", "tenant", "tags", "agent_name", "agent_version", "attributes",
    "content", "content_bytes", "resource_attributes", "events", "received_at", "start_unix_nano", "end_unix_nano",
)  # fmt: skip
"""Columns of table span that sql/views/spans.sql reads: with all of them a month of files takes twice as long to plan."""
_FULL, _LEAN = "day", "facts"
"""Catalogs of a day's file with what agents say, and without."""


class DataFiles:
    """Attaches the files of ``data_dir`` to one connection and keeps the views over the days. Thread-safe."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        data_dir: Path,
        lending: Lending,
        incidents: Incidents,
        health: Health,
    ) -> None:
        self._con, self._data_dir, self._lending = con, data_dir, lending
        self._incidents, self._health = incidents, health
        self._high_water, self._recovery = HighWater(data_dir), Recovery(data_dir, incidents)
        self._lock, self._deleting = Lock(), Lock()
        self._days: set[str] = set()
        self._hidden: set[str] = set()
        self._detached: set[str] = set()

    def attach_all(self) -> None:
        """Attach all files, then migrate them: none is changed when one is of a newer release.

        A damaged one is mended or set aside. Raises StoreError.
        """
        self._con.execute("attach ':memory:' as no_day")
        migrate(self._con, "no_day", DAY_TABLES)
        files = day_files(self._data_dir)
        for file in files:
            self._attach(_catalog(file), file)
        known = {name for file in files for name in (file.name, _full_name(file))}
        for gone in set(self._high_water.files()) - known - {f"{ROLLUP}.duckdb"}:
            self._report_missing(gone)
        was_known = self._attach_rollup()
        for name in sorted(self._days):
            migrate(self._con, name, DAY_TABLES)
        self._create_day_views()
        migrate(self._con, ROLLUP, ROLLUP_TABLES)
        if not self._con.execute("from rollup.progress").fetchall():
            self._begin_roll_ups(is_again=was_known)
        try:
            self.day_for(datetime.now(UTC))
        except (duckdb.Error, OSError) as error:  # a full disk: what is there can still be read
            self._health.failed(error)

    def _report_missing(self, file: str) -> None:
        mark = self._high_water.of(file)
        self._incidents.report(
            "file_missing",
            f"{file} is gone, with {mark.items:,} spans, log records and data points: nobody deleted it here.",
            file=file, lost_items=mark.items,
        )  # fmt: skip
        self._high_water.forget(file)

    def _attach_rollup(self) -> bool:
        """Attach the roll-ups, those of a damaged file anew; return whether there were any."""
        file = self.file_of(ROLLUP)
        was_known = file.exists() or self._high_water.of(file.name).batch > 0
        if not file.exists():
            self._high_water.forget(file.name)
        if not self._attach(ROLLUP, file):
            self._attach(ROLLUP, file)
        return was_known

    def _begin_roll_ups(self, *, is_again: bool) -> None:
        """Let the follower begin; where there were roll-ups, say what of them can't be derived again."""
        self._con.execute("insert into rollup.progress (derived_batch) values (0)")
        if not is_again:
            return
        rows = self._con.execute(
            " union all ".join(
                f"select min(batch), min(received_at)::varchar from {day}.export_request"
                for day in sorted({*self._days, "no_day"})
            )
        ).fetchall()
        first, since = min((row for row in rows if row[0] is not None), default=(None, None))
        self._con.execute("update rollup.progress set kept_from_batch = $1", [first])
        kept = f"from {since[:16]} UTC on" if since else "of nothing, as no span is kept"
        self._incidents.report(
            "rollup_rebuilt",
            f"The roll-ups are derived again from the stored spans, {kept}. What was received before, and the"
            " journal of repricings, can't be made again.",
            file=f"{ROLLUP}.duckdb",
            derived_since=since,
        )

    def _attach(self, name: str, file: Path) -> bool:
        """Attach a file as it is; False if it was damaged and is set aside."""
        mark = self._high_water.of(file.name)
        if not self._recovery.attach(self._con, name, file, mark):
            self._high_water.forget(file.name)
            return False
        check_format(self._con, name, file)
        found = stored(self._con, name)
        if found != mark:
            self._high_water.set(file.name, found)
        if name != ROLLUP:
            self._days.add(name)
        return True

    def _attach_ready(self, name: str) -> bool:
        """Attach a file for use, with all its tables; False if it was damaged and is set aside."""
        if not self._attach(name, self.file_of(name)):
            return False
        migrate(self._con, name, ROLLUP_TABLES if name == ROLLUP else DAY_TABLES)
        return True

    def _create_day_views(self) -> None:
        days = ["no_day", *sorted(self._days - self._hidden - self._detached)]
        for table in DAY_TABLES:
            self._create_view(table, f"select * from {{day}}.{table}", days)
        self._create_view(NEWEST_SPANS, "select * from {day}.span", self._newest() or ["no_day"])
        self._create_view("shown_span", f"select {', '.join(_SHOWN)} from {{day}}.span", days)

    def _create_view(self, name: str, select: str, days: Sequence[str]) -> None:
        selects = [select.format(day=day) for day in days]
        self._con.execute(f"create or replace view {name} as {' union all by name '.join(selects)}")

    def _newest(self) -> list[str]:
        shown = self._days - self._hidden - self._detached
        return sorted(shown, key=_day_of)[-2:]

    def spans_since(self, batch: int) -> str:
        """Return the view that holds all spans of the commits from ``batch`` on.

        A month of files costs a statement ten times what two do. Only a clock that was set back and
        an import write into older ones.
        """
        with self._lock:
            newest = self._newest()
            older = self._days - set(newest)
        marks = (self._high_water.of(self.file_of(name).name).batch for name in older)
        return "span" if any(mark >= batch for mark in marks) else NEWEST_SPANS

    def day_for(self, received_at: datetime) -> str:
        """Return the catalog name of the day's file, created when the day is new."""
        with self._lock:
            name = self.catalog_of(received_at.date())
            if name not in self._days:
                if not self._attach_ready(name):
                    self._attach_ready(name)
                self._create_day_views()
        return name

    def days(self) -> list[date]:
        """Return the days that have a file, the oldest first."""
        with self._lock:
            return sorted(_day_of(name) for name in self._days - self._hidden)

    def days_with_content(self) -> list[date]:
        """Return those whose file still has what agents say, the oldest first."""
        with self._lock:
            shown = self._days - self._hidden - self._detached
            return sorted(_day_of(name) for name in shown if not name.startswith(_LEAN))

    def catalog_of(self, day: date) -> str:
        """Return the catalog name of a day's file."""
        lean = f"{_LEAN}_{day:%Y%m%d}"
        return lean if lean in self._days else f"{_FULL}_{day:%Y%m%d}"

    def lean_file(self, day: date) -> Path:
        """Return the file that holds a day without what agents say."""
        return self.file_of(f"{_LEAN}_{day:%Y%m%d}")

    def replace_day(self, old: str, file: Path) -> None:
        """Let queries read ``file`` in place of catalog ``old``, which stays until `delete_catalog`."""
        with self._lock:
            self._attach(_catalog(file), file)
            self._hidden.add(old)
            self._create_day_views()

    def hide_days(self, days: Sequence[date]) -> list[str]:
        """Take days out of what queries read; return their catalogs, which stay until `delete_catalog`."""
        with self._lock:
            hidden = [self.catalog_of(day) for day in days]
            self._hidden.update(hidden)
            self._create_day_views()
        return hidden

    def delete_catalog(self, name: str) -> None:
        """Delete the file of a day that is hidden. Raises OSError or duckdb.Error."""
        file = self.file_of(name)
        with self._lock:
            if name not in self._detached:
                self._con.execute(f"detach {name}")
            self._days.discard(name)
            self._hidden.discard(name)
            self._detached.discard(name)
            self._high_water.forget(file.name)
        for part in reversed(parts(file)):
            part.unlink(missing_ok=True)

    @contextmanager
    def files_stay(self) -> Iterator[None]:
        """Let no file leave for the length of the block: of a backup, of an export, of what deletes one."""
        with self._deleting:
            yield

    def reattach(self, name: str, own: duckdb.DuckDBPyConnection | None = None) -> bool:
        """Take a file away and put it back, which heals one that DuckDB has given up; False if it can't be.

        ``own`` is the caller's cursor, outside a transaction; what others run is interrupted. A day
        that can't be attached is left out of what queries read until `mend` succeeds.
        """
        with self._lock, self._lending.changing():
            with suppress(duckdb.Error):
                self._con.execute(f"detach {name}")
            self._detached.add(name)
            try:
                is_back = self._attach_when_free(name, own)
            except (duckdb.Error, StoreError, OSError) as error:
                self._health.failed(error)
                is_back = False
            if is_back:
                self._detached.discard(name)
            self._create_day_views()
        if is_back:
            self._incidents.report("file_reattached", f"{self.file_of(name).name} is in use again.", file=self.file_of(name).name)  # fmt: skip
        return is_back

    def _attach_when_free(self, name: str, own: duckdb.DuckDBPyConnection | None) -> bool:
        give_up = monotonic() + REATTACH_WITHIN_S
        while True:
            self._lending.interrupt_others(own)
            try:
                return self._attach_ready(name) or self._attach_ready(name)
            except duckdb.ResourceInUseException:
                if monotonic() > give_up:
                    raise

    def catalogs(self) -> dict[str, Path]:
        """Return the attached files by their catalog's name."""
        with self._lock:
            return {name: self.file_of(name) for name in (*sorted(self._days), ROLLUP)}

    def replace(self, name: str, damage: str) -> Path:
        """Set a damaged file aside and begin a new one; return where the old one is."""
        file = self.file_of(name)
        with self._lock:
            mark = self._high_water.of(file.name)
            self._con.execute(f"detach {name}")
            kept = self._recovery.set_aside_all(file, damage)
            self._high_water.forget(file.name)
            self._attach_ready(name)
            if name == ROLLUP:
                self._begin_roll_ups(is_again=True)
            else:  # no trace that began in it is derived again from what is left
                self._con.execute("update rollup.progress set kept_from_batch = greatest(kept_from_batch, $1)", [mark.batch + 1])  # fmt: skip
        return kept

    def note_stored(self, name: str) -> None:
        """Remember how far a file is that was filled by other means than commits."""
        self._high_water.set(self.file_of(name).name, stored(self._con, name))

    def mend(self, own: duckdb.DuckDBPyConnection, *, is_rollup: bool = False) -> bool:
        """Try again to attach what could not be; return whether all is there."""
        with self._lock:
            missing = [name for name in self._detached if (name == ROLLUP) == is_rollup]
        back = [self.reattach(name, own) for name in missing]
        return all(back)

    def file_of(self, name: str) -> Path:
        """Return the file of a catalog."""
        if name == ROLLUP:
            return self._data_dir / f"{ROLLUP}.duckdb"
        kind = "facts" if name.startswith(_LEAN) else "spans"
        return self._data_dir / f"{kind}-{_day_of(name).isoformat()}.duckdb"

    def note_commit(self, day: str, batch: int, items: int) -> None:
        """Remember that commit ``batch`` with so many items is in the file of ``day``."""
        file = self.file_of(day).name
        self._high_water.set(file, Mark(batch, self._high_water.of(file).items + items))

    def note_derived(self, batch: int) -> None:
        """Remember how far the roll-ups have come."""
        self._high_water.set(f"{ROLLUP}.duckdb", Mark(batch))

    def sizes(self) -> list[dict[str, Any]]:
        """Return name, bytes and bytes of write-ahead log of each data file."""
        found = []
        for file in sorted(self._data_dir.glob("*.duckdb")):
            sizes = {part.name: _size(part) for part in parts(file)}
            whole = sizes.pop(file.name, 0)
            found.append({"file": file.name, "bytes": whole, "wal_bytes": sum(sizes.values())})
        return found

    def detached(self) -> list[str]:
        """Return the names of the files that could not be put back yet."""
        with self._lock:
            return sorted(self.file_of(name).name for name in self._detached)

    def close(self) -> None:
        """Checkpoint all files; the connection is the caller's to close."""
        with self._lock:
            for name in (*self._days, ROLLUP):
                with suppress(duckdb.Error):
                    self._con.execute(f"checkpoint {name}")
        self.let_go()

    def let_go(self) -> None:
        """Close what is open beside the connection."""
        self._high_water.close()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # a checkpoint removes the log
        return 0


def day_files(data_dir: Path) -> list[Path]:
    """Return the days' files of a data directory, without those that a crash left behind."""
    for file in data_dir.glob("facts-*.duckdb.new*"):
        file.unlink()
    lean = sorted(data_dir.glob("facts-????-??-??.duckdb"))
    for file in lean:  # it is complete, so the one in whose place it came is done with
        for part in reversed(parts(file.with_name(_full_name(file)))):
            part.unlink()
    return sorted(data_dir.glob("spans-????-??-??.duckdb")) + lean


def _full_name(file: Path) -> str:
    return f"spans-{file.name.partition('-')[2]}"


def _catalog(file: Path) -> str:
    kind, _, day = file.stem.partition("-")
    return f"{_LEAN if kind == 'facts' else _FULL}_{date.fromisoformat(day):%Y%m%d}"


def _day_of(name: str) -> date:
    return datetime.strptime(name.partition("_")[2], "%Y%m%d").date()
