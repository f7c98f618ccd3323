"""Store exports and derive the roll-ups, as the collector does."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.telemetry import follow

from taximeter.settings.settings import RedactionSettings
from taximeter_collector.ingest.decode import Signal
from taximeter_collector.ingest.ingest import Ingest, Outcome, QueueFull, StoreUnavailable
from taximeter_collector.receivers.otlp_json import json_to_protobuf
from taximeter_collector.store.store import Store

from .archive import Export, Scenario

Traces = list[str]
"""Ids of the traces that hold a scenario, the derived ones of its log events and metrics included."""

_REQUESTS: Final[dict[Signal, Any]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
_PATIENCE_S: Final = 300


def as_protobuf(export: Export) -> bytes:
    """Return the export's body in the encoding that the store takes."""
    return json_to_protobuf(export.signal, export.body) if export.is_json else export.body


def replay_all(
    store: Store,
    scenarios: Iterable[Scenario],
    redaction: RedactionSettings = RedactionSettings(),  # noqa: B008 - frozen
) -> dict[str, Traces]:
    """Store all scenarios in a few group commits, derive once; return the traces of each.

    Raises AssertionError when two scenarios share a trace: neither would have facts of its own.
    """
    ingest, owner = Ingest(store, redaction=redaction), dict[str, str]()
    found: dict[str, Traces] = {str(scenario): [] for scenario in scenarios}
    pending = [
        _sent(ingest, export.signal, as_service(str(scenario), export))
        for scenario in scenarios
        for export in scenario.exports
    ]
    for future in pending:
        future.result(_PATIENCE_S)
    ingest.close()
    follow(store)
    with store.cursor() as cursor:
        for name, trace in cursor.execute(
            "select distinct service_name, trace_id from span order by all"
        ).fetchall():
            assert owner.setdefault(trace, name) == name, f"{owner[trace]} and {name}: {trace}"
            found[name].append(trace)
    return found


def as_service(name: str, export: Export) -> bytes:
    """Return the export's body in protobuf, sent by the service ``name``.

    The clients were recorded as one service, often at the same time, and the provider served all of
    them the same figures; but calls of one service, time and size can be one call seen twice.
    """
    request = _REQUESTS[export.signal].FromString(as_protobuf(export))
    for part in next(value for _, value in request.ListFields()):
        others = [a for a in part.resource.attributes if a.key != "service.name"]
        del part.resource.attributes[:]
        part.resource.attributes.extend(others)
        part.resource.attributes.add(key="service.name").value.string_value = name
    return bytes(request.SerializeToString())


def _sent(ingest: Ingest, signal: Signal, data: bytes) -> Future[Outcome]:
    """Submit a request again until it is taken, as clients do: on a busy machine commits are slow."""
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return ingest.submit(signal, data)
        except (QueueFull, StoreUnavailable):
            if time.monotonic() > give_up:
                raise
            time.sleep(0.2)
