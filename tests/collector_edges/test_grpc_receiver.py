"""OTLP over gRPC, on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from taximeter_collector.ingest.decode import Signal
from taximeter_collector.ingest.ingest import Outcome, QueueFull, StoreUnavailable
from taximeter_collector.receivers.grpc_receiver import SERVICES

from .conformance import export
from .conftest import Edges, Start


@pytest.fixture
def channel(edges: Edges) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(edges.grpc_address, options=[("grpc.enable_retries", 0)]) as channel:
        yield channel


def trailers_of(failed: Any) -> dict[str, Any]:
    return {key: value for key, value in failed.trailing_metadata() or ()}


def failure(channel: grpc.Channel, body: bytes = b"", **more: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        export(channel, body, **more)
    return caught.value


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_each_service_takes_its_signal(edges: Edges, channel: grpc.Channel, signal: Signal) -> None:
    assert export(channel, b"", signal) == b""
    assert edges.ingest.submitted == [(signal, b"")]


def test_gzip_is_inflated(edges: Edges, channel: grpc.Channel) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="x" * 5000)
    body = request.SerializeToString()
    export(channel, body, compression=grpc.Compression.Gzip)
    assert edges.ingest.submitted == [("traces", body)]


def test_a_malformed_message_is_an_invalid_argument(channel: grpc.Channel) -> None:
    assert failure(channel, b"\x0a\xff\xff\xff\xff\x0f").code().name == "INVALID_ARGUMENT"


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    assert failure(channel, method="Nope").code().name == "UNIMPLEMENTED"


def test_rejected_spans_are_a_partial_success(edges: Edges, channel: grpc.Channel) -> None:
    edges.ingest.outcome = Outcome(1, 4, "bad ids")
    partial = ExportTraceServiceResponse.FromString(export(channel, b"")).partial_success
    assert (partial.rejected_spans, partial.error_message) == (4, "bad ids")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QueueFull("full"), "RESOURCE_EXHAUSTED"),
        (StoreUnavailable("gone"), "UNAVAILABLE"),
        (RuntimeError("a bug"), "UNAVAILABLE"),
    ],
    ids=["queue", "store", "bug"],
)
def test_a_passing_fault_carries_retry_info_in_both_trailers(
    edges: Edges, channel: grpc.Channel, error: Exception, code: str
) -> None:
    edges.ingest.error = error
    failed = failure(channel)
    trailers = trailers_of(failed)
    assert failed.code().name == code
    assert RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]).retry_delay.seconds == 1
    detail = Status.FromString(trailers["grpc-status-details-bin"]).details[0]
    assert detail.Is(RetryInfo.DESCRIPTOR)


def test_a_message_over_the_limit_is_exhausted_without_retry_info(start_edges: Start) -> None:
    """C5."""
    edges = start_edges(TAXIMETER_COLLECTOR_MAX_REQUEST_MIB="1")
    with grpc.insecure_channel(edges.grpc_address) as channel:
        for compression in (None, grpc.Compression.Gzip):
            failed = failure(channel, b"\0" * (2 << 20), compression=compression)
            assert failed.code().name == "RESOURCE_EXHAUSTED"
            assert "google.rpc.retryinfo-bin" not in trailers_of(failed)


def test_only_the_right_token_may_send(start_edges: Start) -> None:
    edges = start_edges(TAXIMETER_INGEST_TOKEN="open sesame")
    with grpc.insecure_channel(edges.grpc_address) as channel:
        assert failure(channel).code().name == "UNAUTHENTICATED"
        wrong = (("authorization", "Bearer nope"),)
        assert failure(channel, metadata=wrong).code().name == "UNAUTHENTICATED"
        export(channel, b"", metadata=(("authorization", "Bearer open sesame"),))


def test_health_is_serving(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICES["traces"]):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_real_exporter_delivers(edges: Edges) -> None:
    provider = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=edges.grpc_address, insecure=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("t").start_span("hello").end()
    provider.shutdown()
    ((_, body),) = edges.ingest.submitted
    spans = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert spans[0].name == "hello"
