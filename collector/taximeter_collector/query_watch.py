"""Stops queries that run too long, take too much memory, or whose client is gone.

One thread looks at all running queries; DuckDB looks at an interrupt between two chunks of rows.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import duckdb

Reason = Literal["timeout", "memory", "gone"]

ROOM_BYTES: Final = 1536 * 1024 * 1024
"""How much the process may grow while queries run. DuckDB's own limit leaves out texts and lists
that one call builds, and Arrow's copies."""
_LOOK_S: Final = 0.02
_STATM: Final = Path("/proc/self/statm")


@dataclass(slots=True, eq=False)
class RunningQuery:
    """One query that is watched; `stopped` says why it was interrupted, None if it was not."""

    cursor: duckdb.DuckDBPyConnection
    deadline: float
    gone: threading.Event
    stopped: Reason | None = None


class QueryWatch:
    """Watches the queries of one process. Thread-safe."""

    def __init__(self, room_bytes: int = ROOM_BYTES) -> None:
        self._room_bytes = room_bytes
        self._running: set[RunningQuery] = set()
        self._base_bytes = 0
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(
        self, cursor: duckdb.DuckDBPyConnection, timeout_s: float, gone: threading.Event
    ) -> Iterator[RunningQuery]:
        """Watch the statements of ``cursor`` for the length of the block."""
        query = RunningQuery(cursor, time.monotonic() + timeout_s, gone)
        with self._change:
            if not self._running:
                self._base_bytes = resident_bytes()
            self._running.add(query)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="queries", daemon=True)
                self._thread.start()
            self._change.notify()
        try:
            yield query
        finally:
            with self._change:
                self._running.discard(query)

    def _look(self) -> None:
        while True:
            with self._change:
                while not self._running:
                    self._change.wait()
                self._stop_what_must()
            time.sleep(_LOOK_S)

    def _stop_what_must(self) -> None:
        is_full = resident_bytes() - self._base_bytes > self._room_bytes
        for query in self._running:
            query.stopped = query.stopped or _reason(query, is_full)
            if query.stopped:
                # Again at every look: an interrupt before the statement began is lost.
                with suppress(duckdb.Error):
                    query.cursor.interrupt()


def _reason(query: RunningQuery, is_full: bool) -> Reason | None:
    if query.gone.is_set():
        return "gone"
    if time.monotonic() > query.deadline:
        return "timeout"
    return "memory" if is_full else None


def resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


WATCH: Final = QueryWatch()
