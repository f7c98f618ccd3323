"""Request bodies in, an acknowledgement out once their rows are committed.

A bounded queue and one writer thread: it takes all that waits, stores it in one transaction
together with the digests of the requests, then resolves every future.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import duckdb
import pyarrow as pa

from taximeter.settings import RedactionSettings
from taximeter_collector.counters import Counters
from taximeter_collector.decode import Rows, Signal, Undecodable, count_items, flatten, parse
from taximeter_collector.health import invalidated_file, is_store_fault
from taximeter_collector.insert import INSERTS
from taximeter_collector.redaction import Redactor
from taximeter_collector.store import Store

__all__ = ["Ingest", "Outcome", "QueueFull", "StoreUnavailable", "Undecodable"]

GROUP_ITEMS: Final = 8_000
GROUP_BYTES: Final = 32 * 1024 * 1024
LINGER_S: Final = 0.015
BUSY_S: Final = 0.05
"""Under load a group stays open for those who were answered just now: a commit costs much, a row little."""
DIGEST_WINDOW: Final = timedelta(minutes=15)
DIGESTS_KEPT: Final = 200_000
STALLED_S: Final = 8.0
"""A writer that is busy so long takes no more: a client that waits for an answer gives up after 10 s."""
MEND_EVERY_S: Final = 1.0


class QueueFull(Exception):
    """The queue is at its limit; the client should send the same bytes again in a second."""


class StoreUnavailable(Exception):
    """The store did not take the rows; nothing of the request is kept, sending again may work."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: counts of spans, log records or metrics."""

    accepted: int
    rejected: int = 0
    message: str = ""
    duplicate: bool = False


@dataclass(slots=True)
class _Request:
    signal: Signal
    digest: bytes
    batch: pa.RecordBatch
    items: int
    size: int
    future: Future[Outcome] = field(default_factory=Future)


