"""OTLP's JSON: what is read, what is forgiven, what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from taximeter_collector.ingest.decode import Undecodable
from taximeter_collector.receivers.otlp_json import json_to_protobuf

TRACE_ID = "5B8EFFF798038103D269B633813FC60C"


def decoded(**fields: Any) -> Span:
    span = {"traceId": TRACE_ID, "spanId": "eee19b7ec3c1b174", "name": "chat", **fields}
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    body = json_to_protobuf("traces", json.dumps(document).encode())
    request = ExportTraceServiceRequest.FromString(body)
    return request.resource_spans[0].scope_spans[0].spans[0]


def value_of(value: Any) -> AnyValue:
    return decoded(attributes=[{"key": "a", "value": value}]).attributes[0].value


def test_ids_are_hex_in_either_case() -> None:
    """C17."""
    span = decoded(links=[{"traceId": TRACE_ID.lower(), "spanId": "EEE19B7EC3C1B174"}])
    assert span.trace_id == bytes.fromhex(TRACE_ID) == span.links[0].trace_id
    assert span.span_id == bytes.fromhex("eee19b7ec3c1b174") == span.links[0].span_id


def test_a_bad_id_does_not_refuse_its_neighbours() -> None:
    assert len(decoded(traceId="not hex at all!").trace_id) == 1


@pytest.mark.parametrize("number", [12, "12", -5, "-5", "9223372036854775807", 12.0])
def test_64_bit_integers_are_texts_or_numbers(number: object) -> None:
    """C18."""
    assert value_of({"intValue": number}).int_value == int(str(number).removesuffix(".0"))


@pytest.mark.parametrize("time", [1700000000123456789, "1700000000123456789"])
def test_times_are_texts_or_numbers(time: object) -> None:
    assert decoded(startTimeUnixNano=time).start_time_unix_nano == 1700000000123456789


def test_doubles_may_be_nan_infinite_or_null() -> None:
    """C19."""
    assert math.isnan(value_of({"doubleValue": "NaN"}).double_value)
    assert value_of({"doubleValue": "-Infinity"}).double_value == -math.inf
    assert value_of({"doubleValue": None}).WhichOneof("value") is None


def test_bytes_are_base64_and_nested_values_are_read() -> None:
    assert value_of({"bytesValue": "AAEC"}).bytes_value == b"\0\1\2"
    nested = value_of({"arrayValue": {"values": [{"intValue": 1}, None, {}]}}).array_value.values
    assert [item.WhichOneof("value") for item in nested] == ["int_value", None, None]


def test_null_means_absent_and_unknown_fields_are_ignored() -> None:
    """C16, C19."""
    span = decoded(attributes=None, events=None, parentSpanId=None, novelty=[[{"a": None}]])
    assert not span.attributes and span.name == "chat"


@pytest.mark.parametrize(("kind", "number"), [(3, 3), ("SPAN_KIND_CLIENT", 3), (99, 99)])
def test_enums_are_numbers_or_names(kind: object, number: int) -> None:
    """C18."""
    assert decoded(kind=kind, status={"code": 7}).kind == number


def test_snake_case_is_forgiven() -> None:
    span = decoded(start_time_unix_nano="5", parent_span_id="00f067aa0ba902b7")
    assert span.start_time_unix_nano == 5 and span.parent_span_id.hex() == "00f067aa0ba902b7"


def test_half_a_character_is_replaced() -> None:
    """C22."""
    assert decoded(name="x\ud800y").name == "x?y"


def test_a_deep_value_within_reason_is_read() -> None:
    value: dict[str, Any] = {}
    for _ in range(30):
        value = {"arrayValue": {"values": [value]}}
    assert value_of(value).HasField("array_value")


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"5",
        b"null",
        b'"x"',
        b"{",
        b"",
        b'{"resourceSpans":"x"}',
        b'{"resourceSpans":[1]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"soon"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1e999}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":-1}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":99999999999}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":5}]}]}]}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"9" * 6000,
        b"\xff\xfe\x00",
    ],
    ids=lambda body: body[:40].decode("latin-1") or "empty",
)
def test_what_is_no_request_is_undecodable(body: bytes) -> None:
    """C23, C26."""
    with pytest.raises(Undecodable):
        json_to_protobuf("traces", body)


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1.5", "x", "9223372036854775808"])
def test_an_integer_that_is_none_is_undecodable(number: str) -> None:
    with pytest.raises(Undecodable):
        value_of({"intValue": number})
