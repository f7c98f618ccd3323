"""The way out: ended spans in, batches to the collector from a thread of its own, again until taken.

A batch that the collector can't take now stays where it is and is tried again, so an outage costs
no span while there is room. It keeps its spans: what is sent twice is the same bytes.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Sequence
from contextvars import Context as Variables
from enum import Enum
from typing import Final, Protocol

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from taximeter.export.log import quiet_export
from taximeter.export.room import Room
from taximeter.guard import faults, guarded

BATCH_SPANS: Final = 512
EXPORT_EVERY_S: Final = 0.4
"""A call should be on the page within three seconds."""
RETRY_EVERY_S: Final = 1.0
EXIT_CAP_S: Final = 3.0
PATIENCE_S: Final = 0.6
"""How long a stop waits for the batch under way before it sends what waits beside it."""
_SAMPLED: Final = 1


class Sent(Enum):
    """What became of a batch."""

    TAKEN = "taken"
    LATER = "later"
    """Not now: nobody answers, or the collector is busy."""
    REFUSED = "refused"
    """Never: the collector does not want it."""
    UNREADABLE = "unreadable"
    """Never, because of some span in it; the others may go."""


class Sender(Protocol):
    """Sends batches to a collector; called by one thread at a time."""

    def send(self, spans: Sequence[ReadableSpan]) -> Sent:
        """Send a batch and say what became of it."""

    @property
    def is_unanswered(self) -> bool:
        """Whether what was sent last has had no answer yet: it may have arrived."""

    def anew(self, timeout_s: float | None = None) -> Sender:
        """Return the same with connections of its own; ``timeout_s`` is the most that a `send` takes."""

    def shutdown(self) -> None:
        """Give up what is under way."""


class ExportQueue(SpanProcessor):
    """Lets ended spans wait and sends them; the application's threads never wait for that."""

    def __init__(self, sender: Sender, room: Room | None = None) -> None:
        self.room = room or Room()
        self._sender = sender
        self._pid = 0
        """Of the process whose thread sends; 0 before the first span."""
        self._is_forked = False
        self._is_stopping = self._has_ended = self._is_over = False
        self._until = 0.0
        """When to give up, once it is stopping."""
        self._batch = 0
        """How many spans the batch has that is on its way or was not taken: sent again, it is the same bytes."""
        self._beside: ExportQueue | None = None
        """What waited behind a batch that took long when the stop came."""
        self._renew_locks()
        if hasattr(os, "register_at_fork"):
            here = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forked(here))

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()  # SIGTERM may come while it is held
        self._changed = threading.Condition(self._lock)
        self._wake = threading.Event()
        self._parted = threading.Event()

    def on_end(self, span: ReadableSpan) -> None:
        """Let an ended span wait, or drop and count it."""
        context = span.context
        if context is None or not context.trace_flags & _SAMPLED:
            return
        if self._is_over:
            self.room.lost["ended_late"] += 1
            return
        if self._pid != os.getpid():
            self._begin()
        room = self.room
        with self._lock:
            waiting = room.add(span)
        if waiting == BATCH_SPANS:
            self._wake.set()

    def _begin(self) -> None:
        """Start the threads: at the first span, and again in a forked child.

        The one that a stop may need as well: a process that ends starts no more threads.
        """
        if self._pid:  # a fork that Python was not told of, as some servers make
            self.forked()
        with self._lock:
            if self._pid:
                return
            if self._is_forked:
                self._is_forked = False
                self._sender = self._sender.anew()  # the parent writes on the old ones
            self._pid = os.getpid()
        for work in (self._send_for_ever, self._send_beside):
            thread = threading.Thread(target=work, name="taximeter", daemon=True)
            Variables().run(thread.start)  # of no request

    def forked(self) -> None:
        """In a forked child: the thread did not come along, the parent's spans are the parent's."""
        self._renew_locks()
        self.room = self.room.emptied()
        self._pid, self._batch, self._is_forked = 0, 0, True

    def _send_for_ever(self) -> None:
        mute()
        while not self._is_stopping:
            self._wake.wait(EXPORT_EVERY_S)
            self._wake.clear()
            if not self._send_what_waits() and not self._is_stopping:
                self._wake.wait(RETRY_EVERY_S)
            self.room.say_losses()
        self._send_until_over()

    def _send_beside(self) -> None:
        """Send what a stop parts from a batch that takes long. Few large batches: each may take as long."""
        self._parted.wait()
        if self._beside is not None:
            self._beside._send_until_over(4 * BATCH_SPANS)

    def _send_until_over(self, largest: int = BATCH_SPANS) -> None:
        """Send what waits, again until the time of the stop is over."""
        mute()
        while not self._send_what_waits(largest):
            if self._until - time.monotonic() <= RETRY_EVERY_S:
                break
            time.sleep(RETRY_EVERY_S)
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _send_what_waits(self, largest: int = BATCH_SPANS) -> bool:
        """Send what waits now; False where the collector can't take it now."""
        goal, most = self.room.taken, largest
        while self._left() < goal:
            with self._lock:
                batch = self.room.oldest(self._batch or most)
                self._batch = len(batch)
            if not batch:
                break
            sent = self._send(batch)
            if sent is Sent.LATER:
                return False
            with self._changed:
                self._batch = 0
                if sent is Sent.UNREADABLE and len(batch) > 1:
                    most = len(batch) // 2
                    continue
                most = min(largest, most * 2)
                self.room.release(len(batch), lost_for=None if sent is Sent.TAKEN else sent.value)
                self._changed.notify_all()
        return True

    def _send(self, batch: Sequence[ReadableSpan]) -> Sent:
        try:
            with quiet_export():
                return self._sender.send(batch)
        except Exception as error:  # noqa: BLE001 - the export thread must live
            faults.record("export", error)
            return Sent.UNREADABLE

    def _left(self) -> int:
        return self.room.taken - self.room.waiting_spans

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return whether all that waits now left within the time."""
        if self._pid != os.getpid():
            return True
        with self._changed:
            goal = self.room.taken
            self._wake.set()
            return self._changed.wait_for(lambda: self._left() >= goal, timeout_millis / 1_000)

    def shutdown(self) -> None:
        """Send what waits and end the thread; the most it takes is `EXIT_CAP_S`."""
        self.stop(EXIT_CAP_S)

    def stop(self, timeout_s: float) -> None:
        """Send what waits within the time, give the rest up, end the thread."""
        if self._is_over:
            return
        self._until = time.monotonic() + timeout_s
        self._is_stopping = True
        self._wake.set()
        if self._pid == os.getpid() and not self._ends_within(min(PATIENCE_S, timeout_s)):
            self._beside = self._behind()
            self._parted.set()
            if self._beside is not None:
                self._end_beside(self._beside)
            self._ends_within(self._until - time.monotonic())
        self._parted.set()
        self._sender.shutdown()
        self._give_up()
        self.room.say_losses(is_last=True)

    def _ends_within(self, timeout_s: float) -> bool:
        with self._changed:  # waiting lets go of it, also where a signal came while it was held
            return self._changed.wait_for(lambda: self._has_ended, timeout_s)

    @guarded(default=None)
    def _behind(self) -> ExportQueue | None:
        """Part what waits behind the batch under way; it has connections of its own."""
        left_s = self._until - time.monotonic()
        if left_s <= 0 or self.room.waiting_spans <= self._batch:
            return None
        beside = ExportQueue(self._sender.anew(left_s))
        beside._until = self._until
        with self._lock:
            beside.room = self.room.parted(self._batch)
        return beside

    def _end_beside(self, beside: ExportQueue) -> None:
        beside._ends_within(self._until - time.monotonic())
        beside._sender.shutdown()
        beside._give_up()
        with self._lock:
            self.room.exported += beside.room.exported
            self.room.lost += beside.room.lost

    def _give_up(self) -> None:
        """Count what still waits as lost."""
        with self._lock:
            self._is_over = True
            if self._sender.is_unanswered:
                self.room.release(self._batch, lost_for="unanswered")
            self.room.release(self.room.waiting_spans, lost_for="not_taken")


def mute() -> None:
    """Let nobody's instrumentation make spans of our own requests, in this context."""
    muted = otel_context.set_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY, True)
    otel_context.attach(muted)


def _forked(queue: weakref.ref[ExportQueue]) -> None:
    if (here := queue()) is not None:
        here.forked()


class Immediate(SpanProcessor):
    """Exports each span at once, on the thread that ended it: for tests and simulations."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.room = Room()
        self._exporter = exporter

    @guarded(default=None)
    def on_end(self, span: ReadableSpan) -> None:
        """Export an ended span."""
        if span.context is None or not span.context.trace_flags & _SAMPLED:
            return
        self.room.add(span)
        sent = SpanExportResult.FAILURE
        try:
            with quiet_export():
                sent = self._exporter.export((span,))
        finally:
            lost = None if sent is SpanExportResult.SUCCESS else "not_taken"
            self.room.release(1, lost_for=lost)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass on."""
        return self._exporter.force_flush(timeout_millis) is not False

    def stop(self, timeout_s: float) -> None:
        """Stop the exporter."""
        self._exporter.shutdown()
