"""A store with real telemetry, read as the read API reads it, and the proofs of its spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest
from tests.corpus.archive import scenarios
from tests.corpus.replay import as_protobuf
from tests.telemetry import Span, body, follow, receive

from taximeter.pricing import Catalog, load_catalog
from taximeter_collector.client import plain_rows
from taximeter_collector.explain import Proof, Replay, gather, prove
from taximeter_collector.query.query_gate import check_statement
from taximeter_collector.store.store import Store

Attributes = Mapping[str, str | int]


@dataclass
class Bench:
    """A store, its read API without the network, and what explains its spans."""

    store: Store
    catalog: Catalog
    replay: Replay

    def send(self, bodies: Sequence[bytes]) -> None:
        """Store OTLP trace requests and follow them into the roll-ups."""
        receive(self.store, [("traces", data) for data in bodies])
        follow(self.store)

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
def bench(store: Store, catalog: Catalog, replay: Replay) -> Bench:
    return Bench(store, catalog, replay)


class Trace:
    """One export request, span by span; ids are small numbers, each span lasts a second."""

    def __init__(self, trace_id: int = 1, scope: str = "my.agent") -> None:
        self._trace_id, self._scope = trace_id, scope
        self._spans: list[Span] = []

    def scope(self, name: str) -> Trace:
        """Let the next spans come from this emitter."""
        self._scope = name
        return self

    def span(
        self, number: int, attributes: Attributes, *, parent: int = 0, start: int = 0,
        error: str = "",
    ) -> Trace:  # fmt: skip
        """Add a span that starts at a second."""
        said = {**attributes, "error.type": error} if error else attributes
        begun = start * 1000
        self._spans.append(
            Span(self._trace_id, number, parent, begun, begun + 1000, tuple(said.items()),
                 self._scope, failed=bool(error))
        )  # fmt: skip
        return self

    def body(self) -> bytes:
        return body(self._spans)


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
