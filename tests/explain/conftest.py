"""A store with real telemetry, read as the read API reads it, and the proofs of its spans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from tests.corpus.archive import scenarios
from tests.corpus.replay import as_protobuf

from taximeter.pricing import Catalog, load_catalog
from taximeter_collector.client import plain_rows
from taximeter_collector.derive import derive_step
from taximeter_collector.explain import Proof, Replay, gather, prove
from taximeter_collector.ingest import Ingest
from taximeter_collector.query_gate import check_statement
from taximeter_collector.store import Store

NOW = 1_795_000_000_000_000_000
Attributes = Mapping[str, str | int]


@dataclass
class Bench:
    """A store, its read API without the network, and what explains its spans."""

    store: Store
    catalog: Catalog
    replay: Replay

    def send(self, bodies: Sequence[bytes]) -> None:
        """Store OTLP trace requests and follow them into the roll-ups."""
        ingest = Ingest(self.store)
        for stored in [ingest.submit("traces", body) for body in bodies]:
            stored.result(60)
        ingest.close()
        with self.store.cursor() as cursor:
            after = -1
            while (following := derive_step(cursor, self.store.prices, max(after, 0))) != after:
                after = following

    def ask(self, sql: str, params: Mapping[str, Any] | None = None, /) -> list[dict[str, Any]]:
        """Answer what the gate of POST /v1/query lets through."""
        with self.store.read() as cursor:
            check_statement(cursor, sql)
            return plain_rows(cursor.sql(sql, params=dict(params or {}) or None).to_arrow_table())

    def prove(self, trace_id: str, span_id: str) -> Proof:
        return prove(gather(self.ask, self.replay, trace_id, span_id), self.catalog)

    def only(self, condition: str) -> Proof:
        """Return the proof of the one span that a condition on view ``spans`` names."""
        (found,) = self.ask(f"select trace_id, span_id from spans where {condition}")
        return self.prove(found["trace_id"], found["span_id"])


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="session")
def replay() -> Replay:
    return Replay()


@pytest.fixture
def bench(tmp_path: Path, catalog: Catalog, replay: Replay) -> Iterator[Bench]:
    store = Store(tmp_path)
    yield Bench(store, catalog, replay)
    store.close()


class Trace:
    """One export request, span by span; ids are small numbers."""

    def __init__(self, trace_id: int = 1, scope: str = "my.agent", version: str = "1.0") -> None:
        self.message = ExportTraceServiceRequest()
        resource = self.message.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "desk"
        self._scopes = resource.scope_spans
        self._trace_id = trace_id.to_bytes(16, "big")
        self.scope(scope, version)

    def scope(self, name: str, version: str = "1.0") -> Trace:
        """Let the next spans come from this emitter."""
        self._scope = self._scopes.add()
        self._scope.scope.name, self._scope.scope.version = name, version
        return self

    def span(
        self, number: int, attributes: Attributes, *, parent: int = 0, start: int = 0,
        error: str = "",
    ) -> Trace:  # fmt: skip
        """Add a span of one second."""
        span = self._scope.spans.add(
            trace_id=self._trace_id,
            span_id=number.to_bytes(8, "big"),
            parent_span_id=parent.to_bytes(8, "big") if parent else b"",
            name=f"span {number}",
            start_time_unix_nano=NOW + start * 10**9,
            end_time_unix_nano=NOW + (start + 1) * 10**9,
        )
        for key, value in attributes.items():
            held = span.attributes.add(key=key).value
            if isinstance(value, int):
                held.int_value = value
            else:
                held.string_value = value
        if error:
            span.status.code = Status.STATUS_CODE_ERROR
            span.attributes.add(key="error.type").value.string_value = error
        return self

    def body(self) -> bytes:
        body: bytes = self.message.SerializeToString()
        return body


def chat(input: int, output: int, more: Attributes = MappingProxyType({})) -> Attributes:
    """Return the attributes of a chat call."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.usage.input_tokens": input,
        "gen_ai.usage.output_tokens": output,
        **more,
    }


def recorded(client: str) -> list[bytes]:
    """Return the trace requests of a client's agent loop."""
    exports = scenarios()[f"{client}/agent_loop"].exports
    return [as_protobuf(export) for export in exports if export.signal == "traces"]
