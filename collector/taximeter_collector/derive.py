"""Follows the stored spans: traces touched since the last look → calls, runs, requests, minutes.

Everything here is derived and can be made again; `progress` says how far it got, so a crash costs
a recomputation and never a row.
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

from taximeter_collector.data_files import ROLLUP
from taximeter_collector.health import invalidated_file, is_damage, is_store_fault
from taximeter_collector.lending import release, transaction
from taximeter_collector.prices import PriceBook, price_calls
from taximeter_collector.sql_files import read_sql, run_script
from taximeter_collector.store import Store

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
STEP_BATCHES: Final = 512
STEP_SPANS: Final = 40_000
"""About so many group commits and spans are followed in one step."""
WAITING_TRACES: Final = 1_000
"""So many traces that wait to be derived again are one step."""
_STEPS: Final = (
    "05_once", "05_told", "06_log_parents", "07_signals", "07_aside", "08_models", "09_metrics", "10_trace", "18_late", "20_billed",
    "21_twins", "22_unsure", "25_keep_touched", "30_price", "35_loops", "40_tools", "45_thrash", "50_runs", "55_requests",
)  # fmt: skip
_ONLY_FOR: Final = {
    "05_once": "repeated_spans", "06_log_parents": "logs", "07_signals": "tellers", "08_models": "nameless_calls",
    "09_metrics": "metrics", "18_late": "twins", "21_twins": "twins", "25_keep_touched": "context",
}  # fmt: skip
"""Steps that have something to do only when the spans hold this (sql/derive/holds.sql)."""

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
        following = derive_step(cursor, self._store.prices, self._derived, batches)
        self._failures, self._is_ill = 0, False
        if following != self._derived:
            self._step_spans = _count(cursor, "select count(*) from d_span")
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


def _count(cursor: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = cursor.execute(sql).fetchone()
    return int(row[0]) if row else 0


def derived_batch(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return the last group commit that the roll-ups contain."""
    return _count(cursor, "select derived_batch from rollup.progress")


