"""OTLP bytes to flat tables: every value kind, bad text, duplicate keys."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from taximeter_collector.ingest.decode import Undecodable, count_items, flatten, parse


def request(*names: str) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    pair = resource.resource.attributes.add(key="service.name")
    pair.value.string_value = "desk"
    scope = resource.scope_spans.add()
    scope.scope.name = "lib"
    for at, name in enumerate(names):
        scope.spans.add(trace_id=bytes([1] * 16), span_id=bytes([at + 1] * 8), name=name)
    return message


def test_a_group_keeps_each_span_with_its_request_and_resource() -> None:
    batches = [parse("traces", request(*names).SerializeToString()) for names in ("ab", "c")]
    rows = flatten("traces", batches)
    assert rows.items["name"].to_pylist() == ["a", "b", "c"]
    assert rows.items["request"].to_pylist() == [0, 0, 1]
    assert rows.resource_attributes["value"].to_pylist() == ["desk", "desk"]
    assert [count_items("traces", batch) for batch in batches] == [2, 1]


def test_every_kind_of_value_becomes_text() -> None:
    message = request("a")
    span = message.resource_spans[0].scope_spans[0].spans[0]
    values: dict[str, dict[str, object]] = {
              "s": {"string_value": "x"}, "i": {"int_value": -3}, "d": {"double_value": 0.25},
              "b": {"bool_value": True}, "y": {"bytes_value": b"\x00\x01"}, "n": {}}  # fmt: skip
    for key, arm in values.items():
        pair = span.attributes.add(key=key)
        for name, value in arm.items():
            setattr(pair.value, name, value)
    items = span.attributes.add(key="l").value.array_value.values
    items.add().string_value = "é"
    items.add().kvlist_value.values.add(key="k").value.int_value = 2**62
    rows = flatten("traces", [parse("traces", message.SerializeToString())])
    assert dict(zip(*rows.attributes.select(["key", "value"]).to_pydict().values(), strict=True)) == {
        "s": "x", "i": "-3", "d": "0.25", "b": "true", "y": "AAE=", "n": None,
        "l": '["é",{"k":4611686018427387904}]',
    }  # fmt: skip


def test_invalid_utf8_is_replaced_and_its_neighbours_survive() -> None:
    message = request("good", "b~d")
    message.resource_spans[0].scope_spans[0].spans[1].attributes.add(key="k").value.int_value = 7
    body = message.SerializeToString().replace(b"b~d", b"b\xffd")
    rows = flatten("traces", [parse("traces", body)])
    assert rows.items["name"].to_pylist() == ["good", "b�d"]
    assert rows.attributes["value"].to_pylist() == ["7"]


def test_a_key_given_twice_keeps_its_first_value() -> None:
    message = request("a")
    for value in ("first", "second"):
        pair = message.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="k")
        pair.value.string_value = value
    rows = flatten("traces", [parse("traces", message.SerializeToString())])
    assert rows.items["attributes"].to_pylist() == [[("k", "first")]]


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\xff", b"not protobuf at all"])
def test_what_is_not_the_message_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        parse("traces", body)


def test_an_empty_request_has_no_items() -> None:
    batch = parse("traces", b"")
    assert count_items("traces", batch) == 0
    assert flatten("traces", [batch]).items.num_rows == 0
