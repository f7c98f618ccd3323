"""Spans as plain values, sent in any cut and order, and the derived tables that come of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from taximeter_collector.derive.derive import derive_step, derived_batch
from taximeter_collector.ingest.decode import Signal
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.data_files import DAY_TABLES, ROLLUP_TABLES
from taximeter_collector.store.store import Store

BEGINNING_NS: Final = 1_795_000_000_000_000_000
GENAI: Final = "opentelemetry.instrumentation.genai.anthropic"
ARRIVAL: Final = frozenset({"first_received_at", "last_received_at", "first_batch"})
"""Columns that say when something came, and so may differ between two replays of the same spans."""
Value = str | int | float
Body = tuple[Signal, bytes]
"""An export request as the store takes it."""


@dataclass(frozen=True, slots=True)
class Span:
    """One span; ids are small numbers, times are milliseconds after a fixed beginning."""

    trace: int
    id: int
    parent: int = 0
    start: int = 0
    end: int = 1000
    attributes: tuple[tuple[str, Value], ...] = ()
    scope: str = GENAI
    service: str = "desk"
    failed: bool = False
    name: str = ""
    kind: int = 0
    """As OTLP numbers it: 2 is a server's side, 3 a client's."""


def chat(trace: int, id: int, parent: int = 0, *, tokens: int = 100, response_id: str = "",
         scope: str = GENAI, start: int = 0, end: int = 1000, service: str = "desk") -> Span:  # fmt: skip
    """Return a model call with usage."""
    said: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.usage.input_tokens": tokens,
        "gen_ai.usage.output_tokens": 10,
    }
    if response_id:
        said["gen_ai.response.id"] = response_id
    return Span(trace, id, parent, start, end, tuple(said.items()), scope, service)


def body(spans: Iterable[Span]) -> bytes:
    """Return one export request with ``spans``, grouped by service and scope."""
    message = ExportTraceServiceRequest()
    groups: dict[tuple[str, str], Any] = {}
    for span in spans:
        key = (span.service, span.scope)
        if key not in groups:
            resource = message.resource_spans.add()
            put(resource.resource.attributes, {"service.name": span.service})
            groups[key] = resource.scope_spans.add()
            groups[key].scope.name = span.scope
        _add(groups[key].spans.add(), span)
    return message.SerializeToString()


def put(pairs: Any, attributes: Mapping[str, object]) -> None:
    """Add attributes to a message's list of key-value pairs, each as its own OTLP type."""
    for key, value in attributes.items():
        slot = pairs.add(key=key).value
        if isinstance(value, bool):
            slot.bool_value = value
        elif isinstance(value, int):
            slot.int_value = value
        elif isinstance(value, float):
            slot.double_value = value
        elif isinstance(value, list):
            for one in value:
                slot.array_value.values.add().string_value = one
        else:
            slot.string_value = str(value)


def _add(message: Any, span: Span) -> None:
    message.trace_id = span.trace.to_bytes(16, "big")
    message.span_id = span.id.to_bytes(8, "big")
    if span.parent:
        message.parent_span_id = span.parent.to_bytes(8, "big")
    message.kind = span.kind
    message.name = span.name or f"span {span.id}"
    message.start_time_unix_nano = BEGINNING_NS + span.start * 10**6
    message.end_time_unix_nano = BEGINNING_NS + span.end * 10**6
    if span.failed:
        message.status.code = 2
    put(message.attributes, dict(span.attributes))


def receive(store: Store, bodies: Iterable[Body]) -> None:
    """Store export requests, all on their way at once."""
    ingest = Ingest(store)
    try:
        for stored in [ingest.submit(signal, data) for signal, data in bodies]:
            stored.result(60)
    finally:
        ingest.close()


def commit(store: Store, *commits: Sequence[Span]) -> None:
    """Store each group of spans in a commit of its own; nobody follows."""
    for spans in commits:
        receive(store, [("traces", body(spans))])


def send(store: Store, commits: Iterable[Sequence[Span]]) -> None:
    """Store each group of spans in a commit of its own, and follow it before the next comes."""
    ingest = Ingest(store)
    try:
        with store.cursor() as cursor:
            at = derived_batch(cursor)
            for spans in commits:
                ingest.submit("traces", body(spans)).result(60)
                at = derive_step(cursor, store.prices, at, spans_since=store.files.spans_since)
    finally:
        ingest.close()


def follow(store: Store) -> None:
    """Derive all that is committed."""
    since = store.files.spans_since
    with store.cursor() as cursor:
        at, following = -1, derived_batch(cursor)
        while at != following:
            at, following = (
                following,
                derive_step(cursor, store.prices, following, spans_since=since),
            )


def wipe(store: Store) -> None:
    """Empty the store; making a new one takes a second."""
    with store.cursor() as cursor:
        days = cursor.execute("select distinct database_name from duckdb_tables()").fetchall()
        for (day,) in days:
            for table in DAY_TABLES if day.startswith("day_") else ():
                cursor.execute(f"delete from {day}.{table}")
        for table in ROLLUP_TABLES:
            if table != "progress":
                cursor.execute(f"delete from rollup.{table}")
        cursor.execute("update rollup.progress set derived_batch = 0")


Tables = dict[str, list[tuple[Any, ...]]]


def tables(store: Store) -> Tables:
    """Return every derived table without its times of arrival, rows sorted."""
    found: Tables = {}
    with store.read() as cursor:
        for table in ROLLUP_TABLES:
            if table == "progress":
                continue
            columns = cursor.execute(f"describe rollup.{table}").fetchall()
            wanted = ", ".join(
                f"{name}::varchar" if type == "TIMESTAMP WITH TIME ZONE" else name
                for name, type, *_ in columns
                if name not in ARRIVAL
            )
            rows = cursor.execute(f"select {wanted} from rollup.{table}").fetchall()
            found[table] = sorted((tuple(map(_plain, row)) for row in rows), key=repr)
    return found


def _plain(value: Any) -> Any:
    """Return a value that compares: sums of floats depend on their order in the last digits."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    return tuple(sorted(value.items())) if isinstance(value, dict) else value


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with store.read() as cursor:
        return cursor.execute(sql).fetchall()


def one(store: Store, sql: str) -> tuple[Any, ...]:
    """Return the only row of a query."""
    (row,) = rows(store, sql)
    return tuple(row)
