"""One span a call through ingest and derive, as the collector does it → the rows of `calls`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from taximeter_collector.derive.derive import derive_step, derived_batch
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.store import Store

_CALLS = "select * exclude (start_time, end_time) from calls order by span_id"
AT = "2026-11-20T12:00:00+00:00"


@dataclass(frozen=True)
class Call:
    """A model call as an emitter states it; ``usage`` is the provider's own object."""

    provider: str | None
    model: str
    usage: Mapping[str, Any]
    shape: str = "anthropic"
    at: str = AT
    service: str = "desk"
    environment: str = "prod"
    attributes: Mapping[str, str] = field(default_factory=dict)

    def stated(self) -> dict[str, str]:
        found = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": self.model,
            "gen_ai.response.model": self.model,
            "taximeter.usage": json.dumps(self.usage),
            "taximeter.usage_shape": self.shape,
        }
        if self.provider:
            found["gen_ai.provider.name"] = self.provider
        return found | dict(self.attributes)


def export(calls: list[Call], first: int = 1) -> bytes:
    """Return an export request; call n has trace and span id n."""
    message = ExportTraceServiceRequest()
    for number, call in enumerate(calls, first):
        resource = message.resource_spans.add()
        for key, value in (("service.name", call.service),
                           ("deployment.environment.name", call.environment)):  # fmt: skip
            resource.resource.attributes.add(key=key).value.string_value = value
        scope = resource.scope_spans.add()
        scope.scope.name = "taximeter"
        start = int(datetime.fromisoformat(call.at).timestamp() * 10**9)
        span = scope.spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name=f"chat {call.model}",
            start_time_unix_nano=start,
            end_time_unix_nano=start + 10**9,
        )
        for key, value in call.stated().items():
            span.attributes.add(key=key).value.string_value = value
    return message.SerializeToString()


@contextmanager
def store_with(path: Path, prices: str = "") -> Iterator[Store]:
    """Open a store whose user has this price file."""
    file = path / "prices.toml"
    file.write_text(prices)
    store = Store(path / "data", file)
    try:
        yield store
    finally:
        store.close()


def send(store: Store, calls: list[Call], first: int = 1) -> None:
    """Receive the calls and follow them."""
    ingest = Ingest(store)
    ingest.submit("traces", export(calls, first)).result(30)
    ingest.close()
    with store.cursor() as cursor:
        derive_step(cursor, store.prices, derived_batch(cursor))


def rows(store: Store, sql: str = _CALLS) -> list[dict[str, Any]]:
    """Return a query's rows by column name."""
    with store.read() as cursor:
        found = cursor.execute(sql)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def priced(path: Path, calls: list[Call], prices: str = "") -> list[dict[str, Any]]:
    """Return the stored rows of ``calls``, in their order."""
    with store_with(path, prices) as store:
        send(store, calls)
        return rows(store)
