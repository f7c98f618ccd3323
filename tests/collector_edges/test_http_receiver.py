"""OTLP over HTTP, on real sockets."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import zlib
from collections.abc import Callable

import pytest
import zstandard
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from taximeter_collector.ingest.ingest import Outcome, QueueFull, StoreUnavailable

from .conftest import Edges, Start

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


def span_bytes(names: int = 1) -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for i in range(names):
        scope.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name=f"span {i}")
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:])),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body, wbits=-15)),
        ("zstd", zstandard.compress),
        ("zstd", lambda body: zstandard.compress(body[:50]) + zstandard.compress(body[50:])),
        ("GZIP", gzip.compress),
    ],
    ids=["identity", "gzip", "members", "zlib", "raw deflate", "zstd", "frames", "upper case"],
)
def test_a_body_arrives_whatever_its_compression(
    edges: Edges, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    """C2, C8."""
    body = span_bytes(40)
    status, headers, answer = edges.ask(
        "POST", "/v1/traces", compress(body), {**PROTOBUF, "Content-Encoding": encoding}
    )
    assert (status, answer) == (200, b"")
    assert headers["content-type"] == "application/x-protobuf"
    assert edges.ingest.submitted == [("traces", body)]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("damage", ["truncated", "not compressed"])
def test_damaged_compression_is_a_400_with_a_status(
    edges: Edges, encoding: str, damage: str
) -> None:
    body = COMPRESS[encoding](span_bytes(50))[:-20] if damage == "truncated" else b"x" * 50
    status, _, answer = edges.ask(
        "POST", "/v1/traces", body, {**PROTOBUF, "Content-Encoding": encoding}
    )
    assert status == 400
    assert Status.FromString(answer).message


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_refused(start_edges: Start, encoding: str) -> None:
    """C5."""
    edges = start_edges(TAXIMETER_COLLECTOR_MAX_REQUEST_MIB="1")
    bomb = COMPRESS[encoding](b"\0" * (20 << 20))
    status, _, answer = edges.ask(
        "POST", "/v1/traces", bomb, {**PROTOBUF, "Content-Encoding": encoding}
    )
    assert status == 413
    assert "1 MiB" in Status.FromString(answer).message


def test_a_body_over_the_limit_hears_413_and_not_a_reset(start_edges: Start) -> None:
    """C5."""
    edges = start_edges(TAXIMETER_COLLECTOR_MAX_REQUEST_MIB="1")
    status, _, _ = edges.ask("POST", "/v1/traces", b"\0" * (3 << 20), PROTOBUF)
    assert status == 413
    assert edges.ask("POST", "/v1/traces", span_bytes(), PROTOBUF)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({}, 415),
        ({**PROTOBUF, "Content-Encoding": "br"}, 415),
    ],
    ids=["type", "no type", "encoding"],
)
def test_what_is_not_read_is_a_415(edges: Edges, headers: dict[str, str], status: int) -> None:
    """C27."""
    assert edges.ask("POST", "/v1/traces", span_bytes(), headers)[0] == status


def test_wrong_method_and_wrong_path(edges: Edges) -> None:
    """C27."""
    assert edges.ask("GET", "/v1/traces")[0] == 405
    assert edges.ask("POST", "/v1development/profiles", b"", PROTOBUF)[0] == 404


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_rejected_items_are_a_partial_success(edges: Edges, signal: str) -> None:
    edges.ingest.outcome = Outcome(3, 2, "two bad ones")
    _, _, answer = edges.ask("POST", f"/v1/{signal}", b"", PROTOBUF)
    rejected = {
        "traces": lambda: (
            ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans
        ),
        "logs": lambda: (
            ExportLogsServiceResponse.FromString(answer).partial_success.rejected_log_records
        ),
        "metrics": lambda: (
            ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points
        ),
    }
    assert rejected[signal]() == 2
    _, _, answer = edges.ask("POST", f"/v1/{signal}", b"{}", JSON)
    partial = json.loads(answer)["partialSuccess"]
    assert "2" in partial.values() and partial["errorMessage"] == "two bad ones"


def test_an_error_message_is_shortened(edges: Edges) -> None:
    edges.ingest.outcome = Outcome(0, 50_000, "x" * 100_000)
    assert len(edges.ask("POST", "/v1/traces", b"", PROTOBUF)[2]) < 4096


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (QueueFull("full"), 429),
        (StoreUnavailable("gone"), 503),
        (RuntimeError("a bug of ours"), 503),
    ],
    ids=["queue", "store", "bug"],
)
def test_a_passing_fault_asks_to_come_again_in_a_second(
    edges: Edges, error: Exception, status: int
) -> None:
    """C28, C29."""
    edges.ingest.error = error
    answered, headers, body = edges.ask("POST", "/v1/traces", span_bytes(), JSON | PROTOBUF)
    assert (answered, headers["retry-after"]) == (status, "1")
    assert Status.FromString(body).message


def test_a_malformed_message_is_a_400_in_its_own_encoding(edges: Edges) -> None:
    status, headers, body = edges.ask("POST", "/v1/traces", b"\x0a\xff\xff\xff\xff\x0f", PROTOBUF)
    assert (status, headers["content-type"]) == (400, "application/x-protobuf")
    assert Status.FromString(body).code == 3
    status, headers, body = edges.ask("POST", "/v1/traces", b'{"resourceSpans":[{', JSON)
    assert (status, headers["content-type"]) == (400, "application/json")
    assert json.loads(body)["code"] == 3


def test_a_client_that_leaves_does_not_disturb_the_writer(edges: Edges) -> None:
    """The writer must still be able to settle a request whose client is gone."""
    edges.ingest.is_silent = True
    with pytest.raises(TimeoutError):
        connection = http.client.HTTPConnection("127.0.0.1", edges.addresses.http_port, timeout=0.3)
        connection.request("POST", "/v1/traces", span_bytes(), PROTOBUF)
        connection.getresponse()
    connection.close()
    (future,) = edges.ingest.pending
    future.set_result(Outcome(1))
    assert not future.cancelled()


def test_only_the_right_token_may_send(start_edges: Start) -> None:
    edges = start_edges(TAXIMETER_INGEST_TOKEN="open sesame")
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "open sesame"}):
        status, headers, _ = edges.ask("POST", "/v1/traces", span_bytes(), {**PROTOBUF, **given})
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert edges.ingest.submitted == []
    right = {"Authorization": "Bearer open sesame"}
    assert edges.ask("POST", "/v1/traces", span_bytes(), {**PROTOBUF, **right})[0] == 200


@pytest.mark.parametrize("compression", list(Compression), ids=lambda c: c.name)
def test_the_real_exporter_delivers(edges: Edges, compression: Compression) -> None:
    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"{edges.url}/v1/traces", compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("t").start_span("hello").end()
    provider.shutdown()
    ((signal, body),) = edges.ingest.submitted
    spans = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert (signal, spans[0].name) == ("traces", "hello")


def test_the_real_exporter_comes_again_after_a_full_queue(edges: Edges) -> None:
    edges.ingest.error = QueueFull("full")
    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"{edges.url}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    threading.Timer(0.3, lambda: setattr(edges.ingest, "error", None)).start()
    provider.get_tracer("t").start_span("patient").end()
    provider.shutdown()
    assert len(edges.ingest.submitted) == 1


def test_health_and_readiness_are_open(start_edges: Start) -> None:
    edges = start_edges(TAXIMETER_QUERY_TOKEN="secret")
    assert edges.ask("GET", "/healthz")[0] == 200
    assert edges.ask("GET", "/readyz")[0] == 200


def test_a_stop_lets_a_running_request_end(edges: Edges) -> None:
    edges.ingest.is_silent = True
    answers: list[int] = []
    client = threading.Thread(
        target=lambda: answers.append(edges.ask("POST", "/v1/traces", span_bytes(), PROTOBUF)[0])
    )
    client.start()
    while not edges.ingest.pending:
        pass
    threading.Timer(0.2, lambda: edges.ingest.pending[0].set_result(Outcome(1))).start()
    edges.stop()
    client.join(timeout=10)
    assert answers == [200]
