"""Export costs telemetry, never the host: bounded, counted, quick to end."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import taximeter
from taximeter.export_queue import Bounded, Counting, Room
from taximeter.testing import FixedClock, SpanList


class Held(SpanProcessor):
    """A queue that nobody empties."""


def spans_into(room: Room, count: int, text: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(Bounded(Held(), room))
    tracer = provider.get_tracer("test")
    for _ in range(count):
        tracer.start_span("work", attributes={"text": text}).end()


def test_the_queue_is_bounded_in_bytes() -> None:
    room = Room(max_bytes=50_000)
    spans_into(room, 20, "x" * 10_000)
    assert room.waiting_bytes <= 50_000
    assert room.lost == {"queue_full_bytes": 20 - room.waiting_spans}


def test_the_queue_is_bounded_in_spans() -> None:
    room = Room(max_spans=5)
    spans_into(room, 7, "short")
    assert (room.waiting_spans, room.lost) == (5, {"queue_full_spans": 2})


def test_room_is_freed_when_spans_leave_or_are_refused() -> None:
    class Broken(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            raise OSError("down")

    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    for exporter, lost in ((SpanList(), {}), (Broken(), {"not_taken": 1})):
        room = Room()
        provider = TracerProvider()
        inner = SimpleSpanProcessor(Counting(exporter, room))
        provider.add_span_processor(Bounded(inner, room))
        provider.get_tracer("test").start_span("work", attributes={"a": "b"}).end()
        assert (room.waiting_bytes, room.waiting_spans, dict(room.lost)) == (0, 0, lost)


def test_an_injected_clock_times_the_spans() -> None:
    taximeter.shutdown()
    clock, exported = FixedClock(), SpanList()
    taximeter.init(service="tests", span_exporter=exported, clock=clock)
    began = clock.now_ns
    with taximeter.request():
        clock.advance(60)
    taximeter.shutdown()
    (root,) = exported.named("request")
    assert (root.start_time, root.end_time) == (began, began + 60 * 10**9)
