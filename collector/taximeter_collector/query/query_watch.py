"""Stops queries that run too long, take too much memory, or whose client is gone.

One thread looks at all running queries; DuckDB looks at an interrupt between two chunks of rows.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import duckdb

Reason = Literal["timeout", "memory", "gone", "stopping"]

ROOM_BESIDE_BYTES: Final = 512 * 1024 * 1024
"""What queries may take beside the store's memory (store.memory), which DuckDB keeps to itself: it
leaves out texts and lists that one call builds, and Arrow's copies."""
RELEASE_S: Final = 0.5
"""How long the memory of a query may take to come back once it has ended."""
ENDING_S: Final = 2.0
"""How long a query may take to end once it was stopped; then the next one is looked at."""
_LOOK_S: Final = 0.02
_UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_STATM: Final = Path("/proc/self/statm")


@dataclass(slots=True, eq=False)
class RunningQuery:
    """One query that is watched; `stopped` says why it was interrupted, None if it was not."""

    cursor: duckdb.DuckDBPyConnection
    deadline: float
    gone: threading.Event
    room_bytes: int
    others: Callable[[], int]
    """Tells the bytes that others hold now; here and not with the watch, which outlives the store."""
    base_bytes: int
    """What the process held when the query began, or later, if that was less."""
    stopped: Reason | None = None
    stopped_at: float = 0.0


def nothing() -> int:
    """Return 0: nobody else takes memory."""
    return 0


def resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class QueryWatch:
    """Watches the queries of one process. Thread-safe."""

    def __init__(
        self,
        resident: Callable[[], int] = resident_bytes,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resident, self._now = resident, now
        self._running: list[RunningQuery] = []
        """In the order of their beginning."""
        self._released_at = 0.0
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(
        self,
        cursor: duckdb.DuckDBPyConnection,
        deadline: float,
        gone: threading.Event,
        others: Callable[[], int] = nothing,
        *,
        room_bytes: int | None = None,
    ) -> Iterator[RunningQuery]:
        """Watch the statements of ``cursor`` for the length of the block.

        ``deadline`` is a time of the monotonic clock, ``others`` tells the bytes that others hold now
        and that are not this query's; ``room_bytes`` is what all queries may take together, by default
        that of the cursor's store.
        """
        room = store_room(cursor) if room_bytes is None else room_bytes
        with self._change:
            query = RunningQuery(cursor, deadline, gone, room, others, self._resident() - others())
            self._running.append(query)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="queries", daemon=True)
                self._thread.start()
            self._change.notify()
        try:
            yield query
        finally:
            with self._change:
                self._running.remove(query)
                if query.stopped == "memory":
                    self._released_at = self._now() + RELEASE_S

    @property
    def running(self) -> int:
        """How many queries run."""
        return len(self._running)

    def stop_all(self) -> None:
        """Stop what runs now, because the process ends."""
        with self._change:
            for query in self._running:
                self._stop(query, query.stopped or "stopping")

    def look(self) -> None:
        """Stop the queries that must not go on."""
        with self._change:
            self._stop_what_must()

    def _look(self) -> None:
        while True:
            with self._change:
                while not self._running:
                    self._change.wait()
                self._stop_what_must()
            time.sleep(_LOOK_S)

    def _stop_what_must(self) -> None:
        now = self._now()
        for query in self._running:
            reason: Reason | None = query.stopped
            if query.gone.is_set():
                reason = reason or "gone"
            elif now > query.deadline:
                reason = reason or "timeout"
            if reason:
                # Again at every look: an interrupt before the statement began is lost.
                self._stop(query, reason)
        if (latest := self._too_much(now)) is not None:
            self._stop(latest, "memory")

    def _too_much(self, now: float) -> RunningQuery | None:
        """Return the latest query if all take more than they may; one at a time, then look again."""
        resident = self._resident()
        held = {id(query): resident - query.others() for query in self._running}
        for query in self._running:
            query.base_bytes = min(query.base_bytes, held[id(query)])
        is_ending = any(q.stopped and now < q.stopped_at + ENDING_S for q in self._running)
        if now < self._released_at or is_ending:
            return None
        is_full = any(held[id(q)] - q.base_bytes > q.room_bytes for q in self._running)
        going = [query for query in self._running if query.stopped is None]
        return going[-1] if going and is_full else None

    def _stop(self, query: RunningQuery, reason: Reason) -> None:
        if query.stopped is None:
            query.stopped, query.stopped_at = reason, self._now()
        with suppress(duckdb.Error):
            query.cursor.interrupt()


def store_room(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return what queries may take: the store's memory and some beside it, in bytes."""
    (said,) = cursor.execute("select current_setting('memory_limit')").fetchall()[0]
    number, _, unit = str(said).partition(" ")
    return ROOM_BESIDE_BYTES + int(float(number) * _UNITS.get(unit, 1))


WATCH: Final = QueryWatch()
