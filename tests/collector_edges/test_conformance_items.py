"""The OTLP conformance list: which spans, records and data points are kept. C24 is row 24 of the list."""

from __future__ import annotations

import json

import grpc
import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Sum
from tests.serving import Collector
from tests.telemetry import put

from .conformance import JSON, PROTOBUF, Send, export, post, spans, stored


def test_c16_unknown_fields_are_ignored(send: Send) -> None:
    """C16."""
    assert send(spans(1) + b"\xfa\x3f\x05hello") == b""


def test_c20_one_bad_id_rejects_one_span(send: Send, collector: Collector) -> None:
    """C13, C20: ids that are all zero or too short reject their span alone."""
    request = ExportTraceServiceRequest.FromString(spans(3))
    of_scope = request.resource_spans[0].scope_spans[0].spans
    of_scope[0].trace_id, of_scope[1].span_id = b"\0" * 16, b"abc"
    answer = ExportTraceServiceResponse.FromString(send(request.SerializeToString()))
    assert answer.partial_success.rejected_spans == 2
    assert stored(collector, "select count(*) from spans") == [(1,)]


def test_c21_impossible_times_are_kept_as_sent(send: Send, collector: Collector) -> None:
    """C21: 0, 2^64-1, the year 2300, an end before the start."""
    most = 2**64 - 1
    for i, (start, end) in enumerate(
        [(0, 0), (most, most), (10**18, 1), (10413792000 * 10**9,) * 2]
    ):
        send(
            spans(1, span_id=bytes([i + 1]) * 8, start_time_unix_nano=start, end_time_unix_nano=end)
        )
    times = stored(collector, "select start_unix_nano, end_unix_nano from spans order by all")
    assert times == [(0, 0), (10**18, 1), (10413792000 * 10**9,) * 2, (most, most)]


def test_c22_invalid_utf8_loses_no_neighbour(send: Send, collector: Collector) -> None:
    """C22."""
    send(spans(2, name="AAAA").replace(b"AAAA", b"\xff\xfe\xfd\xfc", 1))
    assert stored(collector, "select count(*) from spans") == [(2,)]


def test_c24_a_record_with_a_bad_trace_id_is_kept(collector: Collector) -> None:
    """C24: of logs an invalid id means "not associated"."""
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(trace_id=b"abc")
    record.body.string_value = "kept"
    assert post(collector, request.SerializeToString(), PROTOBUF, "logs")[::2] == (200, b"")
    assert stored(collector, "select body from log_record") == [("kept",)]


def test_c24_a_data_point_without_a_time_is_rejected_alone(
    collector: Collector, channel: grpc.Channel
) -> None:
    """C24, C13: counted in rejected_data_points on both transports, in both encodings; its neighbours are kept."""

    def points(name: str) -> ExportMetricsServiceRequest:
        request = ExportMetricsServiceRequest()
        metrics = request.resource_metrics.add().scope_metrics.add().metrics
        metric = metrics.add(name=name)
        for time in (0, 5, 0, 7):
            metric.sum.data_points.add(time_unix_nano=time, as_int=1)
        metrics.add(name="beside").gauge.data_points.add(time_unix_nano=9, as_int=1)
        return request

    answers = [
        post(collector, points("a").SerializeToString(), PROTOBUF, "metrics")[2],
        export(channel, points("b").SerializeToString(), "metrics"),
        # broken UTF-8 in a point's attribute is no reason to lose the points
        post(collector, broken_text(points("c")), PROTOBUF, "metrics")[2],
    ]
    for answer in answers:
        partial = ExportMetricsServiceResponse.FromString(answer).partial_success
        assert (partial.rejected_data_points, partial.error_message) == (2, "data points without a time")  # fmt: skip
    again = post(collector, points("a").SerializeToString(), PROTOBUF, "metrics")[2]
    assert again == answers[0]
    as_json = json.loads(post(collector, MessageToJson(points("d")).encode(), JSON, "metrics")[2])
    assert as_json["partialSuccess"]["rejectedDataPoints"] == "2"
    kept = stored(collector, "select name, data from metric where name <> 'beside' order by name")
    for (_, data), name in zip(kept, "abcd", strict=True):
        assert [p.time_unix_nano for p in Sum.FromString(data).data_points] == [5, 7], name
    counts = collector.ingest.counters.snapshot()
    assert counts["metrics", "rejected", "no_time"] == 8 and counts["metrics", "stored", ""] == 12


def broken_text(request: ExportMetricsServiceRequest) -> bytes:
    point = request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0]
    point.attributes.add(key="k").value.string_value = "AAAA"
    return request.SerializeToString().replace(b"AAAA", b"\xff\xfe\xfd\xfc")


@pytest.mark.parametrize(
    ("temporality", "tokens"), [("UNSPECIFIED", []), ("DELTA", [70]), ("CUMULATIVE", [70])]
)
def test_c24_points_of_unspecified_temporality_count_no_tokens(
    collector: Collector, temporality: str, tokens: list[int]
) -> None:
    """C24: the metric is kept as sent; nobody knows whether its points repeat each other."""
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    scope.scope.name = "com.anthropic.claude_code"
    metric = scope.metrics.add(name="claude_code.token.usage")
    metric.sum.aggregation_temporality = AggregationTemporality.Value(
        f"AGGREGATION_TEMPORALITY_{temporality}"
    )
    point = metric.sum.data_points.add(start_time_unix_nano=10**18, time_unix_nano=10**18 + 10**9, as_int=70)  # fmt: skip
    put(point.attributes, {"type": "output", "model": "claude-sonnet-4-5"})
    assert post(collector, request.SerializeToString(), PROTOBUF, "metrics")[::2] == (200, b"")
    assert stored(collector, "select name from metric") == [("claude_code.token.usage",)]
    found = stored(collector, "select output_tokens from span where signal = 'metric'")
    assert [row[0] for row in found] == tokens
