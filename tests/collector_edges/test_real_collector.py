"""The edges on the real ingest and store: refusals lose nothing, both encodings store the same."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.patience import PATIENCE_S
from tests.serving import collecting

from taximeter_collector.client import ReadClient
from taximeter_collector.query.query_gate import VIEWS
from taximeter_collector.server import Addresses
from taximeter_collector.store.store import Store

SMALL_QUEUE_BYTES = 45_000
"""Room for four of the flood's eight clients: the others are refused at first."""


@pytest.fixture
def addresses(store: Store) -> Iterator[Addresses]:
    with collecting(store, settle_s=0.3, queue_bytes=SMALL_QUEUE_BYTES) as collector:
        yield collector.addresses


@pytest.fixture
def client(addresses: Addresses) -> Iterator[ReadClient]:
    with ReadClient(f"http://127.0.0.1:{addresses.http_port}") as client:
        yield client


def made_spans(count: int) -> list[ReadableSpan]:
    provider, memory = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("flood")
    for i in range(count):
        tracer.start_span(f"span {i}", attributes={"text": "x" * 400}).end()
    return list(memory.get_finished_spans())


def test_a_flood_over_a_small_queue_arrives_once_and_whole(
    addresses: Addresses, client: ReadClient
) -> None:
    """Refusals are such that the real exporters, both protocols, come again."""
    spans = made_spans(600)
    batches = [spans[at : at + 20] for at in range(0, len(spans), 20)]

    def send(at: int) -> SpanExportResult:
        exporter: SpanExporter
        if at % 2:
            exporter = HttpExporter(
                f"http://127.0.0.1:{addresses.http_port}/v1/traces", timeout=PATIENCE_S
            )
        else:
            exporter = GrpcExporter(
                f"127.0.0.1:{addresses.grpc_port}", insecure=True, timeout=PATIENCE_S
            )
        try:
            return exporter.export(batches[at])
        finally:
            exporter.shutdown()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(send, range(len(batches))))
        given_up = [at for at, result in enumerate(results) if result is SpanExportResult.FAILURE]
        again = list(pool.map(send, given_up))
    assert again == [SpanExportResult.SUCCESS] * len(given_up)
    stored = client.query("select count(*) as n, count(distinct span_id) as d from spans")
    assert stored.to_pylist() == [{"n": 600, "d": 600}]
    status = client.status()
    assert status["stored"]["traces"] == 600
    # An exporter gives a batch up on a slow machine, but not before it has come six times.
    assert status["refused"]["traces"] >= max(1, len(given_up) * 6 * len(batches[0]))


def test_json_and_protobuf_store_the_same(addresses: Addresses, client: ReadClient) -> None:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "twin"
    span = resource.scope_spans.add().spans.add(
        trace_id=b"\x11" * 16,
        span_id=b"\x22" * 8,
        name="chat",
        start_time_unix_nano=1_764_000_000_123_456_789,
        end_time_unix_nano=1_764_000_001_123_456_789,
    )
    span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 2**40
    span.attributes.add(key="ratio").value.double_value = 0.1
    span.attributes.add(key="is").value.bool_value = True
    span.attributes.add(key="list").value.array_value.values.add().string_value = "ä"
    span.events.add(name="e", time_unix_nano=1_764_000_000_500_000_000)

    document = json_format.MessageToDict(request)
    twin = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    twin["traceId"], twin["spanId"] = "33" * 16, "44" * 8
    bodies = {
        "application/x-protobuf": request.SerializeToString(),
        "application/json": json.dumps(document).encode(),
    }
    for content_type, body in bodies.items():
        connection = http.client.HTTPConnection(
            "127.0.0.1", addresses.http_port, timeout=PATIENCE_S
        )
        connection.request("POST", "/v1/traces", body, {"Content-Type": content_type})
        assert connection.getresponse().status == 200
        connection.close()
    rows = client.query(
        "select * exclude (trace_id, span_id, received_at) from spans where service_name = 'twin'"
    ).to_pylist()
    assert len(rows) == 2
    assert rows[0] == rows[1]


def test_every_view_of_the_contract_answers(client: ReadClient) -> None:
    for view in sorted(VIEWS):
        assert client.query(f"select * from {view} limit 1").num_columns > 0, view


def test_verify_answers_over_http(addresses: Addresses, client: ReadClient) -> None:
    window = {"from": "2026-11-24T00:00:00Z", "to": "2026-11-24T01:00:00Z"}
    for document, status in ((window, 200), ({"from": "x"}, 400)):
        connection = http.client.HTTPConnection(
            "127.0.0.1", addresses.http_port, timeout=PATIENCE_S
        )
        body = json.dumps(document)
        connection.request("POST", "/v1/verify", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == status
        assert answer["is_right"] if status == 200 else answer["error"]["message"]
