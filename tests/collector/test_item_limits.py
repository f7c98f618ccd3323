"""T11 (attributes without end): what is stored of an item is bounded, said and counted; its facts are those sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.telemetry import follow, one, put, rows

from taximeter.settings.settings import RedactionSettings
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.ingest.item_limits import (
    ATTRIBUTES,
    FLAG,
    ITEM_BYTES,
    RESOURCE_BYTES,
    VALUE_BYTES,
)
from taximeter_collector.store.store import Store

FACTS = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 10,
}


@pytest.fixture(params=[(), ("secrets",)], ids=["as sent", "with redaction"])
def ingest(store: Store, request: pytest.FixtureRequest) -> Iterator[Ingest]:
    with closing(Ingest(store, redaction=RedactionSettings(built_in=request.param))) as taken:
        yield taken


def one_span(attributes: dict[str, Any], **said: Any) -> tuple[ExportTraceServiceRequest, Any]:
    """Return a request with a span between two small ones, and that span."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    times = {"start_time_unix_nano": 10**18, "end_time_unix_nano": 10**18 + 10**9}
    for number in (1, 2, 3):
        fields = said if number == 2 else {"name": "small"}
        span = spans.add(trace_id=b"t" * 16, span_id=bytes([number] * 8), **fields, **times)
        put(span.attributes, attributes if number == 2 else {"small": "as sent"})
    return message, spans[1]


def send(ingest: Ingest, message: ExportTraceServiceRequest) -> dict[str, int]:
    """Store the request; return what was cut, by reason."""
    assert ingest.submit("traces", message.SerializeToString()).result(60).accepted == 3
    return {
        reason: items
        for (_, fate, reason), items in ingest.counters.snapshot().items()
        if fate == "cut"
    }


def stored(store: Store, key: str) -> Any:
    return one(store, f"select attributes['{key}'] from spans where span_id = '{'02' * 8}'")[0]


def neighbours(store: Store) -> list[tuple[Any, ...]]:
    return rows(store, "select distinct attributes from spans where name = 'small'")


def test_t11_too_many_attributes_are_left_out_and_facts_behind_them_are_read(
    store: Store, ingest: Ingest
) -> None:
    message, _ = one_span({f"key{at}": "x" for at in range(ATTRIBUTES)} | FACTS)
    assert send(ingest, message) == {"attribute_count": len(FACTS)}
    assert stored(store, FLAG) == f"0 values cut, {len(FACTS)} attributes or events left out"
    kept = one(store, "select max(len(map_keys(attributes))) from spans")[0]
    assert kept == ATTRIBUTES + 1
    assert neighbours(store) == [({"small": "as sent"},)]
    follow(store)
    assert rows(store, "select prompt_tokens, output_tokens from calls") == [(100, 10)]


def test_t11_a_long_value_is_cut_at_a_character_and_says_how_much(
    store: Store, ingest: Ingest
) -> None:
    message, span = one_span(
        FACTS | {"gen_ai.input.messages": "x" + "ü" * VALUE_BYTES}, name="n" * VALUE_BYTES * 2
    )
    span.status.message = "m" * (VALUE_BYTES + 1)
    assert send(ingest, message) == {"value_bytes": 3}
    sent, kept = 1 + 2 * VALUE_BYTES, VALUE_BYTES - 1
    text = stored(store, "gen_ai.input.messages")
    assert text.endswith(f"ü… [cut, {kept} of {sent} bytes]")
    assert len(text.encode()) < VALUE_BYTES + 50
    name, said = one(store, "select name, status_message from spans where name like 'n%'")
    assert name.endswith(f"… [cut, {VALUE_BYTES} of {2 * VALUE_BYTES} bytes]")
    assert said.endswith(f"… [cut, {VALUE_BYTES} of {VALUE_BYTES + 1} bytes]")
    assert neighbours(store) == [({"small": "as sent"},)]


