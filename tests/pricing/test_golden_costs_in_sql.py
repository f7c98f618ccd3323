"""The same oracle through the collector: usage on a span → cost in `calls`, by the integer join."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from taximeter_collector.derive.derive import derive_step
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.store import Store

GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "golden_costs.json").read_text()
)


def export(rows: list[dict[str, Any]]) -> bytes:
    """One span a row, as the shim sends it; the span id tells the row."""
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    scope.scope.name = "taximeter"
    for number, row in enumerate(rows, 1):
        start = int(datetime.fromisoformat(row["timestamp"]).timestamp() * 10**9)
        span = scope.spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name=f"chat {row['model']}",
            start_time_unix_nano=start,
            end_time_unix_nano=start + 10**9,
        )
        for key, value in attributes(row).items():
            span.attributes.add(key=key).value.string_value = value
    return message.SerializeToString()


def attributes(row: dict[str, Any]) -> dict[str, str]:
    searches = row.get("extra_billed_units", {}).get("web_search")
    usage = row["usage"] | ({"web_search_requests": searches} if searches else {})
    found = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": row["provider"],
        "gen_ai.request.model": row["model"],
        "gen_ai.response.model": row["model"],
        "taximeter.usage": json.dumps(usage),
        "taximeter.usage_shape": row["usage_shape"],
        "taximeter.service_tier": row["tier"],
        "taximeter.batch": "true" if row["batch"] else "false",
    }
    return found | ({"taximeter.region_class": "residency"} if row.get("multiplier") else {})


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int | None, str]]]:
    store = Store(tmp_path_factory.mktemp("golden"))
    ingest = Ingest(store)
    ingest.submit("traces", export(GOLDEN)).result(30)
    ingest.close()
    with store.cursor() as cursor:
        derive_step(cursor, store.prices, 0)
        found = cursor.execute(
            "select span_id, cost_pico, price_source, cost_pico = input_cost_pico"
            " + cache_read_cost_pico + cache_write_cost_pico + output_cost_pico + other_cost_pico"
            " from calls"
        ).fetchall()
    assert all(adds_up for *_, adds_up in found)
    yield {GOLDEN[int(span_id, 16) - 1]["id"]: (cost, source) for span_id, cost, source, _ in found}
    store.close()


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["id"])
def test_the_stored_cost_is_exact_and_says_its_source(
    costs: dict[str, tuple[int | None, str]], row: dict[str, Any]
) -> None:
    cost, source = costs[row["id"]]
    assert cost == Decimal(row["expected_usd"]) * 10**12
    assert "genai-prices" in source or "prices.toml" in source
