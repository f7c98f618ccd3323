"""The one thread that writes: what waits becomes a group, a group one transaction, and every request is answered.

A group is stored together with the digests of its requests, so a commit whose outcome is unknown can be looked up.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, Protocol

import duckdb
import pyarrow as pa

from taximeter_collector.ingest.counters import Counters, Fate
from taximeter_collector.ingest.decode import Rows, Signal, Undecodable, flatten
from taximeter_collector.ingest.insert import INSERTS
from taximeter_collector.ingest.item_limits import within_limits
from taximeter_collector.ingest.redaction import Redactor
from taximeter_collector.store.health import invalidated_file, is_store_fault
from taximeter_collector.store.lending import transaction
from taximeter_collector.store.store import Store

GROUP_ITEMS: Final = 8_000
GROUP_BYTES: Final = 32 * 1024 * 1024
LINGER_S: Final = 0.015
BUSY_S: Final = 0.05
"""Under load a group stays open for those who were answered just now: a commit costs much, a row little."""
STALLED_S: Final = 8.0
"""A writer that is busy so long takes no more: a client that waits for an answer gives up after 10 s."""
MEND_EVERY_S: Final = 1.0
_REJECTED: Final[dict[Signal, str]] = {
    "traces": "spans with a trace id that is not 16 bytes or a span id that is not 8, or all zero",
    "metrics": "data points without a time",
}


_OF_THE_ROWS: Final = (
    duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException,
    ValueError, TypeError, ArithmeticError, LookupError, RecursionError, NotImplementedError,
)  # fmt: skip
"""Errors (Arrow's are among them) that a request meets alone each time it is sent: it is refused for good."""


class StoreUnavailable(Exception):
    """The store did not take the rows; nothing of the request is kept, sending again may work."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: counts of spans, log records or data points."""

    accepted: int
    rejected: int = 0
    message: str = ""
    duplicate: bool = False


def outcome(signal: Signal, accepted: int, rejected: int) -> Outcome:
    """Return the outcome of a request that is stored, with the reason where a part of it is not."""
    return Outcome(accepted, rejected, _REJECTED.get(signal, "") if rejected else "")


@dataclass(slots=True)
class Waiting:
    """A request that waits for its commit."""

    signal: Signal
    digest: bytes
    batch: pa.RecordBatch
    items: int
    size: int
    rejected: int = 0
    """Items beside ``items`` that are not stored."""
    future: Future[Outcome] = field(default_factory=Future)


class Answers(Protocol):
    """Who knows the requests that are stored, and answers those that wait."""

    def known(self, digest: bytes) -> Outcome | None:
        """Return what became of a request that is stored already."""

    def answer(self, request: Waiting, result: Outcome | Exception) -> None:
        """Answer a request that is stored now, or can't be."""

    def answer_as_known(self, request: Waiting, result: Outcome) -> None:
        """Answer a request that was stored before."""


class Writer:
    """Takes requests from ``waiting`` until it finds None there."""

    def __init__(
        self,
        store: Store,
        waiting: queue.SimpleQueue[Waiting | None],
        answers: Answers,
        counters: Counters,
        redactor: Redactor,
        *,
        on_commit: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        self._store, self._waiting, self._answers, self._counters = (
            store,
            waiting,
            answers,
            counters,
        )
        self._redactor, self._on_commit, self._now = redactor, on_commit, now
        self._committed_at = -BUSY_S
        self._busy_since: float | None = None
        self._unsure: list[tuple[str, int, list[Waiting]]] = []
        with store.cursor() as cursor:
            self._batch = _last_batch(cursor)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    @property
    def is_stalled(self) -> bool:
        """Whether a commit takes too long for clients to wait."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > STALLED_S

    def join(self) -> None:
        """Wait until all before the None is written."""
        self._thread.join()

    def _run(self) -> None:
        with self._store.cursor() as cursor:
            while True:
                try:
                    first = self._waiting.get(timeout=MEND_EVERY_S)
                except queue.Empty:
                    if self._store.files.mend(cursor):
                        self._store.health.try_again()
                    continue
                if first is None:
                    return
                group, stop = self._fill(first)
                self._busy_since = time.monotonic()
                self._commit_or_split(cursor, group)
                self._busy_since = None
                if stop:
                    return

    def _fill(self, first: Waiting) -> tuple[list[Waiting], bool]:
        group, items, size = [first], first.items, first.size
        now = time.monotonic()
        closes = now + LINGER_S if now - self._committed_at < BUSY_S else now
        while items < GROUP_ITEMS and size < GROUP_BYTES:
            try:
                request = self._waiting.get(timeout=max(closes - time.monotonic(), 0))
            except queue.Empty:
                return group, False
            if request is None:
                return group, True
            group.append(request)
            items, size = items + request.items, size + request.size
        return group, False

    def _commit_or_split(
        self, cursor: duckdb.DuckDBPyConnection, group: list[Waiting], is_again: bool = False
    ) -> None:
        """Commit a group; if it fails for its rows, its halves, so that one can't refuse its neighbours."""
        try:
            self._settle_unsure(cursor)
            if not (group := self._answer_known(group)):
                return
            outcomes = self._commit(cursor, group)
        except Exception as error:  # noqa: BLE001 - whatever failed, the clients need an answer
            if isinstance(error, duckdb.InterruptException) and not is_again:
                # Another file was attached anew.
                self._commit_or_split(cursor, group, is_again=True)
            elif is_store_fault(error):
                self._after_store_fault(cursor, group, error)
            elif len(group) > 1:
                middle = len(group) // 2
                for half in (group[:middle], group[middle:]):
                    self._commit_or_split(cursor, half)
            else:
                self._fail(group[0], error)
            return
        self._store.health.worked()
        self._publish_counts(cursor)
        self._committed_at = time.monotonic()
        for request, result in zip(group, outcomes, strict=True):
            self._answers.answer(request, result)
        self._on_commit()

    def _after_store_fault(
        self, cursor: duckdb.DuckDBPyConnection, group: list[Waiting], error: Exception
    ) -> None:
        """Bring the file back, find out whether the commit got through, and answer all."""
        self._store.health.failed(error)
        if (name := invalidated_file(error)) is not None:
            self._store.files.reattach(name, cursor)
        else:
            self._store.files.mend(cursor)
        with suppress(Exception):
            self._settle_unsure(cursor)
        for request in self._answer_known(group):
            self._fail(request, error)

    def _settle_unsure(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Look up commits that raised: they may have got through. Raises duckdb.Error."""
        while self._unsure:
            day, batch, group = self._unsure[0]
            found = cursor.execute(
                f"select digest, signal, accepted, rejected from {day}.export_request where batch = $batch",
                {"batch": batch},
            ).fetchall()
            self._unsure.pop(0)
            if not found:
                continue
            self._batch = max(self._batch, batch)
            outcomes = {bytes(digest): outcome(*told) for digest, *told in found}
            self._count_commit(day, batch, group, [outcomes[r.digest] for r in group], 0.0)
            for request in group:
                self._answers.answer(request, outcomes[request.digest])
            self._on_commit()

    def _answer_known(self, group: list[Waiting]) -> list[Waiting]:
        """Answer the requests whose rows are stored already; return those that still wait."""
        others = []
        for request in group:
            if request.future.done():  # its commit was unsure, and is looked up now
                continue
            if (known := self._answers.known(request.digest)) is None:
                others.append(request)
            else:
                self._answers.answer_as_known(request, known)
        return others

    def _publish_counts(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Refresh view ``ingest_status``, in memory; where that fails (a file is put back), the next commit does."""
        rows = [
            {"signal": signal, "fate": fate, "reason": reason, "items": items}
            for (signal, fate, reason), items in self._counters.snapshot().items()
        ]
        with suppress(duckdb.Error), transaction(cursor):
            cursor.register("in_count", pa.Table.from_pylist(rows))
            cursor.execute("delete from ingest_status; insert into ingest_status from in_count")

    def _fail(self, request: Waiting, error: Exception) -> None:
        if isinstance(error, _OF_THE_ROWS):
            self._counters.count(request.signal, "rejected", "unstorable", request.items)
            self._answers.answer(request, Undecodable(str(error)))
            return
        self._counters.count(request.signal, "refused", "store", request.items)
        self._counters.last_error = f"{type(error).__name__}: {error}"
        self._answers.answer(request, StoreUnavailable(str(error)))

    def _commit(self, cursor: duckdb.DuckDBPyConnection, group: list[Waiting]) -> list[Outcome]:
        received_at, started = self._now(), time.perf_counter()
        day, batch = self._store.files.day_for(received_at), self._batch + 1
        changed = Counter[tuple[Signal, Fate, str]]()
        cursor.execute("begin")
        try:
            outcomes = self._insert(cursor, group, day, batch, received_at, changed)
        except BaseException:
            with suppress(duckdb.Error):
                cursor.execute("rollback")
            raise
        try:
            cursor.execute("commit")
        except BaseException:
            # It may be on disk all the same: nothing more is written before that is known.
            self._unsure.append((day, batch, group))
            with suppress(duckdb.Error):
                cursor.execute("rollback")
            raise
        self._batch = batch
        for (signal, fate, reason), values in changed.items():
            self._counters.count(signal, fate, reason, values)
        self._count_commit(day, batch, group, outcomes, time.perf_counter() - started)
        return outcomes

    def _insert(
        self,
        cursor: duckdb.DuckDBPyConnection,
        group: list[Waiting],
        day: str,
        batch: int,
        received_at: datetime,
        changed: Counter[tuple[Signal, Fate, str]],
    ) -> list[Outcome]:
        outcomes = [outcome(r.signal, r.items, r.rejected) for r in group]
        for signal, insert in INSERTS.items():
            at = [i for i, request in enumerate(group) if request.signal == signal]
            if not at:
                continue
            rows = self._rows(cursor, signal, [group[i].batch for i in at], changed)
            bad = insert(cursor, rows, day, batch, received_at)
            for place, rejected in bad.items():
                i = at[place]
                outcomes[i] = outcome(signal, group[i].items - rejected, rejected)
        _store_digests(cursor, day, batch, received_at, group, outcomes)
        return outcomes

    def _rows(
        self,
        cursor: duckdb.DuckDBPyConnection,
        signal: Signal,
        batches: Sequence[pa.RecordBatch],
        changed: Counter[tuple[Signal, Fate, str]],
    ) -> Rows:
        def count(fate: Fate, reason: str, values: int) -> None:
            changed[signal, fate, reason] += values

        sent = flatten(signal, batches)
        masked = self._redactor.apply(cursor, signal, sent, partial(count, "redacted"))
        return within_limits(masked, partial(count, "cut"))

    def _count_commit(
        self, day: str, batch: int, group: list[Waiting], outcomes: list[Outcome], seconds: float
    ) -> None:
        self._store.files.note_commit(day, batch, sum(outcome.accepted for outcome in outcomes))
        self._counters.committed(
            [(r.signal, o.accepted, o.rejected) for r, o in zip(group, outcomes, strict=True)],
            seconds,
        )


def _last_batch(cursor: duckdb.DuckDBPyConnection) -> int:
    row = cursor.execute("select coalesce(max(batch), 0) from export_request").fetchone()
    derived = cursor.execute("select derived_batch from rollup.progress").fetchone()
    return max(int(row[0]) if row else 0, int(derived[0]) if derived else 0)


def _store_digests(
    cursor: duckdb.DuckDBPyConnection,
    day: str,
    batch: int,
    received_at: datetime,
    group: Sequence[Waiting],
    outcomes: Sequence[Outcome],
) -> None:
    rows = pa.table(
        {
            "digest": [request.digest for request in group],
            "signal": [request.signal for request in group],
            "accepted": [outcome.accepted for outcome in outcomes],
            "rejected": [outcome.rejected for outcome in outcomes],
        }
    )
    cursor.register("in_digest", rows)
    cursor.execute(
        f"insert into {day}.export_request by name"
        " select *, $batch::ubigint as batch, $received_at::timestamptz as received_at"
        " from in_digest",
        {"batch": batch, "received_at": received_at},
    )
