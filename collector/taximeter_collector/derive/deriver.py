"""The thread that follows the commits: looks, derives a step (`derive.py`), rests; outlives what a step meets.

`progress` says how far it got, so a crash costs a recomputation and never a row.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from queue import SimpleQueue
from typing import Any, Final

import duckdb

from taximeter_collector.derive.derive import (
    STEP_BATCHES,
    derive_again,
    derive_step,
    derive_waiting,
    derived_batch,
    next_batch,
    revision,
    spans_at_hand,
)
from taximeter_collector.store.data_files import ROLLUP
from taximeter_collector.store.health import invalidated_file, is_damage, is_store_fault
from taximeter_collector.store.lending import release
from taximeter_collector.store.store import Store
from taximeter_collector.thread_priority import FOLLOWER_NICENESS, stand_back

logger: Final = logging.getLogger(__name__)
PAUSE_PER_WORK: Final = 4.0
"""Rest four times as long as the work took, so that following leaves the writer its processor."""
MAX_PAUSE_S: Final = 1.0
"""A page should show a call within three seconds."""
FINISH_S: Final = 30.0
"""So long it follows at the end; a collector that is asked to stop takes less."""
STORE_PAUSE_S: Final = 2.0
"""Between two tries while the disk is full: each may cost the readers an interruption."""
PATIENCE: Final = 4
"""Failures in a row before a commit is left out of the roll-ups."""
BUSY_SPANS: Final = 2_000
"""After a step of so many spans the next one follows at once: there, waiting only adds to what waits."""

Work = Callable[[duckdb.DuckDBPyConnection], Any]


@dataclass(frozen=True, slots=True)
class _Task:
    work: Work
    done: Future[Any]


class Deriver:
    """The thread that keeps the roll-ups up to date; `notify` wakes it after a commit."""

    def __init__(self, store: Store, *, settle_s: float = 0.3, finish_s: float = FINISH_S) -> None:
        self._store, self._settle_s, self._finish_s = store, settle_s, finish_s
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._must_end = False
        self._wake, self._stop = threading.Event(), threading.Event()
        self.step_seconds: deque[float] = deque(maxlen=256)
        self.last_error: str | None = None
        self._worked_s, self._failures, self._is_ill = 0.0, 0, False
        self._step_spans = 0
        self._tasks: SimpleQueue[_Task] = SimpleQueue()
        with store.read() as cursor:
            self._derived, self._revision = derived_batch(cursor), revision(cursor)
        self._thread = threading.Thread(target=self._run, name="deriver", daemon=True)
        self._wake.set()
        self._thread.start()

    @property
    def data_version(self) -> int:
        """Grows whenever derived data changed; survives restarts."""
        return self._derived + self._revision

    @property
    def derived(self) -> int:
        """The last group commit that the roll-ups contain."""
        return self._derived

    def notify(self) -> None:
        """Say that new spans are committed."""
        self._wake.set()

    def repair(self, traces: Sequence[str], minutes: Sequence[datetime]) -> Future[None]:
        """Derive traces and minutes again from all their spans; the future says when it is done."""
        return self.run(
            lambda cursor: derive_again(cursor, self._store.prices, traces, minutes, self._derived)
        )

    def run(self, work: Work) -> Future[Any]:
        """Let the follower do ``work`` between two steps, when nobody else writes roll-ups."""
        task = _Task(work, Future())
        self._tasks.put(task)
        self._wake.set()
        return task.done

    def close(self) -> None:
        """Follow what is committed, for ``finish_s`` at most, then stop; the next start goes on from there."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=self._finish_s)
        while self._thread.is_alive():  # its cursor would keep the store from closing
            self._must_end = True
            if self._cursor is not None:
                self._cursor.interrupt()
            self._thread.join(timeout=0.5)

    def _run(self) -> None:
        stand_back(FOLLOWER_NICENESS)
        with self._store.cursor() as cursor:
            self._cursor = cursor
            while True:
                self._wake.wait()
                self._wake.clear()
                self._catch_up(cursor)
                self._do_tasks(cursor)
                self._derive_waiting(cursor)
                release(cursor)
                if self._stop.is_set():
                    return
                self._stop.wait(
                    min(max(self._settle_s, PAUSE_PER_WORK * self._worked_s), MAX_PAUSE_S)
                )

    def _catch_up(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Follow until nothing is left or little came: a step costs much, a span little."""
        self._worked_s = 0.0
        following = -1
        while following != self._derived and not self._must_end:
            started, following = time.perf_counter(), self._derived
            try:
                self._derived = self._step(cursor)
            except Exception as error:  # noqa: BLE001 - a thread that dies would freeze every page
                self._derived = self._after_failure(cursor, error)
                if self._stop.wait(STORE_PAUSE_S if self._is_ill else 0.5):
                    return
            self.step_seconds.append(time.perf_counter() - started)
            self._worked_s += self.step_seconds[-1]
            if (
                following != self._derived
                and self._step_spans < BUSY_SPANS
                and not self._stop.is_set()
            ):
                self._wake.set()  # to look again after the rest
                return

    def _do_tasks(self, cursor: duckdb.DuckDBPyConnection) -> None:
        while not self._tasks.empty():
            task = self._tasks.get()
            try:
                result = task.work(cursor)
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
                task.done.set_exception(error)
            else:
                task.done.set_result(result)
            with suppress(duckdb.Error):  # of an ill file: the next task's
                self._revision = revision(cursor)

    def _derive_waiting(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Derive some of the traces again whose derivation a migration has changed."""
        started = time.perf_counter()
        try:
            if derive_waiting(cursor, self._store.prices, self._derived):
                self._worked_s += time.perf_counter() - started
                self._wake.set()
        except duckdb.Error as error:
            self.last_error = f"{type(error).__name__}: {error}"
            logger.error("traces wait to be derived again, next try after a commit: %s", error)

    def _step(self, cursor: duckdb.DuckDBPyConnection) -> int:
        """Follow the next commits; after a failure one by one, so that the bad one is found."""
        batches = STEP_BATCHES if self._failures == 0 else 0
        since = self._store.files.spans_since
        following = derive_step(cursor, self._store.prices, self._derived, batches, since)
        self._failures, self._is_ill = 0, False
        if following != self._derived:
            self._step_spans = spans_at_hand(cursor)
            self._store.files.note_derived(following)
        return following

    def _after_failure(self, cursor: duckdb.DuckDBPyConnection, error: Exception) -> int:
        """Try again; pass by a commit that fails alone for the third time. Its spans stay stored.

        A disk that is full or a file that was given up is no fault of a commit: it is waited for.
        """
        self.last_error = f"{type(error).__name__}: {error}"
        self._wake.set()
        if is_damage(error):
            self._store.note_damage(error)
        if is_store_fault(error):
            self._bring_back(cursor, error)
            return self._derived
        self._failures += 1
        if self._failures <= PATIENCE:
            return self._derived
        self._failures = 0
        try:
            passed = next_batch(cursor, self._derived, 0)
            cursor.execute("update rollup.progress set derived_batch = $passed", {"passed": passed})
        except duckdb.Error:  # the store itself is ill: nothing is passed by
            return self._derived
        logger.error("commit %d could not be followed and is left out: %s", passed, error)
        return passed

    def _bring_back(self, cursor: duckdb.DuckDBPyConnection, error: Exception) -> None:
        if not self._is_ill:
            logger.warning("the roll-ups wait: %s", error)
        self._is_ill = True
        if invalidated_file(error) == ROLLUP:
            self._store.files.reattach(ROLLUP, cursor)
        else:
            self._store.files.mend(cursor, is_rollup=True)
