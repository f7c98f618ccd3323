"""Bounds what waits for export in bytes and spans: what does not fit is dropped, by reason, counted.

In: ended spans. Out: the same spans to the batch processor, as long as there is room.
"""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from taximeter.export_log import quiet_export
from taximeter.guard import faults, guarded

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_SPANS: Final = 8_192
_SPAN_BYTES: Final = 1_024
"""A span without attributes: ids, times, objects."""


def size_of(span: ReadableSpan) -> int:
    """Return about how many bytes a waiting span holds.

    Its text counts; numbers and keys are rounded up.
    """
    events = sum(64 + _attributes_size(event.attributes) for event in span.events)
    return _SPAN_BYTES + _attributes_size(span.attributes) + events


def _attributes_size(attributes: Mapping[str, Any] | None) -> int:
    return sum(64 + len(key) + _value_size(value) for key, value in (attributes or {}).items())


def _value_size(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Sequence):
        return sum(8 + _value_size(item) for item in value)
    return 8


class Room:
    """What waits, and what was lost for which reason."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_spans: int = MAX_SPANS) -> None:
        self._max_bytes, self._max_spans = max_bytes, max_spans
        self._lock = Lock()
        self.waiting_bytes = 0
        self.waiting_spans = 0
        self.exported = 0
        self.lost: Counter[str] = Counter()
        if hasattr(os, "register_at_fork"):
            room = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _empty(room))

    def take(self, size: int) -> bool:
        """Reserve room for a span; False where there is none, which is counted."""
        with self._lock:
            if self.waiting_spans >= self._max_spans:
                self.lost["queue_full_spans"] += 1
            elif self.waiting_bytes + size > self._max_bytes:
                self.lost["queue_full_bytes"] += 1
            else:
                self.waiting_spans += 1
                self.waiting_bytes += size
                return True
        return False

    def give_back(self, spans: int, size: int, *, lost_for: str | None) -> None:
        """Free the room of spans that left or were lost."""
        with self._lock:
            self.waiting_spans = max(0, self.waiting_spans - spans)
            self.waiting_bytes = max(0, self.waiting_bytes - size)
            if lost_for is None:
                self.exported += spans
            else:
                self.lost[lost_for] += spans


def _empty(room: weakref.ref[Room]) -> None:
    """A forked child has none of its parent's waiting spans: the batch processor clears them."""
    if (here := room()) is not None:
        here._lock = Lock()
        here.waiting_bytes = here.waiting_spans = 0
        here.exported = 0
        here.lost.clear()


class Bounded(SpanProcessor):
    """Lets a span into the queue where there is room."""

    def __init__(self, inner: SpanProcessor, room: Room) -> None:
        self._inner, self._room = inner, room

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass on."""
        self._inner.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue an ended span, or drop and count it."""
        self._queue(span)

    @guarded(default=None)
    def _queue(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is not None and not context.trace_flags.sampled:
            return
        if self._room.take(size_of(span)):
            self._inner.on_end(span)

    def shutdown(self) -> None:
        """Pass on."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass on."""
        return self._inner.force_flush(timeout_millis)


class Counting(SpanExporter):
    """Frees the room of what left, counts what the collector did not take; never raises."""

    def __init__(self, inner: SpanExporter, room: Room) -> None:
        self._inner, self._room = inner, room

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch."""
        try:
            with quiet_export():
                result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 - the export thread must live
            faults.record("export", error)
            result = SpanExportResult.FAILURE
        failed = None if result is SpanExportResult.SUCCESS else "not_taken"
        self._room.give_back(len(spans), sum(map(size_of, spans)), lost_for=failed)
        return result

    def shutdown(self) -> None:
        """Pass on."""
        self._inner.shutdown()
