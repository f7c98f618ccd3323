"""DATA_DIR/alerts.sqlite: states, incidents, silences, annotations, outbox and watermark (sql/schema.sql).

One evaluation writes all of it in one transaction: a state that changed and a notice that was
lost can't come apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import IO, Any, Final

from taximeter_alerts.judge.state import AlertState

FILE_NAME: Final = "alerts.sqlite"
_SQL: Final = files("taximeter_alerts") / "sql"
_VERSION: Final = 1


class AlreadyRunning(Exception):
    """Another process keeps the alerts of this data dir."""


class NewerFile(Exception):
    """The file has a form that this version does not know."""


class NotificationLog:
    """Owns the file and its lock; one connection, used by one thread at a time."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._lock_file = _lock(data_dir / f"{FILE_NAME}.lock")
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            data_dir / FILE_NAME, check_same_thread=False, isolation_level=None
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._upgrade()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._lock_file.close()

    def _upgrade(self) -> None:
        """Bring the file to this version's tables. Raises NewerFile."""
        version = self._connection.execute("pragma user_version").fetchone()[0]
        if version > _VERSION:
            self.close()
            raise NewerFile(f"{FILE_NAME} was written by a newer taximeter: install that one.")
        is_old = version == 0 and bool(
            self.rows("select 1 from sqlite_master where name = 'incident'")
        )
        steps = ("migrate_1", "schema", "migrate_1_rows") if is_old else ("schema",)
        script = "\n".join((_SQL / f"{name}.sql").read_text(encoding="utf-8") for name in steps)
        self._connection.executescript(
            f"begin immediate;\n{script}\npragma user_version = {_VERSION};\ncommit;"
        )

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when it is left."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(row) for row in self._connection.execute(sql, params)]

    def execute(self, sql: str, *params: Any) -> int:
        """Run one write; return how many rows it changed."""
        with self._lock:
            return self._connection.execute(sql, params).rowcount

    def get(self, key: str) -> str | None:
        rows = self.rows("select value from meta where key = ?", key)
        return rows[0]["value"] if rows else None

    def set(self, key: str, value: str) -> None:
        self.execute("insert or replace into meta values (?, ?)", key, value)


class ReadOnlyLog:
    """What is kept, for those who only look: beside the process that owns it, or before there is one."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / FILE_NAME

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        """Return rows; none where nothing was ever kept."""
        if not self._file.exists():
            return []
        address = f"{self._file.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, params)]


def time_text(at: datetime | None) -> str | None:
    """Return a time as it is stored: UTC, always as wide, so that text sorts as time."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_time(text: str | None) -> datetime | None:
    """Return a stored time."""
    return None if text is None else datetime.fromisoformat(text)


def state_text(state: AlertState) -> str:
    """Return a state as it is stored."""
    values = values_of(state)
    return json.dumps(
        {k: time_text(v) if isinstance(v, datetime) else v for k, v in values.items()}
    )


def values_of(record: Any) -> dict[str, Any]:
    """Return a dataclass's values by their names; `asdict` would copy each, for thousands of states."""
    return {column.name: getattr(record, column.name) for column in fields(record)}


def read_state(text: str) -> AlertState:
    """Return a stored state; what this version doesn't know is left out."""
    known = {f.name for f in fields(AlertState)}
    values: dict[str, Any] = {k: v for k, v in json.loads(text).items() if k in known}
    for name in ("since", "evaluated_at", "breached_at", "data_at", "resolved_at"):
        values[name] = read_time(values.get(name))
    return AlertState(**values)


def _lock(file: Path) -> IO[str]:
    """Hold the file's lock for the life of the process: two would send twice."""
    handle = file.open("a+", encoding="utf-8")
    try:
        if os.name == "nt":
            import msvcrt

            handle.seek(0)
            getattr(msvcrt, "locking")(handle.fileno(), getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise AlreadyRunning(
            f"alerts of {file.parent} are already kept by another process: stop that one first,"
            " or give this one a --data-dir of its own."
        ) from None
    return handle
