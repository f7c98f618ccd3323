"""What an exception event says of its span."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from tests.telemetry import put, receive, rows

from taximeter_collector.store.store import Store


def test_a_span_that_says_nothing_else_is_known_by_its_exception(store: Store) -> None:
    message = ExportTraceServiceRequest()
    span = message.resource_spans.add().scope_spans.add().spans.add(name="step")
    span.trace_id, span.span_id = b"\1" * 16, b"\1" * 8
    span.start_time_unix_nano, span.end_time_unix_nano = 1, 2
    span.status.code = Status.STATUS_CODE_ERROR
    event = span.events.add(name="exception")
    put(event.attributes, {"exception.type": "app.Refused", "exception.message": "not today"})
    receive(store, [("traces", message.SerializeToString())])
    assert rows(store, "select error_type, status_message from span") == [
        ("app.Refused", "not today")
    ]
