"""Rows of a user about clients that the shipped rules know, and about what is stored already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from taximeter.settings.settings import load_settings
from taximeter_collector.derive.derive import derive_step, derived_batch
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.derive.verify import verify_window
from taximeter_collector.ingest.decode import Signal
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.store import Store

NOW = 1_795_000_000_000_000_000
EXCLUSIVE = "@traceloop/instrumentation-anthropic"
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-opus-5-5",
    "gen_ai.usage.input_tokens": "5000",
    "gen_ai.usage.cache_read_input_tokens": "4000",
    "gen_ai.usage.cache_creation_input_tokens": "0",
    "gen_ai.usage.output_tokens": "100",
    "gen_ai.response.finish_reason": "over_and_out",
}


@contextmanager
def opened(home: Path, toml: str) -> Iterator[Store]:
    (home / "taximeter.toml").write_text(toml, encoding="utf-8")
    store = Store(home / "data", dialects=load_settings(home / "taximeter.toml", {}).dialects)
    try:
        yield store
    finally:
        store.close()


def deliver(store: Store, signal: Signal, body: bytes) -> None:
    ingest = Ingest(store)
    ingest.submit(signal, body).result(30)
    ingest.close()
    with store.cursor() as cursor:
        derive_step(cursor, store.prices, derived_batch(cursor))


def call(scope: str, attributes: Mapping[str, str]) -> bytes:
    message = ExportTraceServiceRequest()
    sent = message.resource_spans.add().scope_spans.add()
    sent.scope.name = scope
    span = sent.spans.add(trace_id=b"1" * 16, span_id=b"1" * 8, name="chat",
                          start_time_unix_nano=NOW, end_time_unix_nano=NOW + 10**9)  # fmt: skip
    for key, value in attributes.items():
        span.attributes.add(key=key).value.string_value = value
    body: bytes = message.SerializeToString()
    return body


def the_call(store: Store) -> dict[str, Any]:
    with store.read() as cursor:
        found: list[dict[str, Any]] = cursor.sql("from calls").to_arrow_table().to_pylist()
    (row,) = found
    return row


def test_an_emitter_that_changed_sides_is_believed_by_the_users_row(tmp_path: Path) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    row = f'[[dialects.exclusive]]\nleaf = "cache"\nscope = "{EXCLUSIVE}"\nbasis = "inclusive"\n'
    for home, toml, expected in (
        (shipped, "", ("exclusive", "table", 9000, 5000)),
        (own, row, ("inclusive", "table", 5000, 1000)),
    ):
        home.mkdir()
        with opened(home, toml) as store:
            deliver(store, "traces", call(EXCLUSIVE, CALL))
            got = the_call(store)
        names = ("input_basis", "basis_evidence", "prompt_tokens", "uncached_input_tokens")
        assert tuple(got[name] for name in names) == expected


def test_a_counter_of_money_keeps_its_fractions(tmp_path: Path) -> None:
    toml = (
        '[[dialects.detect]]\ndialect = "acme"\nplace = "scope"\npattern = "acme*"\n'
        '[[dialects.metrics]]\nmetric = "acme.spend"\nattribute = "gen_ai.usage.cost"\n'
        '[[dialects.metrics]]\nmetric = "acme.tokens"\nattribute = "gen_ai.usage.output_tokens"\n'
    )
    message = ExportMetricsServiceRequest()
    sent = message.resource_metrics.add().scope_metrics.add()
    sent.scope.name = "acme.agents"
    for name, value in (("acme.spend", 0.125), ("acme.tokens", 40)):
        metric = sent.metrics.add(name=name)
        metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        metric.sum.data_points.add(
            start_time_unix_nano=NOW, time_unix_nano=NOW + 10**9, as_double=value
        )
    with opened(tmp_path, toml) as store:
        deliver(store, "metrics", message.SerializeToString())
        row = the_call(store)
    assert (row["cost_reported_usd"], row["output_tokens"]) == (0.125, 40)


def test_rules_about_traces_reach_stored_ones_by_a_repair(tmp_path: Path) -> None:
    """What a span is stays as it came; what is derived of a trace follows today's rules."""
    with opened(tmp_path, "") as store:
        deliver(store, "traces", call(EXCLUSIVE, CALL))
        assert the_call(store)["finish_class"] is None
    rows = (
        '[[dialects.finish_reasons]]\npattern = "over_and_*"\nfinish_class = "answer"\n'
        f'[[dialects.exclusive]]\nleaf = "cache"\nscope = "{EXCLUSIVE}"\nbasis = "inclusive"\n'
    )
    at = datetime.fromtimestamp(NOW / 1e9, UTC)
    window = at - timedelta(hours=1), at + timedelta(hours=1)
    with opened(tmp_path, rows) as store:
        with store.cursor() as cursor:
            report = verify_window(store, cursor, *window)
        assert not report.is_right
        deriver = Deriver(store, settle_s=0.01)
        try:
            deriver.repair(report.wrong_traces, report.wrong_minutes).result(30)
        finally:
            deriver.close()
        row = the_call(store)
        with store.cursor() as cursor:
            assert verify_window(store, cursor, *window).is_right
    assert (row["finish_class"], row["input_basis"]) == ("answer", "exclusive")
