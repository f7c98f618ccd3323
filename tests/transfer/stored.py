"""A store with a corpus of its own, and what is in one, to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.collector.test_content_retention import take
from tests.collector.test_migrations import EPOCH, FUTURE
from tests.patience import wait_until
from tests.serving import collector
from tests.telemetry import body, chat, one

from taximeter_collector.derive.verify import verify_window
from taximeter_collector.store.store import Store

RECEIVED = ("span", "log_record", "metric", "export_request")
DERIVED = ("call", "request", "agent_run", "tool_call", "usage_minute", "call_link", "aside")
ARRIVAL = ("batch", "first_batch")
"""Columns that number commits: each store has its own."""


def fill(folder: Path, first: int = 10, count: int = 8) -> None:
    """Store ``count`` calls in traces from ``first`` on, one run with content and errors, a log and a metric."""
    with collector(folder) as (store, _, ingest):
        take(ingest)
        metrics = ExportMetricsServiceRequest()
        metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="queue")
        metric.gauge.data_points.add(time_unix_nano=5).as_int = 7
        ingest.submit("metrics", metrics.SerializeToString()).result(60)
        for n in range(first, first + count):
            ingest.submit("traces", body([chat(n, 1, start=n * 50_000)])).result(60)
        wait_until(lambda: one(store, "select count(*) from calls")[0] >= count + 4)


def content(store: Store, tables: tuple[str, ...] = RECEIVED + DERIVED) -> dict[str, list[Any]]:
    """Return all rows of each table as text, in an order of their own."""
    found = {}
    with store.read() as cursor:
        for table in tables:
            name = table if table in RECEIVED else f"rollup.{table}"
            columns = [row[0] for row in cursor.execute(f"describe {name}").fetchall()]
            told = ", ".join(f'"{c}"::varchar' for c in columns if c not in ARRIVAL)
            found[table] = cursor.execute(f"select {told} from {name} order by all").fetchall()
    return found


def is_right(store: Store) -> bool:
    with store.cursor() as cursor:
        return verify_window(store, cursor, EPOCH, FUTURE).is_right
