"""What a client hears: an outcome or an error in, an HTTP answer or a gRPC status out.

The one place that decides what is worth sending again. Over HTTP only 429, 502, 503 and 504 are
(https://opentelemetry.io/docs/specs/otlp/#failures), so a passing fault never leaves as a 500.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

from taximeter_collector.ingest.decode import Signal
from taximeter_collector.ingest.ingest import Outcome, QueueFull, StoreUnavailable, Undecodable

Encoding = Literal["protobuf", "json"]

CONTENT_TYPES: Final[dict[Encoding, str]] = {
    "protobuf": "application/x-protobuf",
    "json": "application/json",
}
RETRY_AFTER_S: Final = 1
"""Python's exporters give a batch 10 s in all and drop it at once when asked to wait longer."""

MAX_MESSAGE_CHARS: Final = 1000

# Partial success: the response, its counting field in protobuf and in JSON.
_RESPONSES: Final[dict[Signal, tuple[Any, str, str]]] = {
    "traces": (traces.ExportTraceServiceResponse, "rejected_spans", "rejectedSpans"),
    "logs": (logs.ExportLogsServiceResponse, "rejected_log_records", "rejectedLogRecords"),
    "metrics": (
        metrics.ExportMetricsServiceResponse,
        "rejected_data_points",
        "rejectedDataPoints",
    ),
}


class BodyTooLarge(Exception):
    """The body passes the limit, before or after decompression."""


class UnsupportedEncoding(Exception):
    """The body's encoding or type is not one that the receiver reads."""


class NotAuthorised(Exception):
    """The bearer token is missing or wrong."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One error as both protocols say it."""

    http_status: int
    grpc_code: grpc.StatusCode
    message: str
    is_retryable: bool = False


def refusal_of(error: BaseException) -> Refusal:
    """Return how to refuse a request that met `error`; what is unknown may pass, so retry."""
    message = str(error)[:MAX_MESSAGE_CHARS] or type(error).__name__
    match error:
        case Undecodable():
            return Refusal(400, grpc.StatusCode.INVALID_ARGUMENT, message)
        case BodyTooLarge():
            return Refusal(413, grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        case UnsupportedEncoding():
            return Refusal(415, grpc.StatusCode.INVALID_ARGUMENT, message)
        case NotAuthorised():
            return Refusal(401, grpc.StatusCode.UNAUTHENTICATED, message)
        case QueueFull():
            return Refusal(429, grpc.StatusCode.RESOURCE_EXHAUSTED, message, is_retryable=True)
        case StoreUnavailable():
            return Refusal(503, grpc.StatusCode.UNAVAILABLE, message, is_retryable=True)
        case TimeoutError():
            slow = "the rows are not on disk yet; send them again"
            return Refusal(503, grpc.StatusCode.UNAVAILABLE, slow, is_retryable=True)
        case _:
            unknown = f"the collector met an unexpected {type(error).__name__}; send again"
            return Refusal(503, grpc.StatusCode.UNAVAILABLE, unknown, is_retryable=True)


def success_body(signal: Signal, outcome: Outcome, encoding: Encoding) -> bytes:
    """Return the Export…ServiceResponse; its partial success is unset if all was stored."""
    response_type, field, json_field = _RESPONSES[signal]
    message = outcome.message[:MAX_MESSAGE_CHARS]
    is_partial = bool(outcome.rejected or message)
    if encoding == "json":
        partial = {json_field: str(outcome.rejected), "errorMessage": message}
        return json.dumps({"partialSuccess": partial} if is_partial else {}).encode()
    response = response_type()
    if is_partial:
        setattr(response.partial_success, field, outcome.rejected)
        response.partial_success.error_message = message
    body: bytes = response.SerializeToString()
    return body


def error_body(refusal: Refusal, encoding: Encoding) -> bytes:
    """Return the google.rpc.Status that an OTLP error has as its body."""
    code = refusal.grpc_code.value[0]
    if encoding == "json":
        return json.dumps({"code": code, "message": refusal.message}).encode()
    body: bytes = status_of(refusal).SerializeToString()
    return body


def status_of(refusal: Refusal) -> status_pb2.Status:
    """Return the refusal as google.rpc.Status, with RetryInfo when it is worth a retry."""
    status = status_pb2.Status(code=refusal.grpc_code.value[0], message=refusal.message)
    if refusal.is_retryable:
        detail = any_pb2.Any()
        detail.Pack(_retry_info())
        status.details.append(detail)
    return status


def retry_trailers(refusal: Refusal) -> tuple[tuple[str, bytes], ...]:
    """Return the gRPC trailers of a refusal.

    Both: the specification names `grpc-status-details-bin`; Python's exporter reads the other.
    """
    if not refusal.is_retryable:
        return ()
    return (
        ("google.rpc.retryinfo-bin", _retry_info().SerializeToString()),
        ("grpc-status-details-bin", status_of(refusal).SerializeToString()),
    )


def _retry_info() -> error_details_pb2.RetryInfo:
    return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=RETRY_AFTER_S))
