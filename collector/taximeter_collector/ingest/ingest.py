"""Request bodies in, an acknowledgement out once their rows are committed (`writer.py`).

A bounded queue before the writer; a body that is stored, or waits to be, is answered and not stored again.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Final

import duckdb
import pyarrow.compute as pc

from taximeter.settings.settings import RedactionSettings
from taximeter_collector.ingest.counters import Counters
from taximeter_collector.ingest.decode import Signal, Undecodable, count_items, parse, point_times
from taximeter_collector.ingest.metric_points import without_timeless
from taximeter_collector.ingest.redaction import Redactor
from taximeter_collector.ingest.writer import Outcome, StoreUnavailable, Waiting, Writer, outcome
from taximeter_collector.store.store import Store

__all__ = ["Ingest", "Outcome", "QueueFull", "StoreUnavailable", "Undecodable"]

DIGEST_WINDOW: Final = timedelta(minutes=15)
DIGESTS_KEPT: Final = 200_000


class QueueFull(Exception):
    """The queue is at its limit; the client should send the same bytes again in a second."""


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
        self._store = store
        self._limit, self._waiting_bytes = queue_bytes, 0
        self._lock, self._closed = threading.Lock(), False
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._known: OrderedDict[bytes, Outcome] = OrderedDict()
        self._in_flight: dict[bytes, Future[Outcome]] = {}
        with store.cursor() as cursor:
            self._recall_digests(cursor, now())
            redactor = Redactor(redaction, cursor)
        self._writer = Writer(
            store, self._queue, self, self.counters, redactor, on_commit=on_commit, now=now
        )

    def submit(self, signal: Signal, body: bytes) -> Future[Outcome]:
        """Queue one decompressed protobuf body; the future resolves after the commit.

        Raises Undecodable (permanent), QueueFull or StoreUnavailable (both retryable).
        """
        digest = hashlib.blake2b(body, digest_size=16, person=signal.encode()).digest()
        if (twin := self._seen(signal, digest)) is not None:
            return twin
        try:
            request = _waiting(signal, digest, body)
        except Undecodable:
            self.counters.count(signal, "rejected", "undecodable", 1)
            raise
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
        self._writer.join()

    # What the writer asks (`writer.Answers`).

    def known(self, digest: bytes) -> Outcome | None:
        """Return what became of a request that is stored already."""
        with self._lock:
            return self._known.get(digest)

    def answer(self, request: Waiting, result: Outcome | Exception) -> None:
        """Answer a request that is stored now, or can't be; one that is answered already is only remembered."""
        with self._lock:
            if isinstance(result, Outcome):
                self._known[request.digest] = result
                while len(self._known) > DIGESTS_KEPT:
                    self._known.popitem(last=False)
            if request.future.done():
                return
            self._waiting_bytes -= request.size
            self._in_flight.pop(request.digest, None)
        if isinstance(result, Outcome):
            request.future.set_result(result)
        else:
            request.future.set_exception(result)

    def answer_as_known(self, request: Waiting, result: Outcome) -> None:
        """Answer a request that was stored before."""
        self.answer(request, self._count_twin(request.signal, result))

    def _refuse_when_ill(self, request: Waiting) -> None:
        """Raise StoreUnavailable while the rows could not be written anyway."""
        if refusal := self._store.health.refusal():
            reason, message = str(refusal[0]), refusal[1]
        elif self._writer.is_stalled:
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

    def _count_twin(self, signal: Signal, result: Outcome) -> Outcome:
        self.counters.count(signal, "duplicate", "", result.accepted + result.rejected)
        return Outcome(result.accepted, result.rejected, result.message, duplicate=True)

    def _recall_digests(self, cursor: duckdb.DuckDBPyConnection, now: datetime) -> None:
        rows = cursor.execute(
            "select digest, signal, accepted, rejected from export_request where received_at >= $since"
            " order by received_at desc limit $kept",
            {"since": now - DIGEST_WINDOW, "kept": DIGESTS_KEPT},
        ).fetchall()
        for digest, *told in reversed(rows):
            self._known[bytes(digest)] = outcome(*told)


def _waiting(signal: Signal, digest: bytes, body: bytes) -> Waiting:
    """Return a body as the writer takes it. Raises Undecodable."""
    batch = parse(signal, body)
    if signal != "metrics":
        return Waiting(signal, digest, batch, count_items(signal, batch), len(body))
    times = point_times(batch)
    if rejected := pc.sum(pc.equal(times, 0)).as_py() or 0:
        batch = parse(signal, without_timeless(body))
    return Waiting(signal, digest, batch, len(times) - rejected, len(body), rejected)
