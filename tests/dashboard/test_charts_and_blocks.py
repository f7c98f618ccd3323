"""Chart specs, waterfall columns, proofs and alert entries are pure: values in, JSON out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import taximeter_dashboard
from taximeter_collector.explain.proof import Check, Column, Link, Proof, Step, Table
from taximeter_dashboard import charts, trace
from taximeter_dashboard.alerting import (
    address,
    as_alert,
    firing_items,
    rule_text,
    scope_parameters,
)
from taximeter_dashboard.narrowing import among_of
from taximeter_dashboard.proofs import proof_blocks

START = datetime(2026, 11, 24, 10, tzinfo=UTC)
TIMES = [START + timedelta(minutes=i) for i in range(4)]


def test_a_gap_in_the_data_stays_a_gap_in_the_line() -> None:
    line = charts.Line("p95", [1.0, None, None, 2.0], "#000")
    spec = charts.lines(TIMES, [line], y_format="{value}", tip="%.0f")
    assert [point[1] for point in spec["series"][0]["data"]] == [1.0, None, None, 2.0]
    assert spec["series"][0]["showSymbol"], "single points are visible"


def test_a_legend_is_drawn_for_more_than_one_line_only() -> None:
    line = charts.Line("a", [1.0] * 4, "#000")
    assert "legend" not in charts.lines(TIMES, [line], y_format="{value}", tip="%.0f")
    assert "legend" in charts.lines(TIMES, [line, line], y_format="{value}", tip="%.0f")


def test_specs_are_json() -> None:
    series: dict[str, list[float | None]] = {"m": [1.0, None, 2.0, 0.0], "n": [None] * 4}
    json.dumps(charts.stacked(TIMES, series, is_money=True), allow_nan=False)
    line = charts.Line("a", [1.0] * 4, "#000", has_area=True)
    target = charts.lines(TIMES, [line], y_format="{value}", tip="%.0f", target=50)
    json.dumps(target, allow_nan=False)


def test_money_that_is_lost_is_labelled_with_the_sign_before_the_dollar() -> None:
    series: dict[str, list[float | None]] = {"m": [90.0, None, 2.0, 0.0], "n": [1.0, -27.0, 0, 0]}
    gains, losses = charts.stacked(TIMES, series, is_money=True)["yAxis"]
    assert gains["axisLabel"]["formatter"] == "${value}"
    assert gains["axisLabel"]["customValues"] == [0, 50, 100]
    assert losses["axisLabel"]["formatter"] == "−${value}"
    assert losses["axisLabel"]["customValues"] == [50]
    # Upside down and mirrored: the label of 50 lost stands where the bars' axis has -50.
    assert losses["inverse"] and (losses["min"], losses["max"]) == (-gains["max"], -gains["min"])


def test_an_axis_of_money_leaves_no_room_below_zero_for_a_cent() -> None:
    series: dict[str, list[float | None]] = {"m": [90.0, None, 2.0, 0.0], "n": [-0.01, 0, 0, 0]}
    assert charts.stacked(TIMES, series, is_money=True)["yAxis"]["min"] == 0


def test_outcomes_that_can_stand_in_one_chart_have_different_colours() -> None:
    causes = ("tool", "throttled", "timeout", "provider", "client", "internal", "iteration_cap")
    endings = ("completed", "error", "iteration_cap", "tool_call_cap", "truncated", "refused",
               "thrashing", "deadline", "unknown")  # fmt: skip
    for together in (causes, endings):
        assert len({charts.OUTCOME_INK[name] for name in together}) == len(together)


def span(span_id: str, parent: str | None, **values: Any) -> dict[str, Any]:
    known = {
        "span_id": span_id, "parent_span_id": parent, "kind": "agent", "name": span_id, "model": None,
        "start_time": START, "duration_ms": 10.0, "status": "ok", "error_type": None,
        "error_class": None, "prompt_tokens": None, "output_tokens": None,
        "cache_read_tokens": None, "cost_pico": None, "is_billed": None,
        "cost_lower_bound_pico": None, "cost_upper_bound_pico": None,
        "consecutive_repeat": None, "is_repeat": None,
    }  # fmt: skip
    return {**known, **values}


def test_a_span_shows_the_sum_of_what_is_below_it() -> None:
    llm = {"kind": "llm", "is_billed": True}
    spans = [
        span("root", None),
        span("sub", "root"),
        span("a", "sub", cost_pico=2 * 10**12, **llm),
        span("b", "root", cost_pico=10**12, **llm),
    ]
    assert trace.waterfall_columns(spans)["costText"] == ["Σ $3.00", "Σ $2.00", "$2.00", "$1.00"]


def test_a_call_without_a_price_is_unknown_and_not_zero() -> None:
    columns = trace.waterfall_columns([span("root", None), span("a", "root", kind="llm")])
    assert columns["costText"] == ["", "—"]
    assert columns["own"] == [None, None]


def test_a_call_that_broke_off_shows_its_bounds() -> None:
    cut = span("a", None, kind="llm", cost_lower_bound_pico=2 * 10**10)
    allowed = cut | {"cost_upper_bound_pico": 5 * 10**10}
    columns = trace.waterfall_columns([cut, allowed | {"span_id": "b"}])
    assert columns["costText"] == ["≥ $0.020", "$0.020 to $0.050"]
    assert columns["own"] == [None, None]


def test_a_call_that_repeats_another_is_not_summed_twice() -> None:
    spans = [
        span("root", None),
        span("a", "root", kind="llm", cost_pico=10**12, is_billed=True),
        span("b", "a", kind="llm", cost_pico=10**12, is_billed=False),
    ]
    assert trace.subtree_costs(spans)["root"] == 10**12


def test_a_loop_in_the_parents_ends() -> None:
    spans = [span("a", "b", cost_pico=5, is_billed=True), span("b", "a")]
    assert trace.subtree_costs(spans) == {"a": 5, "b": 5}


def proof_of(*steps: Step) -> Proof:
    return Proof("a" * 32, "b" * 16, "chat", "llm", "", "ok", steps)


def test_a_proof_on_the_page_says_what_the_command_says() -> None:
    """Same sentences, same exact money; what does not hold is open and red."""
    columns = (Column("Part"), Column("Tokens", "count"), Column("Cost", "pico_usd"))
    table = Table(columns, [["input", 1_000, 3_000_000_000], ["total", None, 3_000_000_000]])
    checks = [Check("The sum is the stored cost", "failed", "$0.003, stored $0.004")]
    step = Step("arithmetic", "Arithmetic", "It differs.", "failed", (), [table], checks)
    (block,) = proof_blocks(proof_of(step), lambda trace, span: f"/{trace}/{span}")
    assert (block["text"], block["open"], block["tone"]) == ("It differs.", True, "bad")
    grid, listed = block["inside"]
    assert grid["rows"] == [["input", "1,000", "$0.003"], ["total", "", "$0.003"]]
    assert [column["right"] for column in grid["cols"]] == [False, True, True]
    assert (listed["items"][0]["tone"], listed["items"][0]["text"]) == (
        "bad", "$0.003, stored $0.004",
    )  # fmt: skip


def test_a_proof_leads_to_the_spans_that_it_speaks_of() -> None:
    step = Step("billed", "Billed", "Not here.", links=[Link("c" * 32, "d" * 16, "same call")])
    (block,) = proof_blocks(proof_of(step), lambda trace, span: f"/request?id={trace}&span={span}")
    assert block["inside"][0]["items"][0]["href"] == f"/request?id={'c' * 32}&span={'d' * 16}"
    assert block["open"] is False


def test_a_proof_of_thousands_of_calls_shows_the_first_and_says_how_many_more() -> None:
    table = Table((Column("Part"), Column("Tokens", "count")), [["input", 1]] * 1_234)
    step = Step("loop", "Loop length", "Counted.", "ok", (), [table])
    (block,) = proof_blocks(proof_of(step), lambda trace, span: "")
    grid, note = block["inside"]
    assert len(grid["rows"]) == 100
    assert note["text"].startswith("1,134 more rows")


AT = datetime(2026, 11, 24, 11, tzinfo=UTC)


def url(page: str, **own: object) -> str:
    return f"/{page}"


FIRING = {
    "rule": "cost_per_request", "status": "firing", "severity": "critical", "times": 2,
    "labels": {"agent_name": "a", "tenant": None}, "since": "2026-11-24T10:00:00Z",
    "sentence": "Twice the usual.",
}  # fmt: skip


@pytest.mark.parametrize("missing", FIRING)
def test_an_alert_with_missing_fields_is_still_shown(missing: str) -> None:
    row = {name: value for name, value in FIRING.items() if name != missing}
    assert len(firing_items([as_alert(row)], UTC, AT, url)) == 1


def test_only_firing_alerts_are_on_fire() -> None:
    rows = [{**FIRING, "status": status} for status in ("firing", "pending", "learning")]
    assert len(firing_items([as_alert(row) for row in rows], UTC, AT, url)) == 1


def test_the_worst_is_first_the_same_is_said_once_and_the_rest_is_counted() -> None:
    rows = [
        {**FIRING, "rule": f"r{i}", "severity": "warning", "sentence": f"s{i}", "incident": "x"}
        for i in range(6)
    ]
    rows += [{**rows[0], "rule": "again"}, {**FIRING, "rule": "worst"}]
    items = firing_items([as_alert(row) for row in rows], UTC, AT, url)
    assert [item["title"] for item in items] == ["Worst", "R0", "R1", "4 more firing"]


@pytest.mark.parametrize(
    ("metric", "leads"),
    [
        ("loop_length_p95", {"page": "requests", "sort": "-loops"}),
        ("request_cost_max_usd", {"page": "requests", "sort": "-cost"}),
        ("error_rate", {"page": "requests", "status": "Errors"}),
        ("cost_usd", {"page": "costs", "range": "30d"}),
    ],
)
def test_an_alert_leads_to_the_worst_of_what_it_is_about(
    metric: str, leads: dict[str, str]
) -> None:
    found: dict[str, object] = {}
    address(
        as_alert({**FIRING, "metric": metric}),
        AT,
        lambda page, **own: str(found.update(own, page=page)),
    )
    assert leads.items() <= found.items()
    assert found["agent"] == ["a"]


def test_an_alert_leads_to_the_requests_of_its_group_and_time() -> None:
    parameters = scope_parameters(as_alert(FIRING), datetime(2026, 11, 24, 11, tzinfo=UTC))
    assert parameters == {
        "agent": ["a"], "start": "2026-11-24T09:45Z", "end": "2026-11-24T11:15Z",
    }  # fmt: skip


def test_a_failing_tool_of_a_sub_agent_leads_to_the_requests_it_failed_in() -> None:
    found: dict[str, object] = {}
    row = {**FIRING, "metric": "tool_error_rate", "labels": {"agent_name": "a", "tool_name": "t"}}
    address(as_alert(row), AT, lambda page, **own: str(found.update(own)))
    asked = {name: str(value) for name, value in found.items() if value is not None}
    assert among_of(asked).names == (("tool", "t"), ("agent", "a"))
    assert "agent" not in asked, "a sub-agent starts no request"


def test_a_rule_without_receiver_tells_this_page() -> None:
    rule = rule_text({"name": "x", "by": ["agent_name"], "receivers": [], "learning": None,
                      "status": "inactive", "title": "Error rate", "when": "above 5 %"})  # fmt: skip
    assert (rule.state, rule.by, rule.receivers) == ("ok", "agent", "this page only")
    assert rule.condition == "Error rate above 5 %"


def test_components_never_write_markup() -> None:
    """Span text is hostile: it may become a text node only."""
    folder = Path(taximeter_dashboard.__file__).parent / "components"
    for file in folder.glob("*.js"):
        text = file.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{file.name} uses {word}"