class Ingest:
    """The way into the store. Thread-safe; `close` drains what was taken in."""

    def __init__(
        self,
        store: Store,
        *,
        on_commit: Callable[[], None] = lambda: None,
        queue_bytes: int = 128 * 1024 * 1024,
        redaction: RedactionSettings = RedactionSettings(),  # noqa: B008 - frozen
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.counters = Counters()
        self._store, self._on_commit, self._now = store, on_commit, now
        self._limit, self._waiting_bytes = queue_bytes, 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._known: OrderedDict[bytes, Outcome] = OrderedDict()
        self._in_flight: dict[bytes, Future[Outcome]] = {}
        self._closed, self._committed_at = False, -BUSY_S
        self._busy_since: float | None = None
        self._unsure: list[tuple[str, int, list[_Request]]] = []
        with store.cursor() as cursor:
            self._batch = _last_batch(cursor)
            self._recall_digests(cursor)
            self._redactor = Redactor(redaction, cursor)
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._thread.start()

    def submit(self, signal: Signal, body: bytes) -> Future[Outcome]:
        """Queue one decompressed protobuf body; the future resolves after the commit.

        Raises Undecodable (permanent), QueueFull or StoreUnavailable (both retryable).
        """
        digest = hashlib.blake2b(body, digest_size=16, person=signal.encode()).digest()
        if (twin := self._seen(signal, digest)) is not None:
            return twin
        try:
            batch = parse(signal, body)
        except Undecodable:
            self.counters.count(signal, "rejected", "undecodable", 1)
            raise
        request = _Request(signal, digest, batch, count_items(signal, batch), len(body))
        self._refuse_when_ill(request)
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the collector is shutting down")
            if (twin_of := self._in_flight.get(digest)) is not None:
                return self._follow(signal, twin_of)
            if self._waiting_bytes + request.size > self._limit and self._waiting_bytes:
                self.counters.count(signal, "refused", "queue_full", request.items)
                raise QueueFull(f"{self._waiting_bytes} bytes are waiting to be written")
            self._waiting_bytes += request.size
            self._in_flight[digest] = request.future
            self._queue.put(request)
        return request.future

    def _refuse_when_ill(self, request: _Request) -> None:
        """Raise StoreUnavailable while the rows could not be written anyway."""
        if refusal := self._store.health.refusal():
            reason, message = str(refusal[0]), refusal[1]
        elif (since := self._busy_since) is not None and time.monotonic() - since > STALLED_S:
            reason, message = "stalled", "the disk is slow: a commit has not ended yet"
        else:
            return
        self.counters.count(request.signal, "refused", reason, request.items)
        raise StoreUnavailable(message)

    def _seen(self, signal: Signal, digest: bytes) -> Future[Outcome] | None:
        """Return the answer to a body that was stored, or is being stored, already."""
        with self._lock:
            first = self._in_flight.get(digest)
            known = self._known.get(digest)
        if known is not None:
            twin: Future[Outcome] = Future()
            twin.set_result(self._count_twin(signal, known))
            return twin
        return None if first is None else self._follow(signal, first)

    def _follow(self, signal: Signal, first: Future[Outcome]) -> Future[Outcome]:
        """Return the answer to a body that is being stored: the first one's."""
        twin: Future[Outcome] = Future()

        def follow(done: Future[Outcome]) -> None:
            if error := done.exception():
                twin.set_exception(error)
            else:
                twin.set_result(self._count_twin(signal, done.result()))

        first.add_done_callback(follow)
        return twin

    def _count_twin(self, signal: Signal, outcome: Outcome) -> Outcome:
        items = outcome.accepted + outcome.rejected
        self.counters.count(signal, "duplicate", "", items)
        return Outcome(outcome.accepted, outcome.rejected, outcome.message, duplicate=True)

    @property
    def queue_depth(self) -> int:
        """Requests taken in and not yet committed."""
        return len(self._in_flight)

    @property
    def queue_bytes(self) -> int:
        """Bytes of those requests."""
        return self._waiting_bytes

    def close(self) -> None:
        """Refuse new requests, commit all that wait, stop the writer."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    # The writer thread.

    def _write(self) -> None:
        with self._store.cursor() as cursor:
            while True:
                try:
                    first = self._queue.get(timeout=MEND_EVERY_S)
                except queue.Empty:
                    self._store.mend(cursor)
                    continue
                if first is None:
                    return
                group, stop = self._fill(first)
                self._busy_since = time.monotonic()
                self._commit_or_split(cursor, group)
                self._busy_since = None
                if stop:
                    return

    def _fill(self, first: _Request) -> tuple[list[_Request], bool]:
        group, items, size = [first], first.items, first.size
        now = time.monotonic()
        closes = now + LINGER_S if now - self._committed_at < BUSY_S else now
        while items < GROUP_ITEMS and size < GROUP_BYTES:
            try:
                request = self._queue.get(timeout=max(closes - time.monotonic(), 0))
            except queue.Empty:
                return group, False
            if request is None:
                return group, True
            group.append(request)
            items, size = items + request.items, size + request.size
        return group, False

    def _commit_or_split(
        self, cursor: duckdb.DuckDBPyConnection, group: list[_Request], is_again: bool = False
    ) -> None:
        """Commit a group; if it fails for its rows, each alone, so that one can't refuse its neighbours."""
        try:
            self._settle_unsure(cursor)
            if not (group := self._answer_known(group)):
                return
            outcomes = self._commit(cursor, group)
        except Exception as error:  # noqa: BLE001 - whatever failed, the clients need an answer
            if isinstance(error, duckdb.InterruptException) and not is_again:
                self._commit_or_split(
                    cursor, group, is_again=True
                )  # another file was attached anew
            elif is_store_fault(error):
                self._after_store_fault(cursor, group, error)
            elif len(group) > 1:
                for request in group:
                    self._commit_or_split(cursor, [request])
            else:
                self._fail(group[0], error)
            return
        self._store.health.worked()
        self._publish_counts(cursor)
        self._committed_at = time.monotonic()
        self._answer(group, outcomes)
        self._on_commit()

    def _answer(self, group: list[_Request], outcomes: list[Outcome]) -> None:
        for request, outcome in zip(group, outcomes, strict=True):
            self._remember(request.digest, outcome)
            self._settle(request)
            request.future.set_result(outcome)

    def _after_store_fault(
        self, cursor: duckdb.DuckDBPyConnection, group: list[_Request], error: Exception
    ) -> None:
        """Bring the file back, find out whether the commit got through, and answer all."""
        self._store.health.failed(error)
        if (name := invalidated_file(error)) is not None:
            self._store.reattach(name, cursor)
        else:
            self._store.mend(cursor)
        with suppress(Exception):
            self._settle_unsure(cursor)
        for request in self._answer_known([r for r in group if not r.future.done()]):
            self._fail(request, error)

    def _settle_unsure(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Look up commits that raised: they may have got through. Raises duckdb.Error."""
        while self._unsure:
            day, batch, group = self._unsure[0]
            found = cursor.execute(
                f"select digest, accepted, rejected from {day}.export_request where batch = $batch",
                {"batch": batch},
            ).fetchall()
            self._unsure.pop(0)
            if not found:
                continue
            self._batch = max(self._batch, batch)
            outcomes = {bytes(digest): _outcome(*counts) for digest, *counts in found}
            self._count_commit(day, batch, group, [outcomes[r.digest] for r in group], 0.0)
            for request in group:
                self._remember(request.digest, outcomes[request.digest])
                if not request.future.done():
                    self._settle(request)
                    request.future.set_result(outcomes[request.digest])
            self._on_commit()

    def _answer_known(self, group: list[_Request]) -> list[_Request]:
        """Answer the requests whose rows are stored already; return the others."""
        others = []
        for request in group:
            with self._lock:
                outcome = self._known.get(request.digest)
            if outcome is None:
                others.append(request)
            else:
                self._settle(request)
                request.future.set_result(self._count_twin(request.signal, outcome))
        return others

    def _publish_counts(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Refresh view ``ingest_status``; it lives in memory, so nothing waits for a disk."""
        rows = [
            {"signal": signal, "fate": fate, "reason": reason, "items": items}
            for (signal, fate, reason), items in self.counters.snapshot().items()
        ]
        cursor.register("in_count", pa.Table.from_pylist(rows))
        cursor.execute(
            "begin; delete from ingest_status; insert into ingest_status from in_count; commit"
        )

    def _fail(self, request: _Request, error: Exception) -> None:
        self._settle(request)
        if isinstance(error, (duckdb.DataError, pa.ArrowInvalid)):
            self.counters.count(request.signal, "rejected", "unstorable", request.items)
            request.future.set_exception(Undecodable(str(error)))
            return
        self.counters.count(request.signal, "refused", "store", request.items)
        self.counters.last_error = f"{type(error).__name__}: {error}"
        request.future.set_exception(StoreUnavailable(str(error)))

    def _settle(self, request: _Request) -> None:
        with self._lock:
            self._waiting_bytes -= request.size
            self._in_flight.pop(request.digest, None)

    def _commit(self, cursor: duckdb.DuckDBPyConnection, group: list[_Request]) -> list[Outcome]:
        received_at, started = self._now(), time.perf_counter()
        day, batch = self._store.day_for(received_at), self._batch + 1
        masked = Counter[tuple[Signal, str]]()
        cursor.execute("begin")
        try:
            outcomes = self._insert(cursor, group, day, batch, received_at, masked)
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
        for (signal, reason), values in masked.items():
            self.counters.count(signal, "redacted", reason, values)
        self._count_commit(day, batch, group, outcomes, time.perf_counter() - started)
        return outcomes

    def _insert(
        self,
        cursor: duckdb.DuckDBPyConnection,
        group: list[_Request],
        day: str,
        batch: int,
        received_at: datetime,
        masked: Counter[tuple[Signal, str]],
    ) -> list[Outcome]:
        outcomes = [Outcome(request.items) for request in group]
        for signal, insert in INSERTS.items():
            at = [i for i, request in enumerate(group) if request.signal == signal]
            if not at:
                continue
            rows = self._rows(cursor, signal, [group[i].batch for i in at], masked)
            bad = insert(cursor, rows, day, batch, received_at)
            for place, rejected in bad.items():
                i = at[place]
                outcomes[i] = _outcome(group[i].items - rejected, rejected)
        _store_digests(cursor, day, batch, received_at, group, outcomes)
        return outcomes

    def _count_commit(
        self, day: str, batch: int, group: list[_Request], outcomes: list[Outcome], seconds: float
    ) -> None:
        self._store.note_commit(day, batch, sum(outcome.accepted for outcome in outcomes))
        self.counters.committed(
            [(r.signal, o.accepted, o.rejected) for r, o in zip(group, outcomes, strict=True)],
            seconds,
        )

    def _rows(
        self,
        cursor: duckdb.DuckDBPyConnection,
        signal: Signal,
        batches: Sequence[pa.RecordBatch],
        masked: Counter[tuple[Signal, str]],
    ) -> Rows:
        def count(reason: str, values: int) -> None:
            masked[signal, reason] += values

        return self._redactor.apply(cursor, signal, flatten(signal, batches), count)

    def _remember(self, digest: bytes, outcome: Outcome) -> None:
        with self._lock:
            self._known[digest] = outcome
            while len(self._known) > DIGESTS_KEPT:
                self._known.popitem(last=False)

    def _recall_digests(self, cursor: duckdb.DuckDBPyConnection) -> None:
        rows = cursor.execute(
            "select digest, accepted, rejected from export_request where received_at >= $since"
            " order by received_at desc limit $kept",
            {"since": self._now() - DIGEST_WINDOW, "kept": DIGESTS_KEPT},
        ).fetchall()
        for digest, accepted, rejected in reversed(rows):
            self._known[bytes(digest)] = _outcome(accepted, rejected)


_BAD_IDS: Final = (
    "spans with a trace id that is not 16 bytes or a span id that is not 8, or all zero"
)


def _outcome(accepted: int, rejected: int) -> Outcome:
    return Outcome(accepted, rejected, _BAD_IDS if rejected else "")


def _last_batch(cursor: duckdb.DuckDBPyConnection) -> int:
    row = cursor.execute("select coalesce(max(batch), 0) from export_request").fetchone()
    derived = cursor.execute("select derived_batch from rollup.progress").fetchone()
    return max(int(row[0]) if row else 0, int(derived[0]) if derived else 0)


def _store_digests(
    cursor: duckdb.DuckDBPyConnection,
    day: str,
    batch: int,
    received_at: datetime,
    group: Sequence[_Request],
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
