"""The way into the store: acknowledgement after commit, duplicates, refusals, counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.telemetry import rows

from taximeter_collector.ingest.ingest import Ingest, QueueFull, Undecodable
from taximeter_collector.store.store import Store, StoreError


def traces(*span_ids: bytes, name: str = "step") -> bytes:
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for span_id in span_ids:
        scope.spans.add(trace_id=b"t" * 16, span_id=span_id, name=name, start_time_unix_nano=10**18)
    return message.SerializeToString()


def test_an_acknowledged_span_is_in_the_store(store: Store) -> None:
    ingest = Ingest(store)
    outcome = ingest.submit("traces", traces(b"s" * 8)).result(60)
    assert (outcome.accepted, outcome.rejected, outcome.duplicate) == (1, 0, False)
    assert rows(store, "select span_id, name from spans") == [("73" * 8, "step")]
    ingest.close()


def test_the_same_bytes_are_stored_once_also_after_a_restart(tmp_path: Path) -> None:
    for expect_duplicate in (False, True):
        store = Store(tmp_path)
        ingest = Ingest(store)
        first = ingest.submit("traces", traces(b"s" * 8))
        second = ingest.submit("traces", traces(b"s" * 8))
        assert first.result(60).duplicate is expect_duplicate
        assert second.result(60).duplicate is True
        assert rows(store, "select count(*) from spans") == [(1,)]
        ingest.close()
        store.close()


def test_spans_with_bad_ids_are_rejected_and_their_neighbours_kept(store: Store) -> None:
    ingest = Ingest(store)
    outcome = ingest.submit("traces", traces(b"s" * 8, b"\0" * 8, b"short")).result(60)
    assert (outcome.accepted, outcome.rejected) == (1, 2)
    assert "span id" in outcome.message
    counts = {
        (str(fate), str(reason)): items
        for fate, reason, items in rows(store, "select fate, reason, items from ingest_status")
    }
    assert counts[("received", "")] == 3
    assert counts[("stored", "")] == 1
    assert counts[("rejected", "invalid_id")] == 2
    ingest.close()


def test_logs_and_metrics_are_stored_as_sent(store: Store) -> None:
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(event_name="api_request")
    record.body.string_value = "hello"
    metrics = ExportMetricsServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m", unit="1")
    metric.gauge.data_points.add(time_unix_nano=5).as_int = 3
    ingest = Ingest(store)
    assert ingest.submit("logs", logs.SerializeToString()).result(60).accepted == 1
    assert ingest.submit("metrics", metrics.SerializeToString()).result(60).accepted == 1
    assert rows(store, "select event_name, body from log_record") == [("api_request", "hello")]
    assert rows(store, "select name, metric_kind from metric") == [("m", "gauge")]
    ingest.close()


def test_a_full_queue_refuses_and_says_so(store: Store) -> None:
    ingest = Ingest(store, queue_bytes=1)
    accepted, refused = 0, 0
    for number in range(200):
        try:
            ingest.submit("traces", traces(number.to_bytes(8, "big") or b"x"))
            accepted += 1
        except QueueFull:
            refused += 1
    ingest.close()
    assert accepted > 0
    assert refused > 0


class UnsureCursor:
    """A cursor whose first commit raises although it got through."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, error: Exception) -> None:
        self._cursor, self._errors = cursor, [error]

    def execute(self, sql: str, *values: Any) -> Any:
        answer = self._cursor.execute(sql, *values)
        if sql == "commit" and self._errors:
            raise self._errors.pop()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.mark.parametrize(
    "error", [duckdb.InterruptException("Interrupted!"), duckdb.IOException("disk")]
)
def test_a_commit_that_raised_and_got_through_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store = Store(tmp_path)
    real = store.cursor

    @contextmanager
    def cursor() -> Iterator[Any]:
        with real() as own:
            yield UnsureCursor(own, error)

    monkeypatch.setattr(store, "cursor", cursor)
    with closing(Ingest(store)) as ingest:
        outcome = ingest.submit("traces", traces(b"s" * 8)).result(60)
        assert (outcome.accepted, outcome.duplicate) == (1, False)
        counts = ingest.counters.snapshot()
    assert counts["traces", "stored", ""] == counts["traces", "received", ""] == 1
    assert ("traces", "duplicate", "") not in counts
    assert rows(store, "select count(*) from spans") == [(1,)]
    store.close()


def test_counts_that_can_not_be_published_cost_no_acknowledgement(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store, closing(Ingest(store)) as ingest:
        with store.cursor() as cursor:
            cursor.execute("alter table ingest_status rename to gone")
        for name in ("first", "second"):
            assert ingest.submit("traces", traces(b"s" * 8, name=name)).result(60).accepted == 1


def test_what_is_not_otlp_is_refused_for_good(store: Store) -> None:
    ingest = Ingest(store)
    with pytest.raises(Undecodable):
        ingest.submit("traces", b"\xff\xff")
    ingest.close()


def test_a_second_collector_on_the_same_directory_is_told_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    program = (
        "from pathlib import Path; from taximeter_collector.store.store import Store;"
        f" Store(Path({str(tmp_path)!r}))"
    )
    second = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    store.close()
    assert StoreError.__name__ in second.stderr
    assert "--data-dir" in second.stderr
