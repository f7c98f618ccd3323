"""The cost of a request over its time, as a chart: what was spent when, and what has no price."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from taximeter_dashboard import request_cost

START = datetime(2026, 11, 24, 10, tzinfo=UTC)
USD = 10**12


def span(at: float, kind: str = "llm", **values: Any) -> dict[str, Any]:
    return {
        "kind": kind, "name": kind, "model": "m1", "start_time": START + timedelta(seconds=at),
        "duration_ms": 500.0, "status": "unset", "cost_pico": None, "is_billed": True, **values,
    }  # fmt: skip


SPANS = [
    span(0, cost_pico=1 * USD),
    span(1, "tool"),
    span(2, cost_pico=2 * USD, model="m2"),
    span(3, cost_pico=9 * USD, is_billed=False),
    span(4),
    span(5, "tool", status="error"),
]


def test_money_adds_up_at_the_end_of_each_billed_call() -> None:
    spent = request_cost.spent_over_time(SPANS)
    assert spent.total == [(0.5, 1.0), (2.5, 3.0)]
    assert spent.steps == {"m2": [(2.5, 2.0)], "m1": [(0.5, 1.0)]}


def test_tools_failures_and_calls_without_a_price_are_marked_and_said() -> None:
    spent = request_cost.spent_over_time(SPANS)
    assert spent.marks == {
        "tool": [(1.5, 1.0, "tool")],
        "failed": [(5.5, 3.0, "tool")],
        "no price": [(4.5, 3.0, "llm")],
    }
    text = request_cost.summary(spent)
    assert text.startswith("at least $3.00 in 5.50")
    assert text.endswith("no price for 1 of 3 calls")


def test_models_have_lines_of_their_own_where_there_are_several() -> None:
    names = [
        s["name"] for s in request_cost.spent_chart(request_cost.spent_over_time(SPANS))["series"]
    ]
    assert names == ["total", "m2", "m1", "tool", "failed", "no price"]
    (only, *_) = request_cost.spent_chart(request_cost.spent_over_time(SPANS[:1]))["series"]
    assert only["name"] == "total"
    assert only["data"] == [[0, 0], [0.5, 1.0], [0.5, 1.0]]


def test_nothing_priced_is_unknown_and_not_zero() -> None:
    assert request_cost.summary(request_cost.spent_over_time([span(0)])) == "1 call without a price"
    assert request_cost.summary(request_cost.spent_over_time([])) == ""


def test_a_long_request_stays_a_small_chart_that_ends_at_its_total() -> None:
    spans = [
        span(i / 10, ("llm", "tool")[i % 2], cost_pico=(USD, None)[i % 2]) for i in range(20_000)
    ]
    spec = request_cost.spent_chart(request_cost.spent_over_time(spans))
    assert len(json.dumps(spec, allow_nan=False)) < 60_000
    assert spec["series"][0]["data"][-1][1] == 10_000


def test_what_the_chart_has_no_room_for_is_counted() -> None:
    spans = [span(i, "tool") for i in range(1_000)]
    spans += [span(i, cost_pico=USD, model=f"m{i}") for i in range(9)]
    spent = request_cost.spent_over_time(spans)
    text = request_cost.left_out(spent)
    drawn = {s["name"]: s["data"] for s in request_cost.spent_chart(spent)["series"]}
    assert f"{len(drawn['tool'])} of 1,000 tools" in text
    assert f"{len(drawn) - 2} of 9 models" in text
    assert request_cost.left_out(request_cost.spent_over_time(SPANS)) == ""