def revision(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return how often history was priced again, or that undone."""
    return _count(cursor, "select count(*) + count(undone_at) from rollup.repricing")


def next_batch(cursor: duckdb.DuckDBPyConnection, after: int, batches: int) -> int:
    """Return up to which commit a step should go; ``after`` when there is nothing new."""
    row = cursor.execute(
        "select coalesce(max(batch) filter (spans_before < $spans), min(batch), $after) from ("
        " select batch, sum(count(*)) over (order by batch) - count(*) as spans_before"
        " from span where batch > $after and batch <= $batches"
        " + (select min(batch) from span where batch > $after) group by batch)",
        {"after": after, "batches": batches, "spans": STEP_SPANS},
    ).fetchone()
    return int(row[0]) if row else after


def derive_step(
    cursor: duckdb.DuckDBPyConnection, prices: PriceBook, after: int, batches: int = STEP_BATCHES
) -> int:
    """Derive the traces touched by the next commits; return the batch that is now contained."""
    last = next_batch(cursor, after, batches)
    if last > after:
        run_script(cursor, read_sql("derive/00_touched"), {"after": after, "last_batch": last})
        if _count(cursor, "select count(*) from d_linked"):
            run_script(cursor, read_sql("derive/00_context"), {})
        _derive_touched(cursor, prices, after, last)
    return last


def _derive_touched(
    cursor: duckdb.DuckDBPyConnection, prices: PriceBook, after: int, last: int
) -> None:
    earlier = cursor.execute(
        "select first_batch from stored_times('d_context', 'rollup.request', 'rollup.aside')"
    ).fetchone()
    first = min(after + 1, int(earlier[0])) if earlier and earlier[0] is not None else after + 1
    compute(cursor, prices, first, last)
    run_script(cursor, read_sql("derive/60_minutes"), {})
    with transaction(cursor):
        replace_rows(cursor)
        cursor.execute("update rollup.progress set derived_batch = $last", {"last": last})


def derive_again(
    cursor: duckdb.DuckDBPyConnection,
    prices: PriceBook,
    traces: Sequence[str],
    minutes: Sequence[datetime],
    last: int,
) -> None:
    """Derive these traces and minutes from all their spans up to batch ``last``."""
    look_at(cursor, traces)
    compute(cursor, prices, 0, last)
    run_script(cursor, read_sql("derive/60_minutes"), {})
    cursor.execute("insert into d_minute select unnest($1::timestamptz[])", [list(minutes)])
    with transaction(cursor):
        replace_rows(cursor)


def derive_waiting(cursor: duckdb.DuckDBPyConnection, prices: PriceBook, last: int) -> bool:
    """Derive the next traces of ``to_derive`` again; return whether there were any."""
    found = cursor.execute(
        f"select trace_id from rollup.to_derive limit {WAITING_TRACES}"
    ).fetchall()
    if not found:
        return False
    traces = [trace for (trace,) in found]
    _derive_each(cursor, prices, traces, last)
    cursor.execute("delete from rollup.to_derive where trace_id in (select unnest($1))", [traces])
    return True


def _derive_each(
    cursor: duckdb.DuckDBPyConnection, prices: PriceBook, traces: list[str], last: int
) -> None:
    """Derive traces again; of those that fail together, the one that fails alone keeps its rows."""
    try:
        derive_again(cursor, prices, traces, [], last)
    except duckdb.Error as error:
        if is_store_fault(error):
            raise
        if len(traces) == 1:
            logger.error("trace %s keeps what an older release derived: %s", traces[0], error)
            return
        middle = len(traces) // 2
        for half in (traces[:middle], traces[middle:]):
            _derive_each(cursor, prices, half, last)


def look_at(cursor: duckdb.DuckDBPyConnection, traces: Sequence[str]) -> None:
    """Make ``traces`` the touched ones; what holds another view of their calls is found in the spans."""
    cursor.execute(
        "create or replace temp table d_touched as select unnest($1::varchar[]) as trace_id",
        [list(traces)],
    )
    run_script(cursor, read_sql("derive/context"), {})


def compute(
    cursor: duckdb.DuckDBPyConnection,
    prices: PriceBook,
    first: int,
    last: int,
    price: Callable[[duckdb.DuckDBPyConnection, PriceBook], None] = price_calls,
) -> None:
    """Fill the ``d_`` tables of the touched traces from their spans in batches ``first`` to ``last``."""
    batches = {"first_batch": first, "last_batch": last}
    for step in ("01_times", "02_beyond", "05_spans"):
        run_script(cursor, read_sql(f"derive/{step}"), batches)
    held = _held(cursor)
    for step in _STEPS:
        if step in _ONLY_FOR and not held[_ONLY_FOR[step]]:
            continue
        if step == "30_price":
            price(cursor, prices)
        else:
            run_script(cursor, read_sql(f"derive/{step}"), {})


def _held(cursor: duckdb.DuckDBPyConnection) -> dict[str, bool]:
    """Return what the spans at hand hold that not all do."""
    found = cursor.execute(read_sql("derive/holds"))
    names = [column[0] for column in found.description]
    return dict(zip(names, *found.fetchall(), strict=True))


def replace_rows(cursor: duckdb.DuckDBPyConnection, into: str = "rollup.") -> None:
    """Put the computed rows in place of the touched traces' and recompute the minutes in ``d_minute``.

    ``into`` is the prefix of the tables that are written, and read for the minutes.
    """
    for script in ("derive/70_store", "derive/80_usage_minute"):
        text = _with_columns(cursor, read_sql(script)).replace("rollup.", into)
        run_script(cursor, text, {})


def _with_columns(cursor: duckdb.DuckDBPyConnection, script: str) -> str:
    """Fill in the column lists of our own tables, which the steps' wider results are cut to."""
    for table in ("call", "tool_call", "agent_run", "request"):
        columns = [row[0] for row in cursor.execute(f"describe rollup.{table}").fetchall()]
        script = script.replace(f"{{{table}_columns}}", ", ".join(columns))
    return script