def test_t11_a_span_is_bounded_with_its_events(store: Store, ingest: Ingest) -> None:
    message, span = one_span(FACTS | {f"text{at}": "x" * 200_000 for at in range(30)})
    for at in range(3):
        put(span.events.add(name=f"event{at}").attributes, {"said": "y" * 1000})
    assert send(ingest, message) == {"item_bytes": 10}
    sizes = one(
        store,
        "select sum(strlen(a.key) + strlen(a.value)), any_value(len(events)) from spans, unnest(map_entries(attributes)) t(a)"
        " where name = ''",
    )
    assert ITEM_BYTES - 200_000 < sizes[0] <= ITEM_BYTES + 100 and sizes[1] == 3
    follow(store)
    assert rows(store, "select prompt_tokens from calls") == [(100,)]


def test_t11_events_are_bounded(store: Store, ingest: Ingest) -> None:
    message, span = one_span({})
    put(span.events.add(name="many").attributes, {f"key{at}": "x" for at in range(ATTRIBUTES + 7)})
    put(span.events.add(name="long").attributes, {"said": "y" * (VALUE_BYTES + 1)})
    for _ in range(20):
        put(span.events.add(name="full").attributes, {"said": "z" * VALUE_BYTES})
    cut = send(ingest, message)
    assert (cut["attribute_count"], cut["value_bytes"]) == (7, 1)
    (events,) = one(store, "select [ev.attributes for ev in events] from spans where name = ''")
    assert len(events) + cut["item_bytes"] == 22 and cut["item_bytes"] > 4
    assert len(events[0]) == ATTRIBUTES
    assert events[1]["said"].endswith(f"[cut, {VALUE_BYTES} of {VALUE_BYTES + 1} bytes]")  # fmt: skip
    assert stored(store, FLAG) == f"1 values cut, {7 + cut['item_bytes']} attributes or events left out"  # fmt: skip


def test_t11_a_resource_which_each_span_repeats_may_hold_less(store: Store, ingest: Ingest) -> None:
    message, _ = one_span({})
    resource = message.resource_spans[0].resource
    put(resource.attributes, {"service.name": "desk"} | {f"key{at}": "r" * 20_000 for at in range(9)})  # fmt: skip
    cut = send(ingest, message)
    assert cut == {"value_bytes": 9, "resource_bytes": 6}
    found = rows(store, "select distinct service_name, resource_attributes from spans")
    ((service, attributes),) = found
    assert service == "desk" and sum(map(len, attributes.values())) <= RESOURCE_BYTES
    assert attributes["key0"].endswith("… [cut, 16384 of 20000 bytes]")


def test_t11_log_bodies_and_attributes_are_bounded(store: Store, ingest: Ingest) -> None:
    message = ExportLogsServiceRequest()
    record = message.resource_logs.add().scope_logs.add().log_records.add()
    record.body.string_value = "b" * (VALUE_BYTES + 1)
    put(record.attributes, {f"key{at}": "x" for at in range(ATTRIBUTES + 5)})
    ingest.submit("logs", message.SerializeToString()).result(60)
    body, flag = one(store, f"select body, attributes['{FLAG}'] from log_record")
    assert body.endswith(f"… [cut, {VALUE_BYTES} of {VALUE_BYTES + 1} bytes]")
    assert flag == "1 values cut, 5 attributes or events left out"
    counts = rows(store, "select reason, items from ingest_status where fate = 'cut' order by 1")
    assert counts == [("attribute_count", 5), ("value_bytes", 1)]


def test_t11_what_keeps_the_limits_is_stored_as_sent(store: Store, ingest: Ingest) -> None:
    attributes = {f"key{at}": "x" for at in range(ATTRIBUTES - 1)} | {"long": "y" * VALUE_BYTES}
    message, _ = one_span(attributes)
    assert send(ingest, message) == {}
    assert stored(store, "long") == "y" * VALUE_BYTES and stored(store, FLAG) is None


def test_t11_a_secret_across_the_cut_is_masked(store: Store) -> None:
    """Redaction comes first: half a secret would meet no pattern."""
    secret = "sk-ant-api03-" + "A1b2C3d4" * 12
    text = "x" * (VALUE_BYTES - 30) + " " + secret + " " + "y" * 100
    with closing(Ingest(store, redaction=RedactionSettings(built_in=("secrets",)))) as ingest:
        send(ingest, one_span({"said": text})[0])
    assert "sk-ant" not in stored(store, "said")
