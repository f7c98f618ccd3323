"""What tests of the OTLP conformance list send and read back."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.patience import PATIENCE_S
from tests.serving import Collector

from taximeter_collector.ingest.decode import Signal
from taximeter_collector.receivers.grpc_receiver import SERVICES

PROTOBUF: Final = {"Content-Type": "application/x-protobuf"}
JSON: Final = {"Content-Type": "application/json"}
Send = Callable[[bytes], bytes]


def post(
    collector: Collector, data: bytes, headers: dict[str, str] = PROTOBUF, signal: Signal = "traces"
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(
        "127.0.0.1", collector.addresses.http_port, timeout=PATIENCE_S
    )
    try:
        connection.request("POST", f"/v1/{signal}", data, headers)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def export(
    channel: grpc.Channel,
    body: bytes,
    signal: Signal = "traces",
    method: str = "Export",
    **more: Any,
) -> bytes:
    call: Any = channel.unary_unary(
        f"/{SERVICES[signal]}/{method}", request_serializer=bytes, response_deserializer=bytes
    )
    answer: bytes = call(body, timeout=60, **more)
    return answer


def spans(count: int, **fields: Any) -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for i in range(count):
        ids = {"trace_id": b"t" * 16, "span_id": (i + 1).to_bytes(8, "big")}
        scope.spans.add(**(ids | {"name": "s"} | fields))
    return request.SerializeToString()


def stored(collector: Collector, sql: str) -> list[tuple[Any, ...]]:
    with collector.ingest._store.read() as cursor:
        return cursor.execute(sql).fetchall()
