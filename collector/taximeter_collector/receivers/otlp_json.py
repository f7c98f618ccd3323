"""An OTLP JSON body in, the same request as protobuf bytes out.

Google's JSON mapping with OTLP's exceptions (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding):
ids are hex, unknown fields are ignored, null means absent.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from taximeter_collector.ingest.decode import Signal, Undecodable

_REQUESTS: Final[dict[Signal, type[Message]]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
_ID_FIELDS: Final = frozenset(
    ["traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"]
)
# One byte is no id: the span is rejected and its neighbours are kept.
_NOT_AN_ID: Final = base64.b64encode(b"\0").decode()


def json_to_protobuf(signal: Signal, body: bytes) -> bytes:
    """Return the protobuf bytes of an OTLP JSON request. Raises Undecodable."""
    request = _REQUESTS[signal]()
    try:
        document = json.loads(body.decode("utf-8", "replace"))
        if not isinstance(document, dict):
            raise TypeError("the JSON body must be an object")
        json_format.ParseDict(_adapted(document), request, ignore_unknown_fields=True)
        return request.SerializeToString()
    except json_format.ParseError as error:
        raise Undecodable(f"not an OTLP {signal} request: {error}") from None
    except RecursionError:
        raise Undecodable("the JSON body is nested too deeply") from None
    # Numbers out of range and texts that are no numbers come as these.
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        raise Undecodable(f"not an OTLP {signal} request: {error}") from None


def _adapted(value: Any, key: str = "") -> Any:
    """Return `value` as Google's mapping wants it: base64 ids, no nulls, no lone surrogates."""
    if isinstance(value, str):
        return _base64_id(value) if key in _ID_FIELDS else _encodable(value)
    if isinstance(value, dict):
        return {
            _encodable(name): _adapted(item, name)
            for name, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        # In an array of attribute values a null is a value without content.
        items = ({} if item is None and key == "values" else item for item in value)
        return [_adapted(item) for item in items if item is not None]
    return value


def _base64_id(text: str) -> str:
    """Return a hex id as base64.

    >>> _base64_id("EEE19b7ec3c1b174")
    '7uGbfsPBsXQ='
    """
    try:
        return base64.b64encode(bytes.fromhex(text)).decode()
    except ValueError:
        return _NOT_AN_ID


def _encodable(text: str) -> str:
    """Return `text` with what UTF-8 can't hold replaced: JSON can escape half a character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
